//! What whoever keeps alerts has to do.

use chrono::TimeDelta;
use muster_kernel::{
    Actor, Author, CustomerId, DeliveryId, PageRequest, Sealed, StorageError, TenantScope, UserId,
};
use std::collections::BTreeSet;
use uuid::Uuid;

use super::{alert, channel, condition, delivery, machine, noon, rule, window};
use crate::level::{Level, Phase};
use crate::{
    Alert, AlertFilter, AlertRepository, Attempt, Cause, Change, Channel, ChannelRepository,
    Delivery, DeliveryRepository, DeliveryState, Deviation, Deviations, Find, Forgotten,
    MaintenanceWindow, Opened, Replacement, Rule, RuleRepository, Selector, State, Step, Update,
    WindowRepository,
};

fn page() -> PageRequest {
    PageRequest::default()
}

/// The contract of [`RuleRepository`], on an empty one that knows the customer.
///
/// # Panics
/// When the repository breaks it.
pub async fn rule_contract<R: RuleRepository + AlertRepository + Deviations>(
    keeper: &R,
    customer: CustomerId,
) {
    let (author, rules): (_, &dyn RuleRepository) = (Author::system(), keeper);
    let selector = Selector {
        agent_ids: [machine(1, &[]).id].into(),
        tags: ["web".to_owned()].into(),
        os_type: Some("linux".to_owned()),
    };
    let theirs = Rule { customer_id: Some(customer), selector, ..rule(1, condition("metric")) };
    let ours = Rule { enabled: false, ..rule(2, condition("offline")) };
    assert!(rules.create(theirs.clone(), &author).await.unwrap());
    assert!(rules.create(ours.clone(), &author).await.unwrap());
    let (one, all) = (TenantScope::one(customer), TenantScope::All);
    assert_eq!(rules.find(&one, theirs.id).await.unwrap(), Some(theirs.clone()));
    assert_eq!(rules.find(&one, ours.id).await.unwrap(), None, "it is not theirs");
    assert_eq!(rules.find(&all, ours.id).await.unwrap(), Some(ours.clone()));
    assert_eq!(rules.list(&one, &page()).await.unwrap().items, std::slice::from_ref(&theirs));
    assert_eq!(rules.list(&all, &page()).await.unwrap().total, 2);
    assert_eq!(rules.enabled().await.unwrap(), std::slice::from_ref(&theirs));

    let unknown = rule(3, condition("failed_run"));
    assert_eq!(rules.update(unknown, &author).await.unwrap(), Update::NotFound);
    changes(keeper, &theirs).await;

    let found = Alert { customer_id: Some(customer), ..alert(1, &theirs, &machine(1, &[])) };
    keeper.open(found.clone(), None, noon(), Vec::new()).await.unwrap();
    keeper.keep(vec![high(&theirs)]).await.unwrap();
    assert!(!rules.delete(&one, ours.id, &author, noon()).await.unwrap());
    assert!(rules.delete(&one, theirs.id, &author, noon()).await.unwrap());
    assert!(!rules.delete(&one, theirs.id, &author, noon()).await.unwrap());
    let resolved = AlertRepository::find(keeper, &all, found.id).await.unwrap().unwrap();
    assert_eq!((resolved.state, resolved.resolved_at), (State::Resolved, Some(noon())));
    assert_eq!(keeper.history(found.id).await.unwrap().len(), 2);
    assert_eq!(keeper.of(&[machine(1, &[]).id].into()).await.unwrap(), []);
}

/// A load that a rule finds too high.
fn high(rule: &Rule) -> Deviation {
    let level = Level { phase: Phase::High { clear_since: None }, read_at: noon() };
    Deviation { rule_id: rule.id, agent_id: machine(1, &[]).id, level }
}

/// Changes a rule: what it has found ends with what it was looking for.
async fn changes<R: RuleRepository + AlertRepository + Deviations>(keeper: &R, rule: &Rule) {
    let (rules, author): (&dyn RuleRepository, _) = (keeper, Author::system());
    let update = async |rule: &Rule| rules.update(rule.clone(), &author).await.unwrap();
    let open = async |seed| {
        let found = alert(seed, rule, &machine(1, &[]));
        keeper.open(found.clone(), None, noon(), Vec::new()).await.unwrap();
        keeper.keep(vec![high(rule)]).await.unwrap();
        found.id
    };
    let known = async || keeper.of(&[machine(1, &[]).id].into()).await.unwrap().len();
    let id = open(11).await;
    let renamed = Rule { name: "Another".into(), version: 2, ..rule.clone() };
    assert_eq!(update(&renamed).await, Update::Done(renamed.clone()));
    assert_eq!(update(&renamed).await, Update::Stale);
    let same = keeper.open_of(rule.id, machine(1, &[]).id.as_uuid()).await.unwrap();
    assert_eq!((same.map(|alert| alert.id), known().await), (Some(id), 1), "it looks for the same");
    let later = noon() + TimeDelta::minutes(1);
    let off = Rule { enabled: false, version: 3, updated_at: later, ..renamed };
    let other = Rule { enabled: true, condition: condition("offline"), version: 4, ..off.clone() };
    let mut fewer = Rule { version: 5, ..other.clone() };
    fewer.selector.tags.insert("db".into());
    for (seed, changed) in [(12, off), (13, other), (14, fewer)] {
        open(seed).await;
        update(&changed).await;
        assert_eq!(keeper.open_of(rule.id, machine(1, &[]).id.as_uuid()).await.unwrap(), None);
        assert_eq!(known().await, 0, "{changed:?}");
    }
    let history = keeper.history(id).await.unwrap();
    assert_eq!(history[1], Change::new(State::Resolved, later, &author.actor));
}

/// The contract of [`WindowRepository`], on an empty one that knows the customer.
///
/// # Panics
/// When the repository breaks it.
pub async fn window_contract(windows: &dyn WindowRepository, customer: CustomerId) {
    let author = Author::system();
    let theirs = MaintenanceWindow { customer_id: Some(customer), ..window(1) };
    assert!(windows.create(theirs.clone(), &author).await.unwrap());
    assert!(windows.create(window(2), &author).await.unwrap());
    let one = TenantScope::one(customer);
    assert_eq!(windows.list(&one, &page()).await.unwrap().items, std::slice::from_ref(&theirs));
    assert_eq!(windows.current(noon()).await.unwrap().len(), 2);
    let later = noon() + TimeDelta::hours(1);
    assert_eq!(windows.current(later).await.unwrap(), [], "they are over");
    assert!(!windows.delete(&one, window(2).id, &author, noon()).await.unwrap());
    assert!(windows.delete(&one, theirs.id, &author, noon()).await.unwrap());
    assert!(!windows.delete(&one, theirs.id, &author, noon()).await.unwrap());
}

/// The contract of [`ChannelRepository`], on an empty one that knows the customer.
///
/// # Panics
/// When the repository breaks it.
pub async fn channel_contract<R: ChannelRepository + DeliveryRepository + RuleRepository>(
    keeper: &R,
    customer: CustomerId,
) {
    let (author, channels): (_, &dyn ChannelRepository) = (Author::system(), keeper);
    let theirs = Channel { customer_id: Some(customer), ..channel(1) };
    assert!(channels.create(theirs.clone(), &author).await.unwrap());
    assert!(channels.create(channel(2), &author).await.unwrap());
    let one = TenantScope::one(customer);
    assert_eq!(channels.find(&one, theirs.id).await.unwrap(), Some(theirs.clone()));
    assert_eq!(channels.find(&one, channel(2).id).await.unwrap(), None);
    assert_eq!(channels.list(&one, &page()).await.unwrap().items, std::slice::from_ref(&theirs));
    let secret = Some(Sealed(vec![9]));
    let changed = Channel { enabled: false, secret, version: 2, ..theirs.clone() };
    let done = channels.update(changed.clone(), &author).await.unwrap();
    assert_eq!(done, Update::Done(changed.clone()));
    assert_eq!(channels.find(&one, theirs.id).await.unwrap(), Some(changed.clone()));
    assert_eq!(channels.update(changed, &author).await.unwrap(), Update::Stale);
    keeper.add(delivery(1)).await.unwrap();
    assert!(!channels.delete(&one, channel(2).id, &author, noon()).await.unwrap());
    let rules: &dyn RuleRepository = keeper;
    let others = Rule { channel_ids: [channel(2).id].into(), ..rule(22, condition("offline")) };
    let both = [theirs.id, channel(2).id].into();
    let telling = Rule { channel_ids: both, ..rule(21, condition("offline")) };
    for rule in [&telling, &others] {
        assert!(rules.create(rule.clone(), &author).await.unwrap());
    }
    let later = noon() + TimeDelta::minutes(1);
    assert!(channels.delete(&one, theirs.id, &author, later).await.unwrap());
    let left = Rule { version: 2, updated_at: later, ..telling };
    let left = Rule { channel_ids: others.channel_ids.clone(), ..left };
    let all = TenantScope::All;
    assert_eq!(rules.find(&all, left.id).await.unwrap(), Some(left), "nobody is told in vain");
    assert_eq!(rules.find(&all, others.id).await.unwrap(), Some(others));
    let left = DeliveryRepository::list(keeper, theirs.id, &page()).await.unwrap();
    assert_eq!(left.total, 0, "what was on its way is gone with it");
}

/// The contract of [`AlertRepository`], on an empty one.
///
/// # Panics
/// When the repository breaks it.
pub async fn alert_contract<R: AlertRepository + DeliveryRepository>(
    keeper: &R,
) -> Result<(), StorageError> {
    let alerts: &dyn AlertRepository = keeper;
    let all = TenantScope::All;
    let later = noon() + TimeDelta::minutes(5);
    let (rule, machine) = (rule(1, condition("failed_command")), machine(1, &[]));
    let found = alert(1, &rule, &machine);
    let cause = |number| Some(Cause(Uuid::from_u128(number)));
    let open =
        async |alert: Alert, cause| alerts.open(alert, cause, noon(), vec![message(1)]).await;

    assert_eq!(open(found.clone(), cause(1)).await?, Opened::New(found.clone()));
    assert_eq!(open(alert(2, &rule, &machine), cause(1)).await?, Opened::Nothing, "it is known");
    let again = Alert { summary: "once more".into(), last_seen_at: later, ..found.clone() };
    let again = Alert { id: alert(2, &rule, &machine).id, ..again };
    let Opened::Again(twice) = open(again.clone(), cause(2)).await? else {
        panic!("of a rule and a subject there is one open alert")
    };
    assert_eq!((twice.id, twice.count, twice.last_seen_at), (found.id, 2, later));
    assert_eq!((twice.summary.as_str(), twice.first_seen_at), ("once more", noon()));
    assert_eq!(open(again, None).await?, Opened::Again(twice.clone()), "without a cause it stays");
    let sent = DeliveryRepository::list(keeper, message(1).channel_id, &page()).await?;
    assert_eq!(sent.total, 1, "people are told once");
    assert_eq!(alerts.open_of(rule.id, machine.id.as_uuid()).await?, Some(twice.clone()));

    alerts.mark_clear(vec![(found.id, Some(later))]).await?;
    let clearing = alerts.find(&all, found.id).await?.unwrap();
    assert_eq!(clearing, Alert { clear_since: Some(later), ..twice });
    steps(alerts, &clearing).await?;
    assert_eq!(alerts.open_of(rule.id, machine.id.as_uuid()).await?, None);
    let third = alert(3, &rule, &machine);
    let cooled = alerts.open(third.clone(), None, noon(), Vec::new()).await?;
    assert_eq!(cooled, Opened::Nothing, "it has not cooled down");
    let cooled = alerts.open(third.clone(), None, later, Vec::new()).await?;
    assert_eq!(cooled, Opened::New(third.clone()));
    let silent = Alert { state: State::Suppressed, ..alert(4, &rule, &super::machine(2, &[])) };
    alerts.open(silent.clone(), None, later, Vec::new()).await?;
    assert_eq!(alerts.suppressed().await?, std::slice::from_ref(&silent));
    lists(alerts, &third, &silent).await?;
    many(alerts).await?;
    given_away(alerts, &silent).await?;

    forgets(keeper, &found, &silent).await
}

/// Opens more alerts than fit into one transaction, the first of them twice.
async fn many(alerts: &dyn AlertRepository) -> Result<(), StorageError> {
    let rule = rule(6, condition("offline"));
    let find = |seed| {
        let alert = alert(seed, &rule, &machine(seed, &[]));
        let alert = Alert { customer_id: Some(super::customer_id(3)), ..alert };
        Find { alert, cause: None, cooled_since: noon(), deliveries: Vec::new() }
    };
    let finds: Vec<_> = (1000..1250).chain([1000]).map(find).collect();
    let expected: Vec<_> = finds.iter().map(|find| Opened::New(find.alert.clone())).collect();
    let opened = alerts.open_all(finds).await?;
    assert_eq!(opened[..250], expected[..250]);
    assert!(matches!(&opened[250..], [Opened::Again(_)]));
    let theirs = TenantScope::one(super::customer_id(3));
    assert_eq!(alerts.list(&theirs, &AlertFilter::default(), &page()).await?.total, 250);
    Ok(())
}

/// Finds the same about a machine that another customer has got: what is open of the former one is
/// over, and neither says anything about the other.
async fn given_away(alerts: &dyn AlertRepository, before: &Alert) -> Result<(), StorageError> {
    let (all, at) = (TenantScope::All, noon() + TimeDelta::minutes(6));
    let customer_id = Some(super::customer_id(2));
    let id = alert(5, &rule(5, condition("offline")), &machine(5, &[])).id;
    let found = Alert { id, customer_id, last_seen_at: at, ..before.clone() };
    let opened = alerts.open(found.clone(), None, noon(), Vec::new()).await?;
    assert_eq!(opened, Opened::New(found.clone()), "it is theirs, and new to them");
    let over = alerts.find(&all, before.id).await?.unwrap();
    assert_eq!((over.state, over.resolved_at), (State::Resolved, Some(at)));
    assert_eq!(over.customer_id, before.customer_id, "it was the former customer's");
    assert_eq!(alerts.history(before.id).await?.len(), 2);
    assert_eq!(alerts.open_of(before.rule_id, before.subject.id).await?, Some(found.clone()));
    assert_eq!(alerts.open(found.clone(), None, noon(), Vec::new()).await?, Opened::Again(found));
    Ok(())
}

/// Forgets two alerts that were resolved five and six minutes after noon, and a test of a channel.
async fn forgets<R: AlertRepository + DeliveryRepository>(
    keeper: &R,
    first: &Alert,
    last: &Alert,
) -> Result<(), StorageError> {
    let minute = |minute| noon() + TimeDelta::minutes(minute);
    let alerts: &dyn AlertRepository = keeper;
    let none = Forgotten { alerts: 0, more: false };
    assert_eq!(keeper.forget(noon(), 1).await?, none);
    assert_eq!(keeper.forget(minute(6), 1).await?, Forgotten { alerts: 1, more: true });
    assert_eq!(alerts.find(&TenantScope::All, first.id).await?, None);
    assert!(alerts.find(&TenantScope::All, last.id).await?.is_some());
    let mut gone = 0;
    while let Forgotten { alerts, more: true } = keeper.forget(minute(7), 1).await? {
        gone += alerts;
    }
    assert_eq!(gone, 1);
    assert_eq!(alerts.find(&TenantScope::All, last.id).await?, None);
    assert_eq!(keeper.forget(minute(7), 1).await?, none);
    let left = DeliveryRepository::list(keeper, message(1).channel_id, &page()).await?;
    assert_eq!(left.total, 0, "the test went, too");
    Ok(())
}

fn message(seed: u64) -> Delivery {
    delivery(seed)
}

/// Acknowledges and resolves an alert, five minutes after noon.
async fn steps(alerts: &dyn AlertRepository, alert: &Alert) -> Result<(), StorageError> {
    let later = noon() + TimeDelta::minutes(5);
    let id = UserId::from_uuid(Uuid::from_u128(7));
    let ann = Actor::User { id, name: "ann".into() };
    let author = Author::system().as_actor(ann.clone());
    let step = async |before: &Alert, step, author: Option<Author>| {
        let after = before.after(step, later).unwrap();
        let replacement = Replacement {
            before: before.state,
            change: Change::new(after.state, later, &ann),
            after: after.clone(),
            deliveries: Vec::new(),
            audited: author.map(|author| (step, author)),
        };
        alerts.replace(replacement).await.map(|done| (done, after))
    };
    let (done, acknowledged) = step(alert, Step::Acknowledge, Some(author)).await?;
    assert!(done);
    let (done, _) = step(alert, Step::Resolve, None).await?;
    assert!(!done, "it is not in that state any more");
    let (done, resolved) = step(&acknowledged, Step::Resolve, None).await?;
    assert!(done);
    assert_eq!(alerts.find(&TenantScope::All, alert.id).await?, Some(resolved));
    let history = alerts.history(alert.id).await?;
    let states: Vec<_> = history.iter().map(|change| change.state).collect();
    assert_eq!(states, [State::Firing, State::Acknowledged, State::Resolved]);
    assert_eq!(history[1], Change::new(State::Acknowledged, later, &ann));
    Ok(())
}

async fn lists(
    alerts: &dyn AlertRepository,
    firing: &Alert,
    silent: &Alert,
) -> Result<(), StorageError> {
    let all = TenantScope::All;
    let list = async |filter: AlertFilter| {
        let page = alerts.list(&all, &filter, &page()).await?;
        Ok::<_, StorageError>(page.items.into_iter().map(|alert| alert.id).collect::<Vec<_>>())
    };
    let only = AlertFilter::default();
    assert_eq!(list(only.clone()).await?.len(), 3);
    assert_eq!(
        list(AlertFilter { state: Some(State::Firing), ..only.clone() }).await?,
        [firing.id]
    );
    let agent_id = Some(super::machine(2, &[]).id);
    assert_eq!(list(AlertFilter { agent_id, ..only.clone() }).await?, [silent.id]);
    let severity = Some(crate::Severity::Critical);
    assert!(list(AlertFilter { severity, ..only.clone() }).await?.is_empty());
    let rule_id = Some(firing.rule_id);
    assert_eq!(list(AlertFilter { rule_id, ..only.clone() }).await?.len(), 3);
    let customer_id = firing.customer_id;
    assert_eq!(list(AlertFilter { customer_id, ..only.clone() }).await?.len(), 3);
    let other = TenantScope::one(super::customer_id(99));
    assert_eq!(alerts.list(&other, &only, &page()).await?.total, 0);
    assert_eq!(alerts.find(&other, firing.id).await?, None);
    let mut seen = BTreeSet::new();
    let mut wanted = PageRequest::new(1, None);
    loop {
        let page = alerts.list(&all, &only, &wanted).await?;
        assert!(page.items.iter().all(|alert| seen.insert(alert.id)), "nothing comes twice");
        let Some(cursor) = page.next_cursor else { break };
        wanted = PageRequest::new(1, Some(cursor));
    }
    assert_eq!(seen.len(), 3);
    Ok(())
}

/// The contract of [`DeliveryRepository`], on an empty one.
///
/// # Panics
/// When the repository breaks it.
pub async fn delivery_contract(deliveries: &dyn DeliveryRepository) -> Result<(), StorageError> {
    let (now, until) = (noon(), noon() + TimeDelta::minutes(2));
    let (first, other) = (delivery(1), delivery(2));
    let second = Delivery { channel_id: first.channel_id, ..delivery(3) };
    let late = Delivery { due_at: until, ..delivery(4) };
    for delivery in [&first, &other, &second, &late] {
        deliveries.add(delivery.clone()).await?;
    }
    let none = BTreeSet::new();
    let busy = BTreeSet::from([other.channel_id]);
    let taken = deliveries.take(now, until, &busy, 10).await?;
    assert_eq!(taken.len(), 1, "one of a channel, none of a busy one, and what is due");
    assert_eq!(taken[0].channel_id, first.channel_id);
    assert_eq!(deliveries.take(now, until, &none, 1).await?.len(), 1, "no more than asked for");
    let rest = deliveries.take(now, until, &none, 10).await?;
    assert_eq!(rest.len(), 1, "what is taken is not taken again");
    let taken = taken.into_iter().next().unwrap();
    let attempt = Attempt { at: now, status: Some(204), error: None };
    let done = Delivery { state: DeliveryState::Delivered, attempts: vec![attempt], ..taken };
    deliveries.settle(done.clone()).await?;
    let later = deliveries.take(until, until + TimeDelta::minutes(2), &none, 10).await?;
    assert!(later.iter().all(|delivery| delivery.id != done.id), "what arrived is done with");
    assert_eq!(later.len(), 3);
    let list = deliveries.list(first.channel_id, &page()).await?;
    assert_eq!(list.total, 2);
    assert!(list.items.contains(&done));
    in_order(deliveries).await
}

/// What tells of an alert waits for what told of it before, through the same channel.
async fn in_order(deliveries: &dyn DeliveryRepository) -> Result<(), StorageError> {
    let (rule, none) = (rule(1, condition("offline")), BTreeSet::new());
    let (one, other) = (alert(1, &rule, &machine(1, &[])).id, alert(2, &rule, &machine(2, &[])).id);
    let of = |number, channel: u64, alert_id| Delivery {
        id: DeliveryId::from_uuid(Uuid::from_u128(number)),
        channel_id: super::channel(channel).id,
        alert_id: Some(alert_id),
        ..delivery(1)
    };
    let (now, soon) = (noon() + TimeDelta::hours(1), noon() + TimeDelta::hours(2));
    let firing = Delivery { due_at: soon, ..of(1, 7, one) };
    let (resolved, elsewhere) = (of(2, 7, one), of(3, 8, one));
    for delivery in [&firing, &resolved, &elsewhere] {
        deliveries.add(delivery.clone()).await?;
    }
    let take = async |now, until| {
        let taken = deliveries.take(now, until, &none, 10).await?;
        let ours = taken.into_iter().filter(|it| it.alert_id.is_some()).map(|it| it.id);
        Ok::<BTreeSet<_>, StorageError>(ours.collect())
    };
    assert_eq!(take(now, soon).await?, [elsewhere.id].into(), "it failed once, and goes first");
    deliveries.add(of(4, 7, other)).await?;
    assert_eq!(take(now, soon).await?, [of(4, 7, other).id].into(), "others do not wait for it");
    let arrived = |delivery: Delivery| Delivery { state: DeliveryState::Delivered, ..delivery };
    deliveries.settle(arrived(of(4, 7, other))).await?;
    deliveries.settle(arrived(firing)).await?;
    assert_eq!(take(now, soon).await?, [resolved.id].into());
    Ok(())
}

/// The contract of [`Deviations`], on empty ones.
///
/// # Panics
/// When they break it.
pub async fn deviation_contract(deviations: &dyn Deviations) -> Result<(), StorageError> {
    let rule_id = rule(1, condition("metric")).id;
    let of = |seed, phase| Deviation {
        rule_id,
        agent_id: machine(seed, &[]).id,
        level: Level { phase, read_at: noon() },
    };
    let rising = of(1, Phase::Rising { since: noon() });
    let clearing = of(2, Phase::High { clear_since: Some(noon()) });
    deviations.keep(vec![rising, clearing, of(3, Phase::Calm)]).await?;
    let all = [rising, clearing, of(3, Phase::Calm)].map(|it| it.agent_id).into();
    assert_eq!(deviations.of(&all).await?.len(), 2);
    assert_eq!(deviations.of(&[clearing.agent_id].into()).await?, [clearing]);
    let high = of(1, Phase::High { clear_since: None });
    deviations.keep(vec![high, of(2, Phase::Calm)]).await?;
    assert_eq!(deviations.of(&all).await?, [high]);
    Ok(())
}

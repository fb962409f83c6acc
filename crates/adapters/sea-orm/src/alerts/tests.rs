//! Alerts in a database keep the contracts, and find what there is to be found.

use chrono::TimeDelta;
use muster_agents::{AgentChange, AgentRepository, BulkEdit};
use muster_alerts::level::{Level, Phase};
use muster_alerts::testing::{
    alert, alert_contract, channel, channel_contract, condition, delivery_contract,
    deviation_contract, machine, noon, rule, rule_contract, window_contract,
};
use muster_alerts::{
    ChannelRepository, Deed, Deviation, Deviations, Ended, Machine, Occurrences, Rule,
    RuleRepository, State,
};
use muster_commands::runs::RunRepository;
use muster_commands::testing::run;
use muster_customers::CustomerRepository;
use muster_kernel::{Sealed, Tags};
use muster_settings::SealedRows;
use sea_orm::ConnectionTrait;

use super::*;
use crate::testing::{agents, another, customers, on_each_database, watched};
use crate::{SeaAgents, SeaCustomers, SeaSettings};

on_each_database!(
    alerts_keep_the_contract,
    messages_and_loads_keep_the_contract,
    marks_are_kept,
    rules_windows_and_channels_keep_the_contract,
    machines_are_missed_and_come_back,
    a_machine_is_not_missed_again_until_its_rule_has_cooled_down,
    loads_of_machines_that_are_gone_are_forgotten,
    who_gives_a_machine_away_takes_its_alerts_along,
    what_failed_and_what_the_audit_log_tells_is_found,
    a_customer_takes_its_rules_and_channels_along_and_its_alerts_are_over,
    the_secrets_of_channels_are_sealed_anew_with_the_others,
);

async fn alerts_keep_the_contract(database: Database) {
    alert_contract(&SeaAlerts::new(database)).await.unwrap();
}

async fn rules_windows_and_channels_keep_the_contract(database: Database) {
    let [(customer, _), _] = customers(&database).await;
    let alerts = SeaAlerts::new(database);
    rule_contract(&alerts, customer).await;
    window_contract(&alerts, customer).await;
    channel_contract(&alerts, customer).await;
}

async fn messages_and_loads_keep_the_contract(database: Database) {
    delivery_contract(&SeaAlerts::new(another(&database).await)).await.unwrap();
    deviation_contract(&SeaAlerts::new(database)).await.unwrap();
}

async fn machines_are_missed_and_come_back(database: Database) {
    let [(web, customer), (other, _)] = agents(&database).await;
    let (alerts, registry) = (SeaAlerts::new(database.clone()), SeaAgents::new(database.clone()));
    let (early, late) = (noon(), noon() + TimeDelta::hours(1));
    registry.record_seen(vec![web, other], early).await.unwrap();
    let tags = Some(Tags::parse(["db".to_owned()]).unwrap());
    let change = AgentChange { tags, ..AgentChange::default() };
    let author = Author::system();
    registry.update(&TenantScope::All, web, change, &author, noon()).await.unwrap();

    let everywhere = rule(1, condition("offline"));
    let theirs = Rule { customer_id: Some(customer), ..rule(2, condition("offline")) };
    let mut tagged = rule(3, condition("offline"));
    tagged.selector.tags = ["db".to_owned()].into();
    for (rule, expected) in [(&everywhere, 2), (&theirs, 1), (&tagged, 1)] {
        let missing = alerts.missing(rule, late, early).await.unwrap();
        assert_eq!(missing.len(), expected, "{rule:?}");
        assert_eq!(alerts.missing(rule, early, early).await.unwrap(), [], "they were seen then");
    }
    let missing = alerts.missing(&tagged, late, early).await.unwrap();
    assert_eq!((missing[0].machine.id, missing[0].last_seen), (web, early));
    let found = alert(1, &tagged, &missing[0].machine);
    alerts.open(found.clone(), None, early, Vec::new()).await.unwrap();
    assert_eq!(alerts.missing(&tagged, late, early).await.unwrap(), [], "it is known of this rule");
    assert_eq!(alerts.missing(&everywhere, late, early).await.unwrap().len(), 2, "and of no other");

    let missing = alerts.missing(&everywhere, late, early).await.unwrap();
    let tags = |id| missing.iter().find(|it| it.machine.id == id).unwrap().machine.tags.clone();
    assert_eq!(tags(web), ["db".to_owned()].into(), "maintenance windows go by them");
    let mut windows = tagged.clone();
    windows.selector.os_type = Some("windows".into());
    let mut named = everywhere.clone();
    named.selector.agent_ids.insert(other);
    assert_eq!(alerts.missing(&windows, late, early).await.unwrap(), []);
    assert_eq!(alerts.missing(&named, late, early).await.unwrap()[0].machine.id, other);

    assert!(alerts.returned(early).await.unwrap().is_empty());
    registry.record_seen(vec![web], late).await.unwrap();
    let returned = alerts.returned(early).await.unwrap();
    assert_eq!(returned[0].last_seen, Some(late));
    assert_eq!(alerts.gone().await.unwrap(), []);
    registry.delete(&TenantScope::All, web, &author, late).await.unwrap();
    assert_eq!(alerts.returned(early).await.unwrap(), []);
    assert_eq!(alerts.gone().await.unwrap(), [found], "it is gone for ever");
}

async fn who_gives_a_machine_away_takes_its_alerts_along(database: Database) {
    let [(web, first), (other, second)] = agents(&database).await;
    let (alerts, registry) = (SeaAlerts::new(database.clone()), SeaAgents::new(database));
    let (author, all, rule) = (Author::system(), TenantScope::All, rule(1, condition("metric")));
    let about = |seed, id, customer_id| {
        alert(seed, &rule, &Machine { id, customer_id, ..machine(seed, &[]) })
    };
    let (one, many) = (about(1, web, first), about(2, other, second));
    let stays = about(3, machine(3, &[]).id, first);
    for found in [&one, &many, &stays] {
        alerts.open(found.clone(), None, noon(), Vec::new()).await.unwrap();
    }
    let state = async |alert: &Alert| {
        AlertRepository::find(&alerts, &all, alert.id).await.unwrap().unwrap().state
    };
    let renamed = AgentChange { notes: Some("here".into()), ..AgentChange::default() };
    registry.update(&all, web, renamed, &author, noon()).await.unwrap().unwrap();
    assert_eq!(state(&one).await, State::Firing, "it is still theirs");
    let given = AgentChange { customer_id: Some(second), ..AgentChange::default() };
    registry.update(&all, web, given, &author, noon()).await.unwrap().unwrap();
    let states = (state(&one).await, state(&many).await, state(&stays).await);
    assert_eq!(states, (State::Resolved, State::Firing, State::Firing));
    let edit = BulkEdit { customer_id: Some(first), ..BulkEdit::default() };
    registry.update_many(&all, vec![other], edit, &author, noon()).await.unwrap();
    assert_eq!((state(&many).await, state(&stays).await), (State::Resolved, State::Firing));
}

async fn a_machine_is_not_missed_again_until_its_rule_has_cooled_down(database: Database) {
    let [(web, _), _] = agents(&database).await;
    let (alerts, registry) = (SeaAlerts::new(database.clone()), SeaAgents::new(database));
    let (early, late) = (noon(), noon() + TimeDelta::hours(1));
    registry.record_seen(vec![web], early).await.unwrap();
    let mut rule = rule(1, condition("offline"));
    rule.selector.agent_ids.insert(web);
    let missing = async |cooled| alerts.missing(&rule, late, cooled).await.unwrap();
    let found = alert(1, &rule, &missing(early).await[0].machine);
    alerts.open(found.clone(), None, early, Vec::new()).await.unwrap();
    let after = found.after(Step::Resolve, late).unwrap();
    let change = Change::new(after.state, late, &Actor::System);
    let (before, deliveries) = (found.state, Vec::new());
    let replacement = Replacement { before, after, change, deliveries, audited: None };
    assert!(alerts.replace(replacement).await.unwrap());
    assert_eq!(missing(early).await, []);
    assert_eq!(missing(late).await.len(), 1);
}

async fn loads_of_machines_that_are_gone_are_forgotten(database: Database) {
    let [(web, _), (other, _)] = agents(&database).await;
    let (alerts, registry) = (SeaAlerts::new(database.clone()), SeaAgents::new(database));
    let (author, all, rule) = (Author::system(), TenantScope::All, rule(1, condition("metric")));
    let level = Level { phase: Phase::High { clear_since: None }, read_at: noon() };
    let of = |agent_id| Deviation { rule_id: rule.id, agent_id, level };
    alerts.keep(vec![of(web), of(other)]).await.unwrap();
    registry.delete(&all, web, &author, noon()).await.unwrap();
    assert_eq!(alerts.of(&[web, other].into()).await.unwrap(), [of(other)]);
    registry.delete_many(&all, vec![other], &author, noon()).await.unwrap();
    assert_eq!(alerts.of(&[web, other].into()).await.unwrap(), []);
}

async fn what_failed_and_what_the_audit_log_tells_is_found(database: Database) {
    let alerts = SeaAlerts::new(database.clone());
    let before = alerts.last_deed().await.unwrap();
    let [(web, _), (other, _)] = agents(&database).await;
    let until = alerts.last_deed().await.unwrap();
    let deeds = alerts.deeds(before, until).await.unwrap();
    let deeds: Vec<_> = deeds.into_iter().map(|(_, deed, _)| deed).collect();
    assert_eq!(deeds, [Deed::Enrolled(web), Deed::Enrolled(other)]);
    assert_eq!(alerts.deeds(until, until).await.unwrap(), []);

    let run = run(1, 2);
    let runs = crate::SeaRuns::new(database.clone());
    runs.begin(run.clone(), Vec::new(), None, Author::system()).await.unwrap();
    let at = micros(noon());
    let end = format!("UPDATE runs SET status = 'failed', failed = 2, finished_at = {at}");
    database.schema_connection().execute_unprepared(&end).await.unwrap();
    let failed = alerts.failed(noon(), 10).await.unwrap();
    assert!(matches!(&failed[..], [Ended::Run { id, failed: 2, .. }] if *id == run.id));
    assert_eq!(alerts.failed(noon() + TimeDelta::seconds(1), 10).await.unwrap(), []);
}

async fn marks_are_kept(database: Database) {
    let alerts = SeaAlerts::new(database);
    assert_eq!(alerts.mark("deeds").await.unwrap(), None);
    for number in [3, 5] {
        alerts.set_mark("deeds", number).await.unwrap();
        assert_eq!(alerts.mark("deeds").await.unwrap(), Some(number));
    }
}

async fn a_customer_takes_its_rules_and_channels_along_and_its_alerts_are_over(database: Database) {
    watched(&database).await;
    let [(customer, _), _] = customers(&database).await;
    let alerts = SeaAlerts::new(database.clone());
    let author = Author::system();
    let rule = Rule { customer_id: Some(customer), ..rule(2, condition("offline")) };
    let theirs = muster_alerts::Channel { customer_id: Some(customer), ..channel(2) };
    RuleRepository::create(&alerts, rule.clone(), &author).await.unwrap();
    ChannelRepository::create(&alerts, theirs.clone(), &author).await.unwrap();
    let machine = muster_alerts::testing::machine(2, &[]);
    let found = Alert { customer_id: Some(customer), ..alert(2, &rule, &machine) };
    alerts.open(found.clone(), None, noon(), Vec::new()).await.unwrap();
    let gone = SeaCustomers::new(database).delete(customer, true, &author, noon()).await;
    assert!(gone.unwrap());
    let all = TenantScope::All;
    assert_eq!(RuleRepository::find(&alerts, &all, rule.id).await.unwrap(), None);
    assert_eq!(ChannelRepository::find(&alerts, &all, theirs.id).await.unwrap(), None);
    let over = AlertRepository::find(&alerts, &all, found.id).await.unwrap().unwrap();
    assert_eq!(over.state, State::Resolved);
    assert_eq!(
        RuleRepository::list(&alerts, &all, &PageRequest::default()).await.unwrap().total,
        1
    );
}

async fn the_secrets_of_channels_are_sealed_anew_with_the_others(database: Database) {
    watched(&database).await;
    let settings = SeaSettings::new(database.clone());
    let (place, old) =
        (muster_alerts::Channel::secrets_place(channel(1).id), channel(1).secret.unwrap());
    assert!(settings.sealed().await.unwrap().contains(&(place.clone(), old.clone())));
    let new = Sealed(vec![7]);
    assert!(settings.reseal(&place, &old, &new).await.unwrap());
    let alerts = SeaAlerts::new(database);
    let found = ChannelRepository::find(&alerts, &TenantScope::All, channel(1).id).await;
    assert_eq!(found.unwrap().unwrap().secret, Some(new));
}

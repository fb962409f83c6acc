//! The contract that every registry keeps.

use chrono::TimeDelta;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, CustomerId, Entropy, Secret, Tags, TenantScope, Timestamp, TokenHash,
    TokenKind,
};

use super::connections::{connections_are_kept, copies_are_decided_about};
use super::legacy::speakers_are_found;
use super::{connection, lists};
use crate::{
    Admission, AgentChange, AgentProgram, AgentRepository, AgentSelection, AgentTokens,
    ConnectionLog, CopyVerdicts, Criteria, Enrol, EnrolCandidate, EnrolError, ONLINE_FOR, OsType,
    Registration, RegistrationRequest, Speakers, SystemInfo,
};

/// What the contract suite needs of a registry: itself, and customers whose tokens are good.
#[derive(Debug)]
pub struct Subject<'a, R> {
    /// The registry.
    pub registry: &'a R,
    /// Two customers, each with a token that lets many machines enrol.
    pub customers: &'a [(CustomerId, TokenHash); 2],
}

/// A candidate of that name; every call draws another id and token.
///
/// # Panics
/// When the name breaks a rule.
pub fn candidate(
    hostname: &str,
    machine_id: Option<&str>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> EnrolCandidate {
    let registration = Registration::try_from(RegistrationRequest {
        hostname: hostname.into(),
        os: Some("Debian GNU/Linux 12".into()),
        tags: vec!["web".into()],
        machine_id: machine_id.map(Into::into),
        ..RegistrationRequest::default()
    });
    EnrolCandidate {
        id: AgentId::new(clock, entropy),
        registration: registration.expect("the example is valid"),
        agent_token: Secret::draw(TokenKind::Agent, entropy).hash(),
        now: clock.now(),
        author: Author::system(),
    }
}

pub(super) const fn author() -> Author {
    Author::system()
}

/// The contract of [`AgentRepository`], [`AgentTokens`], [`Enrol`], [`ConnectionLog`],
/// [`CopyVerdicts`] and [`Speakers`], to be run on an empty registry.
///
/// # Panics
/// When the registry breaks it.
pub async fn contract<R>(subject: &Subject<'_, R>)
where
    R: AgentRepository + AgentTokens + Enrol + ConnectionLog + CopyVerdicts + Speakers,
{
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(11));
    the_same_machine_is_the_same_agent(subject, &clock, &entropy).await;
    a_scope_hides_what_lies_outside(subject, &clock, &entropy).await;
    lists::lists_are_filtered_and_paged(subject, &clock, &entropy).await;
    lists::lists_are_sorted_and_stable(subject, &clock, &entropy).await;
    machines_are_picked_by_everything_that_is_given(subject, &clock, &entropy).await;
    changes_and_reports_are_kept(subject, &clock, &entropy).await;
    a_deleted_agent_is_gone(subject, &clock, &entropy).await;
    connections_are_kept(subject, &clock, &entropy).await;
    copies_are_decided_about(subject, &clock, &entropy).await;
    speakers_are_found(subject, &clock, &entropy).await;
}

async fn machines_are_picked_by_everything_that_is_given<
    R: AgentRepository + AgentTokens + Enrol,
>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (other, other_token)] = *customers;
    let first = registry.enrol(token.into(), candidate("pick-1", None, clock, entropy)).await;
    clock.advance(TimeDelta::milliseconds(1));
    let second = registry.enrol(token.into(), candidate("pick-2", None, clock, entropy)).await;
    clock.advance(TimeDelta::milliseconds(1));
    let foreign =
        registry.enrol(other_token.into(), candidate("pick-3", None, clock, entropy)).await;
    let (first, second, foreign) = (first.unwrap(), second.unwrap(), foreign.unwrap());
    let tags = Some(Tags::parse(["web".to_owned(), "pick".to_owned()]).unwrap());
    for id in [first, foreign] {
        let change = AgentChange { tags: tags.clone(), ..AgentChange::default() };
        registry.update(&TenantScope::All, id, change, &author(), clock.now()).await.unwrap();
    }
    let pick = async |scope: TenantScope, selection: AgentSelection| {
        let selected = registry.select(&scope, &selection, clock.now()).await.unwrap();
        selected.into_iter().map(|agent| (agent.id, agent.customer_id)).collect::<Vec<_>>()
    };
    let tagged = AgentSelection {
        tags: ["web".to_owned(), "pick".to_owned()].into(),
        ..AgentSelection::default()
    };
    let both = pick(TenantScope::All, tagged.clone()).await;
    assert_eq!(both, [(first, mine), (foreign, other)]);
    assert_eq!(pick(TenantScope::one(mine), tagged.clone()).await, [(first, mine)]);
    let of_other = AgentSelection { customer_id: Some(other), ..tagged.clone() };
    assert_eq!(pick(TenantScope::All, of_other).await, [(foreign, other)]);
    let named = AgentSelection {
        ids: Some([first, second, foreign].into()),
        os_type: Some(OsType::Linux),
        ..AgentSelection::default()
    };
    let mine_only = pick(TenantScope::one(mine), named.clone()).await;
    assert_eq!(mine_only, [(first, mine), (second, mine)]);
    let windows = AgentSelection { os_type: Some(OsType::Windows), ..named };
    assert!(pick(TenantScope::All, windows).await.is_empty());
    registry.record_system_info(first, example_info(clock.now()), clock.now()).await.unwrap();
    let all =
        AgentSelection { ids: Some([first, second, foreign].into()), ..AgentSelection::default() };
    let zones = registry.time_zones(&TenantScope::All, &all, clock.now()).await.unwrap();
    assert_eq!(zones, [None, Some("Europe/Berlin".to_owned())].into());
    let showing = async |zone: &str| {
        let time_zones = Some([zone.to_owned()].into());
        pick(TenantScope::one(mine), AgentSelection { time_zones, ..all.clone() }).await
    };
    assert_eq!(showing("Europe/Berlin").await, [(first, mine)]);
    assert_eq!(showing("UTC").await, [(second, mine)], "and those that told none");
    assert_eq!(showing("Asia/Tokyo").await, []);
    registry.record_seen(vec![second], clock.now()).await.unwrap();
    let online = AgentSelection { only_online: true, ..all.clone() };
    let online = async |now| {
        let selected = registry.select(&TenantScope::All, &online, now).await.unwrap();
        selected.into_iter().map(|agent| agent.id).collect::<Vec<_>>()
    };
    assert_eq!(online(clock.now()).await, [second]);
    assert_eq!(online(clock.now() + ONLINE_FOR).await, []);
    for id in [first, second, foreign] {
        assert!(registry.delete(&TenantScope::All, id, &author(), clock.now()).await.unwrap());
    }
}

async fn the_same_machine_is_the_same_agent<R: AgentRepository + AgentTokens + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (_, other_token)] = *customers;
    let first = candidate("web-01", Some("m-1"), clock, entropy);
    let id = registry.enrol(token.into(), first.clone()).await.unwrap();
    assert_eq!(AgentTokens::find(registry, first.agent_token).await.unwrap(), Some((id, mine)));
    assert_eq!(
        registry.enrol(token.into(), first.clone()).await.unwrap(),
        id,
        "an attempt repeated"
    );

    let renamed = candidate("web-02", Some("m-1"), clock, entropy);
    assert_eq!(registry.enrol(token.into(), renamed.clone()).await.unwrap(), id);
    assert_eq!(AgentTokens::find(registry, first.agent_token).await.unwrap(), None, "old token");
    let agent = AgentRepository::find(registry, &TenantScope::All, id).await.unwrap().unwrap();
    assert_eq!((agent.hostname.as_str(), agent.os_type), ("web-02", OsType::Linux));

    let elsewhere = candidate("web-02", Some("m-1"), clock, entropy);
    assert_ne!(
        registry.enrol(other_token.into(), elsewhere).await.unwrap(),
        id,
        "another customer"
    );
    let by_name = candidate("db-01", None, clock, entropy);
    let named = registry.enrol(token.into(), by_name).await.unwrap();
    let again = candidate("db-01", None, clock, entropy);
    assert_eq!(registry.enrol(token.into(), again).await.unwrap(), named);

    let keyed = candidate("by-key", None, clock, entropy);
    let keyed = registry.enrol(Admission::Customer(mine), keyed).await.unwrap();
    let found = AgentRepository::find(registry, &TenantScope::one(mine), keyed).await.unwrap();
    assert!(found.is_some(), "a key of the customer lets machines in as well");

    let nobody = Secret::draw(TokenKind::Enrollment, entropy).hash();
    let refused = registry.enrol(nobody.into(), candidate("x", None, clock, entropy)).await;
    assert!(matches!(refused, Err(EnrolError::TokenInvalid)));
}

async fn a_scope_hides_what_lies_outside<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (other, _)] = *customers;
    let id = registry.enrol(token.into(), candidate("hidden", None, clock, entropy)).await.unwrap();
    let (inside, outside) = (TenantScope::one(mine), TenantScope::one(other));
    assert!(registry.find(&inside, id).await.unwrap().is_some());
    assert!(registry.find(&outside, id).await.unwrap().is_none());
    let change = AgentChange { notes: Some("mine now".into()), ..AgentChange::default() };
    assert!(registry.update(&outside, id, change, &author(), clock.now()).await.unwrap().is_none());
    assert!(!registry.delete(&outside, id, &author(), clock.now()).await.unwrap());
    let criteria = Criteria { q: Some("hidden".into()), ..Criteria::default() };
    assert_eq!(lists::found(registry, &outside, criteria.clone(), clock).await, 0);
    assert_eq!(lists::found(registry, &inside, criteria, clock).await, 1);
    let web = async |scope| {
        let tags = registry.tags(scope).await.unwrap();
        tags.into_iter().find(|(tag, _)| tag == "web").map(|(_, count)| count)
    };
    assert_eq!((web(&inside).await, web(&outside).await), (Some(4), Some(1)));
}

async fn changes_and_reports_are_kept<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let token = customers[0].1;
    let id = registry.enrol(token.into(), candidate("change", None, clock, entropy)).await.unwrap();
    let tags = Tags::parse(["db".to_owned()]).unwrap();
    let change = AgentChange {
        hostname: Some("changed".into()),
        tags: Some(tags.clone()),
        notes: Some("under the desk".into()),
        ..AgentChange::default()
    };
    let changed =
        registry.update(&TenantScope::All, id, change, &author(), clock.now()).await.unwrap();
    let info = example_info(clock.now());
    registry.record_system_info(id, info.clone(), clock.now()).await.unwrap();
    let found = registry.find(&TenantScope::All, id).await.unwrap().unwrap();
    let clean = AgentChange { notes: Some(String::new()), ..AgentChange::default() };
    let clean = registry
        .update(&TenantScope::All, id, clean, &author(), clock.now())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((clean.notes, clean.hostname.as_str()), (None, "changed"));
    let program = AgentProgram { version: "9.9".into(), capabilities: vec!["shell:sh".into()] };
    let begun = connection(id, clock, entropy);
    let connected = registry.record_connected(program.clone(), begun).await;
    assert_eq!(connected.unwrap(), Some(customers[0].0));
    let newer = Criteria { version: Some("9.9".into()), ..Criteria::default() };
    assert_eq!(lists::found(registry, &TenantScope::All, newer, clock).await, 1);
    let noted = Criteria { q: Some("r the DESK".into()), ..Criteria::default() };
    assert_eq!(lists::found(registry, &TenantScope::All, noted, clock).await, 0, "no notes now");
    let os = Criteria { q: Some("GNU/linux 12".into()), ..Criteria::default() };
    assert!(lists::found(registry, &TenantScope::All, os, clock).await > 0);
    let running = registry.find(&TenantScope::All, id).await.unwrap().unwrap();
    assert_eq!(running.capabilities, program.capabilities);
    assert_eq!((changed.unwrap().hostname, found.hostname), ("changed".into(), "changed".into()));
    assert_eq!((found.tags, found.notes.as_deref()), (tags, Some("under the desk")));
    assert_eq!(found.system_info, Some(info));
}

async fn a_deleted_agent_is_gone<R: AgentRepository + AgentTokens + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let token = customers[0].1;
    let doomed = candidate("doomed", Some("m-9"), clock, entropy);
    let id = registry.enrol(token.into(), doomed.clone()).await.unwrap();
    assert!(registry.delete(&TenantScope::All, id, &author(), clock.now()).await.unwrap());
    assert!(AgentRepository::find(registry, &TenantScope::All, id).await.unwrap().is_none());
    assert_eq!(AgentTokens::find(registry, doomed.agent_token).await.unwrap(), None);
    assert!(!registry.delete(&TenantScope::All, id, &author(), clock.now()).await.unwrap());
    assert_eq!(registry.record_seen(vec![id], clock.now()).await.unwrap(), [id]);
    let program = AgentProgram { version: "1".into(), capabilities: Vec::new() };
    let begun = connection(id, clock, entropy);
    assert_eq!(registry.record_connected(program, begun).await.unwrap(), None);
    let back = candidate("doomed", Some("m-9"), clock, entropy);
    assert_ne!(registry.enrol(token.into(), back).await.unwrap(), id, "ids are not used again");
}

fn example_info(now: Timestamp) -> SystemInfo {
    SystemInfo {
        hostname: "change".into(),
        os: "Debian GNU/Linux 12".into(),
        os_version: "12".into(),
        kernel_version: "6.1".into(),
        architecture: "x86_64".into(),
        cpu_model: "QEMU".into(),
        cpu_count: 2,
        memory_bytes: 1 << 33,
        disk_bytes: 1 << 40,
        interfaces: Vec::new(),
        logged_in_users: vec!["root".into()],
        pending_reboot: Some(false),
        time_zone: Some("Europe/Berlin".into()),
        reported_at: now,
    }
}

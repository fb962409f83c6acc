use chrono::TimeDelta;
use muster_agents::OsType;
use muster_audit::{AuditFilter, AuditLog};
use muster_commands::testing::command_for;
use muster_commands::{Command, CommandArchive, CommandLedger, CommandRetention, Entry, Event};
use muster_deployment_profiles::rollouts::{RolloutStatus, Stage};
use muster_deployment_profiles::testing::{
    RolloutsSubject, entry, profile_bodies, rollout, rollouts_contract,
};
use muster_deployment_profiles::{CatalogRepository, Profile};

use super::*;
use crate::testing::{agents, deployed, on_each_database};
use crate::{SeaAudit, SeaCatalog, SeaCommands, SeaCompliance};

on_each_database!(
    rollouts_keep_the_contract,
    what_a_rollout_does_is_in_the_audit_log,
    thousands_of_machines_go_on_at_once,
    a_rollout_is_forgotten_with_the_last_of_its_commands,
    a_request_is_known_for_as_long_as_its_rollout_goes_on,
);

async fn rollouts_keep_the_contract(database: Database) {
    let [machine, other_machine] = agents(&database).await;
    let [body, _] = profile_bodies();
    let profile: Profile = entry(1, None, body);
    let catalog = SeaCatalog::new(database.clone());
    catalog.create(profile.clone(), &Author::system()).await.unwrap();
    let (commands, compliance) =
        (SeaCommands::new(database.clone()), SeaCompliance::new(database.clone()));
    let rollouts = SeaRollouts::new(database);
    rollouts_contract(&RolloutsSubject {
        rollouts: &rollouts,
        commands: &commands,
        compliance: &compliance,
        profile: profile.id,
        machine,
        other_machine,
    })
    .await;
}

async fn what_a_rollout_does_is_in_the_audit_log(database: Database) {
    use muster_commands::runs::StopReason;
    let [machine, _] = agents(&database).await;
    let (_, _, rollout, _) = deployed(&database, machine).await;
    let rollouts = SeaRollouts::new(database.clone());
    let (id, author, now) = (rollout.id, Author::system(), rollout.created_at);
    let stopped = RolloutChange::Stopped(StopReason::Cancelled);
    for change in [stopped, stopped] {
        rollouts.change(id, None, change, &author, now).await.unwrap().unwrap();
    }
    let revision = rollouts.find(&TenantScope::All, id).await.unwrap().unwrap().revision;
    assert!(rollouts.retry(id, revision, Vec::new(), now, &author, now).await.unwrap());
    let entered = async |action: &str| {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        let log = SeaAudit::new(database.clone());
        log.list(&filter, &PageRequest::default()).await.unwrap().total
    };
    for action in ["rollout.start", "command.run", "rollout.cancel", "rollout.retry"] {
        assert_eq!(entered(action).await, 1, "{action}");
    }
}

async fn thousands_of_machines_go_on_at_once(database: Database) {
    let [(agent, customer), _] = agents(&database).await;
    let rollouts = SeaRollouts::new(database.clone());
    let queued = |number| {
        let agent = AgentId::from_uuid(Uuid::from_u128(number));
        Device::queued(agent, customer, OsType::Linux)
    };
    let devices: Vec<_> = (1..=5000).map(queued).collect();
    let (rollout, author) = (rollout(1, 5000), Author::system());
    let id = rollout.id;
    rollouts.begin(rollout, devices.clone(), None, &author).await.unwrap();
    let advance = |(number, device): (u64, &Device)| Advance {
        device: Device { stage: Stage::Done, revision: 1, ..device.clone() },
        // Every tenth was another one by now.
        before: u32::from(number.is_multiple_of(10)),
        command: Some(Command { rollout_id: Some(id), ..command_for(number, agent, customer) }),
        standing: None,
    };
    let advances: Vec<_> = (1..).zip(&devices).map(advance).collect();
    let outcomes = rollouts.advance(id, advances, &author).await.unwrap();
    let written = outcomes.iter().filter(|it| **it == Advanced::Written).count();
    assert_eq!((outcomes.len(), written), (5000, 4500));
    let tally = RolloutTally { queued: 500, done: 4500, ..RolloutTally::default() };
    assert_eq!(rollouts.tallies(&[id]).await.unwrap()[&id], tally);
    let given = commands::Entity::find().count(database.reader()).await.unwrap();
    assert_eq!(given, 4500);
}

/// Ends a rollout at an instant.
async fn end(rollouts: &SeaRollouts, id: RolloutId, at: Timestamp) {
    let ended = RolloutChange::Ended(RolloutStatus::Completed, RolloutTally::default(), at);
    let changed = rollouts.change(id, None, ended, &Author::system(), at).await.unwrap();
    assert!(changed.unwrap().1);
}

async fn a_rollout_is_forgotten_with_the_last_of_its_commands(database: Database) {
    let [machine, _] = agents(&database).await;
    let (_, _, rollout, _) = deployed(&database, machine).await;
    let (rollouts, ledger) =
        (SeaRollouts::new(database.clone()), SeaCommands::new(database.clone()));
    let command = command_for(1, machine.0, machine.1);
    let at = command.created_at;
    let cancelled = Entry::Event(Event::CancelRequested { at });
    ledger.record(machine.0, command.id, cancelled).await.unwrap().unwrap();
    let later = at + TimeDelta::days(1);
    let forget = async |before| {
        let number = ledger.forget(before, 100, &Author::system(), later).await.unwrap();
        let there = rollouts.find(&TenantScope::All, rollout.id).await.unwrap().is_some();
        (number, there)
    };
    assert_eq!(forget(later).await, (0, true), "it goes on and needs them");
    assert!(CommandArchive::find(&ledger, &TenantScope::All, command.id).await.unwrap().is_some());
    end(&rollouts, rollout.id, later).await;
    assert_eq!(forget(later).await, (1, true), "it has ended at that instant");
    assert_eq!(forget(later + TimeDelta::hours(1)).await, (0, false));
    let devices = device::Entity::find().count(database.reader()).await.unwrap();
    let customers = customer::Entity::find().count(database.reader()).await.unwrap();
    assert_eq!((devices, customers), (0, 0));
}

async fn a_request_is_known_for_as_long_as_its_rollout_goes_on(database: Database) {
    let rollouts = SeaRollouts::new(database.clone());
    let (kept, author) = (rollout(1, 0), Author::system());
    let once = Once { scope: "s".into(), key: "k".into(), fingerprint: [1; 32] };
    rollouts.begin(kept.clone(), Vec::new(), Some(once), &author).await.unwrap();
    let later = kept.created_at + TimeDelta::days(2);
    assert_eq!(database.forget_requests(later).await.unwrap(), 0);
    end(&rollouts, kept.id, later).await;
    assert_eq!(database.forget_requests(later).await.unwrap(), 1);
}

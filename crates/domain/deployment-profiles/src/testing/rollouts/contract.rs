//! The contract that every repository of rollouts keeps.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use muster_agents::OsType;
use muster_commands::runs::StopReason;
use muster_commands::testing::{command_for, noon};
use muster_commands::{Command, CommandArchive, Once};
use muster_kernel::{
    AgentId, Author, CommandId, CustomerId, PageRequest, ProfileId, RolloutId, TenantScope,
};
use uuid::Uuid;

use super::{rollout, standings};
use crate::compliance::ComplianceRepository;
use crate::rollouts::{
    Advance, Advanced, Device, DeviceFailure, DeviceFilter, DeviceStatus, Part, Rollout,
    RolloutBegun, RolloutChange, RolloutFilter, RolloutRepository, RolloutStatus, RolloutTally,
    SkipReason, Stage, TaskOutcome, TaskResult,
};

/// What the suite needs: no rollouts, a profile, and two machines of two customers.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RolloutsSubject<'a, A> {
    pub rollouts: &'a dyn RolloutRepository,
    pub commands: &'a A,
    pub compliance: &'a dyn ComplianceRepository,
    pub profile: ProfileId,
    pub machine: (AgentId, CustomerId),
    pub other_machine: (AgentId, CustomerId),
}

/// The contract of [`RolloutRepository`], and of what
/// [`ComplianceRepository`] tells of how machines stand.
///
/// # Panics
/// When the repository breaks it.
pub async fn rollouts_contract<A: CommandArchive>(subject: &RolloutsSubject<'_, A>) {
    a_rollout_is_kept_with_all_its_machines_or_not_at_all(subject).await;
    a_rollout_is_seen_by_those_who_see_all_its_machines(subject).await;
    a_machine_is_kept_however_far_it_is(subject).await;
    a_machine_goes_on_with_its_command_or_not_at_all(subject).await;
    a_rollout_is_stopped_once_ends_once_and_goes_on_again(subject).await;
    standings::it_is_known_how_machines_stand(subject).await;
}

fn stranger(number: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(number))
}

pub(super) fn queued((agent, customer): (AgentId, CustomerId)) -> Device {
    Device::queued(agent, customer, OsType::Linux)
}

impl<A: CommandArchive> RolloutsSubject<'_, A> {
    /// Begins a rollout to these machines.
    pub(super) async fn begun(&self, rollout: Rollout, devices: &[Device]) -> Rollout {
        let (devices, author) = (devices.to_vec(), Author::system());
        let begun = self.rollouts.begin(rollout.clone(), devices, None, &author).await.unwrap();
        assert_eq!(begun, RolloutBegun::New);
        rollout
    }

    async fn find(&self, scope: &TenantScope, id: RolloutId) -> Option<Rollout> {
        self.rollouts.find(scope, id).await.unwrap()
    }

    async fn change(&self, id: RolloutId, change: RolloutChange) -> Option<(Rollout, bool)> {
        self.rollouts.change(id, None, change, &Author::system(), noon()).await.unwrap()
    }

    /// Ends a rollout, so that it is not among those that go on.
    pub(super) async fn end(&self, id: RolloutId) {
        let tally = RolloutTally::default();
        self.change(id, RolloutChange::Ended(RolloutStatus::Failed, tally, noon())).await;
    }

    pub(super) async fn advance(&self, id: RolloutId, advances: &[Advance]) -> Vec<Advanced> {
        self.rollouts.advance(id, advances.to_vec(), &Author::system()).await.unwrap()
    }

    async fn device(&self, id: RolloutId, agent: AgentId) -> Option<Device> {
        self.rollouts.device(id, agent).await.unwrap()
    }

    async fn tally(&self, id: RolloutId) -> RolloutTally {
        self.rollouts.tallies(&[id]).await.unwrap()[&id]
    }

    async fn command(&self, id: CommandId) -> Option<Command> {
        self.commands.find(&TenantScope::All, id).await.unwrap()
    }
}

async fn a_rollout_is_kept_with_all_its_machines_or_not_at_all<A: CommandArchive>(
    subject: &RolloutsSubject<'_, A>,
) {
    let (mine, other) = (subject.machine, subject.other_machine);
    let mut devices = [queued(mine), queued(other), queued((stranger(7), mine.1))];
    let kept = subject.begun(rollout(101, 3), &devices).await;
    let found = subject.find(&TenantScope::All, kept.id).await.unwrap();
    assert_eq!(Rollout { tally: kept.tally, ..found }, kept, "the tally is not told");
    devices.sort_by_key(|device| device.agent_id);
    assert_eq!(subject.rollouts.devices(kept.id).await.unwrap(), devices);
    for device in &devices {
        let found = subject.device(kept.id, device.agent_id).await;
        assert_eq!(found.as_ref(), Some(device));
    }
    assert_eq!(subject.device(kept.id, stranger(8)).await, None);
    assert_eq!(subject.tally(kept.id).await, RolloutTally { queued: 3, ..Default::default() });

    // A rollout with nothing that it could lack.
    let bare = Rollout {
        tasks: Vec::new(),
        secrets: None,
        compliance_check_id: None,
        customer_id: Some(mine.1),
        dry_run: true,
        ..rollout(102, 1)
    };
    subject.begun(bare.clone(), &[queued(mine)]).await;
    let found = subject.find(&TenantScope::All, bare.id).await.unwrap();
    assert_eq!(Rollout { tally: bare.tally, ..found }, bare);

    let once = |fingerprint| {
        Some(Once { scope: "s".into(), key: "k".into(), fingerprint: [fingerprint; 32] })
    };
    let author = Author::system();
    let begin = async |rollout: Rollout, fingerprint| {
        let (devices, once) = (vec![queued(mine)], once(fingerprint));
        subject.rollouts.begin(rollout, devices, once, &author).await.unwrap()
    };
    let first = rollout(103, 1);
    assert_eq!(begin(first.clone(), 1).await, RolloutBegun::New);
    assert_eq!(begin(rollout(104, 1), 1).await, RolloutBegun::Known(first.id));
    assert_eq!(begin(rollout(105, 1), 2).await, RolloutBegun::Conflict);
    for seed in [104, 105] {
        let id = rollout(seed, 1).id;
        assert_eq!(subject.find(&TenantScope::All, id).await, None);
        assert_eq!(subject.rollouts.devices(id).await.unwrap(), []);
    }
    for id in [kept.id, bare.id, first.id] {
        subject.end(id).await;
    }
}

async fn a_rollout_is_seen_by_those_who_see_all_its_machines<A: CommandArchive>(
    subject: &RolloutsSubject<'_, A>,
) {
    let (mine, other) = (subject.machine, subject.other_machine);
    let own = subject.begun(rollout(111, 1), &[queued(mine)]).await;
    let looks = Rollout { dry_run: true, ..rollout(112, 2) };
    let both = subject.begun(looks, &[queued(mine), queued(other)]).await;
    let one = TenantScope::one(mine.1);
    let two = TenantScope::Customers([mine.1, other.1].into());
    let nobody = TenantScope::Customers([].into());
    let finds =
        async |scope: &TenantScope, it: &Rollout| subject.find(scope, it.id).await.is_some();
    assert!(finds(&one, &own).await && finds(&two, &own).await && finds(&two, &both).await);
    assert!(!finds(&one, &both).await && !finds(&nobody, &own).await);
    assert!(!finds(&TenantScope::one(other.1), &own).await);

    let running = RolloutFilter { status: Some(RolloutStatus::Running), ..Default::default() };
    let ids = async |scope: &TenantScope, filter: RolloutFilter| {
        let page = subject.rollouts.list(scope, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(page.total, u64::try_from(page.items.len()).unwrap());
        page.items.into_iter().map(|rollout| rollout.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&one, running.clone()).await, [own.id]);
    assert_eq!(ids(&two, running.clone()).await, [both.id, own.id], "the newest first");
    let of_other = RolloutFilter { customer_id: Some(other.1), ..running.clone() };
    assert_eq!(ids(&TenantScope::All, of_other.clone()).await, [both.id]);
    assert!(ids(&one, of_other).await.is_empty(), "a filter opens nothing");
    let of_profile = RolloutFilter { profile_id: Some(own.profile_id), ..Default::default() };
    assert_eq!(ids(&two, of_profile).await, [own.id]);
    for (dry_run, expected) in [(true, both.id), (false, own.id)] {
        let filter = RolloutFilter { dry_run: Some(dry_run), ..running.clone() };
        assert_eq!(ids(&two, filter).await, [expected]);
    }
    let first = PageRequest::new(1, None);
    let first = subject.rollouts.list(&two, &running, &first).await.unwrap();
    assert_eq!((first.items[0].id, first.total), (both.id, 2));
    let rest = PageRequest::new(1, first.next_cursor);
    let rest = subject.rollouts.list(&two, &running, &rest).await.unwrap();
    assert_eq!((rest.items[0].id, rest.next_cursor), (own.id, None));

    subject.change(both.id, RolloutChange::Stopped(StopReason::CanaryFailed)).await;
    let active = BTreeMap::from([(own.id, 0), (both.id, 1)]);
    assert_eq!(subject.rollouts.active().await.unwrap(), active, "each with its revision");
    let counted = subject.rollouts.tallies(&[own.id, both.id]).await.unwrap();
    assert_eq!((counted[&own.id].total(), counted[&both.id].total()), (1, 2));
    assert!(subject.rollouts.tallies(&[]).await.unwrap().is_empty());
    for id in [own.id, both.id] {
        subject.end(id).await;
    }
    assert!(subject.rollouts.active().await.unwrap().is_empty());
}

/// A machine that has gone through tasks, and is this far.
fn traveller(number: u128, customer: CustomerId, stage: Stage) -> Device {
    let result = |task, outcome, failure: Option<&str>| TaskResult {
        task,
        outcome,
        attempt: 2,
        command_id: Some(command(1)).filter(|_| task > 0),
        failure: failure.map(|code| DeviceFailure { code: code.into(), detail: None }),
        started_at: noon(),
        finished_at: noon() + TimeDelta::microseconds(1_500_001),
    };
    let failed = number.is_multiple_of(2).then(|| result(1, TaskOutcome::Failed, Some("GONE")));
    let mut device = Device {
        stage,
        position: 2,
        attempt: 2,
        results: vec![result(0, TaskOutcome::Changed, None)],
        revision: 1,
        started_at: Some(noon()),
        ..queued((stranger(number), customer))
    };
    device.results.extend(failed);
    device.finished_at = device.status().is_end().then(|| noon() + TimeDelta::minutes(1));
    device
}

fn command(number: u128) -> CommandId {
    CommandId::from_uuid(Uuid::from_u128(number))
}

/// Every stage in which a machine can be, but the one in which it begins.
fn stages() -> Vec<Stage> {
    let (since, until) = (noon(), noon() + TimeDelta::minutes(15));
    let (command_id, told_at) = (command(2), noon() + TimeDelta::microseconds(7));
    let running =
        |part, died, cancelled| Stage::Running { part, command_id, since, died, cancelled };
    vec![
        running(Part::Check, 0, false),
        running(Part::Work, 2, false),
        running(Part::Verify, 0, true),
        Stage::Rebooting { command_id, told_at, since, until },
        Stage::Pausing { command_id, again_at: until, since },
        Stage::Done,
        Stage::Done,
        Stage::Failed,
        Stage::Skipped { reason: SkipReason::Stopped },
        Stage::Skipped { reason: SkipReason::Expired },
        Stage::Skipped { reason: SkipReason::AgentRemoved },
        Stage::Cancelled,
    ]
}

async fn a_machine_is_kept_however_far_it_is<A: CommandArchive>(subject: &RolloutsSubject<'_, A>) {
    let customer = subject.machine.1;
    let travellers: Vec<_> = (1_u128..)
        .zip(stages())
        .map(|(number, stage)| traveller(number, customer, stage))
        .collect();
    let waiting: Vec<_> =
        travellers.iter().map(|device| queued((device.agent_id, customer))).collect();
    let total = u32::try_from(waiting.len()).unwrap();
    let kept = subject.begun(rollout(121, total), &waiting).await;
    let advance = |device: &Device| Advance {
        device: device.clone(),
        before: 0,
        command: None,
        standing: None,
    };
    let advances: Vec<_> = travellers.iter().map(advance).collect();
    let outcomes = subject.advance(kept.id, &advances).await;
    assert_eq!(outcomes, vec![Advanced::Written; travellers.len()]);
    assert_eq!(subject.rollouts.devices(kept.id).await.unwrap(), travellers);
    let tally = RolloutTally {
        queued: 0,
        running: 4,
        waiting_for_reboot: 1,
        done: 2,
        done_with_errors: 1,
        failed: 1,
        skipped: 3,
        cancelled: 1,
    };
    assert_eq!(subject.tally(kept.id).await, tally);

    let page = async |status, page: PageRequest| {
        let filter = DeviceFilter { status };
        subject.rollouts.device_page(kept.id, &filter, &page).await.unwrap()
    };
    for status in DeviceStatus::ALL {
        let expected: Vec<_> =
            travellers.iter().filter(|device| device.status() == *status).cloned().collect();
        let found = page(Some(*status), PageRequest::default()).await;
        assert_eq!(found.total, u64::try_from(expected.len()).unwrap(), "{status:?}");
        assert_eq!(found.items, expected, "{status:?}");
    }
    let first = page(None, PageRequest::new(5, None)).await;
    assert_eq!((first.items.as_slice(), first.total), (&travellers[..5], 12));
    let rest = page(None, PageRequest::new(10, first.next_cursor)).await;
    assert_eq!((rest.items.as_slice(), rest.next_cursor), (&travellers[5..], None));
    subject.end(kept.id).await;
}

async fn a_machine_goes_on_with_its_command_or_not_at_all<A: CommandArchive>(
    subject: &RolloutsSubject<'_, A>,
) {
    use Advanced::{Stale, Written};
    let (mine, other) = (subject.machine, subject.other_machine);
    let kept = subject.begun(rollout(131, 2), &[queued(mine), queued(other)]).await;
    let goes_on = |seed: u64, (agent, customer): (AgentId, CustomerId), before| {
        let command =
            Command { rollout_id: Some(kept.id), ..command_for(131_000 + seed, agent, customer) };
        let stage = Stage::Running {
            part: Part::Work,
            command_id: command.id,
            since: noon(),
            died: 0,
            cancelled: false,
        };
        let attempt = u32::try_from(seed).unwrap();
        let device = Device { stage, attempt, revision: before + 1, ..queued((agent, customer)) };
        Advance { device, before, command: Some(command), standing: None }
    };
    let of = |advance: &Advance| advance.command.as_ref().unwrap().id;
    let [early, first, second] = [goes_on(1, mine, 7), goes_on(2, mine, 0), goes_on(3, other, 0)];
    let nowhere = goes_on(4, (stranger(99), mine.1), 0);
    let advances = [early.clone(), first.clone(), second.clone(), nowhere.clone()];
    assert_eq!(subject.advance(kept.id, &advances).await, [Stale, Written, Written, Stale]);
    for written in [&first, &second] {
        let found = subject.device(kept.id, written.device.agent_id).await;
        assert_eq!(found.as_ref(), Some(&written.device));
        assert_eq!(subject.command(of(written)).await, written.command);
    }
    for refused in [&early, &nowhere] {
        assert_eq!(subject.command(of(refused)).await, None, "it goes with its machine");
    }
    assert_eq!(subject.device(kept.id, stranger(99)).await, None);

    // Two that know the same machine: one of them comes first.
    let [one, late] = [goes_on(5, mine, 1), goes_on(6, mine, 1)];
    let advances = [one.clone(), late.clone()];
    assert_eq!(subject.advance(kept.id, &advances).await, [Written, Stale]);
    assert_eq!(subject.device(kept.id, mine.0).await, Some(one.device.clone()));
    assert_eq!(subject.command(of(&late)).await, None);
    assert_eq!(subject.advance(kept.id, std::slice::from_ref(&late)).await, [Stale]);
    assert_eq!(subject.command(of(&late)).await, None);

    // One that goes on twice.
    let [then, at_last] = [goes_on(7, mine, 2), goes_on(8, mine, 3)];
    let advances = [then.clone(), at_last.clone()];
    assert_eq!(subject.advance(kept.id, &advances).await, [Written, Written]);
    assert_eq!(subject.device(kept.id, mine.0).await, Some(at_last.device.clone()));
    assert!(subject.command(of(&then)).await.is_some());
    assert!(subject.command(of(&at_last)).await.is_some());

    let ends = Advance { command: None, ..goes_on(9, other, 1) };
    let ends = Advance { device: Device { stage: Stage::Cancelled, ..ends.device }, ..ends };
    assert_eq!(subject.advance(kept.id, &[ends]).await, [Written]);
    let tally = RolloutTally { running: 1, cancelled: 1, ..Default::default() };
    assert_eq!(subject.tally(kept.id).await, tally);
    assert_eq!(subject.advance(kept.id, &[]).await, []);
    let nothing = rollout(132, 1).id;
    assert_eq!(subject.advance(nothing, &[goes_on(10, mine, 0)]).await, [Stale]);
    subject.end(kept.id).await;
}

async fn a_rollout_is_stopped_once_ends_once_and_goes_on_again<A: CommandArchive>(
    subject: &RolloutsSubject<'_, A>,
) {
    let id = subject.begun(rollout(141, 1), &[queued(subject.machine)]).await.id;
    let cancelled = RolloutChange::Stopped(StopReason::Cancelled);
    let (stopped, changed) = subject.change(id, cancelled).await.unwrap();
    assert!(changed);
    assert_eq!((stopped.stop, stopped.revision), (Some(StopReason::Cancelled), 1));
    let again = RolloutChange::Stopped(StopReason::TooManyFailures);
    let (same, changed) = subject.change(id, again).await.unwrap();
    assert!(!changed && same.stop == stopped.stop && same.revision == 1);
    let other = subject.begun(rollout(142, 1), &[queued(subject.machine)]).await.id;
    subject.change(other, again).await.unwrap();
    let (ended_by_somebody, changed) = subject.change(other, cancelled).await.unwrap();
    assert_eq!((ended_by_somebody.stop, changed), (Some(StopReason::Cancelled), true));
    subject.end(other).await;

    let tally = RolloutTally {
        done: 3,
        done_with_errors: 1,
        failed: 2,
        skipped: 4,
        cancelled: 1,
        ..Default::default()
    };
    let later = noon() + TimeDelta::hours(1);
    let ended = RolloutChange::Ended(RolloutStatus::Cancelled, tally, later);
    let expecting = async |expected, change| {
        let author = Author::system();
        subject.rollouts.change(id, Some(expected), change, &author, later).await.unwrap().unwrap()
    };
    let (same, changed) = expecting(0, ended).await;
    assert!(!changed && same.finished_at.is_none() && same.revision == 1, "it is another by now");
    let (over, changed) = expecting(1, ended).await;
    assert!(changed);
    assert_eq!((over.status, over.tally), (RolloutStatus::Cancelled, tally));
    assert_eq!((over.finished_at, over.revision), (Some(later), 2));
    assert_eq!(subject.find(&TenantScope::All, id).await.as_ref(), Some(&over));
    let twice = RolloutChange::Ended(RolloutStatus::Completed, RolloutTally::default(), noon());
    assert_eq!(subject.change(id, twice).await, Some((over.clone(), false)));
    assert!(!subject.rollouts.active().await.unwrap().contains_key(&id));

    let expires_at = later + TimeDelta::days(1);
    let device = subject.rollouts.devices(id).await.unwrap().remove(0);
    let (before, attempt) = (device.revision, 7);
    let device = Device { revision: before + 1, attempt, ..device };
    let again = async |expected| {
        let (device, author) = (device.clone(), Author::system());
        let advances = vec![Advance { device, before, command: None, standing: None }];
        let retried = subject.rollouts.retry(id, expected, advances, expires_at, &author, later);
        retried.await.unwrap()
    };
    assert!(!again(1).await, "it is another by now");
    assert_eq!(subject.find(&TenantScope::All, id).await.as_ref(), Some(&over));
    assert_eq!(subject.rollouts.devices(id).await.unwrap()[0].revision, before);
    assert!(again(2).await);
    let found = subject.find(&TenantScope::All, id).await.unwrap();
    assert_eq!((found.status, found.stop), (RolloutStatus::Running, None));
    assert_eq!((found.finished_at, found.expires_at), (None, expires_at));
    assert_eq!(subject.rollouts.active().await.unwrap().get(&id), Some(&3));
    assert_eq!(subject.rollouts.devices(id).await.unwrap()[0], device);
    assert!(!again(2).await);
    subject.end(id).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_commands::testing::FakeLedger;

    use super::*;
    use crate::testing::{FakeCompliance, FakeRollouts};

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_rollouts() {
        let id = Uuid::from_u128;
        let machine =
            |number| (AgentId::from_uuid(id(number)), CustomerId::from_uuid(id(number + 10)));
        let (ledger, compliance) =
            (Arc::new(FakeLedger::default()), Arc::new(FakeCompliance::new(&[])));
        let rollouts = FakeRollouts::new(Arc::clone(&ledger), Arc::clone(&compliance));
        rollouts_contract(&RolloutsSubject {
            rollouts: &rollouts,
            commands: &*ledger,
            compliance: &*compliance,
            profile: ProfileId::from_uuid(id(1)),
            machine: machine(50),
            other_machine: machine(60),
        })
        .await;
    }
}

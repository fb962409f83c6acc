//! What happens once: failures of commands and runs, and what the audit log tells.
//!
//! Both are read up to a mark. It moves on when what was found is kept, and what is read again
//! counts once all the same, for each [`Cause`] does.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use muster_kernel::{CustomerId, StorageError, Timestamp};
use serde_json::json;
use uuid::Uuid;

use super::{Found, Watcher};
use crate::{Cause, Condition, Deed, Ended, Machine, MaintenanceWindow, Rule, Subject};

/// Up to where failures were looked at.
const FAILURES: &str = "failures";
/// Up to where the audit log was looked at.
const DEEDS: &str = "deeds";
/// A failure may be written so long after the instant that it bears.
const WRITTEN_LATE: TimeDelta = TimeDelta::seconds(60);
/// How many failures are looked at together.
const AT_ONCE: u64 = 1000;
/// How many characters of what a run runs are shown.
const SHOWN: usize = 120;

/// How far the marks are, and which failures since then are done with.
#[derive(Debug, Default)]
pub(super) struct Occurred {
    failures: Option<Timestamp>,
    done: BTreeMap<Uuid, Timestamp>,
    deeds: Option<u64>,
}

impl Watcher {
    pub(super) async fn look_for_failures(
        &self,
        rules: &[Rule],
        windows: &[MaintenanceWindow],
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let mark = self.failures_mark(now).await?;
        let watched = rules.iter().any(|rule| {
            use Condition::{FailedCommand, FailedRollout, FailedRun};
            matches!(rule.condition, FailedCommand | FailedRun | FailedRollout)
        });
        if watched {
            let mut after = mark - WRITTEN_LATE;
            loop {
                let failed = self.ports.occurrences.failed(after, AT_ONCE).await?;
                let last = failed.iter().map(Ended::at).max();
                self.take_failures(&failed, rules, windows).await?;
                let full = u64::try_from(failed.len()).unwrap_or(u64::MAX) >= AT_ONCE;
                let Some(last) = last.filter(|_| full) else { break };
                after = last.max(after + TimeDelta::microseconds(1));
            }
        }
        let mut memory = self.memory.lock();
        memory.occurred.failures = Some(now);
        memory.occurred.done.retain(|_, at| *at >= now - WRITTEN_LATE * 2);
        Ok(())
    }

    async fn failures_mark(&self, now: Timestamp) -> Result<Timestamp, StorageError> {
        if let Some(mark) = self.memory.lock().occurred.failures {
            return Ok(mark);
        }
        let mark = self.ports.occurrences.mark(FAILURES).await?;
        Ok(mark.and_then(Timestamp::from_timestamp_micros).unwrap_or(now))
    }

    async fn take_failures(
        &self,
        failed: &[Ended],
        rules: &[Rule],
        windows: &[MaintenanceWindow],
    ) -> Result<(), StorageError> {
        let new: Vec<_> = {
            let memory = self.memory.lock();
            failed.iter().filter(|it| !memory.occurred.done.contains_key(&it.id())).collect()
        };
        let ids: BTreeSet<_> = new
            .iter()
            .filter_map(|ended| match ended {
                Ended::Command { agent_id, .. } => Some(*agent_id),
                Ended::Run { .. } | Ended::Rollout { .. } => None,
            })
            .collect();
        let machines = self.ports.occurrences.machines(&ids).await?;
        for ended in new {
            for rule in rules {
                if let Some(found) = failure(rule, ended, &machines) {
                    self.open(found, windows).await?;
                }
            }
            self.memory.lock().occurred.done.insert(ended.id(), ended.at());
        }
        Ok(())
    }

    pub(super) async fn look_for_deeds(
        &self,
        rules: &[Rule],
        windows: &[MaintenanceWindow],
    ) -> Result<(), StorageError> {
        let occurrences = &self.ports.occurrences;
        let until = occurrences.last_deed().await?;
        let known = self.memory.lock().occurred.deeds;
        let after = if let Some(mark) = known {
            mark
        } else {
            let mark = occurrences.mark(DEEDS).await?;
            mark.and_then(|mark| u64::try_from(mark).ok()).unwrap_or(until)
        };
        if until > after {
            let deeds = occurrences.deeds(after, until).await?;
            let ids = deeds.iter().filter_map(|(_, deed, _)| match deed {
                Deed::Enrolled(id) => Some(*id),
                Deed::MadeAdmin(..) => None,
            });
            let machines = occurrences.machines(&ids.collect()).await?;
            for (number, deed, at) in &deeds {
                for rule in rules {
                    let cause = Cause(Uuid::from_u128(u128::from(*number)));
                    if let Some(found) = noticed(rule, deed, &machines, *at) {
                        self.open(Found { cause: Some(cause), ..found }, windows).await?;
                    }
                }
            }
        }
        self.memory.lock().occurred.deeds = Some(until.max(after));
        Ok(())
    }

    /// Keeps how far the marks are.
    pub(super) async fn keep_occurred(&self) -> Result<(), StorageError> {
        let (failures, deeds) = {
            let memory = self.memory.lock();
            (memory.occurred.failures, memory.occurred.deeds)
        };
        if let Some(at) = failures {
            self.ports.occurrences.set_mark(FAILURES, at.timestamp_micros()).await?;
        }
        if let Some(number) = deeds.and_then(|number| i64::try_from(number).ok()) {
            self.ports.occurrences.set_mark(DEEDS, number).await?;
        }
        Ok(())
    }
}

impl Ended {
    fn id(&self) -> Uuid {
        match self {
            Self::Command { id, .. } => id.as_uuid(),
            Self::Run { id, .. } => id.as_uuid(),
            Self::Rollout { id, .. } => id.as_uuid(),
        }
    }
}

/// What a rule finds in a failure. What failed before there was the rule is no news.
fn failure<'a>(rule: &'a Rule, ended: &Ended, machines: &'a [Machine]) -> Option<Found<'a>> {
    if ended.at() < rule.created_at {
        return None;
    }
    let cause = Some(Cause(ended.id()));
    match (&rule.condition, ended) {
        (Condition::FailedCommand, Ended::Command { id, agent_id, failure, at }) => {
            let machine = machines.iter().find(|machine| machine.id == *agent_id)?;
            rule.selector.means(rule.customer_id, machine).then(|| Found {
                summary: format!("a command failed on {}: {failure}", machine.hostname),
                details: json!({ "command_id": id, "failure_code": failure }),
                cause,
                ..Found::about(rule, machine, *at)
            })
        }
        (Condition::FailedRun, Ended::Run { id, customer_id, summary, failed, at }) => {
            let short: String = summary.chars().take(SHOWN).collect();
            of_many(rule, ("run", id.as_uuid(), short), *customer_id, *failed, *at)
        }
        (Condition::FailedRollout, Ended::Rollout { id, customer_id, name, failed, at }) => {
            of_many(rule, ("rollout", id.as_uuid(), name.clone()), *customer_id, *failed, *at)
        }
        _ => None,
    }
}

/// What a rule finds in something that failed on many machines: of which kind it is, which one, and
/// how people know it.
fn of_many<'a>(
    rule: &'a Rule,
    (kind, id, name): (&'static str, Uuid, String),
    customer_id: Option<CustomerId>,
    failed: u64,
    at: Timestamp,
) -> Option<Found<'a>> {
    let theirs = rule.customer_id.is_none() || rule.customer_id == customer_id;
    theirs.then(|| Found {
        rule,
        machine: None,
        customer_id,
        summary: format!("a {kind} failed on {failed} machines: {name}"),
        details: json!({ (format!("{kind}_id")): id, "failed": failed }),
        subject: Subject { kind, id, name },
        cause: Some(Cause(id)),
        at,
    })
}

/// What a rule finds in the audit log.
fn noticed<'a>(
    rule: &'a Rule,
    deed: &Deed,
    machines: &'a [Machine],
    at: Timestamp,
) -> Option<Found<'a>> {
    if at < rule.created_at {
        return None;
    }
    match (&rule.condition, deed) {
        (Condition::Enrolment, Deed::Enrolled(id)) => {
            let machine = machines.iter().find(|machine| machine.id == *id)?;
            rule.selector.means(rule.customer_id, machine).then(|| {
                let summary = format!("{} enrolled", machine.hostname);
                Found { summary, ..Found::about(rule, machine, at) }
            })
        }
        (Condition::NewAdmin, Deed::MadeAdmin(id, name)) => {
            let name = name.clone().unwrap_or_else(|| id.to_string());
            Some(Found {
                rule,
                subject: Subject { kind: "user", id: id.as_uuid(), name: name.clone() },
                machine: None,
                customer_id: None,
                summary: format!("{name} became an admin"),
                details: serde_json::Value::Null,
                cause: None,
                at,
            })
        }
        _ => None,
    }
}

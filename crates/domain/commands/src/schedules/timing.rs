//! When a schedule comes due.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use muster_kernel::Timestamp;
use muster_kernel::time::to_micros;

use super::{CronExpression, Zone};
use crate::InvalidSpec;

/// The word for each agent's own zone.
const AGENTS_OWN: &str = "agent";
/// How far ahead something may be planned.
const FARTHEST: TimeDelta = TimeDelta::days(100 * 366);

/// By whose clocks a schedule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleZone {
    /// By those of one zone.
    Named(Zone),
    /// For each agent by its own: at two in the morning wherever it is.
    AgentLocal,
}

impl ScheduleZone {
    /// Reads what [`ScheduleZone::as_str`] wrote: the name of a zone, or `agent`.
    ///
    /// # Errors
    /// [`InvalidSpec`] for `time_zone`.
    pub fn parse(text: &str) -> Result<Self, InvalidSpec> {
        if text == AGENTS_OWN {
            return Ok(Self::AgentLocal);
        }
        named_zone(text, "time_zone").map(Self::Named)
    }

    /// The name in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named(zone) => zone.name(),
            Self::AgentLocal => AGENTS_OWN,
        }
    }
}

/// The zone of this name.
///
/// # Errors
/// [`InvalidSpec`] for `field`.
fn named_zone(name: &str, field: &'static str) -> Result<Zone, InvalidSpec> {
    let rule = "the name of a time zone is expected, such as Europe/Berlin or UTC";
    Zone::parse(name).ok_or_else(|| InvalidSpec { field, rule: rule.into() })
}

/// When a schedule comes due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timing {
    /// Again and again.
    Cron {
        /// When.
        expression: CronExpression,
        /// By whose clocks.
        zone: ScheduleZone,
    },
    /// At one instant and never again.
    Once {
        /// When.
        at: Timestamp,
    },
}

impl Timing {
    /// One instant.
    ///
    /// # Errors
    /// [`InvalidSpec`] for `at` when it is over, or beyond a hundred years.
    pub fn once(at: Timestamp, now: Timestamp) -> Result<Self, InvalidSpec> {
        if at <= now || at - now > FARTHEST {
            let rule = "an instant in the future is expected, at most 100 years from now";
            return Err(InvalidSpec { field: "at", rule: rule.into() });
        }
        Ok(Self::Once { at: to_micros(at) })
    }

    /// Whether machines in different zones have times of their own.
    pub const fn is_agent_local(&self) -> bool {
        matches!(self, Self::Cron { zone: ScheduleZone::AgentLocal, .. })
    }

    /// The only zone that it goes by, unless each agent has its own.
    pub const fn zone(&self) -> Option<Zone> {
        match self {
            Self::Cron { zone: ScheduleZone::Named(zone), .. } => Some(*zone),
            Self::Cron { zone: ScheduleZone::AgentLocal, .. } => None,
            Self::Once { .. } => Some(Zone::UTC),
        }
    }

    /// When it next comes due after an instant in any of `zones`.
    pub(super) fn next(&self, after: Timestamp, zones: &BTreeSet<Zone>) -> Option<Timestamp> {
        zones.iter().filter_map(|zone| self.next_in(after, *zone)).min()
    }

    /// When it next comes due after an instant for machines in `zone`.
    pub(super) fn next_in(&self, after: Timestamp, zone: Zone) -> Option<Timestamp> {
        match self {
            Self::Cron { expression, .. } => expression.next(after, zone),
            Self::Once { at } => Some(*at).filter(|at| *at > after),
        }
    }
}

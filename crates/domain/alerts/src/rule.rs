//! What is watched for.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_kernel::{AlertChannelId, AlertRuleId, Audited, CustomerId, Place, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Selector;

/// How many channels a rule tells.
const MAX_CHANNELS: usize = 20;
/// The longest time that something has to hold.
const MAX_TIME: Duration = Duration::from_hours(7 * 24);
/// How long something holds before it counts, when nobody says.
const FOR: Duration = Duration::from_mins(5);
/// How long it is over before that counts, when nobody says.
const RESOLVE_FOR: Duration = Duration::from_mins(1);
/// How long after an alert the next one may come, when nobody says.
const COOL_DOWN: Duration = Duration::from_mins(5);

/// A field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct InvalidAlert {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is expected there.
    pub rule: String,
}

impl InvalidAlert {
    pub(crate) fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should have a look.
    Warning,
    /// Somebody has to act.
    Critical,
}

impl Severity {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Reads what [`Severity::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|it| it.as_str() == text)
    }
}

/// What is measured on a machine, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// How busy its processors are.
    Cpu,
    /// How much of its memory is used.
    Memory,
    /// How much of its disks is used.
    Disk,
}

impl Metric {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// What is watched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Condition {
    /// A machine is out of reach.
    Offline {
        /// For so long.
        hold: Duration,
        /// It is over when the machine has been back for so long.
        resolve_for: Duration,
        /// After it was over, the next alert of the same machine comes so much later at the soonest.
        cool_down: Duration,
    },
    /// A machine is loaded.
    Metric {
        /// With what.
        metric: Metric,
        /// Above so many percent.
        above: f64,
        /// For so long.
        hold: Duration,
        /// It is over when it was below so many percent
        resolve_below: f64,
        /// for so long.
        resolve_for: Duration,
        /// After it was over, the next alert of the same machine comes so much later at the soonest.
        cool_down: Duration,
    },
    /// A command failed.
    FailedCommand,
    /// A run failed.
    FailedRun,
    /// A rollout failed, on all machines or on some.
    FailedRollout,
    /// A machine enrolled.
    Enrolment,
    /// Somebody became an admin.
    NewAdmin,
}

/// A condition in the words of whoever asks; what is `None` is as it is when nobody says.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of Condition")]
pub struct ConditionWish {
    pub kind: String,
    pub metric: Option<String>,
    pub above: Option<f64>,
    pub hold: Option<f64>,
    pub resolve_below: Option<f64>,
    pub resolve_for: Option<f64>,
    pub cool_down: Option<f64>,
}

impl Condition {
    /// The name of the kind in the API and the database.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Offline { .. } => "offline",
            Self::Metric { .. } => "metric",
            Self::FailedCommand => "failed_command",
            Self::FailedRun => "failed_run",
            Self::FailedRollout => "failed_rollout",
            Self::Enrolment => "enrolment",
            Self::NewAdmin => "new_admin",
        }
    }

    /// Whether it is about machines.
    pub const fn is_about_machines(&self) -> bool {
        !matches!(self, Self::FailedRun | Self::FailedRollout | Self::NewAdmin)
    }

    /// How long after an alert was over the next one of the same subject may come.
    pub const fn cool_down(&self) -> Duration {
        match self {
            Self::Offline { cool_down, .. } | Self::Metric { cool_down, .. } => *cool_down,
            Self::FailedCommand
            | Self::FailedRun
            | Self::FailedRollout
            | Self::Enrolment
            | Self::NewAdmin => Duration::ZERO,
        }
    }

    /// Checks what came in.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn parse(wish: &ConditionWish) -> Result<Self, InvalidAlert> {
        let simple = match wish.kind.as_str() {
            "offline" => {
                nothing_of(&[("metric", wish.metric.is_some()), ("above", wish.above.is_some())])?;
                nothing_of(&[("resolve_below", wish.resolve_below.is_some())])?;
                return Ok(Self::Offline {
                    hold: time("for_seconds", wish.hold, 1.0, FOR)?,
                    resolve_for: time("resolve_for_seconds", wish.resolve_for, 0.0, RESOLVE_FOR)?,
                    cool_down: time("cool_down_seconds", wish.cool_down, 0.0, COOL_DOWN)?,
                });
            }
            "metric" => return Self::metric(wish),
            "failed_command" => Self::FailedCommand,
            "failed_run" => Self::FailedRun,
            "failed_rollout" => Self::FailedRollout,
            "enrolment" => Self::Enrolment,
            "new_admin" => Self::NewAdmin,
            _ => {
                let rule = "offline, metric, failed_command, failed_run, failed_rollout, enrolment or new_admin \
                     is expected";
                return Err(InvalidAlert::new("kind", rule));
            }
        };
        nothing_of(&[
            ("metric", wish.metric.is_some()),
            ("above", wish.above.is_some()),
            ("for_seconds", wish.hold.is_some()),
            ("resolve_below", wish.resolve_below.is_some()),
            ("resolve_for_seconds", wish.resolve_for.is_some()),
            ("cool_down_seconds", wish.cool_down.is_some()),
        ])?;
        Ok(simple)
    }

    fn metric(wish: &ConditionWish) -> Result<Self, InvalidAlert> {
        let metric = [Metric::Cpu, Metric::Memory, Metric::Disk]
            .into_iter()
            .find(|metric| wish.metric.as_deref() == Some(metric.as_str()))
            .ok_or_else(|| InvalidAlert::new("metric", "cpu, memory or disk is expected"))?;
        let percent = |value: &f64| (0.0..=100.0).contains(value);
        let above = wish
            .above
            .filter(percent)
            .ok_or_else(|| InvalidAlert::new("above", "0 to 100 percent are expected"))?;
        let resolve_below = wish.resolve_below.unwrap_or(above);
        if !percent(&resolve_below) || resolve_below > above {
            let rule = "0 percent up to what `above` says are expected";
            return Err(InvalidAlert::new("resolve_below", rule));
        }
        Ok(Self::Metric {
            metric,
            above,
            hold: time("for_seconds", wish.hold, 0.0, FOR)?,
            resolve_below,
            resolve_for: time("resolve_for_seconds", wish.resolve_for, 0.0, RESOLVE_FOR)?,
            cool_down: time("cool_down_seconds", wish.cool_down, 0.0, COOL_DOWN)?,
        })
    }
}

/// That none of these fields is given.
fn nothing_of(fields: &[(&'static str, bool)]) -> Result<(), InvalidAlert> {
    let given = fields.iter().find(|(_, given)| *given);
    given.map_or(Ok(()), |(field, _)| {
        Err(InvalidAlert::new(field, "rules of this kind have none: leave it out"))
    })
}

fn time(
    field: &'static str,
    seconds: Option<f64>,
    least: f64,
    default: Duration,
) -> Result<Duration, InvalidAlert> {
    let Some(seconds) = seconds else { return Ok(default) };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| seconds >= least && *time <= MAX_TIME)
        .ok_or_else(|| InvalidAlert::new(field, format!("{least} to 604800 seconds are expected")))
}

/// What is watched for, and who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its id.
    pub id: AlertRuleId,
    /// Whose it is; with `None` it is for all customers.
    pub customer_id: Option<CustomerId>,
    /// What people call it.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is watched for.
    pub condition: Condition,
    /// On which machines.
    pub selector: Selector,
    /// Where people are told.
    pub channel_ids: BTreeSet<AlertChannelId>,
    /// Whether anything is watched for at all.
    pub enabled: bool,
    /// How often it was changed, and one.
    pub version: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Rule {
    /// Whether what was found by `before`, the version before it, says nothing any more: something
    /// else is watched for, or on other machines, or nothing at all.
    pub fn outdates(&self, before: &Self) -> bool {
        !self.enabled || self.condition != before.condition || self.selector != before.selector
    }

    /// The rule after a channel was removed; `None` when it does not tell it.
    pub fn without(&self, channel: AlertChannelId, now: Timestamp) -> Option<Self> {
        let mut channel_ids = self.channel_ids.clone();
        let version = self.version.saturating_add(1);
        channel_ids.remove(&channel).then(|| Self {
            channel_ids,
            version,
            updated_at: now,
            ..self.clone()
        })
    }
}

/// A rule in the words of whoever asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of Rule")]
pub struct RuleWish {
    pub name: String,
    pub severity: Severity,
    pub condition: ConditionWish,
    pub selector: Selector,
    pub channel_ids: BTreeSet<AlertChannelId>,
    pub enabled: bool,
}

impl RuleWish {
    /// The rule that is wished for.
    ///
    /// # Errors
    /// [`InvalidAlert`] names the field and what is expected there.
    pub fn into_rule(
        self,
        id: AlertRuleId,
        customer_id: Option<CustomerId>,
        now: Timestamp,
    ) -> Result<Rule, InvalidAlert> {
        let condition = Condition::parse(&self.condition)?;
        self.selector.check()?;
        if !condition.is_about_machines() && !self.selector.is_everything() {
            let rule = "rules of this kind are not about machines: leave out tags, os_type and \
                 agent_ids";
            return Err(InvalidAlert::new("kind", rule));
        }
        if condition == Condition::NewAdmin && customer_id.is_some() {
            let rule = "admins are not of one customer: leave it out, or null";
            return Err(InvalidAlert::new("customer_id", rule));
        }
        if self.channel_ids.len() > MAX_CHANNELS {
            return Err(InvalidAlert::new("channel_ids", "at most 20 channels"));
        }
        Ok(Rule {
            id,
            customer_id,
            name: name(&self.name)?,
            severity: self.severity,
            condition,
            selector: self.selector,
            channel_ids: self.channel_ids,
            enabled: self.enabled,
            version: 1,
            created_at: now,
            updated_at: now,
        })
    }
}

/// A name: 1 to 200 printable characters.
pub(crate) fn name(text: &str) -> Result<String, InvalidAlert> {
    let text = text.trim();
    let length = text.chars().count();
    if !(1..=200).contains(&length) || text.chars().any(char::is_control) {
        return Err(InvalidAlert::new("name", "1 to 200 printable characters are expected"));
    }
    Ok(text.to_owned())
}

impl Audited for Rule {
    fn place(&self) -> Place {
        Place { kind: "alert_rule", id: self.id.as_uuid(), customer_id: self.customer_id }
    }

    fn facts(&self) -> Value {
        json!({
            "name": self.name,
            "severity": self.severity,
            "condition": self.condition,
            "selector": self.selector,
            "channel_ids": self.channel_ids,
            "enabled": self.enabled,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(kind: &str) -> ConditionWish {
        ConditionWish { kind: kind.into(), ..ConditionWish::default() }
    }

    #[test]
    fn a_metric_resolves_where_it_fires_unless_somebody_says_otherwise() {
        let wish =
            ConditionWish { metric: Some("disk".into()), above: Some(90.0), ..wish("metric") };
        let Ok(Condition::Metric { resolve_below, hold, .. }) = Condition::parse(&wish) else {
            panic!("it keeps the rules")
        };
        assert_eq!((resolve_below, hold), (90.0, FOR));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_name_of_the_field() {
        let cpu =
            || ConditionWish { metric: Some("cpu".into()), above: Some(90.0), ..wish("metric") };
        let cases = [
            ("kind", wish("weather")),
            ("metric", wish("metric")),
            ("above", ConditionWish { above: Some(101.0), ..cpu() }),
            ("above", ConditionWish { above: Some(f64::NAN), ..cpu() }),
            ("resolve_below", ConditionWish { resolve_below: Some(91.0), ..cpu() }),
            ("for_seconds", ConditionWish { hold: Some(0.0), ..wish("offline") }),
            ("for_seconds", ConditionWish { hold: Some(1e9), ..wish("offline") }),
            ("for_seconds", ConditionWish { hold: Some(5.0), ..wish("failed_run") }),
            ("above", ConditionWish { above: Some(5.0), ..wish("offline") }),
            ("cool_down_seconds", ConditionWish { cool_down: Some(-1.0), ..wish("offline") }),
        ];
        for (field, wish) in cases {
            assert_eq!(Condition::parse(&wish).unwrap_err().field, field, "{wish:?}");
        }
    }
}

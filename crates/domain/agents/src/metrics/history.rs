//! What people read of metrics.

use std::sync::Arc;

use muster_kernel::{AgentId, Clock, Permit, StorageError, Timestamp, act};

use super::bucket::{Bucket, coarsen, roll};
use super::ports::{Keeping, KeepingPolicy, MetricsStore};
use super::recorder::Recorder;
use super::sample::{Resolution, SILENCE, Step};
use super::upkeep::joined;
use crate::AgentRepository;

/// How many points are answered at most.
pub const MAX_POINTS: i64 = 5000;
/// How many points there are at most when nobody says how far apart they are to be.
const POINTS_UNASKED: i64 = 500;
/// How far apart points are when nobody says so, in seconds.
const STEPS: [u32; 9] = [30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 86_400];
/// The least time between points that may be asked for, in seconds.
const LEAST_STEP: u32 = 10;
/// How much is shown when nobody says from when.
const UNASKED: Step = Step::DAY;

/// What is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// From when; a day before its end unless given.
    pub from: Option<Timestamp>,
    /// Until before when; until now unless given.
    pub to: Option<Timestamp>,
    /// Seconds between points; unless given, such that there are some hundred.
    pub step: Option<u32>,
}

/// The part of a [`Span`] that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// When it begins.
    From,
    /// Seconds between points.
    Step,
}

/// A span that can't be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct InvalidSpan {
    /// What can't be used.
    pub field: Field,
    /// What is expected instead.
    pub rule: String,
}

/// Why metrics could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// There is no such agent, or it is not the asker's.
    #[error("there is no such agent, or it is not yours")]
    NotFound,
    /// The span can't be answered.
    #[error(transparent)]
    Invalid(#[from] InvalidSpan),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// How a machine fared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// When the first step begins.
    pub from: Timestamp,
    /// When the last step ends.
    pub to: Timestamp,
    /// The time between points: what was asked for, or more where no such detail is kept.
    pub step: Step,
    /// The detail that the points are made of; the latest may be made of finer ones.
    pub resolution: Resolution,
    /// What each step comes to, in the order of their times. Where the machine said nothing there
    /// is none.
    pub points: Vec<Bucket>,
}

/// What people read of metrics.
#[derive(Debug, Clone)]
pub struct History {
    agents: Arc<dyn AgentRepository>,
    store: Arc<dyn MetricsStore>,
    recorder: Arc<Recorder>,
    policy: Arc<dyn KeepingPolicy>,
    clock: Arc<dyn Clock>,
}

impl History {
    /// Made of its ports; what waits in `recorder` is shown, too.
    pub fn new(
        agents: Arc<dyn AgentRepository>,
        store: Arc<dyn MetricsStore>,
        recorder: Arc<Recorder>,
        policy: Arc<dyn KeepingPolicy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { agents, store, recorder, policy, clock }
    }

    /// How the agent `id` fared.
    ///
    /// # Errors
    /// [`MetricsError::NotFound`] when it does not lie in the asker's scope,
    /// [`MetricsError::Invalid`] when `span` can't be answered.
    pub async fn read(
        &self,
        permit: &Permit<act::ReadAgents>,
        id: AgentId,
        span: Span,
    ) -> Result<Series, MetricsError> {
        let agent = self.agents.find(permit.scope(), id).await?;
        agent.ok_or(MetricsError::NotFound)?;
        let (now, keeping) = (self.clock.now(), self.policy.keeping());
        let mut series = plan(span, now, &keeping)?;
        series.points = self.points(id, &series, now).await?;
        Ok(series)
    }

    /// What is rolled up, as far as it is; then samples.
    async fn points(
        &self,
        id: AgentId,
        series: &Series,
        now: Timestamp,
    ) -> Result<Vec<Bucket>, StorageError> {
        let Series { mut from, to, step, .. } = *series;
        let mut points = Vec::new();
        for resolution in Resolution::ROLLED.into_iter().rev() {
            let fits = resolution.bucket().is_some_and(|bucket| step.is_multiple_of(bucket));
            if !fits || from >= to {
                continue;
            }
            let before = to.min(now);
            let Some(last) = self.store.last_pack(id, resolution, before).await? else { continue };
            let end = to.min(last + resolution.pack().length());
            if from < end {
                points.extend(self.store.buckets(id, resolution, from, end).await?);
                from = end;
            }
        }
        if from < to {
            let before = from.checked_sub_signed(SILENCE).unwrap_or(from);
            // What waits is looked at first: it may be written in between.
            let waiting = self.recorder.samples(id, before, to);
            let samples = joined(self.store.samples(id, before, to).await?, waiting);
            let first = samples.partition_point(|sample| sample.at < from);
            let (known, new) = samples.split_at_checked(first).unwrap_or_default();
            points.extend(roll(step, known.last(), new));
        }
        Ok(coarsen(step, points))
    }
}

/// What is read, and on which grid.
fn plan(span: Span, now: Timestamp, keeping: &Keeping) -> Result<Series, InvalidSpan> {
    let to = span.to.unwrap_or(now);
    let from = span.from.or_else(|| to.checked_sub_signed(UNASKED.length())).unwrap_or(to);
    if from >= to {
        let rule = "a time before `to` is expected, which is now unless given".to_owned();
        return Err(InvalidSpan { field: Field::From, rule });
    }
    let length = (to - from).num_seconds().max(1);
    let wanted = match span.step {
        Some(seconds) if seconds < LEAST_STEP => return Err(too_fine(LEAST_STEP.into(), "")),
        Some(seconds) => Step::of_seconds(seconds),
        None => STEPS
            .into_iter()
            .find(|seconds| length / i64::from(*seconds) <= POINTS_UNASKED)
            .map_or_else(|| Step::of_seconds(unasked(length)), Step::of_seconds),
    };
    let wanted = wanted.unwrap_or(Step::DAY);
    let finest = finest_kept(from, wanted, now, keeping);
    let step = finest.bucket().map_or(wanted, |bucket| wanted.up_to_multiple_of(bucket));
    if length / i64::from(step.seconds()) > MAX_POINTS {
        let why = format!(" for so long a time: there are at most {MAX_POINTS} points");
        return Err(too_fine(length.unsigned_abs().div_ceil(MAX_POINTS.unsigned_abs()), &why));
    }
    let resolution = Resolution::ROLLED
        .into_iter()
        .rfind(|resolution| resolution.bucket().is_some_and(|it| step.is_multiple_of(it)))
        .unwrap_or(Resolution::Samples);
    let last = step.floor(to);
    let end = if last == to { to } else { last.checked_add_signed(step.length()).unwrap_or(to) };
    Ok(Series { from: step.floor(from), to: end, step, resolution, points: Vec::new() })
}

/// Whole days, such that there are not too many.
fn unasked(length: i64) -> u32 {
    let day = i64::from(Step::DAY.seconds());
    let days = length.unsigned_abs().div_ceil((day * POINTS_UNASKED).unsigned_abs());
    u32::try_from(days).unwrap_or(u32::MAX).saturating_mul(Step::DAY.seconds())
}

/// The finest detail that is kept for so long, from which points so far apart are made.
fn finest_kept(from: Timestamp, wanted: Step, now: Timestamp, keeping: &Keeping) -> Resolution {
    let is_kept = |resolution| now - keeping.of(resolution) <= from;
    let from_samples = is_kept(Resolution::Samples);
    match wanted {
        step if step.is_multiple_of(Step::HOUR) => Resolution::Hours,
        step if step.is_multiple_of(Step::FIVE_MINUTES) && is_kept(Resolution::FiveMinutes) => {
            Resolution::FiveMinutes
        }
        _ if from_samples => Resolution::Samples,
        _ if is_kept(Resolution::FiveMinutes) => Resolution::FiveMinutes,
        _ => Resolution::Hours,
    }
}

fn too_fine(least: u64, why: &str) -> InvalidSpan {
    InvalidSpan { field: Field::Step, rule: format!("at least {least} seconds are expected{why}") }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::Heartbeats;
    use crate::testing::metrics::{Fixed, heartbeat, noon};

    fn ask(ago: TimeDelta, step: Option<u32>) -> Result<Series, InvalidSpan> {
        let span = Span { from: Some(noon() - ago), to: None, step };
        plan(span, noon(), &Fixed.keeping())
    }

    #[test]
    fn the_detail_follows_from_what_is_asked_for_and_what_is_kept() {
        use Resolution::{FiveMinutes, Hours, Samples};
        for (hours, step, answered, resolution) in [
            (1, None, 30, Samples),
            (24, None, 300, FiveMinutes),
            (24, Some(60), 60, Samples),
            (24, Some(301), 301, Samples),
            (25, Some(60), 300, FiveMinutes),
            (25, Some(301), 600, FiveMinutes),
            (24 * 7, None, 1800, FiveMinutes),
            (24 * 31, Some(300), 3600, Hours),
            (24 * 31, Some(86_400), 86_400, Hours),
            (24 * 365, None, 86_400, Hours),
            (24 * 365 * 3, None, 3 * 86_400, Hours),
        ] {
            let series = ask(TimeDelta::hours(hours), step).unwrap();
            assert_eq!(series.step.seconds(), answered, "{hours} {step:?}");
            assert_eq!(series.resolution, resolution, "{hours} {step:?}");
        }
    }

    #[test]
    fn a_span_that_has_no_answer_is_told_what_has() {
        let rule = |error: InvalidSpan| (error.field, error.rule);
        let (field, _) = rule(ask(TimeDelta::seconds(-1), None).unwrap_err());
        assert_eq!(field, Field::From);
        let (field, text) = rule(ask(TimeDelta::hours(1), Some(9)).unwrap_err());
        assert_eq!((field, text.as_str()), (Field::Step, "at least 10 seconds are expected"));
        let (_, text) = rule(ask(TimeDelta::hours(24), Some(15)).unwrap_err());
        assert!(text.starts_with("at least 18 seconds"), "{text}");
        assert!(ask(TimeDelta::hours(24), Some(18)).is_ok());
        assert!(ask(TimeDelta::days(100_000), None).is_ok());
    }

    #[test]
    fn points_begin_on_the_grid_and_hold_all_that_was_asked_for() {
        let (from, to) = (noon() - TimeDelta::seconds(3611), noon() - TimeDelta::seconds(1));
        let span = Span { from: Some(from), to: Some(to), step: Some(60) };
        let series = plan(span, noon(), &Fixed.keeping()).unwrap();
        assert_eq!(series.from, noon() - TimeDelta::seconds(3660));
        assert_eq!(series.to, noon());
    }

    #[tokio::test]
    async fn what_is_rolled_up_and_what_is_not_makes_one_series() {
        use crate::Enrol;
        use crate::metrics::Upkeep;
        use crate::testing::metrics::{FakeMetrics, agent, day_of_samples};
        use crate::testing::{FakeAgents, candidate};
        use muster_kernel::testing::{FakeClock, SeededEntropy, permit};
        use muster_kernel::{CustomerId, Secret, TokenKind};

        let entropy = SeededEntropy::new(1);
        let clock = Arc::new(FakeClock::at(noon() + TimeDelta::hours(6)));
        let registry = Arc::new(FakeAgents::default());
        let token = Secret::draw(TokenKind::Enrollment, &entropy).hash();
        registry.allow(token, CustomerId::new(&*clock, &entropy));
        let candidate = candidate("web", None, &*clock, &entropy);
        let candidate = crate::EnrolCandidate { id: agent(1), ..candidate };
        registry.enrol(token.into(), candidate).await.unwrap();

        let store = Arc::new(FakeMetrics::default());
        let samples = day_of_samples();
        let known = samples.partition_point(|sample| sample.at < clock.now());
        let (written, last) = (&samples[..known - 1], samples[known - 1]);
        store.keep(agent(1), written).await;
        let heartbeats = Heartbeats::default();
        let recorder = Arc::new(Recorder::new(heartbeats.clone(), store.clone(), Vec::new()));
        let policy = Arc::new(Fixed);
        let upkeep = Upkeep::new(store.clone(), recorder.clone(), policy.clone(), clock.clone());
        upkeep.some(None).await.unwrap();
        let one = heartbeat(1, 0);
        heartbeats.hear(crate::Heartbeat { at: last.at, ..one });
        store.fail(true);
        assert!(recorder.write().await.is_err());

        let history = History::new(registry, store, recorder, policy, clock.clone());
        let permit = permit(1);
        for step in [300, 600, 3600] {
            let from = Some(Step::DAY.floor(noon()));
            let span = Span { from, to: None, step: Some(step) };
            let series = history.read(&permit, agent(1), span).await.unwrap();
            let sum: u64 = series.points.iter().map(|point| point.samples).sum();
            assert_eq!(sum, u64::try_from(known).unwrap(), "{step}");
            let step = Step::of_seconds(step).unwrap();
            let rolled = roll(step, None, written);
            assert_eq!(series.points[..rolled.len() - 1], rolled[..rolled.len() - 1]);
        }
        let span = Span::default();
        let unknown = history.read(&permit, agent(2), span).await;
        assert!(matches!(unknown, Err(MetricsError::NotFound)));
    }
}

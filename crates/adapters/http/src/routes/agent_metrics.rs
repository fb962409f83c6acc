//! How a machine fared.

use actix_web::{Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::metrics::{Bucket, Field, Gauge, MetricsError, Series, Span, Traffic};
use muster_kernel::{AgentId, ProblemCode, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{Id, May, Query};
use crate::{AppState, Problem};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsQuery {
    /// From when; a day before `to` unless given.
    from: Option<DateTime<Utc>>,
    /// Until before when; until now unless given.
    to: Option<DateTime<Utc>>,
    /// Seconds between points, at least 10; such that there are some hundred unless given.
    step: Option<u32>,
}

/// A figure over a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GaugeAnswer {
    min: f64,
    /// The mean of all samples.
    avg: f64,
    max: f64,
}

/// What went over the network in one direction over a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateAnswer {
    /// Bytes a second, on average.
    avg: u64,
    /// The most bytes a second between two heartbeats.
    max: u64,
}

/// How a machine fared over a step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PointAnswer {
    /// When the step begins.
    at: DateTime<Utc>,
    /// How many heartbeats arrived in it.
    samples: u64,
    cpu_percent: GaugeAnswer,
    memory_percent: GaugeAnswer,
    disk_percent: GaugeAnswer,
    processes: GaugeAnswer,
    /// What was received, in bytes a second; null when no heartbeat came shortly before. A reboot
    /// does not show in it.
    network_rx: Option<RateAnswer>,
    /// What was sent, likewise.
    network_tx: Option<RateAnswer>,
    /// Seconds since the machine had booted, at the last heartbeat of the step.
    uptime_seconds: u64,
}

/// How a machine fared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricsAnswer {
    agent_id: Uuid,
    /// When the first step begins.
    from: DateTime<Utc>,
    /// When the last step ends.
    to: DateTime<Utc>,
    /// Seconds between points: what was asked for, or more where no such detail is kept.
    step: u32,
    /// What the points are made of: `samples`, `five_minutes` or `hours`. The latest may be made of
    /// something finer.
    resolution: &'static str,
    /// In the order of their times. A step in which the machine said nothing has no point.
    points: Vec<PointAnswer>,
}

/// The mean in hundredths.
fn mean(sum: u64, samples: u64) -> f64 {
    f64::from(u32::try_from(sum / samples.max(1)).unwrap_or(u32::MAX)) / 100.0
}

fn percent(gauge: Gauge, samples: u64) -> GaugeAnswer {
    GaugeAnswer {
        min: f64::from(gauge.min) / 100.0,
        avg: mean(gauge.sum, samples),
        max: f64::from(gauge.max) / 100.0,
    }
}

fn number(gauge: Gauge, samples: u64) -> GaugeAnswer {
    GaugeAnswer {
        min: f64::from(gauge.min),
        avg: mean(gauge.sum.saturating_mul(100), samples),
        max: f64::from(gauge.max),
    }
}

fn rate(traffic: Traffic, known_for: u64) -> Option<RateAnswer> {
    let micros = u128::from(known_for);
    let avg = (u128::from(traffic.bytes) * 1_000_000).checked_div(micros)?;
    Some(RateAnswer { avg: u64::try_from(avg).unwrap_or(u64::MAX), max: traffic.peak })
}

impl From<Bucket> for PointAnswer {
    fn from(bucket: Bucket) -> Self {
        let samples = bucket.samples;
        Self {
            at: bucket.at,
            samples,
            cpu_percent: percent(bucket.cpu, samples),
            memory_percent: percent(bucket.memory, samples),
            disk_percent: percent(bucket.disk, samples),
            processes: number(bucket.processes, samples),
            network_rx: rate(bucket.received, bucket.known_for),
            network_tx: rate(bucket.sent, bucket.known_for),
            uptime_seconds: bucket.uptime,
        }
    }
}

impl From<MetricsError> for Problem {
    fn from(error: MetricsError) -> Self {
        match error {
            MetricsError::NotFound => Self::new(ProblemCode::NotFound, error.to_string()),
            MetricsError::Invalid(invalid) => {
                let name = match invalid.field {
                    Field::From => "from",
                    Field::Step => "step",
                };
                Self::invalid_parameter(name, invalid.rule)
            }
            MetricsError::Storage(error) => error.into(),
        }
    }
}

/// How a machine fared: what its heartbeats said, over time.
///
/// Points lie on a grid of `step` seconds since 1970. Every heartbeat is kept for a day, what five
/// minutes come to for a month and what an hour comes to for a year, unless the settings say
/// otherwise; `step` in the answer is longer than asked for where nothing finer is kept. There are
/// at most 5,000 steps.
#[utoipa::path(
    get, path = "/agents/{id}/metrics", tag = "agents", operation_id = "read_agent_metrics",
    params(("id" = Uuid, Path), MetricsQuery),
    responses((status = 200, body = MetricsAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    id: Id<AgentId>,
    query: Query<MetricsQuery>,
) -> Result<impl Responder, Problem> {
    let MetricsQuery { from, to, step } = query.0;
    let id = id.get()?;
    let Series { from, to, step, resolution, points } =
        state.metrics.read(&permit, id, Span { from, to, step }).await?;
    Ok(web::Json(MetricsAnswer {
        agent_id: id.as_uuid(),
        from,
        to,
        step: step.seconds(),
        resolution: resolution.as_str(),
        points: points.into_iter().map(PointAnswer::from).collect(),
    }))
}

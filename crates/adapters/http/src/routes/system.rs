//! How this installation is.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpResponse, Responder, web};
use muster_agents::StatusCounts;
use muster_kernel::act;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::May;
use crate::{AppState, Probe, Probed};

/// How many agents there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentCounts {
    total: u64,
    /// Those that can be reached.
    online: u64,
    /// Those that can't.
    offline: u64,
}

/// How this installation is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `healthy`, or `unhealthy` when the database does not answer.
    #[schema(example = "healthy")]
    status: &'static str,
    /// The server's version.
    version: &'static str,
    /// Whether the database answers.
    database: bool,
    /// Seconds since this process started.
    uptime: i64,
    /// How many agents there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<AgentCounts>,
    /// Agents that hold a connection to this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    websocket_connections: Option<usize>,
}

/// Whether this installation works.
#[utoipa::path(
    get, path = "/system/health", tag = "system", security(()), operation_id = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)),
)]
pub(crate) async fn health(state: web::Data<AppState>) -> impl Responder {
    let uptime = (state.clock.now() - state.started_at).num_seconds();
    let totals = state.agents.totals().await.ok();
    let health = Health {
        status: if totals.is_some() { "healthy" } else { "unhealthy" },
        version: env!("CARGO_PKG_VERSION"),
        database: totals.is_some(),
        uptime,
        agents: totals.map(|(StatusCounts { online, offline }, _)| AgentCounts {
            total: online + offline,
            online,
            offline,
        }),
        websocket_connections: totals.map(|(_, connections)| connections),
    };
    let status = if totals.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(health)
}

/// How something is that this installation needs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProbeAnswer {
    /// `healthy`, `unhealthy` when it does not answer, or `not_configured` where the server does
    /// without.
    #[schema(example = "healthy")]
    status: &'static str,
    /// How long its answer took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
}

async fn answer(probed: Probed<'_>) -> HttpResponse {
    let begun = Instant::now();
    let (code, status) = match probed.await {
        Probe::Healthy => (StatusCode::OK, "healthy"),
        Probe::NotConfigured => (StatusCode::OK, "not_configured"),
        Probe::Unhealthy => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let latency_ms = (status == "healthy").then_some(took);
    HttpResponse::build(code).json(ProbeAnswer { status, latency_ms })
}

/// Whether the database answers.
#[utoipa::path(
    get, path = "/health/db", tag = "system", security(()), operation_id = "database_health",
    responses((status = 200, body = ProbeAnswer), (status = 503, body = ProbeAnswer)),
)]
pub(crate) async fn database_health(state: web::Data<AppState>) -> impl Responder {
    answer(state.probes.database()).await
}

/// Whether Redis answers.
#[utoipa::path(
    get, path = "/health/redis", tag = "system", security(()), operation_id = "redis_health",
    responses((status = 200, body = ProbeAnswer), (status = 503, body = ProbeAnswer)),
)]
pub(crate) async fn redis_health(state: web::Data<AppState>) -> impl Responder {
    answer(state.probes.redis()).await
}

/// The figures of this process, in Prometheus' text format.
#[utoipa::path(
    get, path = "/metrics", tag = "system", operation_id = "read_figures",
    responses((status = 200, content_type = "text/plain", body = String)),
)]
pub(crate) async fn metrics(
    state: web::Data<AppState>,
    _permit: May<act::ReadFigures>,
) -> impl Responder {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).body(state.exposition.render())
}

//! Enrolment of machines.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use muster_agents::{
    Credential, EnrolError, InvalidRegistration, Registration, RegistrationRequest,
};
use muster_kernel::{AgentId, Dialect, ProblemCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Enroller, IdempotencyKey, Json, Presented, is_unversioned};
use crate::limits::Counter;
use crate::{AppState, Problem};

/// The largest body of somebody who has shown nothing yet, in bytes.
const MAX_UNPROVED: usize = 16 * 1024;

/// What a machine says of itself. Fields that are not known are ignored: agents may be newer than
/// the server.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RegisterRequest {
    #[schema(example = "web-01")]
    hostname: String,
    #[serde(alias = "ip")]
    ip_address: Option<String>,
    /// `linux`, `windows` or `macos`; guessed from `os` when absent.
    os_type: Option<String>,
    /// The operating system as people call it.
    #[schema(example = "Debian GNU/Linux 12")]
    os: Option<String>,
    /// The version of the agent program.
    version: Option<String>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    capabilities: Vec<String>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    tags: Vec<String>,
    /// What tells this machine from others with the same host name.
    machine_id: Option<String>,
    /// An enrollment token, for agents of older products that send it here.
    enrollment_token: Option<String>,
}

/// Who the machine is from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisterAnswer {
    agent_id: Uuid,
    /// The same, as an older product calls it.
    device_id: Uuid,
    /// The agent's own token, shown this once; an earlier one opens nothing any more. Agents of older
    /// products get none: they go on showing what they enrolled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_token: Option<String>,
    #[schema(example = "registered")]
    status: &'static str,
    message: &'static str,
    /// The key whose orders the agent obeys: Ed25519, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_key: Option<String>,
}

impl From<InvalidRegistration> for Problem {
    fn from(error: InvalidRegistration) -> Self {
        Self::invalid(format!("/{}", error.field), error.rule)
    }
}

impl From<EnrolError> for Problem {
    fn from(error: EnrolError) -> Self {
        let text = error.to_string();
        match error {
            EnrolError::TokenInvalid => Self::new(ProblemCode::EnrollmentTokenInvalid, text),
            EnrolError::TokenExpired => Self::new(ProblemCode::EnrollmentTokenExpired, text),
            EnrolError::TokenUsedUp => Self::new(ProblemCode::EnrollmentTokenUsedUp, text),
            EnrolError::Taken => Self::new(ProblemCode::AlreadyExists, text),
            EnrolError::Storage(error) => error.into(),
        }
    }
}

/// Enrol a machine. The same `machine_id` (or host name, where there is none) of the same customer
/// is the same agent, and gets a new token. One without a `machine_id` is an older product's agent
/// where its customer allows that product: of `DexAgents` here, of Remote Agent Manager beneath
/// `/api`, of `DeployFlow` Fleet at `/agent/register`.
#[utoipa::path(
    post, path = "/agents/register", tag = "agents", operation_id = "register_agent",
    request_body = RegisterRequest, params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, body = RegisterAnswer),
        (status = 200, body = RegisterAnswer, description = "an agent of Remote Agent Manager"),
        (status = 401, description = "the enrollment token is unknown, expired or used up"),
    ),
)]
pub(crate) async fn register(
    state: web::Data<AppState>,
    machine: Result<Enroller, Problem>,
    request: HttpRequest,
    key: IdempotencyKey,
    body: Json<RegisterRequest>,
) -> Result<HttpResponse, Problem> {
    let dialect = dialect_of(&request);
    let (credential, mut body) = match machine {
        Ok(machine) => (machine.0, body.value().await?),
        Err(problem) => admission(&state, &request, dialect, problem, body).await?,
    };
    let name = body.machine_id.take();
    let registration = RegistrationRequest {
        hostname: body.hostname,
        ip_address: body.ip_address,
        os_type: body.os_type,
        os: body.os,
        version: body.version,
        capabilities: body.capabilities,
        tags: body.tags,
        machine_id: name,
        dialect: None,
    };
    if registration.machine_id.is_none() && state.legacy.allows(&credential, dialect).await? {
        let speaker = state.legacy.admit(&credential, dialect, None, registration).await?;
        return Ok(registered(dialect, speaker.agent_id));
    }
    let registration = Registration::try_from(registration)?;
    let enrolled = state.enrolment.register(&credential, registration, key.0.as_deref()).await?;
    Ok(HttpResponse::Created().json(RegisterAnswer {
        agent_id: enrolled.agent_id.as_uuid(),
        device_id: enrolled.agent_id.as_uuid(),
        agent_token: Some(enrolled.agent_token.expose().to_owned()),
        status: "registered",
        message: "connect to /api/v1/ws/agent with the agent token",
        server_key: Some(enrolled.server_key),
    }))
}

/// What lets a machine in that shows nothing where Muster's own agents do, and what it says of itself.
async fn admission(
    state: &AppState,
    request: &HttpRequest,
    dialect: Dialect,
    problem: Problem,
    body: Json<RegisterRequest>,
) -> Result<(Credential, RegisterRequest), Problem> {
    let presented = Presented::of(request, state);
    Counter::new(request, state).stranger(presented.author()).await?;
    let body = body.up_to(MAX_UNPROVED);
    match presented.admission(state, dialect).await {
        Ok(credential) => return Ok((credential, body.value().await?)),
        Err(failed) if failed.is_passing() => return Err(failed),
        Err(_) => {}
    }
    if dialect != Dialect::DeployFlow || !presented.shows_nothing() {
        return Err(problem);
    }
    let Ok(mut body) = body.value().await else { return Err(problem) };
    let token = body.enrollment_token.take().ok_or(problem)?;
    Ok((presented.or(Some(token)).admission(state, dialect).await?, body))
}

/// The older product whose agents enrol at this path.
fn dialect_of(request: &HttpRequest) -> Dialect {
    if request.path().ends_with("/agent/register") {
        Dialect::DeployFlow
    } else if is_unversioned(request) {
        Dialect::RemoteAgentManager
    } else {
        Dialect::DexAgents
    }
}

fn registered(dialect: Dialect, id: AgentId) -> HttpResponse {
    // Its document knows no other success.
    let status = match dialect {
        Dialect::RemoteAgentManager => StatusCode::OK,
        Dialect::DexAgents | Dialect::DeployFlow => StatusCode::CREATED,
    };
    HttpResponse::build(status).json(RegisterAnswer {
        agent_id: id.as_uuid(),
        device_id: id.as_uuid(),
        agent_token: None,
        status: "registered",
        message: "Agent registered successfully",
        server_key: None,
    })
}

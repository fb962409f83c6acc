//! Enrolment of machines.

use actix_web::{HttpResponse, Responder, web};
use muster_agents::{EnrolError, InvalidRegistration, Registration, RegistrationRequest};
use muster_kernel::ProblemCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::extract::{Enroller, IdempotencyKey, Json};
use crate::{AppState, Problem};

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
}

/// Who the machine is from now on.
#[derive(Serialize, ToSchema)]
pub(crate) struct RegisterAnswer {
    agent_id: Uuid,
    /// The agent's own token, shown this once; an earlier one opens nothing any more.
    agent_token: String,
    #[schema(example = "registered")]
    status: &'static str,
    message: &'static str,
    /// The key whose orders the agent obeys: Ed25519, base64.
    server_key: String,
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
            EnrolError::Storage(error) => error.into(),
        }
    }
}

/// Enrol a machine. The same `machine_id` (or host name, where there is none) of the same customer
/// is the same agent, and gets a new token.
#[utoipa::path(
    post, path = "/agents/register", tag = "agents", operation_id = "register_agent",
    request_body = RegisterRequest, params(("Idempotency-Key" = Option<String>, Header)),
    responses(
        (status = 201, body = RegisterAnswer),
        (status = 401, description = "the enrollment token is unknown, expired or used up"),
    ),
)]
pub(crate) async fn register(
    state: web::Data<AppState>,
    machine: Enroller,
    key: IdempotencyKey,
    body: Json<RegisterRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let registration = Registration::try_from(RegistrationRequest {
        hostname: body.hostname,
        ip_address: body.ip_address,
        os_type: body.os_type,
        os: body.os,
        version: body.version,
        capabilities: body.capabilities,
        tags: body.tags,
        machine_id: body.machine_id,
    })?;
    let enrolled = state.enrolment.register(&machine.0, registration, key.0.as_deref()).await?;
    Ok(HttpResponse::Created().json(RegisterAnswer {
        agent_id: enrolled.agent_id.as_uuid(),
        agent_token: enrolled.agent_token.expose().to_owned(),
        status: "registered",
        message: "connect to /api/v1/ws/agent with the agent token",
        server_key: enrolled.server_key,
    }))
}

//! The routes on which agents of older products connect.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::ORIGIN;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use async_trait::async_trait;
use muster_agents::{AgentRepository, Credential, EnrolError, Legacy, LegacyError};
use muster_commands::Leases;
use muster_kernel::{Author, Clock, ConnectionId, Dialect, Entropy, ProblemCode};

use super::session::OlderSession;
use super::{Codec, DexAgents, RemoteAgentManager};
use crate::Connections;
use crate::upgrade::problem;

/// How much longer a message is than the output that is in it.
const ENVELOPE: usize = 64 * 1024;

/// Why a credential is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong.
    pub code: ProblemCode,
    /// What to do about it.
    pub detail: String,
}

impl Refusal {
    /// Whether it may be good after all: nobody could look.
    pub(super) fn is_unavailable(&self) -> bool {
        self.code == ProblemCode::Unavailable
    }

    fn answer(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::FORBIDDEN);
        problem(status, self.code, &self.detail)
    }
}

impl From<LegacyError> for Refusal {
    fn from(error: LegacyError) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            LegacyError::NoCredential => (401, ProblemCode::Unauthenticated),
            LegacyError::NotAllowed(_) => (403, ProblemCode::Forbidden),
            LegacyError::NotFound => (404, ProblemCode::NotFound),
            LegacyError::Invalid(_) => (400, ProblemCode::Malformed),
            LegacyError::Enrol(EnrolError::TokenInvalid) => {
                (401, ProblemCode::EnrollmentTokenInvalid)
            }
            LegacyError::Enrol(EnrolError::TokenExpired) => {
                (401, ProblemCode::EnrollmentTokenExpired)
            }
            LegacyError::Enrol(EnrolError::TokenUsedUp) => {
                (401, ProblemCode::EnrollmentTokenUsedUp)
            }
            LegacyError::Enrol(EnrolError::Taken) => (409, ProblemCode::AlreadyExists),
            LegacyError::Enrol(EnrolError::Storage(_)) => {
                let detail = "the database does not answer; try again in a moment".into();
                return Self { status: 503, code: ProblemCode::Unavailable, detail };
            }
        };
        Self { status, code, detail }
    }
}

/// What a request shows, which can be asked again whether it is still good.
#[async_trait]
pub trait Showing: Send + Sync {
    /// From where it comes.
    fn author(&self) -> &Author;

    /// The credential, if any is shown.
    ///
    /// # Errors
    /// When it is not good.
    async fn credential(&self) -> Result<Option<Credential>, Refusal>;

    /// Counts that it was not let in; answers what it is told instead when that was too often.
    async fn refused(&self) -> Option<Refusal>;
}

/// Looks at what a request shows.
pub type Shown = Arc<dyn Fn(&HttpRequest) -> Arc<dyn Showing> + Send + Sync>;

/// What connections of older products' agents need.
#[derive(Clone)]
#[expect(missing_docs, missing_debug_implementations, reason = "the names are those of the ports")]
pub struct OlderSocketPorts {
    pub legacy: Legacy,
    pub leases: Leases,
    pub agents: Arc<dyn AgentRepository>,
    pub connections: Connections,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub shown: Shown,
    /// Bytes of each stream of a command that are kept.
    pub output_limit: u64,
}

/// Takes the connections of older products' agents; cheap to clone.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct OlderSocket {
    ports: Arc<OlderSocketPorts>,
}

impl OlderSocket {
    /// Made of its ports.
    pub fn new(ports: OlderSocketPorts) -> Self {
        Self { ports: Arc::new(ports) }
    }

    /// Mounts `/ws/{agent_id}` of `DexAgents`, beneath the scope of the API that `config` is of. It
    /// stands behind whatever else is mounted beneath `/ws`.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        config.route("/ws/{agent_id}", self.by_path(&DexAgents));
    }

    /// Mounts `/ws/agent/{agent_id}` of Remote Agent Manager, beneath no scope.
    pub fn configure_root(&self, config: &mut web::ServiceConfig) {
        config.route("/ws/agent/{agent_id}", self.by_path(&RemoteAgentManager));
    }

    fn by_path(&self, codec: &'static dyn Codec) -> Route {
        let socket = self.clone();
        web::get().to(move |request: HttpRequest, body: web::Payload, name: web::Path<String>| {
            let socket = socket.clone();
            async move { socket.connect(request, body, codec, Some(name.into_inner())).await }
        })
    }

    /// Takes a connection of `DexAgents` whose agent says who it is in its first message.
    pub(crate) async fn connect_dexagents(
        &self,
        request: HttpRequest,
        body: web::Payload,
    ) -> HttpResponse {
        self.connect(request, body, &DexAgents, None).await
    }

    async fn connect(
        &self,
        request: HttpRequest,
        body: web::Payload,
        codec: &'static dyn Codec,
        name: Option<String>,
    ) -> HttpResponse {
        if request.headers().contains_key(ORIGIN) {
            let detail = "agents connect without an Origin; browsers have no business here";
            return problem(StatusCode::FORBIDDEN, ProblemCode::Forbidden, detail);
        }
        let shown = (self.ports.shown)(&request);
        if let Err(refusal) = self.admit(&*shown, codec.dialect()).await {
            return shown.refused().await.unwrap_or(refusal).answer();
        }
        let Ok((response, socket, incoming)) = actix_ws::handle(&request, body) else {
            let detail = "this is a WebSocket: connect with an upgrade";
            return problem(StatusCode::BAD_REQUEST, ProblemCode::Malformed, detail);
        };
        let limit = usize::try_from(self.ports.output_limit).unwrap_or(usize::MAX);
        let limit = limit.saturating_add(ENVELOPE);
        let incoming =
            incoming.max_frame_size(limit).aggregate_continuations().max_continuation_size(limit);
        let session = OlderSession {
            codec,
            name,
            socket,
            peer_address: shown.author().address.map(|address| address.to_string()),
            shown,
            connection_id: ConnectionId::new(&*self.ports.clock, &*self.ports.entropy),
            began_at: self.ports.clock.now(),
            ports: Arc::clone(&self.ports),
        };
        actix_web::rt::spawn(session.run(incoming));
        response
    }

    /// Whether it has a chance to be let in: who has none is told why, which a connection that is
    /// closed again can't do half as well.
    async fn admit(&self, shown: &dyn Showing, dialect: Dialect) -> Result<(), Refusal> {
        let credential = credential(&self.ports, shown, dialect).await?;
        if !self.ports.legacy.allows(&credential, dialect).await? {
            return Err(LegacyError::NotAllowed(dialect).into());
        }
        Ok(())
    }
}

/// What lets an agent of this dialect in: the credential that it shows, or else its network.
pub(super) async fn credential(
    ports: &OlderSocketPorts,
    shown: &dyn Showing,
    dialect: Dialect,
) -> Result<Credential, Refusal> {
    match shown.credential().await? {
        Some(credential) => Ok(credential),
        None => Ok(ports.legacy.vouch_for_network(shown.author().clone(), dialect).await?),
    }
}

//! The route on which agents connect.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    AUTHORIZATION, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use actix_web::{HttpRequest, HttpResponse, web};
use muster_agents::{
    AgentRepository, AgentTokens, ConnectionEnd, ConnectionRecord, CopyVerdicts, EndReason,
    Transport,
};
use muster_commands::{AgentChannel, Payloads};
use muster_kernel::events::EventBus;
use muster_kernel::{
    AgentId, Clock, ConnectionId, Entropy, ProblemCode, Secret, TokenHash, TokenKind,
};
use muster_protocol::{MAX_FRAME_BYTES, Order, SUBPROTOCOL, Signed};

use crate::older::OlderSocket;
use crate::polled::Polls;
use crate::session::{Outgoing, Session, arrivals};
use crate::{Connections, PollRefusal};
use serde_json::Value;

/// Signs orders with the server's key; `None` when an order can't be written.
pub type Sign = Arc<dyn Fn(&Order) -> Option<Signed> + Send + Sync>;

/// From where a request comes, as far as the proxies in front can be trusted.
pub type PeerAddress = Arc<dyn Fn(&HttpRequest) -> Option<String> + Send + Sync>;

/// What connections of agents need.
#[derive(Clone)]
#[expect(missing_docs, missing_debug_implementations, reason = "the names are those of the ports")]
pub struct AgentSocketPorts {
    pub tokens: Arc<dyn AgentTokens>,
    pub agents: Arc<dyn AgentRepository>,
    pub verdicts: Arc<dyn CopyVerdicts>,
    pub channel: AgentChannel,
    pub payloads: Payloads,
    pub connections: Connections,
    pub bus: Arc<dyn EventBus>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub sign: Sign,
    pub peer_address: PeerAddress,
    /// Bytes of each stream of a command that are kept.
    pub output_limit: u64,
}

/// Takes the connections of agents; cheap to clone.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct AgentSocket {
    ports: Arc<AgentSocketPorts>,
    polls: Polls,
    older: OlderSocket,
}

impl AgentSocket {
    /// Made of its ports; who offers no protocol that it knows is taken for an older product's agent.
    pub fn new(ports: AgentSocketPorts, older: OlderSocket) -> Self {
        Self { ports: Arc::new(ports), polls: Polls::default(), older }
    }

    /// Mounts the route `/ws/agent` and those of older products' agents, beneath whatever scope
    /// `config` is of.
    pub fn configure(&self, config: &mut web::ServiceConfig) {
        let socket = self.clone();
        let connect = move |request: HttpRequest, body: web::Payload| {
            let socket = socket.clone();
            async move { socket.connect(request, body).await }
        };
        config.route("/ws/agent", web::get().to(connect));
        self.older.configure(config);
    }

    /// Mounts the routes of older products' agents that lie beneath no scope.
    pub fn configure_root(&self, config: &mut web::ServiceConfig) {
        self.older.configure_root(config);
    }

    /// Takes a request of an agent that polls, whose token was proved, and answers it: a
    /// `PollRequest` of the protocol as JSON, and a `PollAnswer`.
    ///
    /// # Errors
    /// [`PollRefusal`]; the connection is over then.
    pub async fn poll(
        &self,
        agent_id: AgentId,
        peer_address: Option<String>,
        request: Value,
    ) -> Result<Value, PollRefusal> {
        let answer = self.polls.exchange(&self.ports, agent_id, peer_address, request).await?;
        serde_json::to_value(answer).map_err(|error| PollRefusal::unwritable(&error))
    }

    async fn connect(&self, request: HttpRequest, body: web::Payload) -> HttpResponse {
        // No agent sends an origin; a page in a browser does.
        if request.headers().contains_key(ORIGIN) {
            let detail = "agents connect without an Origin; browsers have no business here";
            return problem(StatusCode::FORBIDDEN, ProblemCode::Forbidden, detail);
        }
        // Who shows an agent's token is Muster's own, and learns what it has to offer.
        if !request.headers().contains_key(SEC_WEBSOCKET_PROTOCOL) && own_token(&request).is_none()
        {
            return self.older.connect_dexagents(request, body).await;
        }
        let (agent_id, token) = match self.authenticate(&request).await {
            Ok(known) => known,
            Err(refusal) => return refusal,
        };
        if !offers_our_protocol(&request) {
            self.keep_wrong_version(agent_id, &request);
            let detail = "connect with the WebSocket subprotocol muster.v1";
            let mut refusal =
                problem(StatusCode::UPGRADE_REQUIRED, ProblemCode::ProtocolUnsupported, detail);
            let headers = refusal.headers_mut();
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
            return refusal;
        }
        let handshake = actix_ws::handle_with_protocols(&request, body, &[SUBPROTOCOL]);
        let Ok((response, outgoing, incoming)) = handshake else {
            let detail = "this is a WebSocket: connect with an upgrade";
            return problem(StatusCode::BAD_REQUEST, ProblemCode::Malformed, detail);
        };
        let incoming = incoming
            .max_frame_size(MAX_FRAME_BYTES)
            .aggregate_continuations()
            .max_continuation_size(MAX_FRAME_BYTES);
        let connection_id = ConnectionId::new(&*self.ports.clock, &*self.ports.entropy);
        let session = Session {
            ports: Arc::clone(&self.ports),
            agent_id,
            connection_id,
            transport: Transport::Websocket,
            outgoing: Outgoing::Socket(outgoing),
            peer_address: (self.ports.peer_address)(&request),
            token: Some(token),
            began_at: self.ports.clock.now(),
        };
        actix_web::rt::spawn(session.run(arrivals(incoming)));
        response
    }

    /// The history says it, too: an agent that can't connect can't tell why.
    fn keep_wrong_version(&self, agent_id: AgentId, request: &HttpRequest) {
        let (ports, now) = (&self.ports, self.ports.clock.now());
        let offered = request.headers().get(SEC_WEBSOCKET_PROTOCOL);
        let offered = offered.and_then(|protocols| protocols.to_str().ok()).unwrap_or("nothing");
        let offered: String = offered.chars().take(100).collect();
        let end = ConnectionEnd {
            at: now,
            reason: EndReason::WrongVersion,
            detail: Some(format!("{SUBPROTOCOL} is spoken here, and it offered {offered}")),
        };
        ports.connections.keep(ConnectionRecord {
            id: ConnectionId::new(&*ports.clock, &*ports.entropy),
            agent_id,
            node_id: ports.connections.node(),
            transport: Transport::Websocket,
            peer_address: (ports.peer_address)(request),
            boot_id: None,
            began_at: now,
            last_frame_at: now,
            reconnect_attempts: None,
            previous_end: None,
            end: Some(end),
        });
    }

    async fn authenticate(
        &self,
        request: &HttpRequest,
    ) -> Result<(AgentId, TokenHash), HttpResponse> {
        let unknown = || {
            let detail = "the agent's own token is expected; a deleted agent has to enrol again";
            problem(StatusCode::UNAUTHORIZED, ProblemCode::Unauthenticated, detail)
        };
        let token = own_token(request).map(Secret::from_text).ok_or_else(unknown)?;
        let token = token.hash();
        let _turn = self.ports.connections.turn().await;
        match self.ports.tokens.find(token).await {
            Ok(Some((agent_id, _))) => Ok((agent_id, token)),
            Ok(None) => Err(unknown()),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(error.cause = cause, "an agent's token could not be looked up");
                let detail = "the database does not answer; try again in a moment";
                Err(problem(StatusCode::SERVICE_UNAVAILABLE, ProblemCode::Unavailable, detail))
            }
        }
    }
}

/// The token of one of Muster's own agents, if the request shows one.
fn own_token(request: &HttpRequest) -> Option<&str> {
    let header = request.headers().get(AUTHORIZATION)?;
    let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
    (TokenKind::of(token) == Some(TokenKind::Agent)).then_some(token)
}

fn offers_our_protocol(request: &HttpRequest) -> bool {
    request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(','))
        .any(|protocol| protocol.trim() == SUBPROTOCOL)
}

pub(crate) fn problem(status: StatusCode, code: ProblemCode, detail: &str) -> HttpResponse {
    HttpResponse::build(status).content_type("application/problem+json").body(
        serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code.as_str(),
            "detail": detail,
        })
        .to_string(),
    )
}

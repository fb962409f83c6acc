//! One connection of an older product's agent.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix_ws::{AggregatedMessage, AggregatedMessageStream};
use futures_util::{FutureExt, StreamExt};
use muster_agents::{
    AgentProgram, ConnectionEnd, ConnectionRecord, EndReason, LegacyError, RegistrationRequest,
    Speaker, Transport,
};
use muster_kernel::{AgentId, ConnectionId, TenantScope, Timestamp};
use serde_json::Value;
use tokio::sync::mpsc;

use super::live::Live;
use super::{Codec, Heard, Introduction, OlderSocketPorts, Showing};
use crate::link::{Instruct, Link, Peer};
use crate::scrub;
use crate::session::End;

/// How long an agent may take to say who it is.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);
/// How long a peer may take to make room for a message.
pub(super) const SEND_PATIENCE: Duration = Duration::from_secs(10);

/// A connection that was accepted.
pub(super) struct OlderSession {
    pub(super) ports: Arc<OlderSocketPorts>,
    pub(super) codec: &'static dyn Codec,
    pub(super) shown: Arc<dyn Showing>,
    /// The id that the agent has in its product, if the path says it.
    pub(super) name: Option<String>,
    pub(super) socket: actix_ws::Session,
    pub(super) peer_address: Option<String>,
    pub(super) connection_id: ConnectionId,
    pub(super) began_at: Timestamp,
}

impl OlderSession {
    pub(super) async fn run(mut self, mut arrivals: AggregatedMessageStream) {
        let socket = self.socket.clone();
        let end = match self.introduce(&mut arrivals).await {
            Ok((speaker, introduction)) => {
                let end = self.serve(speaker, introduction, &mut arrivals).await;
                end.log(speaker.agent_id);
                end
            }
            Err(end) => {
                tracing::info!(connection.end = ?end, "an older product's agent was not let in");
                end
            }
        };
        if let Some(reason) = end.close_reason() {
            let _ = tokio::time::timeout(SEND_PATIENCE, socket.close(Some(reason))).await;
        }
    }

    /// Finds out who it is; a machine that nobody knows yet becomes an agent.
    async fn introduce(
        &mut self,
        arrivals: &mut AggregatedMessageStream,
    ) -> Result<(Speaker, Introduction), End> {
        let introduction = match self.name.take() {
            Some(name) => {
                let machine = RegistrationRequest {
                    hostname: name.clone(),
                    ..RegistrationRequest::default()
                };
                Introduction { name, machine, metrics: None }
            }
            None => tokio::time::timeout(HELLO_PATIENCE, self.registration(arrivals))
                .await
                .unwrap_or(Err(End::TimedOut))?,
        };
        let (legacy, dialect) = (&self.ports.legacy, self.codec.dialect());
        let credential = super::upgrade::credential(&self.ports, &*self.shown, dialect).await;
        let credential = credential.map_err(|_| End::Violation("the credential is not good"))?;
        if let Some(speaker) = legacy.recognise(&credential, dialect, &introduction.name).await? {
            return Ok((speaker, introduction));
        }
        let (name, machine) = (Some(introduction.name.as_str()), introduction.machine.clone());
        let speaker = legacy.admit(&credential, dialect, name, machine).await?;
        Ok((speaker, introduction))
    }

    async fn registration(
        &self,
        arrivals: &mut AggregatedMessageStream,
    ) -> Result<Introduction, End> {
        loop {
            match self.next(arrivals).await? {
                Some(Heard::Register(introduction)) => return Ok(*introduction),
                Some(Heard::Nothing) | None => {}
                Some(_) => return Err(End::Violation("the first message is register")),
            }
        }
    }

    /// What the next message says, if it is one.
    pub(super) async fn next(
        &self,
        arrivals: &mut AggregatedMessageStream,
    ) -> Result<Option<Heard>, End> {
        let message = arrivals.next().await.ok_or(End::Gone)?.map_err(|error| End::of(&error))?;
        match message {
            AggregatedMessage::Text(text) => {
                let malformed = |error: &dyn std::error::Error| End::Malformed(error.to_string());
                let message: Value = scrub::read(&text).map_err(|error| malformed(&error))?;
                self.codec.read(&message).map(Some).map_err(|error| malformed(&error))
            }
            AggregatedMessage::Ping(payload) => {
                let mut socket = self.socket.clone();
                let pong = tokio::time::timeout(SEND_PATIENCE, socket.pong(&payload)).await;
                pong.map_or(Err(End::Gone), |sent| sent.map_err(|_| End::Gone))?;
                Ok(None)
            }
            AggregatedMessage::Binary(_) => Err(End::Violation("messages are text")),
            AggregatedMessage::Pong(_) => Ok(None),
            AggregatedMessage::Close(_) => Err(End::Closed),
        }
    }

    async fn serve(
        self,
        speaker: Speaker,
        introduction: Introduction,
        arrivals: &mut AggregatedMessageStream,
    ) -> End {
        let (ports, connection_id) = (Arc::clone(&self.ports), self.connection_id);
        let record = self.record(speaker.agent_id);
        let mut entered = None;
        let served = async {
            match self.enter(speaker, introduction, &mut entered).await {
                Ok((live, instructions)) => live.run(arrivals, instructions).await,
                Err(end) => end,
            }
        };
        // Whatever goes wrong in here, the agent is not taken for connected afterwards.
        let served = AssertUnwindSafe(served).catch_unwind().await;
        let end = served.unwrap_or_else(|_| End::Defect);
        let reason = end.reason();
        if reason != EndReason::AgentRemoved {
            let last_frame_at = entered.as_deref().map_or(record.began_at, Link::last_frame_at);
            let ended = ConnectionEnd { at: ports.clock.now(), reason, detail: end.detail() };
            ports.connections.keep(ConnectionRecord { last_frame_at, end: Some(ended), ..record });
        }
        if let Some(link) = &entered {
            debug_assert_eq!(link.peer.connection_id, connection_id);
            ports.connections.leave(speaker.agent_id, link, reason);
        }
        end
    }

    fn record(&self, agent_id: AgentId) -> ConnectionRecord {
        ConnectionRecord {
            id: self.connection_id,
            agent_id,
            node_id: self.ports.connections.node(),
            transport: Transport::Websocket,
            peer_address: self.peer_address.clone(),
            boot_id: None,
            began_at: self.began_at,
            last_frame_at: self.began_at,
            reconnect_attempts: None,
            previous_end: None,
            end: None,
        }
    }

    async fn enter(
        mut self,
        speaker: Speaker,
        introduction: Introduction,
        entered: &mut Option<Arc<Link>>,
    ) -> Result<(Live, mpsc::UnboundedReceiver<Instruct>), End> {
        let ports = Arc::clone(&self.ports);
        let Introduction { name, machine, metrics } = introduction;
        let known = ports.agents.find(&TenantScope::All, speaker.agent_id).await?;
        let program = AgentProgram {
            version: machine
                .version
                .or_else(|| known.as_ref().and_then(|agent| agent.version.clone()))
                .unwrap_or_default(),
            capabilities: known.map(|agent| agent.capabilities).unwrap_or_default(),
        };
        let record = self.record(speaker.agent_id);
        let customer_id = ports.agents.record_connected(program, record).await?;
        let removed = End::Told(crate::link::CloseReason::Removed);
        let customer_id = customer_id.ok_or(removed)?;
        let (sender, instructions) = mpsc::unbounded_channel();
        let peer = Peer {
            connection_id: self.connection_id,
            customer_id,
            transport: Transport::Websocket,
            address: self.peer_address.clone(),
            incarnation: None,
            token: None,
            dialect: Some(speaker.dialect),
        };
        let link = Arc::new(Link::new(peer, ports.clock.now(), Some(sender)));
        *entered = Some(Arc::clone(&link));
        if let Some(welcome) = self.codec.welcome(&name, self.connection_id) {
            self.say(&welcome).await?;
        }
        ports.connections.enter(speaker.agent_id, &link);
        let mut live = Live::new(self, speaker, name, link);
        live.measured(metrics);
        live.hand_out().await?;
        Ok((live, instructions))
    }

    pub(super) async fn say(&mut self, message: &Value) -> Result<(), End> {
        let sending = self.socket.text(message.to_string());
        match tokio::time::timeout(SEND_PATIENCE, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

impl From<LegacyError> for End {
    fn from(error: LegacyError) -> Self {
        match error.into_storage() {
            Ok(error) => Self::Storage(error),
            Err(LegacyError::Invalid(_)) => {
                Self::Violation("the id or the host name is too long, or not printable")
            }
            Err(_) => Self::Violation("agents of this product are not allowed here"),
        }
    }
}

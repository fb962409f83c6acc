//! One connection of the protocol `muster.v1`, from its hello to its end.

mod live;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use actix_ws::CloseCode;
use futures_util::StreamExt;
use metrics::gauge;
use muster_kernel::events::{Channel, Event, Topic};
use muster_kernel::{AgentId, ConnectionId, CustomerId, StorageError};
use muster_protocol::{AgentMessage, Hello};
use tokio::sync::mpsc;

use crate::AgentSocketPorts;
use crate::connections::{CloseReason, Counted, Link};
use crate::translate;
use live::Live;
pub(crate) use transport::{Arrivals, Incoming, Outgoing, arrivals, letters};

/// How long a peer may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);
/// How far an agent's clock may be off before the log says so.
const CLOCK_TOLERANCE: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// Why a connection ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// The transport broke, or the peer does not take what is sent to it.
    Gone,
    /// No frame came for too long.
    TimedOut,
    /// A frame that makes no sense, and why.
    Malformed(String),
    /// A frame that is too large.
    TooLarge,
    /// A frame that makes sense and is not allowed here.
    Violation(&'static str),
    /// The database failed; the agent says it again on its next connection.
    Storage(StorageError),
    /// The server wants it to end.
    Told(CloseReason),
}

impl From<StorageError> for End {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl End {
    /// What the peer is told, if it can still be told anything.
    fn close_reason(&self) -> Option<actix_ws::CloseReason> {
        let (code, description) = match self {
            Self::Closed => (CloseCode::Normal, ""),
            Self::Gone => return None,
            Self::TimedOut => (CloseCode::Policy, "no frame for 60 seconds"),
            Self::Malformed(_) => (CloseCode::Invalid, "the frame could not be read"),
            Self::TooLarge => (CloseCode::Size, "a frame may have at most 256 KiB"),
            Self::Violation(rule) => (CloseCode::Policy, *rule),
            Self::Storage(_) => (CloseCode::Again, "the server's database failed; try again"),
            Self::Told(CloseReason::Replaced) => {
                (CloseCode::Policy, "this agent has connected again")
            }
            Self::Told(CloseReason::Removed) => (CloseCode::Policy, "this agent was removed"),
            Self::Told(CloseReason::Shutdown) => (CloseCode::Away, "the server is shutting down"),
        };
        Some(actix_ws::CloseReason { code, description: Some(description.to_owned()) })
    }

    fn log(&self, agent_id: AgentId) {
        match self {
            Self::Closed | Self::Gone | Self::TimedOut | Self::Told(_) => {
                tracing::info!(agent.id = %agent_id, connection.end = ?self, "agent disconnected");
            }
            Self::Malformed(detail) => {
                tracing::warn!(
                    agent.id = %agent_id, error.detail = detail,
                    "an agent sent what could not be read and was disconnected"
                );
            }
            Self::TooLarge | Self::Violation(_) => {
                tracing::warn!(
                    agent.id = %agent_id, connection.end = ?self,
                    "an agent broke the protocol and was disconnected"
                );
            }
            Self::Storage(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(
                    agent.id = %agent_id, error.cause = cause,
                    "the database failed; the agent was disconnected and will say it again"
                );
            }
        }
    }
}

/// A connection that was accepted and has not said hello.
pub(crate) struct Session {
    ports: Arc<AgentSocketPorts>,
    agent_id: AgentId,
    connection_id: ConnectionId,
    outgoing: Outgoing,
    peer_address: Option<String>,
}

impl Session {
    pub(crate) const fn new(
        ports: Arc<AgentSocketPorts>,
        agent_id: AgentId,
        connection_id: ConnectionId,
        outgoing: Outgoing,
        peer_address: Option<String>,
    ) -> Self {
        Self { ports, agent_id, connection_id, outgoing, peer_address }
    }

    pub(crate) async fn run(self, mut arrivals: Arrivals) {
        let Self { ports, agent_id, connection_id, outgoing, .. } = &self;
        let transport = outgoing.transport();
        let gauge = gauge!("muster_agent_connections", "transport" => transport);
        let _counted = Counted::new(gauge);
        let mut customer = None;
        let end = match tokio::time::timeout(HELLO_PATIENCE, hello(&mut arrivals)).await {
            Ok(Ok(hello)) => self.welcome(hello, &mut arrivals, &mut customer).await,
            Ok(Err(end)) => end,
            Err(_) => End::TimedOut,
        };
        if ports.connections.leave(*agent_id, *connection_id)
            && let Some(customer) = customer
        {
            self.tell(customer, false);
        }
        end.log(*agent_id);
        self.outgoing.close(&end).await;
    }

    /// Tells listeners that the agent is there, or not any more.
    fn tell(&self, customer: CustomerId, connected: bool) {
        let data = serde_json::json!({
            "agent_id": self.agent_id,
            "customer_id": customer,
            "connected": connected,
            "at": self.ports.clock.now(),
        });
        let (topic, name, customer_id) = (Topic::Agents, "agent", Some(customer));
        let event = Event { topic, name, customer_id, data: data.to_string().into() };
        self.ports.bus.tell(Channel::Everything, event);
    }

    /// `customer` is whose machine it is, once that is known.
    async fn welcome(
        &self,
        hello: Hello,
        arrivals: &mut Arrivals,
        customer: &mut Option<CustomerId>,
    ) -> End {
        let Self { ports, agent_id, connection_id, outgoing, peer_address } = self;
        let now = ports.clock.now();
        if (hello.agent_time - now).abs() > CLOCK_TOLERANCE {
            tracing::warn!(
                agent.id = %agent_id, agent.time = %hello.agent_time,
                "the agent's clock is off; it goes by the server's"
            );
        }
        let program = translate::program(&hello);
        match ports.agents.record_connected(*agent_id, program, now).await {
            Ok(Some(id)) => *customer = Some(id),
            Ok(None) => return End::Told(CloseReason::Removed),
            Err(error) => return error.into(),
        }
        let (sender, instructions) = mpsc::unbounded_channel();
        let link = Link::new(*connection_id, now, peer_address.clone(), Some(sender));
        let link = Arc::new(link.of(*customer));
        // Entered before the archive is asked: a command given in between comes both ways, and
        // the second of them is dropped. The other way round it would come by neither.
        ports.connections.enter(*agent_id, Arc::clone(&link));
        if let Some(customer) = *customer {
            self.tell(customer, true);
        }
        let journal = translate::journal(&hello.journal);
        let opening = match ports.channel.open(*agent_id, &journal).await {
            Ok(opening) => opening,
            Err(error) => return error.into(),
        };
        tracing::info!(
            agent.id = %agent_id, agent.version = hello.version,
            agent.journalled = journal.len(), "agent connected"
        );
        let mut live = Live::new(Arc::clone(ports), *agent_id, outgoing.clone(), link, hello.nonce);
        match live.begin(opening).await {
            Ok(()) => live.run(arrivals, instructions).await,
            Err(end) => end,
        }
    }
}

async fn hello(arrivals: &mut Arrivals) -> Result<Hello, End> {
    match arrivals.next().await {
        Some(Ok(Incoming::Message(AgentMessage::Hello(hello)))) => Ok(hello),
        Some(Ok(_)) => Err(End::Violation("the first message is hello")),
        Some(Err(end)) => Err(end),
        None => Err(End::Closed),
    }
}

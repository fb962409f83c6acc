//! One connection of the protocol `muster.v1`, from its hello to its end.

mod apart;
mod end;
mod live;
mod orders;
mod transport;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use muster_agents::{
    ConnectionEnd, ConnectionRecord, CopyDecision, EndReason, Incarnation, MachineCopy,
    NewIdentity, Transport,
};
use muster_kernel::{AgentId, ConnectionId, CustomerId, Secret, Timestamp, TokenHash, TokenKind};
use muster_protocol::{AgentMessage, Hello};
use tokio::sync::mpsc;

use crate::AgentSocketPorts;
use crate::link::{CloseReason, Instruct, Link, Peer};
use crate::translate;
pub(crate) use end::End;
use live::Live;
use orders::Orders;
pub(crate) use transport::{Arrivals, Incoming, Outgoing, arrivals, letters};

/// How long a peer may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);
/// How far an agent's clock may be off before the log says so.
const CLOCK_TOLERANCE: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// A connection that was accepted and has not said hello.
pub(crate) struct Session {
    pub(crate) ports: Arc<AgentSocketPorts>,
    pub(crate) agent_id: AgentId,
    pub(crate) connection_id: ConnectionId,
    pub(crate) transport: Transport,
    pub(crate) outgoing: Outgoing,
    pub(crate) peer_address: Option<String>,
    /// What the agent showed, where that is known.
    pub(crate) token: Option<TokenHash>,
    pub(crate) began_at: Timestamp,
}

/// What becomes of a peer that has said hello.
enum Place {
    /// It is the agent.
    Agent,
    /// It shows the identity of a machine of this customer that is there, too.
    Copy(CustomerId),
    /// It is to be an agent of its own.
    Separate(AgentId),
}

impl Session {
    pub(crate) async fn run(self, mut arrivals: Arrivals) {
        let end = match tokio::time::timeout(HELLO_PATIENCE, hello(&mut arrivals)).await {
            Ok(Ok(hello)) => self.welcome(hello, &mut arrivals).await,
            Ok(Err(end)) => self.ended(end, None),
            Err(_) => self.ended(End::TimedOut, None),
        };
        end.log(self.agent_id);
        self.outgoing.close(&end).await;
    }

    async fn welcome(&self, hello: Box<Hello>, arrivals: &mut Arrivals) -> End {
        let incarnation = translate::incarnation(&hello);
        match self.place(&incarnation).await {
            Ok(Place::Agent) => {
                let mut link = None;
                let served = self.serve(hello, incarnation, arrivals, &mut link);
                // Whatever goes wrong in here, the agent is not taken for connected afterwards.
                let end =
                    AssertUnwindSafe(served).catch_unwind().await.unwrap_or_else(|_| End::Defect);
                self.ended(end, link.as_deref())
            }
            Ok(Place::Copy(customer)) => {
                Box::pin(self.keep_apart(hello, incarnation, customer, arrivals)).await
            }
            Ok(Place::Separate(id)) => Box::pin(self.separate(hello, id, arrivals)).await,
            // It comes again and again: the history has what it was rejected with.
            Err(end @ End::Told(CloseReason::Rejected)) => end,
            Err(end) => self.ended(end, None),
        }
    }

    /// Finds out who it is: what a person decided about it, and otherwise whether the machine
    /// that has this identity is still there.
    async fn place(&self, incarnation: &Incarnation) -> Result<Place, End> {
        let turn = self.ports.connections.turn().await;
        let decided = self.ports.verdicts.decided(self.agent_id, incarnation).await?;
        drop(turn);
        match decided {
            Some((CopyDecision::Reject, _)) => return Err(End::Told(CloseReason::Rejected)),
            Some((CopyDecision::Separate, Some(id))) => return Ok(Place::Separate(id)),
            Some((CopyDecision::Replace, _)) => return Ok(Place::Agent),
            // The agent that it became was removed: it may be decided about anew.
            Some((CopyDecision::Separate, None)) | None => {}
        }
        match self.ports.connections.rival(self.agent_id, incarnation) {
            Some(rival) if Box::pin(rival.answers()).await => {
                Ok(Place::Copy(rival.peer.customer_id))
            }
            Some(_) | None => Ok(Place::Agent),
        }
    }

    async fn serve(
        &self,
        hello: Box<Hello>,
        incarnation: Incarnation,
        arrivals: &mut Arrivals,
        entered: &mut Option<Arc<Link>>,
    ) -> End {
        // What is only said at the beginning is not kept while the connection lives.
        let begun = Box::pin(self.begin(hello, incarnation, entered)).await;
        match begun {
            Ok((mut live, instructions)) => live.run(arrivals, instructions).await,
            Err(end) => end,
        }
    }

    async fn begin(
        &self,
        hello: Box<Hello>,
        incarnation: Incarnation,
        entered: &mut Option<Arc<Link>>,
    ) -> Result<(Live, mpsc::UnboundedReceiver<Instruct>), End> {
        let Self { ports, agent_id, .. } = self;
        let now = ports.clock.now();
        if (hello.agent_time - now).abs() > CLOCK_TOLERANCE {
            tracing::warn!(
                agent.id = %agent_id, agent.time = %hello.agent_time,
                "the agent's clock is off; it goes by the server's"
            );
        }
        let begun = ConnectionRecord {
            reconnect_attempts: hello.reconnect_attempts,
            previous_end: translate::previous_end(&hello),
            boot_id: Some(incarnation.boot_id.clone()),
            ..self.record(now, None)
        };
        let turn = ports.connections.turn().await;
        let customer = ports.agents.record_connected(translate::program(&hello), begun).await?;
        let customer_id = customer.ok_or(End::Told(CloseReason::Removed))?;
        let (sender, instructions) = mpsc::unbounded_channel();
        let peer = Peer {
            connection_id: self.connection_id,
            customer_id,
            transport: self.transport,
            address: self.peer_address.clone(),
            incarnation: Some(incarnation),
            token: self.token,
            dialect: None,
        };
        let link = Arc::new(Link::new(peer, now, Some(sender)));
        *entered = Some(Arc::clone(&link));
        // Entered before the archive is asked: a command given in between comes both ways, and
        // the second of them is dropped. The other way round it would come by neither.
        ports.connections.enter(*agent_id, &link);
        let orders = Orders::new(*agent_id, hello.nonce);
        let mut live = Live::new(Arc::clone(ports), *agent_id, self.outgoing.clone(), link, orders);
        let opening = live.opening(&hello.version, &hello.journal).await?;
        drop(turn);
        live.begin(opening).await?;
        Ok((live, instructions))
    }

    /// Serves a copy of a machine without commands, until a person has decided what it is.
    async fn keep_apart(
        &self,
        hello: Box<Hello>,
        incarnation: Incarnation,
        customer: CustomerId,
        arrivals: &mut Arrivals,
    ) -> End {
        let (sender, instructions) = mpsc::unbounded_channel();
        let hostname = hello.hostname.chars().filter(|c| !c.is_control()).take(253).collect();
        let copy = MachineCopy {
            connection_id: self.connection_id,
            incarnation,
            hostname,
            peer_address: self.peer_address.clone(),
            first_seen: self.ports.clock.now(),
            decision: None,
        };
        let connections = &self.ports.connections;
        if !connections.enter_copy(self.agent_id, customer, &copy, sender) {
            return self.ended(End::Violation("too many copies of this machine wait"), None);
        }
        tracing::warn!(
            agent.id = %self.agent_id, connection.id = %self.connection_id,
            agent.hostname = copy.hostname,
            "two machines show the identity of this agent; the later one is kept apart"
        );
        let orders = Orders::new(self.agent_id, hello.nonce);
        let end = self.wait(orders, arrivals, instructions).await;
        let end = self.ended(end, None);
        connections.leave_copy(self.agent_id, customer, &copy, end.reason());
        end
    }

    /// Tells a copy once more who it is; the token that it was told before opens nothing then.
    async fn separate(&self, hello: Box<Hello>, id: AgentId, arrivals: &mut Arrivals) -> End {
        let agent_token = Secret::draw(TokenKind::Agent, &*self.ports.entropy);
        let end = match self.ports.verdicts.renew_token(id, agent_token.hash()).await {
            Ok(true) => {
                let identity = NewIdentity { agent_id: id, agent_token };
                let orders = Orders::new(self.agent_id, hello.nonce);
                self.tell_identity(orders, &identity, arrivals).await
            }
            Ok(false) => End::Told(CloseReason::Removed),
            Err(error) => error.into(),
        };
        self.ended(end, None)
    }

    /// Takes leave of a peer: of the agent, if it was entered as that, and of anybody else.
    fn ended(&self, end: End, link: Option<&Link>) -> End {
        let (ports, reason) = (&self.ports, end.reason());
        // Before it leaves: a server that ends writes what was kept when nobody is left.
        if reason != EndReason::AgentRemoved {
            let last_frame_at = link.map_or(self.began_at, Link::last_frame_at);
            let at = ports.clock.now();
            let ended = ConnectionEnd { at, reason, detail: end.detail() };
            ports.connections.keep(self.record(last_frame_at, Some(ended)));
        }
        if let Some(link) = link {
            ports.connections.leave(self.agent_id, link, reason);
        }
        end
    }

    fn record(&self, last_frame_at: Timestamp, end: Option<ConnectionEnd>) -> ConnectionRecord {
        ConnectionRecord {
            id: self.connection_id,
            agent_id: self.agent_id,
            node_id: self.ports.connections.node(),
            transport: self.transport,
            peer_address: self.peer_address.clone(),
            boot_id: None,
            began_at: self.began_at,
            last_frame_at,
            reconnect_attempts: None,
            previous_end: None,
            end,
        }
    }
}

async fn hello(arrivals: &mut Arrivals) -> Result<Box<Hello>, End> {
    match arrivals.next().await {
        Some(Ok(Incoming::Message(AgentMessage::Hello(hello)))) => Ok(hello),
        Some(Ok(_)) => Err(End::Violation("the first message is hello")),
        Some(Err(end)) => Err(end),
        None => Err(End::Closed),
    }
}

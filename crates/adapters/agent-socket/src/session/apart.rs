//! A machine that is kept apart: it shows the identity of one that is somewhere else, and gets no
//! commands. What it reports of commands is not its own to report.

use std::time::Duration;

use futures_util::StreamExt;
use muster_agents::{CopyDecision, NewIdentity};
use muster_protocol::{
    AgentMessage, HeartbeatAck, Instruction, PING_EVERY_SECONDS, Separate, ServerMessage,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::live::welcome;
use super::{Arrivals, End, Incoming, Orders, Session};
use crate::link::{CloseReason, Instruct, SILENCE};

/// How long an agent may take to keep who it is from now on.
const SEPARATE_PATIENCE: Duration = Duration::from_secs(10);

impl Session {
    /// Serves the peer until it ends, or a person has decided.
    pub(super) async fn wait(
        &self,
        mut orders: Orders,
        arrivals: &mut Arrivals,
        mut instructions: mpsc::UnboundedReceiver<Instruct>,
    ) -> End {
        let mut outgoing = self.outgoing.clone();
        let welcome = welcome(&self.ports, self.connection_id, Vec::new());
        let welcomed = match orders.sign(&self.ports, welcome) {
            Ok(order) => outgoing.say(&order).await,
            Err(end) => Err(end),
        };
        if let Err(end) = welcomed {
            return end;
        }
        let mut silent_at = Instant::now() + SILENCE;
        let mut ping = tokio::time::interval(Duration::from_secs(PING_EVERY_SECONDS));
        loop {
            let step = tokio::select! {
                arrival = arrivals.next() => {
                    silent_at = Instant::now() + SILENCE;
                    match arrival {
                        Some(Ok(arrival)) => self.answer(arrival).await,
                        Some(Err(end)) => Err(end),
                        None => Err(End::Gone),
                    }
                }
                Some(instruction) = instructions.recv() => match instruction {
                    Instruct::Close(reason) => Err(End::Told(reason)),
                    Instruct::Settle(settled) => match *settled {
                        (CopyDecision::Separate, Some(identity)) => {
                            return self.tell_identity(orders, &identity, arrivals).await;
                        }
                        (CopyDecision::Replace, _) => Err(End::Told(CloseReason::Promoted)),
                        (CopyDecision::Reject | CopyDecision::Separate, _) => {
                            Err(End::Told(CloseReason::Rejected))
                        }
                    },
                    // Nobody else has to do with it.
                    Instruct::Deliver(_) | Instruct::LookForMore | Instruct::Cancel(_)
                    | Instruct::Refresh(_) | Instruct::Probe(_) => Ok(()),
                },
                _ = ping.tick() => outgoing.ping().await,
                () = tokio::time::sleep_until(silent_at) => Err(End::TimedOut),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn answer(&self, arrival: Incoming) -> Result<(), End> {
        let mut outgoing = self.outgoing.clone();
        match arrival {
            Incoming::Message(AgentMessage::Heartbeat(_)) => {
                let server_time = self.ports.clock.now();
                outgoing.say(&ServerMessage::HeartbeatAck(HeartbeatAck { server_time })).await
            }
            Incoming::Message(AgentMessage::Hello(_)) => Err(End::Violation("hello is said once")),
            Incoming::Ping(payload) => outgoing.pong(&payload).await,
            Incoming::Message(_) | Incoming::Frame(_) | Incoming::Alive => Ok(()),
        }
    }

    /// Tells the peer who it is from now on, and waits until it leaves to come back as that. An
    /// agent that is too old to understand does not.
    pub(super) async fn tell_identity(
        &self,
        mut orders: Orders,
        identity: &NewIdentity,
        arrivals: &mut Arrivals,
    ) -> End {
        let separate = Instruction::Separate(Separate {
            agent_id: identity.agent_id.as_uuid(),
            agent_token: identity.agent_token.expose().to_owned(),
        });
        let told = match orders.sign(&self.ports, separate) {
            Ok(order) => self.outgoing.clone().say(&order).await,
            Err(end) => Err(end),
        };
        if let Err(end) = told {
            return end;
        }
        let leaves = async { while let Some(Ok(_)) = arrivals.next().await {} };
        let _ = tokio::time::timeout(SEPARATE_PATIENCE, leaves).await;
        End::Told(CloseReason::Separated)
    }
}

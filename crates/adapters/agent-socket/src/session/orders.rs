//! Orders of one connection, each with a number greater than the one before.

use chrono::TimeDelta;
use muster_kernel::AgentId;
use muster_protocol::{Instruction, Order, ServerMessage};

use super::End;
use crate::AgentSocketPorts;

/// How long an order is good.
const ORDER_LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// The orders of one connection.
#[derive(Debug)]
pub(super) struct Orders {
    agent_id: AgentId,
    nonce: Box<str>,
    sequence: u64,
}

impl Orders {
    /// For the connection whose hello has this nonce.
    pub(super) fn new(agent_id: AgentId, nonce: String) -> Self {
        Self { agent_id, nonce: nonce.into(), sequence: 0 }
    }

    /// The instruction as an order, signed.
    pub(super) fn sign(
        &mut self,
        ports: &AgentSocketPorts,
        instruction: Instruction,
    ) -> Result<ServerMessage, End> {
        self.sequence += 1;
        let order = Order {
            agent_id: self.agent_id.as_uuid(),
            nonce: self.nonce.to_string(),
            sequence: self.sequence,
            expires_at: ports.clock.now() + ORDER_LIFETIME,
            instruction,
        };
        let signed = (ports.sign)(&order).map(ServerMessage::Signed);
        signed.ok_or(End::Violation("an order could not be written"))
    }
}

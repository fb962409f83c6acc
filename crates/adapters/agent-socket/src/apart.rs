//! Machines that are kept apart: they show the identity of an agent that is somewhere else.

use std::collections::BTreeMap;

use muster_agents::{CopyDecision, MachineCopy, NewIdentity};
use muster_kernel::{AgentId, ConnectionId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::link::{CloseReason, Instruct};

/// How many copies of one machine may wait for a decision.
const MAX_COPIES: usize = 16;

#[derive(Debug)]
struct Waiting {
    copy: MachineCopy,
    instructions: mpsc::UnboundedSender<Instruct>,
}

/// The copies that wait for a decision, by whose identity they show.
#[derive(Debug, Default)]
pub(crate) struct Apart(Mutex<BTreeMap<(AgentId, ConnectionId), Waiting>>);

impl Apart {
    /// Enters a copy; says whether there was room for it. An earlier connection of the same
    /// process is ended.
    pub(crate) fn enter(
        &self,
        id: AgentId,
        copy: MachineCopy,
        instructions: mpsc::UnboundedSender<Instruct>,
    ) -> bool {
        let mut waiting = self.0.lock();
        let same = |known: &Waiting| known.copy.incarnation.may_be(&copy.incarnation);
        let earlier = waiting.range(of(id)).find(|(_, known)| same(known)).map(|(key, _)| *key);
        if let Some(earlier) = earlier.and_then(|key| waiting.remove(&key)) {
            let _ = earlier.instructions.send(Instruct::Close(CloseReason::Replaced));
        }
        if waiting.range(of(id)).count() >= MAX_COPIES {
            return false;
        }
        waiting.insert((id, copy.connection_id), Waiting { copy, instructions });
        true
    }

    /// Takes a copy out; says whether it was there.
    pub(crate) fn leave(&self, id: AgentId, connection_id: ConnectionId) -> bool {
        self.0.lock().remove(&(id, connection_id)).is_some()
    }

    pub(crate) fn of(&self, id: AgentId) -> Vec<MachineCopy> {
        self.0.lock().range(of(id)).map(|(_, known)| known.copy.clone()).collect()
    }

    /// Tells a copy what was decided about it.
    pub(crate) fn settle(
        &self,
        id: AgentId,
        connection_id: ConnectionId,
        decision: CopyDecision,
        identity: Option<NewIdentity>,
    ) {
        if let Some(waiting) = self.0.lock().get(&(id, connection_id)) {
            let _ = waiting.instructions.send(Instruct::Settle(Box::new((decision, identity))));
        }
    }

    /// Ends the connections of the copies of one agent, or of all.
    pub(crate) fn close(&self, id: Option<AgentId>, reason: CloseReason) {
        for ((_, _), waiting) in
            self.0.lock().iter().filter(|((agent, _), _)| id.is_none_or(|id| id == *agent))
        {
            let _ = waiting.instructions.send(Instruct::Close(reason));
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

fn of(id: AgentId) -> std::ops::RangeInclusive<(AgentId, ConnectionId)> {
    let bound = |byte| ConnectionId::from_uuid(uuid::Uuid::from_bytes([byte; 16]));
    (id, bound(0))..=(id, bound(0xff))
}

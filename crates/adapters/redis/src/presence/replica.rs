//! What a node remembers of the others.

use std::collections::HashMap;
use std::time::Instant;

use muster_agents::Connection;
use muster_kernel::{AgentId, ConnectionId, NodeId};

use crate::link::NODE_LIVES;

/// What the other nodes told.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) nodes: HashMap<NodeId, Neighbour>,
    /// On which node the latest connection of each agent is.
    pub(super) places: HashMap<AgentId, NodeId>,
}

#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) heard: Instant,
    pub(super) agents: HashMap<AgentId, Connection>,
}

/// Of several connections of an agent the heaviest counts: the latest session, if there is one.
const fn weight(connection: &Connection) -> (bool, ConnectionId) {
    (!connection.plain, connection.connection_id)
}

impl Replica {
    pub(super) fn find(&self, id: AgentId) -> Option<(NodeId, &Connection)> {
        let node = self.places.get(&id)?;
        Some((*node, self.nodes.get(node)?.agents.get(&id)?))
    }

    pub(super) fn there(&mut self, node: NodeId, id: AgentId, connection: Connection) {
        let later = self
            .find(id)
            .is_none_or(|(other, known)| other == node || weight(known) < weight(&connection));
        if later {
            self.places.insert(id, node);
        }
        if let Some(neighbour) = self.nodes.get_mut(&node) {
            neighbour.agents.insert(id, connection);
        }
    }

    pub(super) fn left(&mut self, node: NodeId, id: AgentId, connection_id: ConnectionId) {
        let Some(neighbour) = self.nodes.get_mut(&node) else { return };
        if neighbour.agents.get(&id).is_some_and(|known| known.connection_id == connection_id) {
            neighbour.agents.remove(&id);
            self.place_anew(id);
        }
    }

    pub(super) fn forget_all_of(&mut self, node: NodeId) {
        let agents = self.nodes.get_mut(&node).map(|it| std::mem::take(&mut it.agents));
        for (id, _) in agents.into_iter().flatten() {
            self.place_anew(id);
        }
    }

    fn place_anew(&mut self, id: AgentId) {
        let of_node = |(node, neighbour): (&NodeId, &Neighbour)| {
            Some((weight(neighbour.agents.get(&id)?), *node))
        };
        match self.nodes.iter().filter_map(of_node).max() {
            Some((_, node)) => self.places.insert(id, node),
            None => self.places.remove(&id),
        };
    }

    /// Forgets nodes that have said nothing for too long; says whether there were any.
    pub(super) fn forget_silent(&mut self) -> bool {
        let silent: Vec<_> = self
            .nodes
            .iter()
            .filter(|(_, neighbour)| neighbour.heard.elapsed() >= NODE_LIVES)
            .map(|(node, _)| *node)
            .collect();
        for node in &silent {
            let gone = self.nodes.remove(node).map(|neighbour| neighbour.agents);
            for (id, _) in gone.into_iter().flatten() {
                self.place_anew(id);
            }
        }
        !silent.is_empty()
    }
}

//! The way from the route of polled connections to the adapter that keeps them.

use muster_agent_socket::AgentSocket;
use muster_http::{AgentPolls, Exchanged};
use muster_kernel::AgentId;
use serde_json::Value;

/// The polled connections of agents.
pub(crate) struct Polls(AgentSocket);

impl Polls {
    pub(crate) const fn new(socket: AgentSocket) -> Self {
        Self(socket)
    }
}

impl std::fmt::Debug for Polls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polls").finish_non_exhaustive()
    }
}

impl AgentPolls for Polls {
    fn exchange(
        &self,
        agent_id: AgentId,
        peer_address: Option<String>,
        request: Value,
    ) -> Exchanged {
        let socket = self.0.clone();
        Box::pin(async move {
            let answer = socket.poll(agent_id, peer_address, request).await;
            answer.map_err(|refusal| (refusal.code, refusal.detail))
        })
    }
}

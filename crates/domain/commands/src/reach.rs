//! Which agents can be reached, as far as that is known.

use std::collections::BTreeSet;

use muster_agents::{AgentRepository, AgentSelection};
use muster_kernel::{AgentId, StorageError, TenantScope, Timestamp};

use crate::Courier;

/// Those of `agents` that are connected. While it can't be known who is connected to other nodes,
/// whoever was seen lately counts as that: it is given what waits for it by its own node.
///
/// # Errors
/// When the storage fails.
pub async fn reachable(
    courier: &dyn Courier,
    repository: &dyn AgentRepository,
    agents: impl IntoIterator<Item = AgentId>,
    now: Timestamp,
) -> Result<BTreeSet<AgentId>, StorageError> {
    let (mut reached, away): (BTreeSet<_>, BTreeSet<_>) =
        agents.into_iter().partition(|id| courier.is_connected(*id));
    if !courier.sees_all() && !away.is_empty() {
        let seen =
            AgentSelection { ids: Some(away), only_online: true, ..AgentSelection::default() };
        let seen = repository.select(&TenantScope::All, &seen, now).await?;
        reached.extend(seen.into_iter().map(|agent| agent.id));
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::testing::{FakeCourier, command};
    use muster_agents::Enrol;
    use muster_agents::ONLINE_FOR;
    use muster_agents::testing::{FakeAgents, candidate};
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{Clock, CustomerId, Secret, TokenKind};

    #[tokio::test]
    async fn who_was_seen_lately_can_be_reached_while_other_nodes_are_out_of_sight() {
        let (agents, courier) = (FakeAgents::default(), FakeCourier::default());
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(1));
        let token = Secret::draw(TokenKind::Enrollment, &entropy).hash();
        agents.allow(token, CustomerId::new(&clock, &entropy));
        let candidate = candidate("web", None, &clock, &entropy);
        let elsewhere = agents.enrol(token.into(), candidate).await.unwrap();
        let here = command(1).agent_id;
        courier.connected.lock().insert(here);
        agents.record_seen(vec![elsewhere], clock.now()).await.unwrap();
        let reached = async |now| {
            reachable(&courier, &agents, [here, elsewhere, command(2).agent_id], now).await.unwrap()
        };
        assert_eq!(reached(clock.now()).await, [here].into(), "nobody else is connected");
        courier.sees_only_its_own.store(true, Ordering::Relaxed);
        assert_eq!(reached(clock.now()).await, [here, elsewhere].into());
        assert_eq!(reached(clock.now() + ONLINE_FOR).await, [here].into());
    }
}

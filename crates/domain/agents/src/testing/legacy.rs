//! Agents of older products: in memory, and what every registry does with them.

use std::collections::HashMap;

use async_trait::async_trait;
use muster_kernel::{
    Clock, CustomerId, Dialect, DialectPolicy, Entropy, StorageError, TenantScope, TokenHash,
};
use parking_lot::Mutex;

use super::{FakeAgents, Subject, candidate};
use crate::legacy::{DialectPolicies, Speaker, Speakers, dialect_name};
use crate::{Admission, AgentRepository, Enrol, EnrolCandidate};

#[async_trait]
impl Speakers for FakeAgents {
    async fn find(
        &self,
        customer: CustomerId,
        token: Option<TokenHash>,
        dialect: Dialect,
        name: &str,
    ) -> Result<Option<Speaker>, StorageError> {
        let (rows, admitted) = (self.rows.lock(), self.admitted.lock());
        let found = rows.values().find_map(|(agent, _)| {
            let let_in = token.is_none_or(|token| admitted.get(&agent.id) == Some(&token))
                && agent.customer_id == customer;
            let speaks = agent.dialect == Some(dialect);
            let named = agent.id.to_string() == name
                || agent.machine_id == Some(dialect_name(dialect, name));
            let (agent_id, customer_id) = (agent.id, agent.customer_id);
            (let_in && speaks && named).then_some(Speaker { agent_id, customer_id, dialect })
        });
        Ok(found)
    }
}

/// What customers allow, as a test says.
#[derive(Debug, Default)]
pub struct FakePolicies {
    /// What each allows.
    pub customers: Mutex<HashMap<CustomerId, DialectPolicy>>,
    /// Whose enrollment tokens there are.
    pub tokens: Mutex<HashMap<TokenHash, CustomerId>>,
}

#[async_trait]
impl DialectPolicies for FakePolicies {
    async fn of_customer(&self, customer: CustomerId) -> Result<DialectPolicy, StorageError> {
        Ok(self.customers.lock().get(&customer).cloned().unwrap_or_default())
    }

    async fn of_token(
        &self,
        token: TokenHash,
    ) -> Result<Option<(CustomerId, DialectPolicy)>, StorageError> {
        let Some(customer) = self.tokens.lock().get(&token).copied() else { return Ok(None) };
        Ok(Some((customer, self.of_customer(customer).await?)))
    }

    async fn with_networks(&self) -> Result<Vec<(CustomerId, DialectPolicy)>, StorageError> {
        let customers = self.customers.lock();
        let open = customers.iter().filter(|(_, policy)| !policy.without_credentials.is_empty());
        Ok(open.map(|(customer, policy)| (*customer, policy.clone())).collect())
    }
}

fn speaking(dialect: Dialect, name: Option<&str>, mut candidate: EnrolCandidate) -> EnrolCandidate {
    candidate.registration.dialect = Some(dialect);
    candidate.registration.machine_id = name.map(|name| dialect_name(dialect, name));
    candidate
}

/// Agents of older products are found by both of their names, and by nobody else's credential.
pub(super) async fn speakers_are_found<R>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) where
    R: AgentRepository + Enrol + Speakers,
{
    let [(mine, token), (other, other_token)] = *customers;
    let machine = |host: &str| candidate(host, None, clock, entropy);
    let dex = speaking(Dialect::DexAgents, Some("agent-1"), machine("old-1"));
    let dex = registry.enrol(token.into(), dex).await.unwrap();
    let speaker = Speaker { agent_id: dex, customer_id: mine, dialect: Dialect::DexAgents };
    let speaks = async |customer, token: Option<TokenHash>, dialect: Dialect, name: &str| {
        Speakers::find(registry, customer, token, dialect, name).await.unwrap()
    };
    let found =
        async |customer, token, name: &str| speaks(customer, token, Dialect::DexAgents, name).await;
    for name in ["agent-1".to_owned(), dex.to_string()] {
        assert_eq!(found(mine, None, &name).await, Some(speaker));
        assert_eq!(found(mine, Some(token), &name).await, Some(speaker));
        assert_eq!(found(other, None, &name).await, None);
        assert_eq!(found(mine, Some(other_token), &name).await, None);
    }
    let native = registry.enrol(token.into(), machine("old-0")).await.unwrap();
    assert_eq!(found(mine, None, &native.to_string()).await, None);

    // The same name in another product is another machine, and so is the host of Muster's own agent.
    let ram = speaking(Dialect::RemoteAgentManager, Some("agent-1"), machine("old-1"));
    let ram = registry.enrol(Admission::Customer(mine), ram).await.unwrap();
    assert_ne!(ram, dex);
    let manager = Dialect::RemoteAgentManager;
    assert_eq!(speaks(mine, Some(token), manager, "agent-1").await, None, "a key let it in");
    assert_eq!(speaks(mine, None, manager, "agent-1").await.map(|it| it.agent_id), Some(ram));
    assert_eq!(found(mine, None, "agent-1").await, Some(speaker));
    let same_host = speaking(Dialect::DeployFlow, None, machine("old-0"));
    assert_ne!(registry.enrol(Admission::Customer(mine), same_host).await.unwrap(), native);
    let again = speaking(Dialect::DexAgents, Some("agent-1"), machine("renamed"));
    assert_eq!(registry.enrol(token.into(), again).await.unwrap(), dex);
    for admission in [token.into(), Admission::Customer(mine)] {
        let untold = speaking(Dialect::DexAgents, None, machine("old-1"));
        assert_eq!(registry.enrol(admission, untold).await.unwrap(), dex, "it is the only one");
    }
    assert_eq!(found(mine, None, "agent-1").await, Some(speaker), "it keeps its name");
    let by_host = |dialect| speaking(dialect, None, machine("old-2"));
    let first = registry.enrol(token.into(), by_host(Dialect::DeployFlow)).await.unwrap();
    let second = registry.enrol(token.into(), by_host(Dialect::DeployFlow)).await.unwrap();
    assert_eq!(first, second);

    // Muster's own agent takes its place on that host, once.
    let own = candidate("old-2", Some("machine-2"), clock, entropy);
    assert_eq!(registry.enrol(token.into(), own).await.unwrap(), first);
    assert_eq!(speaks(mine, Some(token), Dialect::DeployFlow, &first.to_string()).await, None);
    let agent = AgentRepository::find(registry, &TenantScope::All, first).await.unwrap().unwrap();
    assert_eq!((agent.dialect, agent.machine_id.as_deref()), (None, Some("machine-2")));
    assert_ne!(registry.enrol(token.into(), by_host(Dialect::DeployFlow)).await.unwrap(), first);

    registry.delete(&TenantScope::All, dex, &super::contract::author(), clock.now()).await.unwrap();
    assert_eq!(found(mine, None, "agent-1").await, None);
}

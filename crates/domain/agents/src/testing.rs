//! A registry and a presence in memory, and the contract that every registry keeps.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use muster_kernel::{
    AgentId, Author, Clock, ConnectionId, Cursor, CustomerId, Entropy, Page, PageRequest,
    StorageError, TenantScope, Timestamp, TokenHash,
};
use parking_lot::Mutex;

mod connections;
mod contract;
pub mod metrics;

pub use connections::{connection, copy};
pub use contract::{Subject, candidate, contract};

use crate::{
    Admission, Agent, AgentChange, AgentFilter, AgentProgram, AgentRepository, AgentSelection,
    AgentStatus, AgentTokens, Connection, ConnectionRecord, CopyDecision, CopyVerdict, Enrol,
    EnrolCandidate, EnrolError, MachineCopy, Metrics, NewIdentity, Presence, RefreshError,
    Registration, SelectedAgent, StatusCounts, SystemInfo, Transport,
};

/// A registry in memory. Every enrollment token that was [allowed](Self::allow) is good for ever.
#[derive(Debug, Default)]
pub struct FakeAgents {
    rows: Mutex<BTreeMap<AgentId, (Agent, Option<TokenHash>)>>,
    connections: Mutex<Vec<ConnectionRecord>>,
    verdicts: Mutex<Vec<CopyVerdict>>,
    enrollment: Mutex<HashMap<TokenHash, CustomerId>>,
}

impl FakeAgents {
    /// Lets whoever shows `token` enrol with `customer`.
    pub fn allow(&self, token: TokenHash, customer: CustomerId) {
        self.enrollment.lock().insert(token, customer);
    }
}

fn passes(agent: &Agent, scope: &TenantScope, filter: &AgentFilter) -> bool {
    let contains = |text: &Option<String>, q: &str| {
        text.as_ref().is_some_and(|text| text.to_lowercase().contains(q))
    };
    scope.contains(agent.customer_id)
        && filter.status.is_none_or(|(status, now)| agent.status(false, now) == status)
        && filter.os_type.is_none_or(|os_type| agent.os_type == os_type)
        && filter.customer_id.is_none_or(|customer| agent.customer_id == customer)
        && filter.tag.as_ref().is_none_or(|tag| agent.tags.iter().any(|own| own == tag))
        && filter.version.as_ref().is_none_or(|version| agent.version.as_ref() == Some(version))
        && filter.q.as_ref().map(|q| q.to_lowercase()).is_none_or(|q| {
            agent.hostname.to_lowercase().contains(&q)
                || contains(&agent.ip_address, &q)
                || contains(&agent.os, &q)
                || contains(&agent.notes, &q)
        })
}

fn zone(agent: &Agent) -> Option<&String> {
    agent.system_info.as_ref().and_then(|info| info.time_zone.as_ref())
}

fn is_picked(agent: &Agent, scope: &TenantScope, selection: &AgentSelection) -> bool {
    let AgentSelection { ids, tags, customer_id, os_type, time_zones } = selection;
    let shown = zone(agent).map_or("UTC", String::as_str);
    scope.contains(agent.customer_id)
        && ids.as_ref().is_none_or(|ids| ids.contains(&agent.id))
        && tags.iter().all(|tag| agent.tags.iter().any(|known| known == tag))
        && customer_id.is_none_or(|id| agent.customer_id == id)
        && os_type.is_none_or(|os_type| agent.os_type == os_type)
        && time_zones.as_ref().is_none_or(|zones| zones.contains(shown))
}

#[async_trait]
impl AgentRepository for FakeAgents {
    async fn find(&self, scope: &TenantScope, id: AgentId) -> Result<Option<Agent>, StorageError> {
        let rows = self.rows.lock();
        Ok(rows.get(&id).map(|row| row.0.clone()).filter(|a| scope.contains(a.customer_id)))
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        page: &PageRequest,
    ) -> Result<Page<Agent>, StorageError> {
        let rows = self.rows.lock();
        let all: Vec<_> =
            rows.values().map(|row| &row.0).filter(|a| passes(a, scope, filter)).collect();
        let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
        let after = page.cursor.as_ref().map(|cursor| AgentId::from_uuid(cursor.id));
        let items = all
            .into_iter()
            .filter(|agent| after.is_none_or(|after| agent.id > after))
            .take(usize::from(page.limit()) + 1)
            .cloned()
            .collect();
        Ok(Page::from_rows(items, page, total, |agent| Cursor::after(agent.id.as_uuid())))
    }

    async fn select(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
    ) -> Result<Vec<SelectedAgent>, StorageError> {
        let rows = self.rows.lock();
        let selected = rows.values().map(|row| &row.0);
        let selected = selected.filter(|agent| is_picked(agent, scope, selection));
        let selected = selected.map(|agent| SelectedAgent {
            id: agent.id,
            customer_id: agent.customer_id,
            os_type: agent.os_type,
        });
        Ok(selected.collect())
    }

    async fn time_zones(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
    ) -> Result<BTreeSet<Option<String>>, StorageError> {
        let rows = self.rows.lock();
        let picked =
            rows.values().map(|row| &row.0).filter(|agent| is_picked(agent, scope, selection));
        Ok(picked.map(|agent| zone(agent).cloned()).collect())
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Result<StatusCounts, StorageError> {
        let filter = AgentFilter { status: None, ..filter.clone() };
        let mut counts = StatusCounts::default();
        for (agent, _) in self.rows.lock().values().filter(|row| passes(&row.0, scope, &filter)) {
            match agent.status(false, now) {
                AgentStatus::Online => counts.online += 1,
                AgentStatus::Offline => counts.offline += 1,
            }
        }
        Ok(counts)
    }

    async fn update(
        &self,
        scope: &TenantScope,
        id: AgentId,
        change: AgentChange,
        _author: &Author,
        now: Timestamp,
    ) -> Result<Option<Agent>, StorageError> {
        let mut rows = self.rows.lock();
        let Some((agent, _)) = rows.get_mut(&id).filter(|r| scope.contains(r.0.customer_id)) else {
            return Ok(None);
        };
        *agent = agent.clone().changed(change, now);
        Ok(Some(agent.clone()))
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AgentId,
        _author: &Author,
        _now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.rows.lock();
        let there = rows.get(&id).is_some_and(|row| scope.contains(row.0.customer_id));
        Ok(there && rows.remove(&id).is_some())
    }

    async fn record_system_info(
        &self,
        id: AgentId,
        info: SystemInfo,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        if let Some((agent, _)) = self.rows.lock().get_mut(&id) {
            agent.os = Some(info.os.clone());
            agent.system_info = Some(info);
            agent.updated_at = now;
        }
        Ok(())
    }

    async fn record_connected(
        &self,
        program: AgentProgram,
        connection: ConnectionRecord,
    ) -> Result<Option<CustomerId>, StorageError> {
        let mut rows = self.rows.lock();
        let Some((agent, _)) = rows.get_mut(&connection.agent_id) else { return Ok(None) };
        agent.version = Some(program.version);
        agent.capabilities = program.capabilities;
        agent.last_seen = Some(connection.began_at);
        self.begin(connection);
        Ok(Some(agent.customer_id))
    }

    async fn record_seen(
        &self,
        ids: Vec<AgentId>,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        let mut rows = self.rows.lock();
        let mut gone = Vec::new();
        for id in ids {
            match rows.get_mut(&id) {
                Some((agent, _)) => agent.last_seen = Some(now),
                None => gone.push(id),
            }
        }
        Ok(gone)
    }
}

#[async_trait]
impl AgentTokens for FakeAgents {
    async fn find(&self, token: TokenHash) -> Result<Option<(AgentId, CustomerId)>, StorageError> {
        let rows = self.rows.lock();
        Ok(rows.values().find(|row| row.1 == Some(token)).map(|row| (row.0.id, row.0.customer_id)))
    }
}

#[async_trait]
impl Enrol for FakeAgents {
    async fn enrol(
        &self,
        admission: Admission,
        candidate: EnrolCandidate,
    ) -> Result<AgentId, EnrolError> {
        let customer = match admission {
            Admission::Customer(customer) => customer,
            Admission::Token(token) => {
                let customer = self.enrollment.lock().get(&token).copied();
                customer.ok_or(EnrolError::TokenInvalid)?
            }
        };
        let mut rows = self.rows.lock();
        if let Some((agent, _)) = rows.values().find(|row| row.1 == Some(candidate.agent_token)) {
            return Ok(agent.id);
        }
        let known = rows
            .values()
            .map(|row| &row.0)
            .find(|agent| agent.customer_id == customer && same(agent, &candidate.registration))
            .cloned();
        let mut agent = candidate.registration.into_agent(candidate.id, customer, candidate.now);
        if let Some(known) = known {
            agent = agent.succeeding(known);
        }
        let id = agent.id;
        rows.insert(id, (agent, Some(candidate.agent_token)));
        Ok(id)
    }
}

fn same(agent: &Agent, registration: &Registration) -> bool {
    match &registration.machine_id {
        Some(machine_id) => agent.machine_id.as_ref() == Some(machine_id),
        None => agent.machine_id.is_none() && agent.hostname == registration.hostname,
    }
}

/// Who is connected, as a test says.
#[derive(Debug, Default)]
pub struct FakePresence(Mutex<HashMap<AgentId, Connection>>);

impl FakePresence {
    /// From now on `id` is connected.
    pub fn connect(&self, id: AgentId, clock: &dyn Clock, entropy: &dyn Entropy) {
        let connection = Connection {
            connection_id: ConnectionId::new(clock, entropy),
            connected_at: clock.now(),
            transport: Transport::Websocket,
            peer_address: None,
            last_frame_at: clock.now(),
            metrics: None,
        };
        self.0.lock().insert(id, connection);
    }
}

#[async_trait]
impl Presence for FakePresence {
    fn connection(&self, id: AgentId) -> Option<Connection> {
        self.0.lock().get(&id).cloned()
    }

    fn connected(&self) -> usize {
        self.0.lock().len()
    }

    fn disconnect(&self, id: AgentId) {
        self.0.lock().remove(&id);
    }

    fn replaced(&self, id: AgentId, by: ConnectionId) {
        let mut connections = self.0.lock();
        if connections.get(&id).is_some_and(|connection| connection.connection_id < by) {
            connections.remove(&id);
        }
    }

    fn heard(
        &self,
        id: AgentId,
        _: CustomerId,
        metrics: Option<Metrics>,
        _: Option<String>,
    ) -> bool {
        let mut connections = self.0.lock();
        let connection = connections.get_mut(&id);
        if let Some(connection) = connection {
            connection.metrics = metrics.or(connection.metrics);
            return true;
        }
        false
    }

    fn copies(&self, _: AgentId) -> Vec<MachineCopy> {
        Vec::new()
    }

    fn token(&self, _: AgentId) -> Option<TokenHash> {
        None
    }

    fn settle(&self, _: AgentId, _: ConnectionId, _: CopyDecision, _: Option<NewIdentity>) {}

    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError> {
        self.connection(id).map(|_| ()).ok_or(RefreshError::Offline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use muster_kernel::{Secret, TokenKind};

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(5));
        let registry = FakeAgents::default();
        let customer = || {
            let id = CustomerId::new(&clock, &entropy);
            let token = Secret::draw(TokenKind::Enrollment, &entropy).hash();
            registry.allow(token, id);
            (id, token)
        };
        let customers = [customer(), customer()];
        contract(&Subject { registry: &registry, customers: &customers }).await;
    }
}

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
    AgentId, Author, Clock, ConnectionId, CustomerId, Entropy, GroupId, Page, PageRequest,
    StorageError, TenantScope, Timestamp, TokenHash,
};
use parking_lot::Mutex;
use uuid::Uuid;

mod connections;
mod contract;
mod groups;
mod legacy;
mod lists;
pub mod metrics;

pub use connections::{connection, copy};
pub use contract::{Subject, candidate, contract};
pub use groups::group_contract;
pub use legacy::FakePolicies;

use crate::groups::{Group, GroupKind};
use crate::{
    Admission, Agent, AgentChange, AgentFilter, AgentOrder, AgentPage, AgentProgram,
    AgentRepository, AgentSelection, AgentSort, AgentStatus, AgentTokens, BulkEdit, BulkWriteError,
    Connection, ConnectionRecord, CopyDecision, CopyVerdict, Criteria, Enrol, EnrolCandidate,
    EnrolError, MachineCopy, Metrics, NewIdentity, Presence, RefreshError, Registration,
    SelectedAgent, StatusCounts, SystemInfo, Transport,
};

/// A registry in memory. Every enrollment token that was [allowed](Self::allow) is good for ever.
#[derive(Debug, Default)]
pub struct FakeAgents {
    rows: Mutex<BTreeMap<AgentId, (Agent, Option<TokenHash>)>>,
    connections: Mutex<Vec<ConnectionRecord>>,
    verdicts: Mutex<Vec<CopyVerdict>>,
    enrollment: Mutex<HashMap<TokenHash, CustomerId>>,
    groups: Mutex<BTreeMap<GroupId, Group>>,
    /// Which enrollment token let an agent in.
    admitted: Mutex<HashMap<AgentId, TokenHash>>,
}

impl FakeAgents {
    /// Lets whoever shows `token` enrol with `customer`.
    pub fn allow(&self, token: TokenHash, customer: CustomerId) {
        self.enrollment.lock().insert(token, customer);
    }

    /// How many agents there are.
    pub fn len(&self) -> usize {
        self.rows.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn passes(agent: &Agent, scope: &TenantScope, filter: &AgentFilter, now: Timestamp) -> bool {
    scope.contains(agent.customer_id)
        && filter.customer_id.is_none_or(|customer| agent.customer_id == customer)
        && filter.criteria.pass(agent, now)
        && filter.group.as_ref().is_none_or(|group| group.covers(agent, now))
}

fn count<'a>(agents: impl Iterator<Item = &'a Agent>, now: Timestamp) -> StatusCounts {
    agents.fold(StatusCounts::default(), |mut counts, agent| {
        match agent.status(false, now) {
            AgentStatus::Online => counts.online += 1,
            AgentStatus::Offline => counts.offline += 1,
        }
        counts
    })
}

/// What an agent is sorted by: numbers as numbers, with the id behind.
fn place(order: AgentOrder, key: &str, id: Uuid) -> (i64, String, Uuid) {
    match order.sort {
        AgentSort::CreatedAt | AgentSort::LastSeen => (key.parse().unwrap_or(0), String::new(), id),
        AgentSort::Hostname | AgentSort::Version | AgentSort::OsType | AgentSort::CustomerId => {
            (0, key.to_owned(), id)
        }
    }
}

fn zone(agent: &Agent) -> Option<&String> {
    agent.system_info.as_ref().and_then(|info| info.time_zone.as_ref())
}

fn is_picked(
    agent: &Agent,
    scope: &TenantScope,
    selection: &AgentSelection,
    now: Timestamp,
) -> bool {
    let AgentSelection { ids, tags, customer_id, os_type, time_zones, groups, only_online } =
        selection;
    let shown = zone(agent).map_or("UTC", String::as_str);
    scope.contains(agent.customer_id)
        && ids.as_ref().is_none_or(|ids| ids.contains(&agent.id))
        && tags.iter().all(|tag| agent.tags.iter().any(|known| known == tag))
        && customer_id.is_none_or(|id| agent.customer_id == id)
        && os_type.is_none_or(|os_type| agent.os_type == os_type)
        && time_zones.as_ref().is_none_or(|zones| zones.contains(shown))
        && groups.as_ref().is_none_or(|groups| groups.iter().any(|it| it.covers(agent, now)))
        && (!only_online || agent.status(false, now) == AgentStatus::Online)
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
        order: AgentOrder,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<AgentPage, StorageError> {
        let counts = self.count(scope, filter, now).await?;
        let rows = self.rows.lock();
        let place_of = |agent: &Agent| place(order, &order.key(agent), agent.id.as_uuid());
        let behind = page
            .cursor
            .as_ref()
            .map(|cursor| place(order, cursor.key.as_deref().unwrap_or_default(), cursor.id));
        let passing = rows.values().map(|row| &row.0).filter(|a| passes(a, scope, filter, now));
        let mut items: Vec<_> = passing.cloned().collect();
        items.sort_by_key(place_of);
        if order.descending {
            items.reverse();
        }
        items.retain(|agent| match (&behind, order.descending) {
            (None, _) => true,
            (Some(behind), false) => place_of(agent) > *behind,
            (Some(behind), true) => place_of(agent) < *behind,
        });
        items.truncate(usize::from(page.limit()) + 1);
        let total = counts.of(filter.criteria.status);
        let page = Page::from_rows(items, page, total, |agent| order.behind(agent));
        Ok(AgentPage { page, counts })
    }

    async fn tags(&self, scope: &TenantScope) -> Result<Vec<(String, u64)>, StorageError> {
        let rows = self.rows.lock();
        let mine = rows.values().map(|row| &row.0).filter(|a| scope.contains(a.customer_id));
        let mut counts = BTreeMap::new();
        for tag in mine.flat_map(|agent| agent.tags.iter()) {
            *counts.entry(tag.to_owned()).or_insert(0) += 1;
        }
        Ok(counts.into_iter().collect())
    }

    async fn select(
        &self,
        scope: &TenantScope,
        selection: &AgentSelection,
        now: Timestamp,
    ) -> Result<Vec<SelectedAgent>, StorageError> {
        let rows = self.rows.lock();
        let selected = rows.values().map(|row| &row.0);
        let selected = selected.filter(|agent| is_picked(agent, scope, selection, now));
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
        now: Timestamp,
    ) -> Result<BTreeSet<Option<String>>, StorageError> {
        let rows = self.rows.lock();
        let picked =
            rows.values().map(|row| &row.0).filter(|agent| is_picked(agent, scope, selection, now));
        Ok(picked.map(|agent| zone(agent).cloned()).collect())
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Result<StatusCounts, StorageError> {
        let criteria = Criteria { status: None, ..filter.criteria.clone() };
        let filter = AgentFilter { criteria, ..filter.clone() };
        let rows = self.rows.lock();
        let passing = rows.values().map(|row| &row.0);
        Ok(count(passing.filter(|agent| passes(agent, scope, &filter, now)), now))
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
        let (groups, owner) = (self.groups.lock(), agent.customer_id);
        agent.groups.retain(|id| groups.get(id).is_some_and(|group| takes(group, owner)));
        Ok(Some(agent.clone()))
    }

    async fn update_many(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        edit: BulkEdit,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, BulkWriteError> {
        let mut changes = Vec::new();
        for id in ids {
            let Some(agent) = AgentRepository::find(self, scope, id).await? else { continue };
            let change = edit.change(&agent).map_err(|_| BulkWriteError::TooManyTags(id))?;
            changes.extend(change.map(|change| (id, change)));
        }
        let mut count = 0;
        for (id, change) in changes {
            count += u64::from(self.update(scope, id, change, author, now).await?.is_some());
        }
        Ok(count)
    }

    async fn delete_many(
        &self,
        scope: &TenantScope,
        ids: Vec<AgentId>,
        author: &Author,
        now: Timestamp,
    ) -> Result<Vec<AgentId>, StorageError> {
        let mut gone = Vec::new();
        for id in ids {
            if self.delete(scope, id, author, now).await? {
                gone.push(id);
            }
        }
        Ok(gone)
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
        let own = || rows.values().map(|row| &row.0).filter(|agent| agent.customer_id == customer);
        let registration = &candidate.registration;
        if let Admission::Token(token) = admission
            && registration.dialect.is_some()
        {
            let admitted = self.admitted.lock();
            let by_it = |agent: &&Agent| admitted.get(&agent.id) == Some(&token);
            if let Some(known) = own().filter(by_it).find(|agent| same(agent, registration)) {
                return Ok(known.id);
            }
        }
        let known = own().find(|agent| same(agent, registration));
        let known = known.or_else(|| own().find(|agent| replaced(agent, registration))).cloned();
        let mut agent = candidate.registration.into_agent(candidate.id, customer, candidate.now);
        if let Some(known) = known {
            agent = agent.succeeding(known);
        }
        let id = agent.id;
        if let Admission::Token(token) = admission {
            self.admitted.lock().insert(id, token);
        }
        rows.insert(id, (agent, Some(candidate.agent_token)));
        Ok(id)
    }
}

/// Whether machines of `customer` can be put into `group`.
fn takes(group: &Group, customer: CustomerId) -> bool {
    group.kind == GroupKind::Static && group.customer_id.is_none_or(|own| own == customer)
}

fn same(agent: &Agent, registration: &Registration) -> bool {
    let by_host = || agent.hostname == registration.hostname;
    let named = match (&registration.machine_id, registration.dialect) {
        (Some(machine_id), _) => agent.machine_id.as_ref() == Some(machine_id),
        (None, Some(_)) => by_host(),
        (None, None) => agent.machine_id.is_none() && by_host(),
    };
    named && agent.dialect == registration.dialect
}

/// Whether Muster's own agent is installed where an older product's was.
fn replaced(agent: &Agent, registration: &Registration) -> bool {
    let older = agent.dialect.is_some() && registration.dialect.is_none();
    older && agent.hostname == registration.hostname
}

/// Who is connected, as a test says.
#[derive(Debug, Default)]
pub struct FakePresence(Mutex<HashMap<AgentId, Connection>>);

impl FakePresence {
    /// From now on `id` is connected.
    pub fn connect(&self, id: AgentId, clock: &dyn Clock, entropy: &dyn Entropy) {
        self.enter(id, false, clock, entropy);
    }

    /// From now on `id` asks in plain requests.
    pub fn ask(&self, id: AgentId, clock: &dyn Clock, entropy: &dyn Entropy) {
        self.enter(id, true, clock, entropy);
    }

    fn enter(&self, id: AgentId, plain: bool, clock: &dyn Clock, entropy: &dyn Entropy) {
        let connection = Connection {
            connection_id: ConnectionId::new(clock, entropy),
            connected_at: clock.now(),
            transport: if plain { Transport::Http } else { Transport::Websocket },
            plain,
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
            return !connection.plain;
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
        group_contract(&Subject { registry: &registry, customers: &customers }, &registry).await;
    }
}

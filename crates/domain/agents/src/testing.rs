//! A registry and a presence in memory, and the contract that every registry keeps.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Clock, ConnectionId, Cursor, CustomerId, Entropy, Page, PageRequest, Secret,
    StorageError, TenantScope, Timestamp, TokenHash, TokenKind,
};
use parking_lot::Mutex;

use crate::{
    Agent, AgentChange, AgentFilter, AgentProgram, AgentRepository, AgentStatus, AgentTokens,
    Connection, Enrol, EnrolCandidate, EnrolError, ONLINE_FOR, OsType, Presence, RefreshError,
    Registration, RegistrationRequest, StatusCounts, SystemInfo, Tags,
};

/// A registry in memory. Every enrollment token that was [allowed](Self::allow) is good for ever.
#[derive(Debug, Default)]
pub struct FakeAgents {
    rows: Mutex<BTreeMap<AgentId, (Agent, TokenHash)>>,
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
        now: Timestamp,
    ) -> Result<Option<Agent>, StorageError> {
        let mut rows = self.rows.lock();
        let Some((agent, _)) = rows.get_mut(&id).filter(|r| scope.contains(r.0.customer_id)) else {
            return Ok(None);
        };
        agent.hostname = change.hostname.unwrap_or_else(|| agent.hostname.clone());
        agent.tags = change.tags.unwrap_or_else(|| agent.tags.clone());
        agent.customer_id = change.customer_id.unwrap_or(agent.customer_id);
        let notes = change.notes.or_else(|| agent.notes.clone());
        agent.notes = notes.filter(|notes| !notes.is_empty());
        agent.updated_at = now;
        Ok(Some(agent.clone()))
    }

    async fn delete(
        &self,
        scope: &TenantScope,
        id: AgentId,
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
        id: AgentId,
        program: AgentProgram,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let mut rows = self.rows.lock();
        let Some((agent, _)) = rows.get_mut(&id) else { return Ok(false) };
        agent.version = Some(program.version);
        agent.capabilities = program.capabilities;
        agent.last_seen = Some(now);
        Ok(true)
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
        Ok(rows.values().find(|row| row.1 == token).map(|row| (row.0.id, row.0.customer_id)))
    }
}

#[async_trait]
impl Enrol for FakeAgents {
    async fn enrol(
        &self,
        enrollment_token: TokenHash,
        candidate: EnrolCandidate,
    ) -> Result<AgentId, EnrolError> {
        let customer = self.enrollment.lock().get(&enrollment_token).copied();
        let customer = customer.ok_or(EnrolError::TokenInvalid)?;
        let mut rows = self.rows.lock();
        if let Some((agent, _)) = rows.values().find(|row| row.1 == candidate.agent_token) {
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
        rows.insert(id, (agent, candidate.agent_token));
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

    async fn refresh(&self, id: AgentId) -> Result<(), RefreshError> {
        self.connection(id).map(|_| ()).ok_or(RefreshError::Offline)
    }
}

/// What the contract suite needs of a registry: itself, and customers whose tokens are good.
#[derive(Debug)]
pub struct Subject<'a, R> {
    /// The registry.
    pub registry: &'a R,
    /// Two customers, each with a token that lets many machines enrol.
    pub customers: &'a [(CustomerId, TokenHash); 2],
}

/// A candidate of that name; every call draws another id and token.
///
/// # Panics
/// When the name breaks a rule.
pub fn candidate(
    hostname: &str,
    machine_id: Option<&str>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> EnrolCandidate {
    let registration = Registration::try_from(RegistrationRequest {
        hostname: hostname.into(),
        os: Some("Debian GNU/Linux 12".into()),
        tags: vec!["web".into()],
        machine_id: machine_id.map(Into::into),
        ..RegistrationRequest::default()
    });
    EnrolCandidate {
        id: AgentId::new(clock, entropy),
        registration: registration.expect("the example is valid"),
        agent_token: Secret::draw(TokenKind::Agent, entropy).hash(),
        now: clock.now(),
    }
}

/// The contract of [`AgentRepository`], [`AgentTokens`] and [`Enrol`], to be run on an empty
/// registry.
///
/// # Panics
/// When the registry breaks it.
pub async fn contract<R: AgentRepository + AgentTokens + Enrol>(subject: &Subject<'_, R>) {
    let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(11));
    the_same_machine_is_the_same_agent(subject, &clock, &entropy).await;
    a_scope_hides_what_lies_outside(subject, &clock, &entropy).await;
    lists_are_filtered_and_paged(subject, &clock, &entropy).await;
    changes_and_reports_are_kept(subject, &clock, &entropy).await;
    a_deleted_agent_is_gone(subject, &clock, &entropy).await;
}

async fn the_same_machine_is_the_same_agent<R: AgentRepository + AgentTokens + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (_, other_token)] = *customers;
    let first = candidate("web-01", Some("m-1"), clock, entropy);
    let id = registry.enrol(token, first.clone()).await.unwrap();
    assert_eq!(AgentTokens::find(registry, first.agent_token).await.unwrap(), Some((id, mine)));
    assert_eq!(registry.enrol(token, first.clone()).await.unwrap(), id, "an attempt repeated");

    let renamed = candidate("web-02", Some("m-1"), clock, entropy);
    assert_eq!(registry.enrol(token, renamed.clone()).await.unwrap(), id);
    assert_eq!(AgentTokens::find(registry, first.agent_token).await.unwrap(), None, "old token");
    let agent = AgentRepository::find(registry, &TenantScope::All, id).await.unwrap().unwrap();
    assert_eq!((agent.hostname.as_str(), agent.os_type), ("web-02", OsType::Linux));

    let elsewhere = candidate("web-02", Some("m-1"), clock, entropy);
    assert_ne!(registry.enrol(other_token, elsewhere).await.unwrap(), id, "another customer");
    let by_name = candidate("db-01", None, clock, entropy);
    let named = registry.enrol(token, by_name).await.unwrap();
    let again = candidate("db-01", None, clock, entropy);
    assert_eq!(registry.enrol(token, again).await.unwrap(), named);

    let nobody = Secret::draw(TokenKind::Enrollment, entropy).hash();
    let refused = registry.enrol(nobody, candidate("x", None, clock, entropy)).await;
    assert!(matches!(refused, Err(EnrolError::TokenInvalid)));
}

async fn a_scope_hides_what_lies_outside<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (other, _)] = *customers;
    let id = registry.enrol(token, candidate("hidden", None, clock, entropy)).await.unwrap();
    let (inside, outside) = (TenantScope::one(mine), TenantScope::one(other));
    assert!(registry.find(&inside, id).await.unwrap().is_some());
    assert!(registry.find(&outside, id).await.unwrap().is_none());
    let change = AgentChange { notes: Some("mine now".into()), ..AgentChange::default() };
    assert!(registry.update(&outside, id, change, clock.now()).await.unwrap().is_none());
    assert!(!registry.delete(&outside, id, clock.now()).await.unwrap());
    let filter = AgentFilter { q: Some("hidden".into()), ..AgentFilter::default() };
    let page = PageRequest::default();
    assert_eq!(registry.list(&outside, &filter, &page).await.unwrap().total, 0);
    assert_eq!(registry.list(&inside, &filter, &page).await.unwrap().total, 1);
}

async fn lists_are_filtered_and_paged<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), _] = *customers;
    let mut ids = Vec::new();
    for n in 0..5 {
        clock.advance(chrono::TimeDelta::milliseconds(1));
        let name = format!("page-{n}-100%_x");
        ids.push(registry.enrol(token, candidate(&name, None, clock, entropy)).await.unwrap());
    }
    let scope = TenantScope::one(mine);
    let filter = AgentFilter { q: Some("PAGE-".into()), ..AgentFilter::default() };
    let first = registry.list(&scope, &filter, &PageRequest::new(3, None)).await.unwrap();
    assert_eq!((first.items.len(), first.total), (3, 5));
    let rest = PageRequest::new(3, first.next_cursor);
    let rest = registry.list(&scope, &filter, &rest).await.unwrap();
    assert_eq!(rest.next_cursor, None);
    let seen: Vec<_> = first.items.iter().chain(&rest.items).map(|agent| agent.id).collect();
    assert_eq!(seen, ids);

    let now = clock.now();
    let two = ids.iter().take(2).copied().collect();
    assert_eq!(registry.record_seen(two, now).await.unwrap(), []);
    let counts = registry.count(&scope, &filter, now).await.unwrap();
    assert_eq!(counts, StatusCounts { online: 2, offline: 3 });
    let later = now + ONLINE_FOR;
    let offline = AgentFilter { status: Some((AgentStatus::Offline, later)), ..filter.clone() };
    assert_eq!(registry.list(&scope, &offline, &PageRequest::default()).await.unwrap().total, 5);
    for (text, total) in [("100%_x", 5), ("100_", 0), ("page-%", 0)] {
        let filter = AgentFilter { q: Some(text.into()), ..AgentFilter::default() };
        let found = registry.list(&scope, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(found.total, total, "text is taken as it is: {text}");
    }
    let tagged = AgentFilter { tag: Some("web".into()), ..filter.clone() };
    assert_eq!(registry.list(&scope, &tagged, &PageRequest::default()).await.unwrap().total, 5);
    let tagged = AgentFilter { tag: Some("we".into()), ..filter };
    assert_eq!(registry.list(&scope, &tagged, &PageRequest::default()).await.unwrap().total, 0);
}

async fn changes_and_reports_are_kept<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let token = customers[0].1;
    let id = registry.enrol(token, candidate("change", None, clock, entropy)).await.unwrap();
    let tags = Tags::parse(["db".to_owned()]).unwrap();
    let change = AgentChange {
        hostname: Some("changed".into()),
        tags: Some(tags.clone()),
        notes: Some("under the desk".into()),
        customer_id: None,
    };
    let changed = registry.update(&TenantScope::All, id, change, clock.now()).await.unwrap();
    let info = example_info(clock.now());
    registry.record_system_info(id, info.clone(), clock.now()).await.unwrap();
    let found = registry.find(&TenantScope::All, id).await.unwrap().unwrap();
    let clean = AgentChange { notes: Some(String::new()), ..AgentChange::default() };
    let clean = registry.update(&TenantScope::All, id, clean, clock.now()).await.unwrap().unwrap();
    assert_eq!((clean.notes, clean.hostname.as_str()), (None, "changed"));
    let program = AgentProgram { version: "9.9".into(), capabilities: vec!["shell:sh".into()] };
    assert!(registry.record_connected(id, program.clone(), clock.now()).await.unwrap());
    let newer = AgentFilter { version: Some("9.9".into()), ..AgentFilter::default() };
    let page = registry.list(&TenantScope::All, &newer, &PageRequest::default()).await.unwrap();
    assert_eq!((page.total, &page.items[0].capabilities), (1, &program.capabilities));
    assert_eq!((changed.unwrap().hostname, found.hostname), ("changed".into(), "changed".into()));
    assert_eq!((found.tags, found.notes.as_deref()), (tags, Some("under the desk")));
    assert_eq!(found.system_info, Some(info));
}

async fn a_deleted_agent_is_gone<R: AgentRepository + AgentTokens + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let token = customers[0].1;
    let doomed = candidate("doomed", Some("m-9"), clock, entropy);
    let id = registry.enrol(token, doomed.clone()).await.unwrap();
    assert!(registry.delete(&TenantScope::All, id, clock.now()).await.unwrap());
    assert!(AgentRepository::find(registry, &TenantScope::All, id).await.unwrap().is_none());
    assert_eq!(AgentTokens::find(registry, doomed.agent_token).await.unwrap(), None);
    assert!(!registry.delete(&TenantScope::All, id, clock.now()).await.unwrap());
    assert_eq!(registry.record_seen(vec![id], clock.now()).await.unwrap(), [id]);
    let program = AgentProgram { version: "1".into(), capabilities: Vec::new() };
    assert!(!registry.record_connected(id, program, clock.now()).await.unwrap());
    let back = candidate("doomed", Some("m-9"), clock, entropy);
    assert_ne!(registry.enrol(token, back).await.unwrap(), id, "ids are not used again");
}

fn example_info(now: Timestamp) -> SystemInfo {
    SystemInfo {
        hostname: "change".into(),
        os: "Debian GNU/Linux 12".into(),
        os_version: "12".into(),
        kernel_version: "6.1".into(),
        architecture: "x86_64".into(),
        cpu_model: "QEMU".into(),
        cpu_count: 2,
        memory_bytes: 1 << 33,
        disk_bytes: 1 << 40,
        interfaces: Vec::new(),
        logged_in_users: vec!["root".into()],
        pending_reboot: Some(false),
        reported_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

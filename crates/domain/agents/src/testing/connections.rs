//! Connections and copies of machines: the fake, and what every implementation keeps.

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, ConnectionId, Entropy, NodeId, Secret, StorageError, TenantScope,
    Timestamp, TokenHash, TokenKind,
};

use super::{FakeAgents, Subject, candidate};
use crate::{
    AgentProgram, AgentRepository, AgentTokens, CONNECTIONS_KEPT, ConnectionEnd, ConnectionLog,
    ConnectionRecord, CopyDecision, CopyVerdict, CopyVerdicts, EndReason, Enrol, Incarnation,
    MachineCopy, ONLINE_FOR, Transport,
};

impl FakeAgents {
    pub(super) fn begin(&self, connection: ConnectionRecord) {
        let mut connections = self.connections.lock();
        for known in connections.iter_mut() {
            let foreign = known.node_id != connection.node_id;
            if known.agent_id == connection.agent_id && foreign && known.end.is_none() {
                known.end = Some(killed(connection.began_at));
            }
        }
        connections.push(connection);
    }
}

fn killed(at: Timestamp) -> ConnectionEnd {
    ConnectionEnd { at, reason: EndReason::ServerKilled, detail: None }
}

#[async_trait]
impl ConnectionLog for FakeAgents {
    async fn record_ended(&self, ended: Vec<ConnectionRecord>) -> Result<(), StorageError> {
        let mut connections = self.connections.lock();
        for record in ended {
            let (id, last_frame_at) = (record.agent_id, record.last_frame_at);
            connections.retain(|known| known.id != record.id);
            connections.push(record);
            connections.sort_by_key(|known| known.began_at);
            let mut own = connections.iter().filter(|known| known.agent_id == id);
            let open = own.clone().any(|known| known.end.is_none());
            let surplus = own.clone().count().saturating_sub(CONNECTIONS_KEPT);
            let oldest: Vec<_> = own.by_ref().take(surplus).map(|known| known.id).collect();
            connections.retain(|known| !oldest.contains(&known.id));
            if let Some((agent, _)) = self.rows.lock().get_mut(&id).filter(|_| !open) {
                agent.last_seen = Some(last_frame_at);
            }
        }
        Ok(())
    }

    async fn end_left_open(&self, node: NodeId, seen: Timestamp) -> Result<u64, StorageError> {
        let (rows, mut ended) = (self.rows.lock(), 0);
        for known in self.connections.lock().iter_mut() {
            let last_seen = rows.get(&known.agent_id).and_then(|row| row.0.last_seen);
            let is_silent = last_seen.is_none_or(|last| last <= seen);
            if known.node_id != node && known.end.is_none() && is_silent {
                known.end = Some(killed(last_seen.unwrap_or(known.began_at)));
                ended += 1;
            }
        }
        Ok(ended)
    }

    async fn latest(&self, id: AgentId) -> Result<Vec<ConnectionRecord>, StorageError> {
        let connections = self.connections.lock();
        let own = connections.iter().rev().filter(|known| known.agent_id == id);
        Ok(own.take(CONNECTIONS_KEPT).cloned().collect())
    }
}

#[async_trait]
impl CopyVerdicts for FakeAgents {
    async fn decide(&self, verdict: CopyVerdict) -> Result<(), StorageError> {
        let mut rows = self.rows.lock();
        let Some((agent, token)) = rows.get_mut(&verdict.agent_id) else { return Ok(()) };
        if verdict.decision == CopyDecision::Separate {
            *token = verdict.original_token.or(*token);
            let separate = agent.separated(&verdict.copy, verdict.new_id, verdict.now);
            rows.insert(verdict.new_id, (separate, None));
        }
        let mut verdicts = self.verdicts.lock();
        verdicts.retain(|known| {
            (known.agent_id, &known.copy.incarnation)
                != (verdict.agent_id, &verdict.copy.incarnation)
        });
        verdicts.push(verdict);
        Ok(())
    }

    async fn decided(
        &self,
        id: AgentId,
        incarnation: &Incarnation,
    ) -> Result<Option<(CopyDecision, Option<AgentId>)>, StorageError> {
        let verdicts = self.verdicts.lock();
        let known = verdicts
            .iter()
            .find(|known| known.agent_id == id && known.copy.incarnation == *incarnation);
        let rows = self.rows.lock();
        let new_id = |known: &CopyVerdict| {
            let separate = known.decision == CopyDecision::Separate;
            Some(known.new_id).filter(|id| separate && rows.contains_key(id))
        };
        Ok(known.map(|known| (known.decision, new_id(known))))
    }

    async fn rejected(&self, id: AgentId) -> Result<Vec<MachineCopy>, StorageError> {
        let verdicts = self.verdicts.lock();
        let rejected = verdicts
            .iter()
            .filter(|known| known.agent_id == id && known.decision == CopyDecision::Reject);
        let copy = |known: &CopyVerdict| MachineCopy {
            decision: Some(CopyDecision::Reject),
            ..known.copy.clone()
        };
        Ok(rejected.map(copy).collect())
    }

    async fn renew_token(&self, id: AgentId, token: TokenHash) -> Result<bool, StorageError> {
        let mut rows = self.rows.lock();
        let row = rows.get_mut(&id);
        Ok(row.map(|row| row.1 = Some(token)).is_some())
    }
}

/// A connection of the agent that begins now, to a process of its own.
pub fn connection(id: AgentId, clock: &dyn Clock, entropy: &dyn Entropy) -> ConnectionRecord {
    ConnectionRecord {
        id: ConnectionId::new(clock, entropy),
        agent_id: id,
        node_id: NodeId::new(clock, entropy),
        transport: Transport::Websocket,
        peer_address: Some("192.0.2.7".into()),
        boot_id: Some("first".into()),
        began_at: clock.now(),
        last_frame_at: clock.now(),
        reconnect_attempts: Some(3),
        previous_end: Some("the connection broke".into()),
        end: None,
    }
}

/// A copy of a machine that nobody has decided about.
pub fn copy(boot_id: &str, clock: &dyn Clock, entropy: &dyn Entropy) -> MachineCopy {
    MachineCopy {
        connection_id: ConnectionId::new(clock, entropy),
        incarnation: Incarnation { boot_id: boot_id.into(), instance_id: Some("i".into()) },
        hostname: "twin".into(),
        peer_address: Some("192.0.2.8".into()),
        first_seen: clock.now(),
        decision: None,
    }
}

pub(super) async fn connections_are_kept<R: AgentRepository + Enrol + ConnectionLog>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let token = customers[0].1;
    let id = registry.enrol(token.into(), candidate("line", None, clock, entropy)).await.unwrap();
    let program = || AgentProgram { version: "1".into(), capabilities: Vec::new() };
    let begin = async |connection: &ConnectionRecord| {
        registry.record_connected(program(), connection.clone()).await.unwrap();
    };
    let own = connection(id, clock, entropy);
    begin(&own).await;
    assert_eq!(registry.latest(id).await.unwrap(), std::slice::from_ref(&own));
    clock.advance(TimeDelta::seconds(90));
    let ended = ConnectionRecord {
        last_frame_at: own.began_at + TimeDelta::seconds(30),
        end: Some(ConnectionEnd {
            at: clock.now(),
            reason: EndReason::Malformed,
            detail: Some("no JSON".into()),
        }),
        ..own.clone()
    };
    registry.record_ended(vec![ended.clone()]).await.unwrap();
    assert_eq!(registry.latest(id).await.unwrap(), std::slice::from_ref(&ended));
    let seen = registry.find(&TenantScope::All, id).await.unwrap().unwrap().last_seen;
    assert_eq!(seen, Some(ended.last_frame_at), "not later than its last frame");

    // One that was refused before it began, while another goes on.
    let rebooted = Some("second".to_owned());
    let open = ConnectionRecord { boot_id: rebooted, ..connection(id, clock, entropy) };
    begin(&open).await;
    clock.advance(TimeDelta::seconds(1));
    let end = ConnectionEnd { at: clock.now(), reason: EndReason::WrongVersion, detail: None };
    let refused =
        ConnectionRecord { boot_id: None, end: Some(end), ..connection(id, clock, entropy) };
    registry.record_ended(vec![refused.clone()]).await.unwrap();
    assert_eq!(registry.latest(id).await.unwrap(), [refused, open.clone(), ended]);
    let seen = registry.find(&TenantScope::All, id).await.unwrap().unwrap().last_seen;
    assert_eq!(seen, Some(open.began_at), "the one that is open counts");

    // Its process was killed: the agent is somewhere else now, or never came back.
    clock.advance(TimeDelta::seconds(1));
    let elsewhere = connection(id, clock, entropy);
    begin(&elsewhere).await;
    let reason = |record: &ConnectionRecord| record.end.as_ref().map(|end| end.reason);
    let latest = registry.latest(id).await.unwrap();
    let reasons: Vec<_> = latest.iter().take(3).map(reason).collect();
    let killed = Some(EndReason::ServerKilled);
    assert_eq!(reasons, [None, Some(EndReason::WrongVersion), killed]);
    let boots: Vec<_> = latest.iter().map(|record| record.boot_id.as_deref()).collect();
    assert_eq!(boots, [Some("first"), None, Some("second"), Some("first")]);
    let later = clock.now() + ONLINE_FOR;
    registry.end_left_open(elsewhere.node_id, later).await.unwrap();
    assert_eq!(registry.latest(id).await.unwrap()[0].end, None, "its own go on");
    let next = NodeId::new(clock, entropy);
    let before = elsewhere.began_at - TimeDelta::seconds(1);
    assert_eq!(registry.end_left_open(next, before).await.unwrap(), 0, "it was seen since");
    assert_eq!(registry.end_left_open(next, later).await.unwrap(), 1);
    let latest = registry.latest(id).await.unwrap();
    let end = latest[0].end.as_ref().unwrap();
    assert_eq!((end.reason, end.at), (EndReason::ServerKilled, elsewhere.began_at));

    for _ in 0..CONNECTIONS_KEPT {
        clock.advance(TimeDelta::seconds(1));
        let end = ConnectionEnd { at: clock.now(), reason: EndReason::Lost, detail: None };
        let record = ConnectionRecord { end: Some(end), ..connection(id, clock, entropy) };
        registry.record_ended(vec![record]).await.unwrap();
    }
    let latest = registry.latest(id).await.unwrap();
    assert_eq!(latest.len(), CONNECTIONS_KEPT);
    assert!(latest.iter().all(|record| reason(record) == Some(EndReason::Lost)));
    assert!(latest.is_sorted_by(|later, earlier| later.began_at > earlier.began_at));
}

pub(super) async fn copies_are_decided_about<
    R: AgentRepository + AgentTokens + Enrol + CopyVerdicts,
>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let (customer, token) = customers[0];
    let original = candidate("original", Some("m-twin"), clock, entropy);
    let id = registry.enrol(token.into(), original.clone()).await.unwrap();
    let verdict = |copy: &MachineCopy, decision| CopyVerdict {
        agent_id: id,
        copy: copy.clone(),
        decision,
        new_id: AgentId::new(clock, entropy),
        original_token: Some(original.agent_token),
        author: Author::system(),
        now: clock.now(),
    };
    let twin = copy("other boot", clock, entropy);
    assert_eq!(registry.decided(id, &twin.incarnation).await.unwrap(), None);
    registry.decide(verdict(&twin, CopyDecision::Reject)).await.unwrap();
    let decided = registry.decided(id, &twin.incarnation).await.unwrap();
    assert_eq!(decided, Some((CopyDecision::Reject, None)));
    let rejected = MachineCopy { decision: Some(CopyDecision::Reject), ..twin.clone() };
    assert_eq!(registry.rejected(id).await.unwrap(), [rejected]);
    let rebooted = Incarnation { boot_id: "third".into(), ..twin.incarnation.clone() };
    assert_eq!(registry.decided(id, &rebooted).await.unwrap(), None);

    // The copy has enrolled again, which took the token from the original.
    let again = candidate("twin", Some("m-twin"), clock, entropy);
    assert_eq!(registry.enrol(token.into(), again.clone()).await.unwrap(), id);
    let separate = verdict(&twin, CopyDecision::Separate);
    registry.decide(separate.clone()).await.unwrap();
    assert_eq!(registry.rejected(id).await.unwrap(), []);
    let decided = registry.decided(id, &twin.incarnation).await.unwrap();
    assert_eq!(decided, Some((CopyDecision::Separate, Some(separate.new_id))));
    let found = AgentTokens::find(registry, original.agent_token).await.unwrap();
    assert_eq!(found, Some((id, customer)), "the original has its token back");
    let fresh = Secret::draw(TokenKind::Agent, entropy).hash();
    assert!(registry.renew_token(separate.new_id, fresh).await.unwrap());
    let found = AgentTokens::find(registry, fresh).await.unwrap();
    assert_eq!(found, Some((separate.new_id, customer)));
    let new = AgentRepository::find(registry, &TenantScope::All, separate.new_id).await.unwrap();
    let new = new.unwrap();
    assert_eq!(
        (new.hostname.as_str(), &new.machine_id, new.tags.iter().count()),
        ("twin", &None, 0)
    );
    let (all, now) = (TenantScope::All, clock.now());
    assert!(registry.delete(&all, new.id, &Author::system(), now).await.unwrap());
    let decided = registry.decided(id, &twin.incarnation).await.unwrap();
    assert_eq!(decided, Some((CopyDecision::Separate, None)), "it was removed");
    assert!(!registry.renew_token(new.id, fresh).await.unwrap());
}

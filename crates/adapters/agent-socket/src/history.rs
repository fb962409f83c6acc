//! What is told and kept of connections that come and go.

use std::sync::Arc;

use muster_agents::{AgentStatus, ConnectionLog, ConnectionRecord, EndReason, MachineCopy};
use muster_kernel::events::{Channel, Event, EventBus, Topic};
use muster_kernel::{AgentId, Clock, ConnectionId, CustomerId, StorageError};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// How many ended connections are written at a time.
const WRITTEN_AT_ONCE: usize = 500;
/// Where so many can't be kept, it is the database.
const MAX_UNKEPT: usize = 5;
/// How many ended connections wait for a database that does not answer.
const MAX_WAITING: usize = 100_000;

/// News of connections for listeners, and ended ones for the database.
#[derive(Debug)]
pub(crate) struct History {
    bus: Arc<dyn EventBus>,
    clock: Arc<dyn Clock>,
    ended: Mutex<Vec<ConnectionRecord>>,
}

impl History {
    pub(crate) fn new(bus: Arc<dyn EventBus>, clock: Arc<dyn Clock>) -> Self {
        Self { bus, clock, ended: Mutex::default() }
    }

    /// Tells that an agent can be reached from now on, or not any more.
    pub(crate) fn tell_status(&self, id: AgentId, customer: CustomerId, status: AgentStatus) {
        let connected = status == AgentStatus::Online;
        let news = json!({ "status": status.as_str(), "connected": connected });
        self.tell("agent", id, customer, news);
    }

    /// Tells that a connection begins, or why it has ended.
    pub(crate) fn tell_connection(
        &self,
        id: AgentId,
        customer: CustomerId,
        connection_id: ConnectionId,
        end: Option<EndReason>,
    ) {
        let news = json!({
            "connection_id": connection_id,
            "connected": end.is_none(),
            "end_reason": end.map(EndReason::as_str),
        });
        self.tell("connection", id, customer, news);
    }

    /// Tells that a copy of a machine waits for a decision, or what became of it.
    pub(crate) fn tell_copy(
        &self,
        id: AgentId,
        customer: CustomerId,
        copy: &MachineCopy,
        end: Option<EndReason>,
    ) {
        let news = json!({
            "connection_id": copy.connection_id,
            "connected": end.is_none(),
            "end_reason": end.map(EndReason::as_str),
            "boot_id": copy.incarnation.boot_id,
            "hostname": copy.hostname,
            "peer_address": copy.peer_address,
        });
        self.tell("clone", id, customer, news);
    }

    fn tell(&self, name: &'static str, id: AgentId, customer: CustomerId, mut news: Value) {
        if let Some(news) = news.as_object_mut() {
            news.insert("agent_id".into(), json!(id));
            news.insert("customer_id".into(), json!(customer));
            news.insert("at".into(), json!(self.clock.now()));
        }
        let (topic, customer_id) = (Topic::Agents, Some(customer));
        let event = Event { topic, name, customer_id, data: news.to_string().into() };
        self.bus.tell(Channel::Everything, event);
    }

    /// Keeps a connection that has ended, with the next write.
    pub(crate) fn keep(&self, record: ConnectionRecord) {
        let mut ended = self.ended.lock();
        if ended.len() < MAX_WAITING {
            ended.push(record);
        }
    }

    /// Writes the connections that have ended since the last call.
    ///
    /// # Errors
    /// When the storage fails; what is not written is written by the next call.
    pub(crate) async fn write(&self, log: &dyn ConnectionLog) -> Result<(), StorageError> {
        loop {
            let some: Vec<_> = {
                let mut ended = self.ended.lock();
                let count = ended.len().min(WRITTEN_AT_ONCE);
                ended.drain(..count).collect()
            };
            if some.is_empty() {
                return Ok(());
            }
            if let Err(error) = log.record_ended(some.clone()).await
                && !Self::one_by_one(log, &some).await
            {
                self.ended.lock().splice(..0, some);
                return Err(error);
            }
        }
    }

    /// Writes each by itself, so that one which can't be kept keeps nobody else's from it; says
    /// whether it is that, and not the database.
    async fn one_by_one(log: &dyn ConnectionLog, some: &[ConnectionRecord]) -> bool {
        let mut unkept = 0;
        for record in some {
            unkept += usize::from(log.record_ended(vec![record.clone()]).await.is_err());
            if unkept == MAX_UNKEPT {
                return false;
            }
        }
        unkept < some.len()
    }
}

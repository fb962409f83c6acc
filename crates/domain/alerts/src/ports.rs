//! What alerts need from outside.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::{
    AgentId, AlertChannelId, AlertId, AlertRuleId, Author, CustomerId, MaintenanceWindowId, Page,
    PageRequest, Secret, StorageError, TenantScope, Timestamp,
};
use uuid::Uuid;

use crate::level::Level;
use crate::{Alert, Change, Channel, Delivery, MaintenanceWindow, Rule, Severity, State, Step};

/// What came of a change to something that has versions.
#[derive(Debug, Clone, PartialEq)]
pub enum Update<T> {
    /// It is changed.
    Done(T),
    /// There is no such thing in the scope.
    NotFound,
    /// It is not the version any more that was expected.
    Stale,
}

/// The rules. Every write enters in the audit log what it did, and who.
#[async_trait]
pub trait RuleRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new rule; says whether its customer is there.
    async fn create(&self, rule: Rule, author: &Author) -> Result<bool, StorageError>;

    /// The rule `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
    ) -> Result<Option<Rule>, StorageError>;

    /// The rules in `scope`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Rule>, StorageError>;

    /// Writes `rule` over the version before it. When it [outdates](Rule::outdates) that one, its
    /// open alerts MUST be resolved by the author, and its deviations be forgotten.
    async fn update(&self, rule: Rule, author: &Author) -> Result<Update<Rule>, StorageError>;

    /// Removes the rule `id` with its deviations and resolves its open alerts; says whether there
    /// was one in `scope`.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertRuleId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Every rule that is watched.
    async fn enabled(&self) -> Result<Vec<Rule>, StorageError>;
}

/// The maintenance windows. Every write enters in the audit log what it did, and who.
#[async_trait]
pub trait WindowRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new window; says whether its customer is there.
    async fn create(
        &self,
        window: MaintenanceWindow,
        author: &Author,
    ) -> Result<bool, StorageError>;

    /// The windows in `scope`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<MaintenanceWindow>, StorageError>;

    /// Removes the window `id`; says whether there was one in `scope`.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: MaintenanceWindowId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;

    /// Every window that is not over.
    async fn current(&self, now: Timestamp) -> Result<Vec<MaintenanceWindow>, StorageError>;
}

/// The channels. Every write enters in the audit log what it did, and who; never the secrets.
#[async_trait]
pub trait ChannelRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new channel; says whether its customer is there.
    async fn create(&self, channel: Channel, author: &Author) -> Result<bool, StorageError>;

    /// The channel `id`, if it lies in `scope`.
    async fn find(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
    ) -> Result<Option<Channel>, StorageError>;

    /// The channels in `scope`, in the order of their creation.
    async fn list(
        &self,
        scope: &TenantScope,
        page: &PageRequest,
    ) -> Result<Page<Channel>, StorageError>;

    /// Writes `channel` over the version before it.
    async fn update(
        &self,
        channel: Channel,
        author: &Author,
    ) -> Result<Update<Channel>, StorageError>;

    /// Removes the channel `id` with its deliveries, and from the rules that tell it, which go a
    /// version on; says whether there was one in `scope`.
    async fn delete(
        &self,
        scope: &TenantScope,
        id: AlertChannelId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError>;
}

/// Which alerts a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only those that are so far.
    pub state: Option<State>,
    /// Only those that are so bad.
    pub severity: Option<Severity>,
    /// Only what this rule found.
    pub rule_id: Option<AlertRuleId>,
    /// Only this customer's.
    pub customer_id: Option<CustomerId>,
    /// Only those about this machine.
    pub agent_id: Option<AgentId>,
}

/// What made a rule find something that happens once: it counts once for the rule, however often
/// it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(pub Uuid);

/// What came of something that was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// It is a new alert.
    New(Alert),
    /// It is one more of an open alert, which now looks so.
    Again(Alert),
    /// It was counted before, or the last alert is not over for long enough.
    Nothing,
}

/// Something that was found, to be kept at once with the messages about it.
#[derive(Debug, Clone)]
pub struct Find {
    /// The alert that it would be.
    pub alert: Alert,
    /// What made the rule find it, if that happens once.
    pub cause: Option<Cause>,
    /// The last alert counts as long as it was not resolved before this.
    pub cooled_since: Timestamp,
    /// The messages about it.
    pub deliveries: Vec<Delivery>,
}

/// An alert that has gone a step on, to be written at once with all that follows.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The state that it was in.
    pub before: State,
    /// What it is now.
    pub after: Alert,
    /// The entry in its history.
    pub change: Change,
    /// The messages about it.
    pub deliveries: Vec<Delivery>,
    /// Which step a person took; `None` when nobody did, and nothing is audited.
    pub audited: Option<(Step, Author)>,
}

/// The alerts.
#[async_trait]
pub trait AlertRepository: Send + Sync + std::fmt::Debug {
    /// Keeps what was found, with the messages about it: as a new alert, or as one more of the open
    /// alert of the same rule and subject, whose messages are out already; without a `cause` that
    /// one stays as it is. A `cause` that is known of the rule changes nothing, and neither does a
    /// find without one when the last alert was resolved after `cooled_since`. An open alert of
    /// another customer, which had the machine before, MUST be resolved and stay that customer's;
    /// what was found is then new. All or nothing of it is written.
    async fn open(
        &self,
        found: Alert,
        cause: Option<Cause>,
        cooled_since: Timestamp,
        deliveries: Vec<Delivery>,
    ) -> Result<Opened, StorageError>;

    /// [Opens](Self::open) many, some hundreds in a transaction; says what came of each, in their
    /// order. What was kept before it fails stays kept.
    async fn open_all(&self, finds: Vec<Find>) -> Result<Vec<Opened>, StorageError>;

    /// Writes an alert that has gone a step on; says whether it was where it was thought to be.
    async fn replace(&self, replacement: Replacement) -> Result<bool, StorageError>;

    /// Keeps since when open alerts seem to be over.
    async fn mark_clear(
        &self,
        marks: Vec<(AlertId, Option<Timestamp>)>,
    ) -> Result<(), StorageError>;

    /// The alert `id`, if it lies in `scope`.
    async fn find(&self, scope: &TenantScope, id: AlertId) -> Result<Option<Alert>, StorageError>;

    /// The alerts in `scope` that pass `filter`, the newest first.
    async fn list(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Page<Alert>, StorageError>;

    /// What was done to the alert `id`, the oldest first.
    async fn history(&self, id: AlertId) -> Result<Vec<Change>, StorageError>;

    /// Every alert that was found in a maintenance window and is still open.
    async fn suppressed(&self) -> Result<Vec<Alert>, StorageError>;

    /// The open alert of a rule about a subject.
    async fn open_of(
        &self,
        rule: AlertRuleId,
        subject: Uuid,
    ) -> Result<Option<Alert>, StorageError>;
}

/// A load that is not calm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deviation {
    /// By which rule.
    pub rule_id: AlertRuleId,
    /// Of which machine.
    pub agent_id: AgentId,
    /// How it is.
    pub level: Level,
}

/// What loads were like, for the next process and for other nodes.
#[async_trait]
pub trait Deviations: Send + Sync + std::fmt::Debug {
    /// Every load of these machines that was not calm.
    async fn of(&self, machines: &BTreeSet<AgentId>) -> Result<Vec<Deviation>, StorageError>;

    /// Keeps loads in the place of what was known of them; one that is calm is forgotten.
    async fn keep(&self, deviations: Vec<Deviation>) -> Result<(), StorageError>;
}

/// What was forgotten at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// How many alerts that were.
    pub alerts: u64,
    /// Whether there may be more to forget, of any kind.
    pub more: bool,
}

/// Messages on their way.
#[async_trait]
pub trait DeliveryRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new one.
    async fn add(&self, delivery: Delivery) -> Result<(), StorageError>;

    /// Takes for each channel the delivery that has been due for longest, but for the `busy` ones,
    /// and puts it off until `until`, so that no other process takes it; at most `limit` of them. A
    /// message MUST wait until an older one about the same alert through the same channel has
    /// arrived, or is given up.
    async fn take(
        &self,
        now: Timestamp,
        until: Timestamp,
        busy: &BTreeSet<AlertChannelId>,
        limit: u64,
    ) -> Result<Vec<Delivery>, StorageError>;

    /// Keeps what came of an attempt.
    async fn settle(&self, delivery: Delivery) -> Result<(), StorageError>;

    /// The deliveries through a channel, the newest first.
    async fn list(
        &self,
        channel: AlertChannelId,
        page: &PageRequest,
    ) -> Result<Page<Delivery>, StorageError>;

    /// Forgets the alerts that were resolved before `before`, with their messages, and the causes
    /// and tests of channels that came before it: of each kind at most `limit`, but for causes of
    /// the same instant.
    async fn forget(&self, before: Timestamp, limit: u64) -> Result<Forgotten, StorageError>;
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotSent {
    /// What the other side answered, if it did.
    pub status: Option<u16>,
    /// Why, in a short line without secrets.
    pub reason: String,
}

/// Sends messages.
#[async_trait]
pub trait Messenger: Send + Sync + std::fmt::Debug {
    /// Sends a message through a channel, whose opened secret is `secret`, and answers with the
    /// status of the other side. It MUST end within 30 seconds, reach nothing but public addresses
    /// unless an admin allows it, and tell receivers the id of the delivery.
    async fn send(
        &self,
        channel: &Channel,
        secret: Option<&Secret>,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<Option<u16>, NotSent>;
}

/// Knows which machines are connected to this process.
pub trait Connected: Send + Sync + std::fmt::Debug {
    /// Whether a machine is.
    fn is_connected(&self, id: AgentId) -> bool;
}

//! One entry.

use muster_kernel::{Author, CustomerId, Deed, Timestamp};
use uuid::Uuid;

/// Something that was done, as the log keeps it. Texts are kept as they were written, so that the
/// MAC over them can be checked for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log: 1, 2, 3, …
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What kind of actor did it: `user`, `api_key`, `agent`, `system`.
    pub actor_kind: String,
    /// Which one.
    pub actor_id: Option<Uuid>,
    /// What they were called then.
    pub actor_name: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// By which request.
    pub request_id: Option<String>,
    /// What was done: `customer.update`.
    pub action: String,
    /// To what kind of thing.
    pub resource_kind: String,
    /// To which one.
    pub resource_id: Uuid,
    /// Whose it is.
    pub customer_id: Option<CustomerId>,
    /// What was another before: a JSON object.
    pub before: Option<String>,
    /// What is another now, or more about it: a JSON object.
    pub after: Option<String>,
}

impl Entry {
    /// The entry of a deed.
    pub fn new(seq: u64, at: Timestamp, author: &Author, deed: &Deed) -> Self {
        Self {
            seq,
            at,
            actor_kind: author.actor.kind().to_owned(),
            actor_id: author.actor.id(),
            actor_name: author.actor.name().map(ToOwned::to_owned),
            address: author.address.map(|address| address.to_string()),
            request_id: author.request_id.as_deref().map(ToOwned::to_owned),
            action: deed.action.to_owned(),
            resource_kind: deed.place.kind.to_owned(),
            resource_id: deed.place.id,
            customer_id: deed.place.customer_id,
            before: deed.before.as_ref().map(ToString::to_string),
            after: deed.after.as_ref().map(ToString::to_string),
        }
    }
}

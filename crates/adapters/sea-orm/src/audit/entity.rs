//! The tables `audit_entries` and `audit_head`.

use muster_audit::{Entry, Head, Link, Mac};
use muster_kernel::CustomerId;
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{count, from_count, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_entries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub at: i64,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub actor_name: Option<String>,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub resource_kind: String,
    pub resource_id: Uuid,
    pub customer_id: Option<Uuid>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub mac: Vec<u8>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Link> for Model {
    fn from(Link { entry, mac }: Link) -> Self {
        Self {
            seq: count(entry.seq),
            at: micros(entry.at),
            actor_kind: entry.actor_kind,
            actor_id: entry.actor_id,
            actor_name: entry.actor_name,
            address: entry.address,
            request_id: entry.request_id,
            action: entry.action,
            resource_kind: entry.resource_kind,
            resource_id: entry.resource_id,
            customer_id: entry.customer_id.map(CustomerId::as_uuid),
            before: entry.before,
            after: entry.after,
            mac: mac.0.to_vec(),
        }
    }
}

impl TryFrom<Model> for Link {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        // A MAC that is none is one that does not fit: whoever verifies shall find it, and
        // whoever only reads shall not be kept from it.
        let mac = Mac::from_slice(&row.mac).unwrap_or(Mac::NONE);
        let entry = Entry {
            seq: from_count(row.seq, "audit_entries.seq")?,
            at: timestamp(row.at, "audit_entries.at")?,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            address: row.address,
            request_id: row.request_id,
            action: row.action,
            resource_kind: row.resource_kind,
            resource_id: row.resource_id,
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            before: row.before,
            after: row.after,
        };
        Ok(Self { entry, mac })
    }
}

/// The table `audit_head`, which has one row.
pub(crate) mod head {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_head")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub first: i64,
        pub before_first: Vec<u8>,
        pub last: i64,
        pub last_mac: Vec<u8>,
        pub seal: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl head::Model {
    /// The id of the one row.
    pub(super) const ID: i32 = 1;

    pub(super) fn of(head: &Head, seal: Mac) -> Self {
        Self {
            id: Self::ID,
            first: count(head.first),
            before_first: head.before_first.0.to_vec(),
            last: count(head.last),
            last_mac: head.last_mac.0.to_vec(),
            seal: seal.0.to_vec(),
        }
    }

    pub(super) fn read(self) -> Result<(Head, Mac), DatabaseError> {
        let mac = |bytes: &[u8]| Mac::from_slice(bytes).unwrap_or(Mac::NONE);
        let head = Head {
            first: from_count(self.first, "audit_head.first")?,
            before_first: mac(&self.before_first),
            last: from_count(self.last, "audit_head.last")?,
            last_mac: mac(&self.last_mac),
        };
        Ok((head, mac(&self.seal)))
    }
}

//! How repositories enter what they do, within the transaction that does it.

use std::sync::Arc;

use muster_audit::{ChainKey, Entry, Head, Mac};
use muster_kernel::{Author, Deed, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DatabaseTransaction, IntoActiveModel};

use super::entity::{self, head};
use crate::DatabaseError;

/// How many entries one statement writes: SQLite takes 32,766 values in one, an entry has 14.
const ENTRIES_AT_ONCE: usize = 500;

/// The way to the log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trail {
    key: Arc<ChainKey>,
}

impl Trail {
    pub(crate) fn new(key: ChainKey) -> Self {
        Self { key: Arc::new(key) }
    }

    /// Enters one deed.
    pub(crate) async fn enter(
        &self,
        transaction: &DatabaseTransaction,
        author: &Author,
        at: Timestamp,
        deed: Deed,
    ) -> Result<(), DatabaseError> {
        self.enter_all(transaction, vec![(author.clone(), at, deed)]).await
    }

    /// Enters deeds, in their order.
    pub(crate) async fn enter_all(
        &self,
        transaction: &DatabaseTransaction,
        deeds: Vec<(Author, Timestamp, Deed)>,
    ) -> Result<(), DatabaseError> {
        if deeds.is_empty() {
            return Ok(());
        }
        let (mut head, _) = read_head(transaction).await?;
        let links: Vec<_> = deeds
            .iter()
            .map(|(author, at, deed)| head.append(&self.key, Entry::new(0, *at, author, deed)))
            .map(|link| entity::Model::from(link).into_active_model().reset_all())
            .collect();
        for links in links.chunks(ENTRIES_AT_ONCE) {
            entity::Entity::insert_many(links.to_vec()).exec_without_returning(transaction).await?;
        }
        self.write_head(transaction, &head).await
    }

    /// Writes where the log begins and ends.
    pub(super) async fn write_head(
        &self,
        transaction: &DatabaseTransaction,
        head: &Head,
    ) -> Result<(), DatabaseError> {
        let row = head::Model::of(head, self.key.seal(head)).into_active_model().reset_all();
        let updated = head::Entity::update_many()
            .set(row.clone())
            .filter(head::Column::Id.eq(head::Model::ID))
            .exec(transaction)
            .await?;
        if updated.rows_affected == 0 {
            head::Entity::insert(row).exec_without_returning(transaction).await?;
        }
        Ok(())
    }

    /// The seal of the head of a log that nothing was entered in yet.
    pub(super) fn first_seal(&self) -> Mac {
        self.key.seal(&Head::default())
    }
}

/// The head and, unless nothing was entered yet, its seal.
pub(super) async fn read_head(
    connection: &impl ConnectionTrait,
) -> Result<(Head, Option<Mac>), DatabaseError> {
    match head::Entity::find_by_id(head::Model::ID).one(connection).await? {
        Some(row) => row.read().map(|(head, seal)| (head, Some(seal))),
        None => Ok((Head::default(), None)),
    }
}

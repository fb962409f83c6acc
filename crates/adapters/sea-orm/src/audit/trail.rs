//! How repositories enter what they do, within the transaction that does it.

use std::sync::Arc;

use muster_audit::{ChainKey, Entry, Head, Mac};
use muster_kernel::{Author, Deed, Timestamp};
use parking_lot::Mutex;
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
    /// The head as this process last wrote it. Another process may have written since, and a
    /// transaction may have been undone: the database has the last word.
    known: Arc<Mutex<Option<Head>>>,
}

impl Trail {
    pub(crate) fn new(key: ChainKey) -> Self {
        Self { key: Arc::new(key), known: Arc::default() }
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
        let known = self.known.lock().take();
        if let Some(known) = known {
            let (head, links) = self.chain(known, &deeds);
            if self.move_head(transaction, &known, &head).await? {
                insert(transaction, links).await?;
                *self.known.lock() = Some(head);
                return Ok(());
            }
        }
        let (head, ours) = self.read_head(transaction).await?;
        let (head, links) = self.chain(head, &deeds);
        insert(transaction, links).await?;
        self.write_head(transaction, &head, ours).await?;
        *self.known.lock() = ours.then_some(head);
        Ok(())
    }

    /// The entries of these deeds, and the head behind them.
    fn chain(
        &self,
        mut head: Head,
        deeds: &[(Author, Timestamp, Deed)],
    ) -> (Head, Vec<entity::ActiveModel>) {
        let links = deeds
            .iter()
            .map(|(author, at, deed)| head.append(&self.key, Entry::new(0, *at, author, deed)))
            .map(|link| entity::Model::from(link).into_active_model().reset_all())
            .collect();
        (head, links)
    }

    /// Moves the head on, if it is the one that is known; says whether it was. That saves the look.
    async fn move_head(
        &self,
        transaction: &DatabaseTransaction,
        known: &Head,
        head: &Head,
    ) -> Result<bool, DatabaseError> {
        let row = head::Model::of(head, self.key.seal(head)).into_active_model().reset_all();
        let moved = head::Entity::update_many()
            .set(row)
            .filter(head::Column::Id.eq(head::Model::ID))
            .filter(head::Column::Seal.eq(self.key.seal(known).0.to_vec()))
            .exec(transaction)
            .await?;
        Ok(moved.rows_affected == 1)
    }

    /// Where the log begins and ends, and whether it was us who wrote that down.
    pub(super) async fn read_head(
        &self,
        connection: &impl ConnectionTrait,
    ) -> Result<(Head, bool), DatabaseError> {
        let (head, seal) = read_head(connection).await?;
        let ours = self.key.is_sealed(&head, &seal);
        if !ours {
            tracing::error!(
                "the audit log's head is not what this server wrote: see /audit/verify"
            );
        }
        Ok((head, ours))
    }

    /// Writes where the log begins and ends. A head that was not `ours` before is never sealed
    /// again: work goes on, and the log says for ever that it was tampered with.
    pub(super) async fn write_head(
        &self,
        transaction: &DatabaseTransaction,
        head: &Head,
        ours: bool,
    ) -> Result<(), DatabaseError> {
        self.known.lock().take();
        let seal = if ours { self.key.seal(head) } else { Mac::NONE };
        let row = head::Model::of(head, seal).into_active_model().reset_all();
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

    /// By what the key is recognised again.
    pub(crate) fn key_check(&self) -> Mac {
        self.key.check()
    }

    /// Begins the log of a new installation, unless it has begun. Later a missing head is one that
    /// somebody removed.
    pub(crate) async fn begin(
        &self,
        transaction: &DatabaseTransaction,
    ) -> Result<(), DatabaseError> {
        if head::Entity::find_by_id(head::Model::ID).one(transaction).await?.is_none() {
            self.write_head(transaction, &Head::default(), true).await?;
        }
        Ok(())
    }
}

async fn insert(
    transaction: &DatabaseTransaction,
    links: Vec<entity::ActiveModel>,
) -> Result<(), DatabaseError> {
    for links in links.chunks(ENTRIES_AT_ONCE) {
        entity::Entity::insert_many(links.to_vec()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// The head and its seal; of one that is missing, none that is good.
pub(super) async fn read_head(
    connection: &impl ConnectionTrait,
) -> Result<(Head, Mac), DatabaseError> {
    match head::Entity::find_by_id(head::Model::ID).one(connection).await? {
        Some(row) => row.read(),
        None => Ok((Head::default(), Mac::NONE)),
    }
}

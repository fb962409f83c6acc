//! Sessions and the refresh tokens they ever had.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_identity::{Keep, RotateError, Session, SessionRepository};
use muster_kernel::{Author, Deed, SessionId, StorageError, Timestamp, TokenHash, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder};

use super::SeaIdentity;
use super::entity::refresh_token;
use super::entity::session::{Column, Entity, Model};
use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::micros;

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading sessions", error).into()
}

fn live(user: UserId, now: Timestamp) -> Condition {
    Condition::all()
        .add(Column::UserId.eq(user.as_uuid()))
        .add(Column::EndedAt.is_null())
        .add(Column::ExpiresAt.gt(micros(now)))
}

#[async_trait]
impl SessionRepository for SeaIdentity {
    async fn create(&self, session: Session, author: &Author) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = Model::from(&session).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                keep_token(transaction, session.refresh_token, session.id).await?;
                let deed = Deed::created("session.create", &session);
                trail.enter(transaction, &author, session.created_at, deed).await
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        let row = Entity::find_by_id(id.as_uuid()).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Session::try_from).transpose()?)
    }

    async fn live(&self, user: UserId, now: Timestamp) -> Result<Vec<Session>, StorageError> {
        let rows = Entity::find()
            .filter(live(user, now))
            .order_by_desc(Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?)
    }

    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { rotate(transaction, &trail, presented, next, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn confirm(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                Entity::update_many()
                    .col_expr(Column::ConfirmedAt, Expr::value(micros(now)))
                    .filter(Column::Id.eq(id.as_uuid()))
                    .exec(transaction)
                    .await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn end(
        &self,
        user: UserId,
        id: SessionId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let wanted = live(user, now).add(Column::Id.eq(id.as_uuid()));
        let write = self.database.write(move |transaction| {
            async move { end(transaction, &trail, wanted, &author, now).await }.boxed()
        });
        Ok(write.await? == 1)
    }

    async fn end_all(
        &self,
        user: UserId,
        keep: Keep,
        author: &Author,
        now: Timestamp,
    ) -> Result<u64, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { end_all(transaction, &trail, user, keep, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn forget(&self, before: Timestamp) -> Result<u64, StorageError> {
        let before = micros(before);
        let over =
            Condition::any().add(Column::EndedAt.lt(before)).add(Column::ExpiresAt.lt(before));
        let write = self.database.write(move |transaction| {
            async move {
                // Their tokens go with them.
                let gone = Entity::delete_many().filter(over).exec(transaction).await?;
                Ok::<_, DatabaseError>(gone.rows_affected)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// Ends the user's sessions that are not kept, within the transaction of the reason for it.
pub(super) async fn end_all(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    user: UserId,
    keep: Keep,
    author: &Author,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let wanted = match keep {
        Keep::All => return Ok(0),
        Keep::Only(id) => live(user, now).add(Column::Id.ne(id.as_uuid())),
        Keep::None => live(user, now),
    };
    end(transaction, trail, wanted, author, now).await
}

async fn end(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    wanted: Condition,
    author: &Author,
    now: Timestamp,
) -> Result<u64, DatabaseError> {
    let rows = Entity::find().filter(wanted.clone()).all(transaction).await?;
    let mut deeds = Vec::with_capacity(rows.len());
    for row in rows {
        let deed = Deed::removed("session.end", &Session::try_from(row)?);
        deeds.push((author.clone(), now, deed));
    }
    let ended = Entity::update_many()
        .col_expr(Column::EndedAt, Expr::value(micros(now)))
        .filter(wanted)
        .exec(transaction)
        .await?;
    trail.enter_all(transaction, deeds).await?;
    Ok(ended.rows_affected)
}

async fn keep_token(
    transaction: &DatabaseTransaction,
    token: TokenHash,
    session_id: SessionId,
) -> Result<(), DatabaseError> {
    let row = refresh_token::Model {
        token_hash: token.as_bytes().to_vec(),
        session_id: session_id.as_uuid(),
    };
    let row = row.into_active_model().reset_all();
    refresh_token::Entity::insert(row).exec_without_returning(transaction).await?;
    Ok(())
}

async fn rotate(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    presented: TokenHash,
    next: TokenHash,
    author: &Author,
    now: Timestamp,
) -> Result<Option<(Session, Result<(), RotateError>)>, DatabaseError> {
    let hash = presented.as_bytes().to_vec();
    let known = refresh_token::Entity::find_by_id(hash).one(transaction).await?;
    let Some(token) = known else { return Ok(None) };
    let row = Entity::find_by_id(token.session_id).one(transaction).await?;
    let row = row.ok_or_else(|| DatabaseError::bad_row("refresh_tokens.session_id"))?;
    let mut session = Session::try_from(row)?;
    let outcome = session.rotate(presented, next, now);
    if outcome != Err(RotateError::Over) {
        let row = Model::from(&session).into_active_model().reset_all();
        Entity::update(row).exec(transaction).await?;
    }
    match outcome {
        Ok(()) => keep_token(transaction, next, session.id).await?,
        Err(RotateError::Reused) => {
            let deed = Deed::removed("session.token_reused", &session);
            trail.enter(transaction, author, now, deed).await?;
        }
        Err(RotateError::Over) => {}
    }
    Ok(Some((session, outcome)))
}

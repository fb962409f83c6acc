//! Users and sessions.

mod entity;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_identity::{
    Email, RotateError, Session, SessionRepository, User, UserRepository, Username,
};
use muster_kernel::{SessionId, StorageError, Timestamp, TokenHash, UserId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{DatabaseTransaction, IntoActiveModel};

use crate::columns::micros;
use crate::{Database, DatabaseError};
use entity::{Column, Entity, Model, refresh_token, session};

/// The users and sessions, in the tables `users`, `sessions` and `refresh_tokens`.
#[derive(Debug, Clone)]
pub struct SeaIdentity {
    database: Database,
}

impl SeaIdentity {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }

    async fn one(
        &self,
        wanted: impl sea_orm::sea_query::IntoCondition,
    ) -> Result<Option<User>, StorageError> {
        let row = Entity::find().filter(wanted).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(User::try_from).transpose()?)
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading users and sessions", error).into()
}

#[async_trait]
impl UserRepository for SeaIdentity {
    async fn is_empty(&self) -> Result<bool, StorageError> {
        let anybody = Entity::find().one(self.database.reader()).await.map_err(reading)?;
        Ok(anybody.is_none())
    }

    async fn create_first(&self, user: User) -> Result<bool, StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                if Entity::find().one(transaction).await?.is_some() {
                    return Ok(false);
                }
                let row = Model::from(&user).into_active_model().reset_all();
                Entity::insert(row).exec_without_returning(transaction).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError> {
        self.one(Column::Id.eq(id.as_uuid())).await
    }

    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError> {
        self.one(Column::Username.eq(name.as_str())).await
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError> {
        self.one(Column::Email.eq(email.as_str())).await
    }
}

#[async_trait]
impl SessionRepository for SeaIdentity {
    async fn create(&self, session: Session) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let row = session::Model::from(&session).into_active_model().reset_all();
                session::Entity::insert(row).exec_without_returning(transaction).await?;
                keep_token(transaction, session.refresh_token, session.id).await
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Session>, StorageError> {
        let row = session::Entity::find_by_id(id.as_uuid()).one(self.database.reader()).await;
        Ok(row.map_err(reading)?.map(Session::try_from).transpose()?)
    }

    async fn rotate(
        &self,
        presented: TokenHash,
        next: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(Session, Result<(), RotateError>)>, StorageError> {
        let write = self.database.write(move |transaction| {
            async move { rotate(transaction, presented, next, now).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn end(&self, id: SessionId, now: Timestamp) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                session::Entity::update_many()
                    .col_expr(session::Column::EndedAt, Expr::value(micros(now)))
                    .filter(session::Column::Id.eq(id.as_uuid()))
                    .filter(session::Column::EndedAt.is_null())
                    .exec(transaction)
                    .await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
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
    presented: TokenHash,
    next: TokenHash,
    now: Timestamp,
) -> Result<Option<(Session, Result<(), RotateError>)>, DatabaseError> {
    let hash = presented.as_bytes().to_vec();
    let known = refresh_token::Entity::find_by_id(hash).one(transaction).await?;
    let Some(token) = known else { return Ok(None) };
    let row = session::Entity::find_by_id(token.session_id).one(transaction).await?;
    let row = row.ok_or_else(|| DatabaseError::bad_row("refresh_tokens.session_id"))?;
    let mut session = Session::try_from(row)?;
    let outcome = session.rotate(presented, next, now);
    if outcome != Err(RotateError::Over) {
        let row = session::Model::from(&session).into_active_model().reset_all();
        session::Entity::update(row).exec(transaction).await?;
    }
    if outcome.is_ok() {
        keep_token(transaction, next, session.id).await?;
    }
    Ok(Some((session, outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn users_and_sessions_keep_the_contract() {
        let database = crate::testing::database().await;
        muster_identity::testing::contract(&SeaIdentity::new(database)).await;
    }
}

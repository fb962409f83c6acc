//! Users.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_identity::{
    Email, Keep, LastAdmin, User, UserChange, UserFilter, UserRepository, UserStatus,
    UserWriteError, Username,
};
use muster_kernel::{
    Audited, Author, Deed, Page, PageRequest, Role, StorageError, Timestamp, UserId,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, IntoCondition, LikeExpr};
use sea_orm::{Condition, ConnectionTrait, DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::entity::{Column, Entity, Model, second_factor, sign_on};
use super::{SeaIdentity, sessions};
use crate::DatabaseError;
use crate::audit::Trail;
use crate::columns::{contains, micros};
use crate::pages;

/// Why a write transaction ends without a change.
#[derive(Debug)]
enum Refusal {
    LastAdmin(LastAdmin),
    Database(DatabaseError),
}

impl From<LastAdmin> for Refusal {
    fn from(error: LastAdmin) -> Self {
        Self::LastAdmin(error)
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<DbErr> for Refusal {
    fn from(error: DbErr) -> Self {
        Self::Database(DatabaseError::new("writing a user", error))
    }
}

impl From<Refusal> for UserWriteError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LastAdmin(error) => error.into(),
            Refusal::Database(error) if error.is_unique_violation() => Self::Taken,
            Refusal::Database(error) => Self::Storage(error.into()),
        }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading users", error).into()
}

/// The users of these rows, with whether they have a second factor.
async fn read(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<Vec<User>, DatabaseError> {
    use second_factor::Column as Factor;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let with_factor: Vec<Uuid> = second_factor::Entity::find()
        .select_only()
        .column(Factor::UserId)
        .filter(Factor::UserId.is_in(ids).and(Factor::ConfirmedAt.is_not_null()))
        .into_tuple()
        .all(connection)
        .await?;
    rows.into_iter()
        .map(|row| {
            let has_second_factor = with_factor.contains(&row.id);
            row.read(has_second_factor)
        })
        .collect()
}

async fn one(
    connection: &impl ConnectionTrait,
    wanted: impl IntoCondition,
) -> Result<Option<User>, DatabaseError> {
    let row = Entity::find().filter(wanted).one(connection).await?;
    Ok(read(connection, row.into_iter().collect()).await?.pop())
}

async fn other_admins(transaction: &DatabaseTransaction, id: UserId) -> Result<u64, DbErr> {
    Entity::find()
        .filter(Column::Id.ne(id.as_uuid()))
        .filter(Column::Role.eq(Role::Admin.as_str()))
        .filter(Column::Status.eq(UserStatus::Active.as_str()))
        .count(transaction)
        .await
}

fn filtered(filter: &UserFilter) -> Condition {
    let any_text = |q: &String| {
        let pattern = contains(&q.to_lowercase());
        let like = |column: Column| {
            Expr::expr(Func::lower(Expr::col((Entity, column))))
                .like(LikeExpr::new(pattern.clone()).escape('\\'))
        };
        Condition::any()
            .add(like(Column::Username))
            .add(like(Column::Email))
            .add(like(Column::FullName))
    };
    Condition::all()
        .add_option(filter.status.map(|status| Column::Status.eq(status.as_str())))
        .add_option(filter.role.map(|role| Column::Role.eq(role.as_str())))
        .add_option(filter.q.as_ref().map(any_text))
}

#[async_trait]
impl UserRepository for SeaIdentity {
    async fn is_empty(&self) -> Result<bool, StorageError> {
        Ok(!has_users(self.database.reader()).await?)
    }

    async fn create_first(&self, user: User, author: &Author) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if has_users(transaction).await? {
                    return Ok(false);
                }
                create(transaction, &trail, &user, &author).await?;
                Ok::<_, DatabaseError>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn create(&self, user: User, author: &Author) -> Result<(), UserWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                create(transaction, &trail, &user, &author).await.map_err(Refusal::Database)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, id: UserId) -> Result<Option<User>, StorageError> {
        Ok(one(self.database.reader(), Column::Id.eq(id.as_uuid())).await?)
    }

    async fn find_by_username(&self, name: &Username) -> Result<Option<User>, StorageError> {
        Ok(one(self.database.reader(), Column::Username.eq(name.as_str())).await?)
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<User>, StorageError> {
        Ok(one(self.database.reader(), Column::Email.eq(email.as_str())).await?)
    }

    async fn list(
        &self,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<User>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(filtered(filter));
        let page = pages::oldest_first(reader, matching, Column::Id, page, |row| row.id).await;
        let Page { items, next_cursor, total } = page.map_err(reading)?;
        Ok(Page { items: read(reader, items).await?, next_cursor, total })
    }

    async fn update(
        &self,
        id: UserId,
        change: UserChange,
        keep: Keep,
        action: &'static str,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<User>, UserWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let before = one(transaction, Column::Id.eq(id.as_uuid())).await?;
                let Some(before) = before else { return Ok(None) };
                let others = other_admins(transaction, id).await?;
                let after = before.clone().changed(change, others)?;
                let row = Model::from(&after).into_active_model().reset_all();
                Entity::update(row).exec(transaction).await?;
                let deed = Deed::changed(action, &before, &after);
                trail.enter(transaction, &author, now, deed).await?;
                sessions::end_all(transaction, &trail, id, keep, &author, now).await?;
                Ok::<_, Refusal>(Some(after))
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn remove(
        &self,
        id: UserId,
        author: &Author,
        now: Timestamp,
    ) -> Result<bool, UserWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let user = one(transaction, Column::Id.eq(id.as_uuid())).await?;
                let Some(user) = user else { return Ok(false) };
                user.removable(other_admins(transaction, id).await?)?;
                // Sessions, second factors and sign-ons go with their user.
                Entity::delete_by_id(id.as_uuid()).exec(transaction).await?;
                let deed = Deed::removed("user.delete", &user);
                trail.enter(transaction, &author, now, deed).await?;
                Ok::<_, Refusal>(true)
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find_by_sign_on(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>, StorageError> {
        let reader = self.database.reader();
        let key = (issuer.to_owned(), subject.to_owned());
        let link = sign_on::Entity::find_by_id(key).one(reader).await.map_err(reading)?;
        let Some(link) = link else { return Ok(None) };
        Ok(one(reader, Column::Id.eq(link.user_id)).await?)
    }

    async fn create_signed_on(
        &self,
        user: User,
        issuer: &str,
        subject: &str,
        author: &Author,
    ) -> Result<(), UserWriteError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let row = sign_on::Model {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            user_id: user.id.as_uuid(),
            created_at: micros(user.created_at),
        };
        let work = async move |transaction: &DatabaseTransaction| {
            create(transaction, &trail, &user, &author).await?;
            let facts = serde_json::json!({ "issuer": row.issuer, "subject": row.subject });
            let row = row.into_active_model().reset_all();
            sign_on::Entity::insert(row).exec_without_returning(transaction).await?;
            let deed = Deed::done("user.link_sign_on", user.place(), Some(facts));
            trail.enter(transaction, &author, user.created_at, deed).await
        };
        let write = self.database.write(move |transaction| {
            async move { work(transaction).await.map_err(Refusal::Database) }.boxed()
        });
        Ok(write.await?)
    }
}

/// Whether there is any user.
pub(crate) async fn has_users(connection: &impl ConnectionTrait) -> Result<bool, DatabaseError> {
    Ok(Entity::find().one(connection).await?.is_some())
}

async fn create(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    user: &User,
    author: &Author,
) -> Result<(), DatabaseError> {
    let row = Model::from(user).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    trail.enter(transaction, author, user.created_at, Deed::created("user.create", user)).await
}

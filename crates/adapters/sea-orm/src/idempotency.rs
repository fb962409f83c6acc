//! Requests that came before: the table `idempotency_keys`, written with what they asked for.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query;
use sea_orm::{DatabaseTransaction, IntoActiveModel, QuerySelect};

use crate::DatabaseError;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub scope: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub resource_id: Uuid,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// It is new, and remembered from now on.
    New,
    /// It came before and made this.
    Same(Uuid),
    /// The key came before with another request.
    Conflict,
}

/// How many requests are forgotten at a time.
const AT_ONCE: u64 = 1000;

/// Forgets requests that came before `before`, a thousand at a time; says how many. A command that
/// has not ended is still known by its key: asked for again, it would run twice.
pub(crate) async fn forget(
    transaction: &DatabaseTransaction,
    before: i64,
) -> Result<u64, DatabaseError> {
    use crate::commands::entity as commands;
    let open = Query::select()
        .column(commands::Column::Id)
        .from(commands::Entity)
        .and_where(commands::Column::FinishedAt.is_null())
        .take();
    let old: Vec<(String, String)> = Entity::find()
        .select_only()
        .columns([Column::Scope, Column::Key])
        .filter(Column::CreatedAt.lt(before))
        .filter(Column::ResourceId.not_in_subquery(open))
        .filter(Column::ResourceId.not_in_subquery(crate::runs::open()))
        .filter(Column::ResourceId.not_in_subquery(crate::rollouts::open()))
        .limit(AT_ONCE)
        .into_tuple()
        .all(transaction)
        .await?;
    let mut gone = 0;
    for key in old {
        gone += Entity::delete_by_id(key).exec(transaction).await?.rows_affected;
    }
    Ok(gone)
}

/// Forgets the requests that made these.
pub(crate) async fn forget_of(
    transaction: &DatabaseTransaction,
    resources: &[Uuid],
) -> Result<(), DatabaseError> {
    let of_these = Column::ResourceId.is_in(resources.iter().copied());
    Entity::delete_many().filter(of_these).exec(transaction).await?;
    Ok(())
}

/// Looks a request up and remembers it if it is new, within the transaction that does the work.
pub(crate) async fn remember(
    transaction: &DatabaseTransaction,
    scope: &str,
    key: &str,
    fingerprint: &[u8; 32],
    resource_id: Uuid,
    now: i64,
) -> Result<Remembered, DatabaseError> {
    let known = Entity::find_by_id((scope.to_owned(), key.to_owned())).one(transaction).await?;
    match known {
        Some(row) if row.fingerprint == fingerprint => Ok(Remembered::Same(row.resource_id)),
        Some(_) => Ok(Remembered::Conflict),
        None => {
            let row = Model {
                scope: scope.to_owned(),
                key: key.to_owned(),
                fingerprint: fingerprint.to_vec(),
                resource_id,
                created_at: now,
            };
            let row = row.into_active_model().reset_all();
            Entity::insert(row).exec_without_returning(transaction).await?;
            Ok(Remembered::New)
        }
    }
}

/// What the request with this key made, as long as it is remembered.
pub(crate) async fn made<C: ConnectionTrait>(
    connection: &C,
    scope: &str,
    key: &str,
) -> Result<Option<Uuid>, DbErr> {
    let row = Entity::find_by_id((scope.to_owned(), key.to_owned())).one(connection).await?;
    Ok(row.map(|row| row.resource_id))
}

#[cfg(test)]
pub(crate) async fn keys(database: &crate::Database) -> Vec<String> {
    let rows = Entity::find().all(database.reader()).await.unwrap();
    rows.into_iter().map(|row| row.key).collect()
}

//! Under which key everything in the database was written.

use muster_audit::Mac;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DatabaseTransaction, IntoActiveModel};

use crate::DatabaseError;
use crate::audit::Trail;

const ID: i32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    pub key_check: Vec<u8>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Whether everything was written under this key; `None` when nothing was written yet.
pub(crate) async fn is_ours(
    connection: &impl ConnectionTrait,
    check: Mac,
) -> Result<Option<bool>, DatabaseError> {
    let row = Entity::find_by_id(ID).one(connection).await?;
    Ok(row.map(|row| row.key_check == check.0))
}

/// Whether anybody ever claimed it.
pub(crate) async fn is_used(connection: &impl ConnectionTrait) -> Result<bool, DatabaseError> {
    Ok(Entity::find_by_id(ID).one(connection).await?.is_some())
}

/// Claims a database that nobody has claimed, and begins its audit log; says whether it is this
/// key's.
pub(crate) async fn claim(
    transaction: &DatabaseTransaction,
    trail: &Trail,
) -> Result<bool, DatabaseError> {
    let check = trail.key_check();
    if let Some(ours) = is_ours(transaction, check).await? {
        return Ok(ours);
    }
    let row = Model { id: ID, key_check: check.0.to_vec() };
    let row = row.into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    // With users in it, it is no new one: a log that is missing was removed.
    if !crate::identity::has_users(transaction).await? {
        trail.begin(transaction).await?;
    }
    Ok(true)
}

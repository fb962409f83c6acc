//! Which node does what one does for all, in the table `leaderships`.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_kernel::leadership::{Leaderships, Lease};
use muster_kernel::{NodeId, StorageError};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, TryInsertResult};

use crate::columns::{micros, timestamp};
use crate::{Database, DatabaseError};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leaderships")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub node: Uuid,
    pub until: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Leases in the database.
#[derive(Debug, Clone)]
pub struct SeaLeaderships {
    database: Database,
}

impl SeaLeaderships {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

#[async_trait]
impl Leaderships for SeaLeaderships {
    async fn lease(&self, name: &str) -> Result<Option<Lease>, StorageError> {
        let row = Entity::find_by_id(name).one(self.database.reader()).await;
        let row = row.map_err(|error| DatabaseError::new("reading leaderships", error))?;
        let lease = |row: Model| {
            let until = timestamp(row.until, "leaderships.until")?;
            Ok::<_, DatabaseError>(Lease { node: NodeId::from_uuid(row.node), until })
        };
        Ok(row.map(lease).transpose()?)
    }

    async fn take(
        &self,
        name: &str,
        seen: Option<Lease>,
        next: Option<Lease>,
    ) -> Result<bool, StorageError> {
        let name = name.to_owned();
        let write = self.database.write(move |transaction| {
            async move { take(transaction, name, seen, next).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn take(
    transaction: &DatabaseTransaction,
    name: String,
    seen: Option<Lease>,
    next: Option<Lease>,
) -> Result<bool, DatabaseError> {
    let Some(seen) = seen else {
        let Some(next) = next else {
            return Ok(Entity::find_by_id(name).one(transaction).await?.is_none());
        };
        let row = Model { name, node: next.node.as_uuid(), until: micros(next.until) };
        let inserted = Entity::insert(row.into_active_model().reset_all())
            .on_conflict_do_nothing_on([Column::Name])
            .exec_without_returning(transaction)
            .await?;
        return Ok(matches!(inserted, TryInsertResult::Inserted(1)));
    };
    let same = Condition::all()
        .add(Column::Name.eq(name))
        .add(Column::Node.eq(seen.node.as_uuid()))
        .add(Column::Until.eq(micros(seen.until)));
    let affected = match next {
        Some(next) => {
            let update = Entity::update_many()
                .col_expr(Column::Node, Expr::value(next.node.as_uuid()))
                .col_expr(Column::Until, Expr::value(micros(next.until)))
                .filter(same);
            update.exec(transaction).await?.rows_affected
        }
        None => Entity::delete_many().filter(same).exec(transaction).await?.rows_affected,
    };
    Ok(affected == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each_database;

    on_each_database!(leaderships_keep_the_contract);

    async fn leaderships_keep_the_contract(database: Database) {
        let leaderships = SeaLeaderships::new(database);
        muster_kernel::testing::leaderships_contract(&leaderships).await;
    }
}

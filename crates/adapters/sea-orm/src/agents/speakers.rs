//! Agents of older products.

use async_trait::async_trait;
use muster_agents::{Admission, Speaker, Speakers, dialect_name};
use muster_kernel::{AgentId, CustomerId, Dialect, StorageError, TokenHash};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{Condition, DatabaseTransaction, QuerySelect};

use super::entity::{Column, Entity};
use super::{SeaAgents, reading};

/// The enrollment token that let an older product's agent in. It is no part of the agent, and of
/// no interest but for whether it is the one that is shown.
const ADMITTED_BY: &str = "admitted_by";

#[async_trait]
impl Speakers for SeaAgents {
    async fn find(
        &self,
        admission: Admission,
        dialect: Dialect,
        name: &str,
    ) -> Result<Option<Speaker>, StorageError> {
        let let_in = match admission {
            Admission::Customer(customer) => Column::CustomerId.eq(customer.as_uuid()),
            Admission::Token(token) => Expr::col(ADMITTED_BY).eq(token.as_bytes().to_vec()),
        };
        let named = Condition::any()
            .add(Column::MachineId.eq(dialect_name(dialect, name)))
            .add_option(name.parse::<AgentId>().ok().map(|id| Column::Id.eq(id.as_uuid())));
        let row: Option<(Uuid, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::CustomerId])
            .filter(let_in)
            .filter(named)
            .filter(Column::Dialect.eq(dialect.as_str()))
            .filter(Column::DeletedAt.is_null())
            .into_tuple()
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(|(id, customer)| Speaker {
            agent_id: AgentId::from_uuid(id),
            customer_id: CustomerId::from_uuid(customer),
            dialect,
        }))
    }
}

/// Keeps by which enrollment token an agent was let in, within the transaction that enrols it.
pub(super) async fn keep_admission(
    transaction: &DatabaseTransaction,
    id: AgentId,
    token: TokenHash,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(ADMITTED_BY, Expr::value(token.as_bytes().to_vec()))
        .filter(Column::Id.eq(id.as_uuid()))
        .exec(transaction)
        .await
        .map(|_| ())
}

//! Agents of older products.

use async_trait::async_trait;
use muster_agents::{Admission, Registration, Speaker, Speakers, dialect_name};
use muster_kernel::{AgentId, CustomerId, Dialect, StorageError, TokenHash};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{Condition, DatabaseTransaction, QuerySelect};

use super::enrol::Refusal;
use super::entity::{Column, Entity, Model};
use super::{SeaAgents, reading};
use crate::customers;

/// The enrollment token that let an older product's agent in. It is no part of the agent, and of
/// no interest but for whether it is the one that is shown.
const ADMITTED_BY: &str = "admitted_by";

#[async_trait]
impl Speakers for SeaAgents {
    async fn find(
        &self,
        customer: CustomerId,
        token: Option<TokenHash>,
        dialect: Dialect,
        name: &str,
    ) -> Result<Option<Speaker>, StorageError> {
        let by = token.map(|token| Expr::col(ADMITTED_BY).eq(token.as_bytes().to_vec()));
        let let_in = Condition::all().add(Column::CustomerId.eq(customer.as_uuid())).add_option(by);
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

/// The agent that this token let in and that enrols once more: a token is not redeemed twice for one
/// machine.
pub(super) async fn let_in_by(
    transaction: &DatabaseTransaction,
    token: TokenHash,
    registration: &Registration,
) -> Result<Option<AgentId>, Refusal> {
    let Some(dialect) = registration.dialect else { return Ok(None) };
    let Some(token) = customers::find_token(transaction, token).await? else { return Ok(None) };
    let same = match &registration.machine_id {
        Some(machine_id) => Column::MachineId.eq(machine_id.as_str()),
        None => Column::Hostname.eq(registration.hostname.as_str()),
    };
    let row = Entity::find()
        .filter(Expr::col(ADMITTED_BY).eq(token.hash.as_bytes().to_vec()))
        .filter(Column::CustomerId.eq(token.customer_id.as_uuid()))
        .filter(Column::Dialect.eq(dialect.as_str()))
        .filter(Column::DeletedAt.is_null())
        .filter(same)
        .one(transaction)
        .await?;
    Ok(row.map(|row| AgentId::from_uuid(row.id)))
}

/// Keeps what one token let in from whoever shows another, for as long as the first is good.
pub(super) async fn refuse_if_taken(
    transaction: &DatabaseTransaction,
    admission: Admission,
    known: &Model,
) -> Result<(), Refusal> {
    let (Admission::Token(shown), Some(_)) = (admission, &known.dialect) else { return Ok(()) };
    let by: Option<Option<Vec<u8>>> = Entity::find()
        .select_only()
        .expr_as(Expr::col(ADMITTED_BY), "by")
        .filter(Column::Id.eq(known.id))
        .into_tuple()
        .one(transaction)
        .await?;
    let by = by.flatten().and_then(|by| TokenHash::from_slice(&by)).filter(|by| *by != shown);
    let Some(by) = by else { return Ok(()) };
    let other = customers::find_token(transaction, by).await?;
    match other.filter(|other| other.revoked_at.is_none()) {
        Some(_) => Err(Refusal::Taken),
        None => Ok(()),
    }
}

//! Enrolment: an enrollment token is redeemed and an agent written, both or neither.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::{Agent, Enrol, EnrolCandidate, EnrolError, Registration};
use muster_customers::RedeemError;
use muster_kernel::{AgentId, CustomerId, StorageError, TokenHash};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{DatabaseTransaction, IntoActiveModel};

use super::SeaAgents;
use super::entity::{Column, Entity, Model};
use crate::{DatabaseError, customers};

/// Why the transaction ends without a new agent.
#[derive(Debug)]
enum Refusal {
    Redeem(RedeemError),
    Database(DatabaseError),
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<DbErr> for Refusal {
    fn from(error: DbErr) -> Self {
        Self::Database(DatabaseError::new("enrolling an agent", error))
    }
}

impl From<Refusal> for EnrolError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Redeem(RedeemError::Invalid) => Self::TokenInvalid,
            Refusal::Redeem(RedeemError::Expired) => Self::TokenExpired,
            Refusal::Redeem(RedeemError::UsedUp) => Self::TokenUsedUp,
            Refusal::Database(error) => Self::Storage(StorageError::from(error)),
        }
    }
}

#[async_trait]
impl Enrol for SeaAgents {
    async fn enrol(
        &self,
        enrollment_token: TokenHash,
        candidate: EnrolCandidate,
    ) -> Result<AgentId, EnrolError> {
        let write = self.database.write(move |transaction| {
            async move { enrol(transaction, enrollment_token, candidate).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn enrol(
    transaction: &DatabaseTransaction,
    enrollment_token: TokenHash,
    candidate: EnrolCandidate,
) -> Result<AgentId, Refusal> {
    let token_hash = candidate.agent_token.as_bytes().to_vec();
    let asked_again =
        Entity::find().filter(Column::TokenHash.eq(token_hash)).one(transaction).await?;
    if let Some(row) = asked_again {
        return Ok(AgentId::from_uuid(row.id));
    }
    let token = customers::redeem(transaction, enrollment_token, candidate.now)
        .await?
        .map_err(Refusal::Redeem)?;
    let known = known(transaction, token.customer_id, &candidate.registration).await?;
    let agent = candidate.registration.into_agent(candidate.id, token.customer_id, candidate.now);
    let row = |agent| Model::of(agent, candidate.agent_token).into_active_model().reset_all();
    if let Some(known) = known {
        let agent = agent.succeeding(Agent::try_from(known)?);
        Entity::update(row(&agent)).exec(transaction).await?;
        return Ok(agent.id);
    }
    Entity::insert(row(&agent)).exec_without_returning(transaction).await?;
    Ok(agent.id)
}

/// The agent that this machine is already: by its machine id, or where it tells none, by its name.
async fn known(
    transaction: &DatabaseTransaction,
    customer_id: CustomerId,
    registration: &Registration,
) -> Result<Option<Model>, DbErr> {
    let same = match &registration.machine_id {
        Some(machine_id) => Column::MachineId.eq(machine_id.as_str()),
        None => {
            Column::MachineId.is_null().and(Column::Hostname.eq(registration.hostname.as_str()))
        }
    };
    Entity::find()
        .filter(Column::CustomerId.eq(customer_id.as_uuid()))
        .filter(Column::DeletedAt.is_null())
        .filter(same)
        .one(transaction)
        .await
}

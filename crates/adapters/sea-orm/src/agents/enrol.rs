//! Enrolment: an enrollment token is redeemed and an agent written, both or neither.

use std::collections::BTreeSet;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_agents::{Admission, Agent, Enrol, EnrolCandidate, EnrolError, Registration};
use muster_customers::RedeemError;
use muster_kernel::{Actor, AgentId, CustomerId, Deed, GroupId, StorageError, Tags};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::SeaAgents;
use super::entity::{Column, Entity, Model};
use super::parts::{complete_one, write};
use super::speakers::{keep_admission, let_in_by, refuse_if_taken};
use crate::audit::Trail;
use crate::{DatabaseError, customers};

/// Why the transaction ends without a new agent.
#[derive(Debug)]
pub(super) enum Refusal {
    Redeem(RedeemError),
    Taken,
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
            Refusal::Taken => Self::Taken,
            Refusal::Database(error) => Self::Storage(StorageError::from(error)),
        }
    }
}

#[async_trait]
impl Enrol for SeaAgents {
    async fn enrol(
        &self,
        admission: Admission,
        candidate: EnrolCandidate,
    ) -> Result<AgentId, EnrolError> {
        let trail = self.database.trail();
        let write = self.database.write(move |transaction| {
            async move { enrol(transaction, &trail, admission, candidate).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn enrol(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    admission: Admission,
    mut candidate: EnrolCandidate,
) -> Result<AgentId, Refusal> {
    let token_hash = candidate.agent_token.as_bytes().to_vec();
    let asked_again =
        Entity::find().filter(Column::TokenHash.eq(token_hash)).one(transaction).await?;
    if let Some(row) = asked_again {
        return Ok(AgentId::from_uuid(row.id));
    }
    if let Admission::Token(token) = admission
        && let Some(known) = let_in_by(transaction, token, &candidate.registration).await?
    {
        return Ok(known);
    }
    let (customer_id, tags, groups) = admit(transaction, admission, &mut candidate).await?;
    let known = known(transaction, customer_id, &candidate.registration).await?;
    let registration =
        Registration { tags: candidate.registration.tags.with(tags), ..candidate.registration };
    let agent = registration.into_agent(candidate.id, customer_id, candidate.now);
    let agent = Agent { groups, ..agent };
    let token = Some(candidate.agent_token);
    let row = |agent| Model::of(agent, token).into_active_model().reset_all();
    let known = match known {
        Some(known) => {
            refuse_if_taken(transaction, admission, &known).await?;
            Some(complete_one(transaction, known).await?)
        }
        None => None,
    };
    let (agent, action) = if let Some(known) = known.clone() {
        let agent = agent.succeeding(known);
        Entity::update(row(&agent)).exec(transaction).await?;
        (agent, "agent.enrol_again")
    } else {
        Entity::insert(row(&agent)).exec_without_returning(transaction).await?;
        (agent, "agent.enrol")
    };
    if let Admission::Token(token) = admission
        && agent.dialect.is_some()
    {
        keep_admission(transaction, agent.id, token).await?;
    }
    let groups = write(transaction, known.as_ref(), &agent).await?;
    let agent = Agent { groups, ..agent };
    let deed = Deed::created(action, &agent);
    trail.enter(transaction, &candidate.author, candidate.now, deed).await?;
    Ok(agent.id)
}

/// Whose the machine will be, and the tags and groups that it gets. Who let it in is entered as its
/// author.
async fn admit(
    transaction: &DatabaseTransaction,
    admission: Admission,
    candidate: &mut EnrolCandidate,
) -> Result<(CustomerId, Tags, BTreeSet<GroupId>), Refusal> {
    match admission {
        Admission::Token(hash) => {
            let token = customers::redeem(transaction, hash, candidate.now).await?;
            let token = token.map_err(Refusal::Redeem)?;
            candidate.author = candidate.author.as_actor(Actor::EnrollmentToken(token.id));
            Ok((token.customer_id, token.tags, token.group_ids))
        }
        Admission::Customer(customer) if customers::exists(transaction, customer).await? => {
            Ok((customer, Tags::default(), BTreeSet::new()))
        }
        Admission::Customer(_) => Err(Refusal::Redeem(RedeemError::Invalid)),
    }
}

/// The agent that this machine is already: by its machine id, or where it tells none, by its name.
/// An older product's is only that product's; Muster's own agent takes its place.
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
    let of_customer = Entity::find()
        .filter(Column::CustomerId.eq(customer_id.as_uuid()))
        .filter(Column::DeletedAt.is_null());
    let Some(dialect) = registration.dialect else {
        let own = of_customer.clone().filter(same).filter(Column::Dialect.is_null());
        if let Some(own) = own.one(transaction).await? {
            return Ok(Some(own));
        }
        // Sorted here: by an order, databases are tempted to read all agents in it.
        let older = of_customer
            .filter(Column::Hostname.eq(registration.hostname.as_str()))
            .filter(Column::Dialect.is_not_null())
            .all(transaction)
            .await?;
        return Ok(older.into_iter().min_by_key(|row| row.id));
    };
    let speaking = of_customer.filter(Column::Dialect.eq(dialect.as_str()));
    if registration.machine_id.is_some() {
        return speaking.filter(same).one(transaction).await;
    }
    // By the host name alone it is known only as the one that has it.
    let there = speaking.filter(Column::Hostname.eq(registration.hostname.as_str())).limit(2);
    let mut there = there.all(transaction).await?;
    Ok(there.pop().filter(|_| there.is_empty()))
}

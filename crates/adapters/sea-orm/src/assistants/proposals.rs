//! What assistants propose, in the tables `assistant_proposals` and `assistant_proposal_customers`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_assistant::proposals::{
    Outcome, Proposal, ProposalEvent, ProposalFilter, ProposalRepository, ProposalState,
    ProposalStatus, Source,
};
use muster_commands::SafetyLevel;
use muster_commands::approvals::Decision;
use muster_kernel::{
    ApprovalId, AssistantId, Author, ChatId, CustomerId, Deed, Page, PageRequest, ProjectId,
    ProposalId, RunId, StorageError, TenantScope, Timestamp, TurnId, UserId, VersionId,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{Condition, ConnectionTrait, DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::entity::{owner, proposal};
use super::{SeaAssistants, reading};
use crate::audit::Trail;
use crate::columns::{all_scoped, from_json, json, micros, timestamp};
use crate::commands::entity::{requester, requester_columns};
use crate::{DatabaseError, pages};
use proposal::{Column, Entity, Model};

const PROPOSED: &str = "proposed";
const APPROVED: &str = "approved";
const REJECTED: &str = "rejected";
const SUPERSEDED: &str = "superseded";

impl From<&Proposal> for Model {
    fn from(proposal: &Proposal) -> Self {
        let (kind, asked_by) = requester_columns(proposal.asked_by);
        let (status, decision, reason, superseded_by) = match &proposal.state {
            ProposalState::Proposed => (PROPOSED, None, None, None),
            ProposalState::Approved { decision, .. } => (APPROVED, Some(decision), None, None),
            ProposalState::Rejected { decision, reason } => {
                (REJECTED, Some(decision), reason.clone(), None)
            }
            ProposalState::Superseded { by } => (SUPERSEDED, None, None, Some(by.as_uuid())),
        };
        let (run_id, approval_id) = match proposal.outcome() {
            Some(Outcome::Run(id)) => (Some(id.as_uuid()), None),
            Some(Outcome::Waits(id)) => (None, Some(id.as_uuid())),
            None => (None, None),
        };
        Self {
            id: proposal.id.as_uuid(),
            chat_id: proposal.chat_id.map(ChatId::as_uuid),
            turn_id: proposal.turn_id.map(TurnId::as_uuid),
            project_id: proposal.project_id.map(ProjectId::as_uuid),
            assistant_id: proposal.source.assistant_id.map(AssistantId::as_uuid),
            assistant_name: proposal.source.name.clone(),
            llm: proposal.source.model.clone(),
            asked_by,
            asked_by_kind: kind.to_owned(),
            asker_name: proposal.asker_name.clone(),
            agent_ids: json(&proposal.agent_ids),
            work: json(&proposal.work),
            script_version_id: proposal.script_version_id.map(VersionId::as_uuid),
            strategy: json(&proposal.strategy),
            explanation: proposal.explanation.clone(),
            safety_level: proposal.safety_level.as_str().to_owned(),
            safety_reasons: json(&proposal.safety_reasons),
            created_at: micros(proposal.created_at),
            expires_at: micros(proposal.expires_at),
            status: status.to_owned(),
            decided_by: decision.map(|it| it.by.as_uuid()),
            decider_name: decision.map(|it| it.name.to_string()),
            decided_at: decision.map(|it| micros(it.at)),
            reason,
            superseded_by,
            run_id,
            approval_id,
        }
    }
}

fn state(row: &Model) -> Result<ProposalState, DatabaseError> {
    let decision = || {
        let (Some(by), Some(name), Some(at)) =
            (row.decided_by, row.decider_name.as_deref(), row.decided_at)
        else {
            return Err(DatabaseError::bad_row("assistant_proposals.decided_by"));
        };
        let at = timestamp(at, "assistant_proposals.decided_at")?;
        Ok(Decision { by: UserId::from_uuid(by), name: name.into(), at })
    };
    match (row.status.as_str(), row.superseded_by) {
        (PROPOSED, _) => Ok(ProposalState::Proposed),
        (APPROVED, _) => {
            let run = row.run_id.map(|id| Outcome::Run(RunId::from_uuid(id)));
            let waits = row.approval_id.map(|id| Outcome::Waits(ApprovalId::from_uuid(id)));
            Ok(ProposalState::Approved { decision: decision()?, outcome: run.or(waits) })
        }
        (REJECTED, _) => {
            Ok(ProposalState::Rejected { decision: decision()?, reason: row.reason.clone() })
        }
        (SUPERSEDED, Some(by)) => Ok(ProposalState::Superseded { by: ProposalId::from_uuid(by) }),
        _ => Err(DatabaseError::bad_row("assistant_proposals.status")),
    }
}

/// The proposal in a row, about machines of these customers.
fn about(row: Model, customers: BTreeSet<CustomerId>) -> Result<Proposal, DatabaseError> {
    let state = state(&row)?;
    let level = SafetyLevel::parse(&row.safety_level);
    Ok(Proposal {
        id: ProposalId::from_uuid(row.id),
        chat_id: row.chat_id.map(ChatId::from_uuid),
        turn_id: row.turn_id.map(TurnId::from_uuid),
        project_id: row.project_id.map(ProjectId::from_uuid),
        source: Source {
            assistant_id: row.assistant_id.map(AssistantId::from_uuid),
            name: row.assistant_name,
            model: row.llm,
        },
        asked_by: requester(&row.asked_by_kind, row.asked_by)?,
        asker_name: row.asker_name,
        agent_ids: from_json(&row.agent_ids, "assistant_proposals.agent_ids")?,
        customers,
        work: from_json(&row.work, "assistant_proposals.work")?,
        script_version_id: row.script_version_id.map(VersionId::from_uuid),
        strategy: from_json(&row.strategy, "assistant_proposals.strategy")?,
        explanation: row.explanation,
        safety_level: level
            .ok_or_else(|| DatabaseError::bad_row("assistant_proposals.safety_level"))?,
        safety_reasons: from_json(&row.safety_reasons, "assistant_proposals.safety_reasons")?,
        created_at: timestamp(row.created_at, "assistant_proposals.created_at")?,
        expires_at: timestamp(row.expires_at, "assistant_proposals.expires_at")?,
        state,
    })
}

/// The proposals in these rows, with whose machines they are about.
async fn whole(
    connection: &impl ConnectionTrait,
    rows: Vec<Model>,
) -> Result<Vec<Proposal>, DatabaseError> {
    let owners = owner::Entity::find()
        .filter(owner::Column::ProposalId.is_in(rows.iter().map(|row| row.id)))
        .all(connection)
        .await?;
    let mut customers: BTreeMap<Uuid, BTreeSet<CustomerId>> = BTreeMap::new();
    for owner in owners {
        let of_it = customers.entry(owner.proposal_id).or_default();
        of_it.insert(CustomerId::from_uuid(owner.customer_id));
    }
    rows.into_iter()
        .map(|row| {
            let customers = customers.remove(&row.id).unwrap_or_default();
            about(row, customers)
        })
        .collect()
}

/// Proposals all of whose machines lie in `scope`.
fn in_scope(scope: &TenantScope) -> Condition {
    let proposal = Expr::col((owner::Entity, owner::Column::ProposalId));
    let owners = Query::select()
        .expr(Expr::val(1))
        .from(owner::Entity)
        .and_where(proposal.equals((Entity, Column::Id)))
        .take();
    all_scoped((owner::Entity, owner::Column::CustomerId), owners, scope)
}

fn of_status(status: ProposalStatus, now: Timestamp) -> Condition {
    let is = |status: &str| Condition::all().add(Column::Status.eq(status));
    match status {
        ProposalStatus::Proposed => is(PROPOSED).add(Column::ExpiresAt.gt(micros(now))),
        ProposalStatus::Expired => is(PROPOSED).add(Column::ExpiresAt.lte(micros(now))),
        ProposalStatus::Approved => is(APPROVED),
        ProposalStatus::Rejected => is(REJECTED),
        ProposalStatus::Superseded => is(SUPERSEDED),
    }
}

fn passing(filter: ProposalFilter, now: Timestamp) -> Condition {
    Condition::all()
        .add_option(filter.status.map(|status| of_status(status, now)))
        .add_option(filter.chat_id.map(|id| Column::ChatId.eq(id.as_uuid())))
        .add_option(filter.project_id.map(|id| Column::ProjectId.eq(id.as_uuid())))
}

#[async_trait]
impl ProposalRepository for SeaAssistants {
    async fn create(
        &self,
        proposal: Proposal,
        replaces: Option<ProposalId>,
        author: &Author,
    ) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { create(transaction, &trail, proposal, replaces, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ProposalId,
    ) -> Result<Option<Proposal>, StorageError> {
        let reader = self.database.reader();
        let row = Entity::find()
            .filter(in_scope(scope).add(Column::Id.eq(id.as_uuid())))
            .one(reader)
            .await
            .map_err(reading)?;
        Ok(whole(reader, row.into_iter().collect()).await?.pop())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: ProposalFilter,
        now: Timestamp,
        page: &PageRequest,
    ) -> Result<Page<Proposal>, StorageError> {
        let reader = self.database.reader();
        let matching = Entity::find().filter(in_scope(scope).add(passing(filter, now)));
        let page = pages::newest_first(reader, matching, Column::Id, page, |row| row.id).await;
        let Page { items, next_cursor, total } = page.map_err(reading)?;
        Ok(Page { items: whole(reader, items).await?, next_cursor, total })
    }

    async fn change(
        &self,
        id: ProposalId,
        event: ProposalEvent,
        author: &Author,
        now: Timestamp,
    ) -> Result<Option<(Proposal, bool)>, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { change(transaction, &trail, id, event, &author, now).await }.boxed()
        });
        Ok(write.await?)
    }
}

async fn create(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    proposal: Proposal,
    replaces: Option<ProposalId>,
    author: &Author,
) -> Result<(), DatabaseError> {
    let (id, now) = (proposal.id.as_uuid(), proposal.created_at);
    let row = Model::from(&proposal).into_active_model().reset_all();
    Entity::insert(row).exec_without_returning(transaction).await?;
    for customer_id in &proposal.customers {
        let row = owner::Model { proposal_id: id, customer_id: customer_id.as_uuid() };
        let row = row.into_active_model().reset_all();
        owner::Entity::insert(row).exec_without_returning(transaction).await?;
    }
    trail.enter(transaction, author, now, Deed::created("proposal.create", &proposal)).await?;
    let Some(replaces) = replaces.filter(|_| proposal.chat_id.is_some()) else { return Ok(()) };
    let before = Entity::find_by_id(replaces.as_uuid())
        .filter(Column::ChatId.eq(proposal.chat_id.map(ChatId::as_uuid)))
        .one(transaction)
        .await?;
    if before.is_some() {
        let event = ProposalEvent::Superseded(proposal.id);
        change(transaction, trail, replaces, event, author, now).await?;
    }
    Ok(())
}

async fn change(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    id: ProposalId,
    event: ProposalEvent,
    author: &Author,
    now: Timestamp,
) -> Result<Option<(Proposal, bool)>, DatabaseError> {
    // Where several servers share the database, whoever comes second waits here for the first.
    let row = Entity::find_by_id(id.as_uuid()).lock_exclusive().one(transaction).await?;
    let Some(before) = whole(transaction, row.into_iter().collect()).await?.pop() else {
        return Ok(None);
    };
    let deed = event.deed();
    let mut proposal = before.clone();
    let changed = proposal.apply(event);
    if changed {
        let row = Model::from(&proposal).into_active_model().reset_all();
        Entity::update(row).exec(transaction).await?;
        // Both names in one entry: who proposed it, and who decided.
        let facts = serde_json::json!({
            "proposed_by": proposal.source.name,
            "asked_by": proposal.asker_name,
        });
        let mut deed = Deed::changed(deed, &before, &proposal);
        if let (Some(serde_json::Value::Object(after)), serde_json::Value::Object(facts)) =
            (&mut deed.after, facts)
        {
            after.extend(facts);
        }
        trail.enter(transaction, author, now, deed).await?;
    }
    Ok(Some((proposal, changed)))
}

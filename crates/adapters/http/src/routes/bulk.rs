//! Many machines at once.

use actix_web::{Responder, web};
use muster_agents::{BulkDone, BulkEdit, BulkError, BulkWriteError, Target, TargetError};
use muster_kernel::{CustomerId, GroupId, ProblemCode, Tags, act};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::wish::TargetBody;
use crate::extract::{Json, May, null_as_default};
use crate::{AppState, Problem};

/// The longest body: a target of 100,000 ids.
const MAX_BODY: usize = 4 << 20;
/// How many machines an answer names.
const NAMED: usize = 1000;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    /// Which machines, as for runs; at most 10,000.
    target: TargetBody,
    /// Only say who is meant, and change nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    dry_run: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    add_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    remove_tags: Vec<String>,
    /// Groups without a filter.
    #[serde(default, deserialize_with = "null_as_default")]
    add_to_groups: Vec<Uuid>,
    /// Groups without a filter.
    #[serde(default, deserialize_with = "null_as_default")]
    remove_from_groups: Vec<Uuid>,
    /// Gives the machines to another customer; they leave the groups of the old one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// An empty text removes the notes.
    notes: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkDeleteRequest {
    /// Which machines, as for runs; at most 10,000.
    target: TargetBody,
    /// Only say who is meant, and delete nothing.
    #[serde(default, deserialize_with = "null_as_default")]
    dry_run: bool,
    /// Has to be true, unless `dry_run` is.
    #[serde(default, deserialize_with = "null_as_default")]
    confirm: bool,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BulkAnswer {
    /// How many machines are meant.
    matched: usize,
    /// How many are another now, or gone; null when `dry_run` was asked for.
    changed: Option<u64>,
    /// The first 1,000 that are meant.
    agent_ids: Vec<Uuid>,
}

impl From<BulkDone> for BulkAnswer {
    fn from(BulkDone { machines, changed }: BulkDone) -> Self {
        let named = machines.iter().take(NAMED).map(|machine| machine.id.as_uuid());
        Self { matched: machines.len(), changed, agent_ids: named.collect() }
    }
}

impl From<TargetError> for Problem {
    fn from(error: TargetError) -> Self {
        let text = error.to_string();
        match error {
            TargetError::Invalid(error) => Self::invalid(format!("/{}", error.field), error.rule),
            TargetError::UnknownAgent(_)
            | TargetError::UnknownCustomer(_)
            | TargetError::UnknownGroup(_) => Self::new(ProblemCode::NotFound, text),
            TargetError::Nobody => Self::invalid("/target", text),
            TargetError::Storage(error) => error.into(),
        }
    }
}

impl From<BulkError> for Problem {
    fn from(error: BulkError) -> Self {
        let text = error.to_string();
        match error {
            BulkError::Nothing => Self::invalid("", text),
            BulkError::TooMany(_) => Self::invalid("/target", text),
            BulkError::Denied(denied) => denied.into(),
            BulkError::Target(error) => error.into(),
            BulkError::Groups(error) => error.into(),
            BulkError::Write(BulkWriteError::TooManyTags(_)) => Self::invalid("/add_tags", text),
            BulkError::Write(BulkWriteError::NoCustomer) => Self::new(ProblemCode::NotFound, text),
            BulkError::Write(BulkWriteError::Storage(error)) | BulkError::Storage(error) => {
                error.into()
            }
        }
    }
}

fn tags(given: Vec<String>, pointer: &str) -> Result<Tags, Problem> {
    Tags::parse(given).map_err(|error| Problem::invalid(pointer, error.0))
}

/// Change many machines, all of them or none. The same again changes nothing more.
#[utoipa::path(
    post, path = "/agents/bulk", tag = "agents", operation_id = "update_many_agents",
    request_body = BulkRequest,
    responses((status = 200, body = BulkAnswer), (status = 404), (status = 409), (status = 422)),
)]
pub(crate) async fn edit(
    state: web::Data<AppState>,
    permit: May<act::ManageAgents>,
    body: Json<BulkRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let groups = |ids: Vec<Uuid>| ids.into_iter().map(GroupId::from_uuid).collect();
    let customer_id = body.customer_id.map(CustomerId::from_uuid);
    if let Some(customer_id) = customer_id {
        state.customers.require(&permit, customer_id).await?;
    }
    let edit = BulkEdit {
        add_tags: tags(body.add_tags, "/add_tags")?,
        remove_tags: tags(body.remove_tags, "/remove_tags")?,
        add_to_groups: groups(body.add_to_groups),
        remove_from_groups: groups(body.remove_from_groups),
        customer_id,
        notes: body.notes,
    };
    let target = Target::try_from(body.target)?;
    let done = state.many_agents.edit(&permit, &target, edit, body.dry_run).await?;
    Ok(web::Json(BulkAnswer::from(done)))
}

/// Delete many machines: their tokens open nothing any more, and what they had not begun is
/// cancelled. Their history stays.
#[utoipa::path(
    post, path = "/agents/bulk/delete", tag = "agents", operation_id = "delete_many_agents",
    request_body = BulkDeleteRequest,
    responses((status = 200, body = BulkAnswer), (status = 404), (status = 422)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::DeleteManyAgents>,
    body: Json<BulkDeleteRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    if !body.confirm && !body.dry_run {
        let rule = "say true if you mean it: what is deleted does not come back";
        return Err(Problem::invalid("/confirm", rule));
    }
    let target = Target::try_from(body.target)?;
    let done = state.many_agents.delete(&permit, &target, body.dry_run).await?;
    Ok(web::Json(BulkAnswer::from(done)))
}

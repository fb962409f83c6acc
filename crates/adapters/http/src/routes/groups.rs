//! Groups of machines.

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_agents::groups::{
    Group, GroupChange, GroupFilter, GroupKind, GroupName, GroupWriteError, GroupsError,
    InvalidGroup, MemberChange, MembersChanged, NewGroup,
};
use muster_agents::{Criteria, HostnamePattern, InvalidCriteria};
use muster_kernel::{AgentId, CustomerId, GroupId, ProblemCode, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::agent_query::{AgentQuery, OsTypeParameter, SortQuery, StatusParameter};
use super::agents::AgentList;
use crate::extract::{Id, IfMatch, Json, ListAnswer, May, PageQuery, Query, etag};
use crate::{AppState, Problem};

/// Which machines are in a group: those that all of what is given applies to, at any moment.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FilterBody {
    #[schema(inline)]
    status: Option<StatusParameter>,
    #[schema(inline)]
    os_type: Option<OsTypeParameter>,
    /// Those with all of these tags.
    #[serde(deserialize_with = "crate::extract::null_as_default")]
    tags: Vec<String>,
    /// Those with at least one of these tags.
    #[serde(deserialize_with = "crate::extract::null_as_default")]
    tags_any: Vec<String>,
    /// Those with this version of the agent program.
    version: Option<String>,
    /// Those with such a host name: `*` stands for any characters, `?` for one.
    #[schema(example = "web-*")]
    hostname: Option<String>,
    /// Those whose host name, address, operating system or notes contain this.
    q: Option<String>,
}

impl TryFrom<FilterBody> for Criteria {
    type Error = InvalidCriteria;

    fn try_from(body: FilterBody) -> Result<Self, InvalidCriteria> {
        let criteria = Self {
            status: body.status.map(Into::into),
            os_type: body.os_type.map(Into::into),
            tags: body.tags.into_iter().collect(),
            tags_any: body.tags_any.into_iter().collect(),
            version: body.version,
            hostname: body.hostname.as_deref().map(HostnamePattern::parse).transpose()?,
            q: body.q,
        };
        criteria.checked()
    }
}

impl From<&Criteria> for FilterBody {
    fn from(criteria: &Criteria) -> Self {
        Self {
            status: criteria.status.map(Into::into),
            os_type: criteria.os_type.map(Into::into),
            tags: criteria.tags.iter().cloned().collect(),
            tags_any: criteria.tags_any.iter().cloned().collect(),
            version: criteria.version.clone(),
            hostname: criteria.hostname.clone().map(Into::into),
            q: criteria.q.clone(),
        }
    }
}

/// The criteria of a body's field `filter`.
fn criteria(body: FilterBody) -> Result<Criteria, Problem> {
    let criteria = Criteria::try_from(body);
    criteria.map_err(|error| Problem::invalid(format!("/filter/{}", error.field), error.rule))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupRequest {
    /// Whose it is; of all customers when null, which only those can say who work for all of them.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// 1 to 200 printable characters; no two groups of a customer have the same.
    name: String,
    description: Option<String>,
    /// Who is in it; when null, those that are put into it one by one.
    filter: Option<FilterBody>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupUpdate {
    name: Option<String>,
    /// An empty text removes the description.
    description: Option<String>,
    /// Another filter instead of the one that there is.
    filter: Option<FilterBody>,
}

/// Machines under a name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupAnswer {
    id: Uuid,
    /// Null for a group of all customers.
    customer_id: Option<Uuid>,
    name: String,
    description: Option<String>,
    /// `static`: those that were put into it; `filter`: those that pass at any moment.
    kind: &'static str,
    filter: Option<FilterBody>,
    /// Counts changes of the group, not of who is in it.
    version: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Group> for GroupAnswer {
    fn from(group: Group) -> Self {
        Self {
            id: group.id.as_uuid(),
            customer_id: group.customer_id.map(CustomerId::as_uuid),
            name: group.name.as_str().to_owned(),
            description: group.description,
            kind: group.kind.as_str(),
            filter: match &group.kind {
                GroupKind::Static => None,
                GroupKind::Filter(criteria) => Some(criteria.into()),
            },
            version: group.version,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersRequest {
    agent_ids: Vec<Uuid>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MembersAnswer {
    added: u64,
    removed: u64,
    /// How many machines are in the group now.
    total: u64,
}

impl From<MembersChanged> for MembersAnswer {
    fn from(MembersChanged { added, removed, total }: MembersChanged) -> Self {
        Self { added, removed, total }
    }
}

impl From<InvalidGroup> for Problem {
    fn from(error: InvalidGroup) -> Self {
        match error.field {
            "name" | "description" | "customer_id" => {
                Self::invalid(format!("/{}", error.field), error.rule)
            }
            "" => Self::invalid("/filter", error.rule),
            field => Self::invalid(format!("/filter/{field}"), error.rule),
        }
    }
}

impl From<GroupsError> for Problem {
    fn from(error: GroupsError) -> Self {
        let text = error.to_string();
        match error {
            GroupsError::NotFound => Self::new(ProblemCode::NotFound, text),
            GroupsError::Unknown(_) => Self::invalid("/group_ids", text),
            GroupsError::UnknownAgent(_) => Self::invalid("/agent_ids", text),
            GroupsError::Shared => Self::new(ProblemCode::Forbidden, text),
            GroupsError::Filtered(_) => Self::new(ProblemCode::WrongState, text),
            GroupsError::Denied(denied) => denied.into(),
            GroupsError::Invalid(error) => error.into(),
            GroupsError::Stale | GroupsError::Write(GroupWriteError::Stale) => {
                Self::new(ProblemCode::PreconditionFailed, text)
            }
            GroupsError::Write(GroupWriteError::NameTaken) => {
                Self::new(ProblemCode::AlreadyExists, text)
            }
            GroupsError::Write(GroupWriteError::NoCustomer) => {
                Self::new(ProblemCode::NotFound, text)
            }
            GroupsError::Write(GroupWriteError::Storage(error)) | GroupsError::Storage(error) => {
                error.into()
            }
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GroupQuery {
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// Only those whose name contains this.
    q: Option<String>,
}

/// The groups, in the order of their names.
#[utoipa::path(
    get, path = "/groups", tag = "groups", operation_id = "list_groups",
    params(GroupQuery, PageQuery), responses((status = 200, body = ListAnswer<GroupAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadGroups>,
    query: Query<GroupQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let GroupQuery { customer_id, q } = query.0;
    let filter = GroupFilter { customer_id: customer_id.map(CustomerId::from_uuid), q };
    let page = state.groups.list(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, GroupAnswer::from)))
}

/// Make a group: of the machines that are put into it, or of those that pass a filter.
#[utoipa::path(
    post, path = "/groups", tag = "groups", operation_id = "create_group",
    request_body = GroupRequest,
    responses(
        (status = 201, body = GroupAnswer), (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    body: Json<GroupRequest>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let wish = NewGroup {
        customer_id: body.customer_id.map(CustomerId::from_uuid),
        name: GroupName::parse(&body.name)?,
        description: body.description,
        kind: match body.filter {
            None => GroupKind::Static,
            Some(filter) => GroupKind::Filter(criteria(filter)?),
        },
    };
    let group = state.groups.create(&permit, wish).await?;
    let location = format!("/api/v1/groups/{}", group.id);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(etag(group.version));
    Ok(answer.json(GroupAnswer::from(group)))
}

fn respond(group: Group) -> HttpResponse {
    HttpResponse::Ok().insert_header(etag(group.version)).json(GroupAnswer::from(group))
}

/// One group.
#[utoipa::path(
    get, path = "/groups/{id}", tag = "groups", operation_id = "read_group",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = GroupAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadGroups>,
    id: Id<GroupId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.groups.get(&permit, id.get()?).await?))
}

/// Change a group; what is left out stays.
#[utoipa::path(
    put, path = "/groups/{id}", tag = "groups", operation_id = "update_group",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = GroupUpdate,
    responses(
        (status = 200, body = GroupAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    id: Id<GroupId>,
    expected: IfMatch,
    body: Json<GroupUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let change = GroupChange {
        name: body.name.as_deref().map(GroupName::parse).transpose()?,
        description: body.description,
        criteria: body.filter.map(criteria).transpose()?,
    };
    Ok(respond(state.groups.change(&permit, id.get()?, expected.0, change).await?))
}

/// Delete a group. Its machines stay; a schedule whose target names it starts no run any more, and
/// its history says why.
#[utoipa::path(
    delete, path = "/groups/{id}", tag = "groups", operation_id = "delete_group",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    id: Id<GroupId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.groups.delete(&permit, id.get()?, expected.0).await?;
    Ok(HttpResponse::NoContent())
}

/// The machines that are in a group now.
#[utoipa::path(
    get, path = "/groups/{id}/agents", tag = "groups", operation_id = "list_group_agents",
    params(("id" = Uuid, Path), AgentQuery, SortQuery, PageQuery),
    responses((status = 200, body = AgentList), (status = 404)),
)]
pub(crate) async fn members(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    reading: May<act::ReadGroups>,
    id: Id<GroupId>,
    query: Query<AgentQuery>,
    sort: Query<SortQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let group = state.groups.get(&reading, id.get()?).await?;
    let query = query.0.of_group(group.id);
    super::agents::page(&state, &permit, query, None, sort.0, page.0).await
}

async fn change(
    state: &AppState,
    permit: &May<act::ManageGroups>,
    id: Id<GroupId>,
    body: Json<MembersRequest>,
    change: impl FnOnce(BTreeSet<AgentId>) -> MemberChange,
) -> Result<web::Json<MembersAnswer>, Problem> {
    let ids = body.up_to(MAX_BODY).value().await?.agent_ids;
    let ids = ids.into_iter().map(AgentId::from_uuid).collect();
    let changed = state.groups.change_members(permit, id.get()?, change(ids)).await?;
    Ok(web::Json(changed.into()))
}

/// The longest body: 100,000 ids.
const MAX_BODY: usize = 4 << 20;

/// Put machines into a group.
#[utoipa::path(
    post, path = "/groups/{id}/agents", tag = "groups", operation_id = "add_group_agents",
    params(("id" = Uuid, Path)), request_body = MembersRequest,
    responses(
        (status = 200, body = MembersAnswer), (status = 404),
        (status = 409, description = "the group has a filter"),
        (status = 422, description = "a machine is not there, or is another customer's"),
    ),
)]
pub(crate) async fn add_members(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    id: Id<GroupId>,
    body: Json<MembersRequest>,
) -> Result<impl Responder, Problem> {
    change(&state, &permit, id, body, MemberChange::Add).await
}

/// Say all machines that are in a group.
#[utoipa::path(
    put, path = "/groups/{id}/agents", tag = "groups", operation_id = "replace_group_agents",
    params(("id" = Uuid, Path)), request_body = MembersRequest,
    responses(
        (status = 200, body = MembersAnswer), (status = 404),
        (status = 409, description = "the group has a filter"),
        (status = 422, description = "a machine is not there, or is another customer's"),
    ),
)]
pub(crate) async fn replace_members(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    id: Id<GroupId>,
    body: Json<MembersRequest>,
) -> Result<impl Responder, Problem> {
    change(&state, &permit, id, body, MemberChange::Replace).await
}

/// Take machines out of a group.
#[utoipa::path(
    delete, path = "/groups/{id}/agents", tag = "groups", operation_id = "remove_group_agents",
    params(("id" = Uuid, Path)), request_body = MembersRequest,
    responses(
        (status = 200, body = MembersAnswer), (status = 404),
        (status = 409, description = "the group has a filter"),
    ),
)]
pub(crate) async fn remove_members(
    state: web::Data<AppState>,
    permit: May<act::ManageGroups>,
    id: Id<GroupId>,
    body: Json<MembersRequest>,
) -> Result<impl Responder, Problem> {
    change(&state, &permit, id, body, MemberChange::Remove).await
}

//! Users, as admins see them.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, Responder, web};
use muster_identity::{User, UserError, UserFilter, UserStatus};
use muster_kernel::{CustomerId, Principal, ProblemCode, Role, UserId, act};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::UserAnswer;
use crate::extract::{Caller, Id, Json, ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        let text = error.to_string();
        match error {
            UserError::NotFound => Self::new(ProblemCode::NotFound, text),
            UserError::LastAdmin(_) => Self::new(ProblemCode::LastAdmin, text),
            UserError::Denied(denied) => denied.into(),
            UserError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleParameter {
    Viewer,
    Runner,
    Operator,
    Admin,
}

impl From<RoleParameter> for Role {
    fn from(role: RoleParameter) -> Self {
        match role {
            RoleParameter::Viewer => Self::Viewer,
            RoleParameter::Runner => Self::Runner,
            RoleParameter::Operator => Self::Operator,
            RoleParameter::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusParameter {
    Active,
    Pending,
    Disabled,
}

impl From<StatusParameter> for UserStatus {
    fn from(status: StatusParameter) -> Self {
        match status {
            StatusParameter::Active => Self::Active,
            StatusParameter::Pending => Self::Pending,
            StatusParameter::Disabled => Self::Disabled,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UserQuery {
    #[param(inline)]
    status: Option<StatusParameter>,
    #[param(inline)]
    role: Option<RoleParameter>,
    /// Only those whose user name, e-mail address or full name contains this.
    q: Option<String>,
}

/// The users, in the order of their creation.
#[utoipa::path(
    get, path = "/users", tag = "users", operation_id = "list_users",
    params(UserQuery, PageQuery), responses((status = 200, body = ListAnswer<UserAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadUsers>,
    query: Query<UserQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let UserQuery { status, role, q } = query.0;
    let filter = UserFilter { status: status.map(Into::into), role: role.map(Into::into), q };
    let page = state.identity.users(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, UserAnswer::from)))
}

/// The users who wait for an admin's approval.
#[utoipa::path(
    get, path = "/admin/pending-users", tag = "users", operation_id = "list_pending_users",
    params(PageQuery), responses((status = 200, body = ListAnswer<UserAnswer>)),
)]
pub(crate) async fn pending(
    state: web::Data<AppState>,
    permit: May<act::ReadUsers>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = UserFilter { status: Some(UserStatus::Pending), ..UserFilter::default() };
    let page = state.identity.users(&permit, &filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, UserAnswer::from)))
}

/// One user. Everybody may see themselves.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users", operation_id = "read_user",
    params(("id" = Uuid, Path)), responses((status = 200, body = UserAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    caller: Caller,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    let own =
        matches!(caller.principal(), Principal::User { user_id, .. } if *user_id == id.get()?);
    let user = if own {
        state.identity.me(&caller.may()?).await?
    } else {
        state.identity.user(&caller.may()?, id.get()?).await?
    };
    Ok(web::Json(UserAnswer::from(user)))
}

/// Remove a user and end their sessions at once. What they did stays in the audit log.
#[utoipa::path(
    delete, path = "/users/{id}", tag = "users", operation_id = "delete_user",
    params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404), (status = 409, description = "`LAST_ADMIN`")),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    state.identity.remove_user(&permit, id.get()?).await?;
    Ok(HttpResponse::NoContent())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembershipRequest {
    /// All of their customers from now on. With none they see every customer's data, as R's
    /// regular users do.
    customer_ids: BTreeSet<Uuid>,
}

/// Say which customers an operator or viewer belongs to.
#[utoipa::path(
    put, path = "/users/{id}/customers", tag = "users", operation_id = "set_user_customers",
    params(("id" = Uuid, Path)), request_body = MembershipRequest,
    responses((status = 200, body = UserAnswer), (status = 404, description = "user or customer")),
)]
pub(crate) async fn set_customers(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
    body: Json<MembershipRequest>,
) -> Result<impl Responder, Problem> {
    let ids = body.value().await?.customer_ids;
    let ids: BTreeSet<_> = ids.into_iter().map(CustomerId::from_uuid).collect();
    for customer in &ids {
        state.customers.require(&permit, *customer).await?;
    }
    let user = state.identity.set_customers(&permit, id.get()?, ids).await?;
    Ok(web::Json(UserAnswer::from(user)))
}

fn answer(changed: Result<User, UserError>) -> Result<web::Json<UserAnswer>, Problem> {
    Ok(web::Json(UserAnswer::from(changed?)))
}

/// Let a user in who waits for it, or who was switched off.
#[utoipa::path(
    post, path = "/admin/users/{id}/approve", tag = "users", operation_id = "approve_user",
    params(("id" = Uuid, Path)), responses((status = 200, body = UserAnswer), (status = 404)),
)]
pub(crate) async fn approve(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    answer(state.identity.approve(&permit, id.get()?).await)
}

/// Turn a user away, or switch them off: they can't sign in, and their sessions end at once.
#[utoipa::path(
    post, path = "/admin/users/{id}/reject", tag = "users", operation_id = "reject_user",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = UserAnswer), (status = 404),
        (status = 409, description = "`LAST_ADMIN`"),
    ),
)]
pub(crate) async fn reject(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    answer(state.identity.reject(&permit, id.get()?).await)
}

/// Make a user an admin.
#[utoipa::path(
    post, path = "/admin/users/{id}/make-admin", tag = "users", operation_id = "make_admin",
    params(("id" = Uuid, Path)), responses((status = 200, body = UserAnswer), (status = 404)),
)]
pub(crate) async fn make_admin(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    answer(state.identity.set_role(&permit, id.get()?, Role::Admin).await)
}

/// Make an admin an operator.
#[utoipa::path(
    post, path = "/admin/users/{id}/remove-admin", tag = "users", operation_id = "remove_admin",
    params(("id" = Uuid, Path)),
    responses(
        (status = 200, body = UserAnswer), (status = 404),
        (status = 409, description = "`LAST_ADMIN`"),
    ),
)]
pub(crate) async fn remove_admin(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
) -> Result<impl Responder, Problem> {
    answer(state.identity.set_role(&permit, id.get()?, Role::Operator).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleRequest {
    #[schema(inline)]
    role: RoleParameter,
}

/// Say what a user is.
#[utoipa::path(
    post, path = "/admin/users/{id}/set-role", tag = "users", operation_id = "set_role",
    params(("id" = Uuid, Path)), request_body = RoleRequest,
    responses(
        (status = 200, body = UserAnswer), (status = 404),
        (status = 409, description = "`LAST_ADMIN`"),
    ),
)]
pub(crate) async fn set_role(
    state: web::Data<AppState>,
    permit: May<act::ManageUsers>,
    id: Id<UserId>,
    body: Json<RoleRequest>,
) -> Result<impl Responder, Problem> {
    let role = body.value().await?.role.into();
    answer(state.identity.set_role(&permit, id.get()?, role).await)
}

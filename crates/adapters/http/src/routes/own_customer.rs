//! What a customer's key sees of its own customer.

use actix_web::{Responder, web};
use muster_customers::CustomersError;
use muster_kernel::{Principal, act};

use super::agent_query::{AgentQuery, SortQuery};
use super::agents::AgentList;
use super::customers::CustomerAnswer;
use super::library::LibraryQuery;
use super::scripts::{ScriptAnswer, ScriptQuery};
use crate::extract::{ListAnswer, May, PageQuery, Query};
use crate::{AppState, Problem};

/// The customer that the key is of.
#[utoipa::path(
    get, path = "/customer/profile", tag = "customers", operation_id = "own_customer",
    responses((status = 200, body = CustomerAnswer)),
)]
pub(crate) async fn profile(
    state: web::Data<AppState>,
    permit: May<act::ReadOwnCustomer>,
) -> Result<impl Responder, Problem> {
    let Principal::ApiKey { customer_id, .. } = permit.principal() else {
        return Err(CustomersError::NotFound.into());
    };
    Ok(web::Json(CustomerAnswer::from(state.customers.own(&permit, *customer_id).await?)))
}

/// The agents of the customer that the key is of.
#[utoipa::path(
    get, path = "/customer/agents", tag = "customers", operation_id = "own_agents",
    params(AgentQuery, SortQuery, PageQuery), responses((status = 200, body = AgentList)),
)]
pub(crate) async fn agents(
    state: web::Data<AppState>,
    permit: May<act::ReadAgents>,
    query: Query<AgentQuery>,
    sort: Query<SortQuery>,
    list: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    super::agents::page(&state, &permit, query.0, None, sort.0, list.0).await
}

/// The scripts that the key may run: its own customer's, and those that are shared with all.
#[utoipa::path(
    get, path = "/customer/scripts", tag = "customers", operation_id = "own_scripts",
    params(LibraryQuery, ScriptQuery, PageQuery),
    responses((status = 200, body = ListAnswer<ScriptAnswer>)),
)]
pub(crate) async fn scripts(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    query: Query<LibraryQuery>,
    script: Query<ScriptQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    super::scripts::page(&state, &permit, query.0, script.0, page.0).await
}

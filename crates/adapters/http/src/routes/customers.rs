//! Customers.

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_customers::{
    Customer, CustomerChange, CustomerWriteError, CustomersError, InvalidCustomer, Name, Networks,
};
use muster_kernel::{CustomerId, DangerPolicy, Dialect, Plan, ProblemCode, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query, network};
use crate::{AppState, Problem};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerRequest {
    /// 1 to 200 printable characters; no two customers have the same.
    name: String,
    address: Option<String>,
    /// How much it may ask for; the setting `default_plan` unless given.
    #[schema(inline)]
    plan: Option<PlanParameter>,
    /// What it takes to run something dangerous on its machines; `allow` unless given.
    #[schema(inline)]
    dangerous_commands: Option<DangerParameter>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerUpdate {
    name: Option<String>,
    /// An empty text removes the address.
    address: Option<String>,
    #[schema(inline)]
    plan: Option<PlanParameter>,
    /// What it takes to run something dangerous on its machines; `allow` unless given.
    #[schema(inline)]
    dangerous_commands: Option<DangerParameter>,
    /// Which older products' agents are let in, all of them together; `[]` for none.
    #[schema(inline)]
    allowed_dialects: Option<BTreeSet<DialectParameter>>,
    /// Networks from which these agents are let in without any credential: whoever is there is
    /// believed.
    #[schema(value_type = Option<Vec<String>>, example = json!(["10.20.0.0/16"]))]
    legacy_agents_without_credentials: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DialectParameter {
    /// `DexAgents`.
    Dexagents,
    /// Remote Agent Manager.
    RemoteAgentManager,
    /// `DeployFlow` Fleet.
    Deployflow,
}

impl From<DialectParameter> for Dialect {
    fn from(dialect: DialectParameter) -> Self {
        match dialect {
            DialectParameter::Dexagents => Self::DexAgents,
            DialectParameter::RemoteAgentManager => Self::RemoteAgentManager,
            DialectParameter::Deployflow => Self::DeployFlow,
        }
    }
}

/// Networks from which agents need no credential.
fn networks(texts: &[String]) -> Result<Networks, Problem> {
    let field = "legacy_agents_without_credentials";
    let networks = texts.iter().enumerate().map(|(number, text)| {
        let rule = "a network such as 10.20.0.0/16 is expected";
        network(text).ok_or_else(|| Problem::invalid(format!("/{field}/{number}"), rule))
    });
    Ok(Networks::parse(networks.collect::<Result<_, _>>()?)?)
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanParameter {
    Free,
    Pro,
    Team,
    Enterprise,
}

impl From<PlanParameter> for Plan {
    fn from(plan: PlanParameter) -> Self {
        match plan {
            PlanParameter::Free => Self::Free,
            PlanParameter::Pro => Self::Pro,
            PlanParameter::Team => Self::Team,
            PlanParameter::Enterprise => Self::Enterprise,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DangerParameter {
    /// Nothing more than of others.
    Allow,
    /// `confirm: true`.
    Confirm,
    /// The approval of a second person.
    Approve,
}

impl From<DangerParameter> for DangerPolicy {
    fn from(policy: DangerParameter) -> Self {
        match policy {
            DangerParameter::Allow => Self::Allow,
            DangerParameter::Confirm => Self::Confirm,
            DangerParameter::Approve => Self::Approve,
        }
    }
}

/// Whose machines these are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CustomerAnswer {
    id: Uuid,
    name: String,
    address: Option<String>,
    /// `free`, `pro`, `team` or `enterprise`.
    plan: &'static str,
    /// What it takes to run something dangerous: `allow` or `confirm`.
    dangerous_commands: &'static str,
    /// Which older products' agents are let in.
    allowed_dialects: Vec<&'static str>,
    /// Networks from which they are let in without any credential.
    legacy_agents_without_credentials: Vec<String>,
    created_at: chrono::DateTime<chrono::Utc>,
    updated_at: chrono::DateTime<chrono::Utc>,
}

impl From<Customer> for CustomerAnswer {
    fn from(customer: Customer) -> Self {
        let dialects = customer.dialects;
        let networks = dialects.without_credentials.iter();
        Self {
            id: customer.id.as_uuid(),
            name: customer.name.as_str().to_owned(),
            address: customer.address,
            plan: customer.plan.as_str(),
            dangerous_commands: customer.dangerous_commands.as_str(),
            allowed_dialects: dialects.allowed.iter().map(|dialect| dialect.as_str()).collect(),
            legacy_agents_without_credentials: networks.map(ToString::to_string).collect(),
            created_at: customer.created_at,
            updated_at: customer.updated_at,
        }
    }
}

impl From<InvalidCustomer> for Problem {
    fn from(error: InvalidCustomer) -> Self {
        Self::invalid(format!("/{}", error.field), error.rule)
    }
}

impl From<CustomersError> for Problem {
    fn from(error: CustomersError) -> Self {
        let text = error.to_string();
        match error {
            CustomersError::NotFound
            | CustomersError::TokenNotFound
            | CustomersError::KeyNotFound => Self::new(ProblemCode::NotFound, text),
            CustomersError::NoKey => Self::new(ProblemCode::NoApiKey, text),
            CustomersError::Denied(denied) => denied.into(),
            CustomersError::Invalid(error) => error.into(),
            CustomersError::KeyReused => Self::new(ProblemCode::IdempotencyConflict, text),
            CustomersError::Write(CustomerWriteError::NameTaken) => {
                Self::new(ProblemCode::AlreadyExists, text)
            }
            CustomersError::Write(CustomerWriteError::HasAgents) => {
                let detail = "the customer still has agents; delete them first, or ?cascade=true";
                Self::new(ProblemCode::CustomerHasAgents, detail)
            }
            CustomersError::Write(CustomerWriteError::Storage(error))
            | CustomersError::Storage(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// Only those whose name contains this.
    q: Option<String>,
}

/// The customers, in the order of their creation.
#[utoipa::path(
    get, path = "/customers", tag = "customers", operation_id = "list_customers",
    params(SearchQuery, PageQuery),
    responses((status = 200, body = ListAnswer<CustomerAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadCustomers>,
    search: Query<SearchQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = page.0.try_into()?;
    let page = state.customers.list(&permit, search.0.q.as_deref(), &page).await?;
    Ok(web::Json(ListAnswer::of(page, CustomerAnswer::from)))
}

/// Create a customer.
#[utoipa::path(
    post, path = "/customers", tag = "customers", operation_id = "create_customer",
    request_body = CustomerRequest,
    responses((status = 201, body = CustomerAnswer), (status = 409, description = "the name is taken")),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageCustomers>,
    body: Json<CustomerRequest>,
) -> Result<impl Responder, Problem> {
    let CustomerRequest { name, address, plan, dangerous_commands } = body.value().await?;
    let name = Name::parse(&name)?;
    let plan = plan.map_or_else(|| state.default_plan(), Into::into);
    let danger = dangerous_commands.map(Into::into).unwrap_or_default();
    let customer = state.customers.create(&permit, name, address, plan, danger).await?;
    let location = format!("/api/v1/customers/{}", customer.id);
    let answer = CustomerAnswer::from(customer);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(answer))
}

/// One customer.
#[utoipa::path(
    get, path = "/customers/{id}", tag = "customers", operation_id = "read_customer",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = CustomerAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadCustomers>,
    id: Id<CustomerId>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(CustomerAnswer::from(state.customers.get(&permit, id.get()?).await?)))
}

/// Change a customer; what is left out stays.
#[utoipa::path(
    put, path = "/customers/{id}", tag = "customers", operation_id = "update_customer",
    params(("id" = Uuid, Path)), request_body = CustomerUpdate,
    responses((status = 200, body = CustomerAnswer), (status = 404), (status = 409)),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageCustomers>,
    id: Id<CustomerId>,
    body: Json<CustomerUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.value().await?;
    let without_credentials = body.legacy_agents_without_credentials;
    let change = CustomerChange {
        name: body.name.as_deref().map(Name::parse).transpose()?,
        address: body.address,
        plan: body.plan.map(Into::into),
        dangerous_commands: body.dangerous_commands.map(Into::into),
        allowed_dialects: body
            .allowed_dialects
            .map(|all| all.into_iter().map(Into::into).collect()),
        without_credentials: without_credentials.as_deref().map(networks).transpose()?,
    };
    Ok(web::Json(CustomerAnswer::from(state.customers.update(&permit, id.get()?, change).await?)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// Delete the customer's agents as well.
    #[serde(default)]
    cascade: bool,
}

/// Delete a customer; refused while it has agents, unless `cascade` deletes them as well.
#[utoipa::path(
    delete, path = "/customers/{id}", tag = "customers", operation_id = "delete_customer",
    params(("id" = Uuid, Path), DeleteQuery),
    responses((status = 204), (status = 404), (status = 409, description = "`CUSTOMER_HAS_AGENTS`")),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageCustomers>,
    id: Id<CustomerId>,
    query: Query<DeleteQuery>,
) -> Result<impl Responder, Problem> {
    state.customers.delete(&permit, id.get()?, query.0.cascade).await?;
    Ok(HttpResponse::NoContent())
}

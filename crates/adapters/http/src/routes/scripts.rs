//! Scripts.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_commands::library::{About, Draft, Kind, LibraryError, Opened, Script, Version};
use muster_kernel::{CustomerId, Permit, ScriptId, act};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::agent_query::OsTypeParameter;
use super::commands::Shell;
use super::library::{
    self, AboutAnswer, ChangeParts, LibraryQuery, MAX_BODY, ParameterBody, VersionAnswer,
    VersionDetails, check_owner, invalid,
};
use crate::extract::{Id, IfMatch, Json, ListAnswer, May, Number, PageQuery, Query, etag, some};
use crate::{AppState, Problem};

const KIND: Kind = Kind::Script;

fn problem(error: LibraryError) -> Problem {
    library::problem(KIND, error)
}

/// A script that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptRequest {
    /// 1 to 200 printable characters. No two of a customer's have the same, upper and lower case
    /// alike, and no two that are shared.
    name: String,
    description: Option<String>,
    /// What people sort it under.
    category: Option<String>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    tags: Vec<String>,
    /// The text, at most 1 MiB. Values never become part of it: it finds them in environment
    /// variables of the parameters' names, and among its arguments.
    content: String,
    /// The program that reads the text.
    #[serde(alias = "language", alias = "shell_type")]
    script_type: Shell,
    /// The systems that it is made for; any unless given.
    #[schema(inline)]
    target_os_type: Option<OsTypeParameter>,
    /// Whose it is. Unless given it is shared with all, when you work for all customers, and your
    /// customer's when you work for one.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    parameters: Vec<ParameterBody>,
    /// Why it was written.
    note: Option<String>,
}

impl ScriptRequest {
    fn draft(self) -> Result<Draft, Problem> {
        let about = About {
            name: self.name,
            description: self.description,
            category: self.category,
            tags: library::tags(self.tags)?,
            target_os_type: self.target_os_type.map(Into::into),
            shell_type: self.script_type.into(),
            parameters: library::parameters(self.parameters)?,
        };
        Draft::parse(KIND, about, self.content.into()).map_err(|error| invalid(KIND, error))
    }
}

/// A change to a script; what is left out stays, and null removes what can be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct ScriptUpdate {
    name: Option<String>,
    #[serde(default, deserialize_with = "some")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    category: Option<Option<String>>,
    tags: Option<Vec<String>>,
    content: Option<String>,
    #[serde(alias = "language", alias = "shell_type")]
    script_type: Option<Shell>,
    #[serde(default, deserialize_with = "some")]
    #[schema(inline)]
    target_os_type: Option<Option<OsTypeParameter>>,
    /// Whose it is, which never changes.
    #[serde(alias = "customer_uuid")]
    customer_id: Option<Uuid>,
    /// All of them.
    parameters: Option<Vec<ParameterBody>>,
    /// Why it is changed.
    note: Option<String>,
}

/// A script of the library.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScriptAnswer {
    #[serde(flatten)]
    about: AboutAnswer,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    script_type: &'static str,
    /// The text; absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    content: Option<Arc<str>>,
}

impl From<Script> for ScriptAnswer {
    fn from(script: Script) -> Self {
        let script_type = script.version.about.shell_type.as_str();
        Self { about: (&script).into(), script_type, content: None }
    }
}

impl From<Opened<ScriptId>> for ScriptAnswer {
    fn from(Opened { item, text }: Opened<ScriptId>) -> Self {
        Self { content: Some(text), ..item.into() }
    }
}

/// A script as it was at one time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScriptVersionAnswer {
    #[serde(flatten)]
    details: VersionDetails,
    script_type: &'static str,
    #[schema(value_type = String)]
    content: Arc<str>,
}

impl ScriptVersionAnswer {
    fn of((version, content, diff): (Version, Arc<str>, String)) -> Self {
        let script_type = version.about.shell_type.as_str();
        Self { details: VersionDetails::of(KIND, &version, diff), script_type, content }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScriptQuery {
    /// Only those that this program reads.
    #[param(inline)]
    script_type: Option<Shell>,
}

/// The scripts, without their texts, in the order of their names.
#[utoipa::path(
    get, path = "/scripts", tag = "library", operation_id = "list_scripts",
    params(LibraryQuery, ScriptQuery, PageQuery),
    responses((status = 200, body = ListAnswer<ScriptAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    query: Query<LibraryQuery>,
    script: Query<ScriptQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    self::page(&state, &permit, query.0, script.0, page.0).await
}

pub(super) async fn page(
    state: &AppState,
    permit: &Permit<act::ReadScripts>,
    query: LibraryQuery,
    script: ScriptQuery,
    page: PageQuery,
) -> Result<web::Json<ListAnswer<ScriptAnswer>>, Problem> {
    let filter = query.filter(script.script_type);
    let page = state.scripts.list(permit, &filter, &page.try_into()?).await.map_err(problem)?;
    Ok(web::Json(ListAnswer::of(page, ScriptAnswer::from)))
}

/// Keep a script.
#[utoipa::path(
    post, path = "/scripts", tag = "library", operation_id = "create_script",
    request_body = ScriptRequest,
    responses(
        (status = 201, body = ScriptAnswer), (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"),
        (status = 413, description = "more than 4 MiB"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    body: Json<ScriptRequest>,
) -> Result<impl Responder, Problem> {
    let mut body = body.up_to(MAX_BODY).value().await?;
    let (customer, note) = (body.customer_id.map(CustomerId::from_uuid), body.note.take());
    let draft = body.draft()?;
    let script = state.scripts.create(&permit, customer, draft, note).await.map_err(problem)?;
    let location = format!("/api/v1/scripts/{}", script.item.id);
    let tag = etag(script.item.version.number);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(tag);
    Ok(answer.json(ScriptAnswer::from(script)))
}

/// One script, with its text.
#[utoipa::path(
    get, path = "/scripts/{id}", tag = "library", operation_id = "read_script",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ScriptAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<ScriptId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.scripts.get(&permit, id.get()?).await.map_err(problem)?))
}

fn respond(script: Opened<ScriptId>) -> HttpResponse {
    let tag = etag(script.item.version.number);
    HttpResponse::Ok().insert_header(tag).json(ScriptAnswer::from(script))
}

/// Change a script, which makes a version.
#[utoipa::path(
    put, path = "/scripts/{id}", tag = "library", operation_id = "update_script",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = ScriptUpdate,
    responses(
        (status = 200, body = ScriptAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 413, description = "more than 4 MiB"), (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    reading: May<act::ReadScripts>,
    id: Id<ScriptId>,
    expected: IfMatch,
    body: Json<ScriptUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let owner = state.scripts.get(&reading, id.get()?).await.map_err(problem)?.item.customer_id;
    check_owner(body.customer_id, owner)?;
    let change = ChangeParts {
        name: body.name,
        description: body.description,
        category: body.category,
        tags: body.tags,
        target_os_type: body.target_os_type,
        shell: body.script_type,
        parameters: body.parameters,
        text: body.content,
    };
    let (id, change) = (id.get()?, change.try_into()?);
    let changed = state.scripts.change(&permit, id, expected.0, change, body.note).await;
    Ok(respond(changed.map_err(problem)?))
}

/// Delete a script. What runs it goes on, and its name is free.
#[utoipa::path(
    delete, path = "/scripts/{id}", tag = "library", operation_id = "delete_script",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    id: Id<ScriptId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.scripts.delete(&permit, id.get()?, expected.0).await.map_err(problem)?;
    Ok(HttpResponse::NoContent())
}

/// What a script said at which time, the newest first.
#[utoipa::path(
    get, path = "/scripts/{id}/versions", tag = "library", operation_id = "list_script_versions",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<VersionAnswer>), (status = 404)),
)]
pub(crate) async fn versions(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<ScriptId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = page.0.try_into()?;
    let page = state.scripts.versions(&permit, id.get()?, &page).await.map_err(problem)?;
    Ok(web::Json(ListAnswer::of(page, |version| VersionAnswer::of(KIND, &version))))
}

/// One version of a script, and how its text differs from the version before.
#[utoipa::path(
    get, path = "/scripts/{id}/versions/{version}", tag = "library",
    operation_id = "read_script_version",
    params(("id" = Uuid, Path), ("version" = u32, Path)),
    responses((status = 200, body = ScriptVersionAnswer), (status = 404)),
)]
pub(crate) async fn version(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<ScriptId>,
    number: Number,
) -> Result<impl Responder, Problem> {
    let number = number.0.ok_or(LibraryError::NoVersion).map_err(problem)?;
    let version = state.scripts.version(&permit, id.get()?, number).await.map_err(problem)?;
    Ok(web::Json(ScriptVersionAnswer::of(version)))
}

/// Make a script say again what it said in a version, which makes another version.
#[utoipa::path(
    post, path = "/scripts/{id}/versions/{version}/restore", tag = "library",
    operation_id = "restore_script_version",
    params(
        ("id" = Uuid, Path), ("version" = u32, Path), ("If-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = ScriptAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"), (status = 412),
    ),
)]
pub(crate) async fn restore(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    id: Id<ScriptId>,
    number: Number,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    let number = number.0.ok_or(LibraryError::NoVersion).map_err(problem)?;
    let restored = state.scripts.restore(&permit, id.get()?, number, expected.0).await;
    Ok(respond(restored.map_err(problem)?))
}

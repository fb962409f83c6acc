//! Saved commands.

use std::sync::Arc;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use muster_commands::library::{About, Draft, Kind, LibraryError, Opened, SavedCommand, Version};
use muster_kernel::{CustomerId, SavedCommandId, act};
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

const KIND: Kind = Kind::SavedCommand;

fn problem(error: LibraryError) -> Problem {
    library::problem(KIND, error)
}

/// A saved command that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedCommandRequest {
    /// 1 to 200 printable characters. No two of a customer's have the same, upper and lower case
    /// alike, and no two that are shared.
    name: String,
    description: Option<String>,
    /// What people sort it under.
    category: Option<String>,
    #[serde(default, deserialize_with = "crate::extract::null_as_default")]
    tags: Vec<String>,
    /// The text for the shell, at most 64 KiB. Values never become part of it: it finds them in
    /// environment variables of the parameters' names.
    #[schema(example = "df -h")]
    #[serde(alias = "payload")]
    command: String,
    /// The program that reads the text.
    #[serde(alias = "shell")]
    shell_type: Shell,
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

impl SavedCommandRequest {
    fn draft(self) -> Result<Draft, Problem> {
        let about = About {
            name: self.name,
            description: self.description,
            category: self.category,
            tags: library::tags(self.tags)?,
            target_os_type: self.target_os_type.map(Into::into),
            shell_type: self.shell_type.into(),
            parameters: library::parameters(self.parameters)?,
        };
        Draft::parse(KIND, about, self.command.into()).map_err(|error| invalid(KIND, error))
    }
}

/// A change to a saved command; what is left out stays, and null removes what can be removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null says something else than nothing")]
pub(crate) struct SavedCommandUpdate {
    name: Option<String>,
    #[serde(default, deserialize_with = "some")]
    description: Option<Option<String>>,
    #[serde(default, deserialize_with = "some")]
    category: Option<Option<String>>,
    tags: Option<Vec<String>>,
    command: Option<String>,
    #[serde(alias = "shell")]
    shell_type: Option<Shell>,
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

/// A saved command of the library.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SavedCommandAnswer {
    #[serde(flatten)]
    about: AboutAnswer,
    /// `powershell`, `pwsh`, `cmd`, `bash` or `sh`.
    shell_type: &'static str,
    #[schema(value_type = String)]
    command: Arc<str>,
}

impl SavedCommandAnswer {
    fn of(saved: &SavedCommand, command: Arc<str>) -> Self {
        Self { about: saved.into(), shell_type: saved.version.about.shell_type.as_str(), command }
    }
}

/// A saved command as it was at one time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SavedCommandVersionAnswer {
    #[serde(flatten)]
    details: VersionDetails,
    shell_type: &'static str,
    #[schema(value_type = String)]
    command: Arc<str>,
}

impl SavedCommandVersionAnswer {
    fn of((version, command, diff): (Version, Arc<str>, String)) -> Self {
        let shell_type = version.about.shell_type.as_str();
        Self { details: VersionDetails::of(KIND, &version, diff), shell_type, command }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SavedCommandQuery {
    /// Only those that this program reads.
    #[param(inline)]
    shell_type: Option<Shell>,
}

/// The saved commands, in the order of their names.
#[utoipa::path(
    get, path = "/commands/saved", tag = "library", operation_id = "list_saved_commands",
    params(LibraryQuery, SavedCommandQuery, PageQuery),
    responses((status = 200, body = ListAnswer<SavedCommandAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    query: Query<LibraryQuery>,
    shell: Query<SavedCommandQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let (filter, page) = (query.0.filter(shell.0.shell_type), page.0.try_into()?);
    let page = state.saved_commands.list(&permit, &filter, &page).await.map_err(problem)?;
    let texts = state.saved_commands.texts(&page.items).await.map_err(problem)?;
    let text = |saved: &SavedCommand| texts.get(&saved.version.id).cloned().unwrap_or_default();
    Ok(web::Json(ListAnswer::of(page, |it| SavedCommandAnswer::of(&it, text(&it)))))
}

/// Keep a command.
#[utoipa::path(
    post, path = "/commands/saved", tag = "library", operation_id = "create_saved_command",
    request_body = SavedCommandRequest,
    responses(
        (status = 201, body = SavedCommandAnswer), (status = 404, description = "no such customer"),
        (status = 409, description = "the name is taken"),
        (status = 413, description = "more than 4 MiB"), (status = 422),
    ),
)]
pub(crate) async fn create(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    body: Json<SavedCommandRequest>,
) -> Result<impl Responder, Problem> {
    let mut body = body.up_to(MAX_BODY).value().await?;
    let (customer, note) = (body.customer_id.map(CustomerId::from_uuid), body.note.take());
    let draft = body.draft()?;
    let saved =
        state.saved_commands.create(&permit, customer, draft, note).await.map_err(problem)?;
    let location = format!("/api/v1/commands/saved/{}", saved.item.id);
    let tag = etag(saved.item.version.number);
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, location)).insert_header(tag);
    Ok(answer.json(SavedCommandAnswer::of(&saved.item, saved.text)))
}

/// One saved command.
#[utoipa::path(
    get, path = "/commands/saved/{id}", tag = "library", operation_id = "read_saved_command",
    params(("id" = Uuid, Path)),
    responses((status = 200, body = SavedCommandAnswer, headers(("ETag"))), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<SavedCommandId>,
) -> Result<impl Responder, Problem> {
    Ok(respond(state.saved_commands.get(&permit, id.get()?).await.map_err(problem)?))
}

fn respond(saved: Opened<SavedCommandId>) -> HttpResponse {
    let tag = etag(saved.item.version.number);
    HttpResponse::Ok().insert_header(tag).json(SavedCommandAnswer::of(&saved.item, saved.text))
}

/// Change a saved command, which makes a version.
#[utoipa::path(
    put, path = "/commands/saved/{id}", tag = "library", operation_id = "update_saved_command",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    request_body = SavedCommandUpdate,
    responses(
        (status = 200, body = SavedCommandAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"),
        (status = 412, description = "it is not the version any more that `If-Match` names"),
        (status = 413, description = "more than 4 MiB"), (status = 422),
    ),
)]
pub(crate) async fn update(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    reading: May<act::ReadScripts>,
    id: Id<SavedCommandId>,
    expected: IfMatch,
    body: Json<SavedCommandUpdate>,
) -> Result<impl Responder, Problem> {
    let body = body.up_to(MAX_BODY).value().await?;
    let owner =
        state.saved_commands.get(&reading, id.get()?).await.map_err(problem)?.item.customer_id;
    check_owner(body.customer_id, owner)?;
    let change = ChangeParts {
        name: body.name,
        description: body.description,
        category: body.category,
        tags: body.tags,
        target_os_type: body.target_os_type,
        shell: body.shell_type,
        parameters: body.parameters,
        text: body.command,
    };
    let (id, change) = (id.get()?, change.try_into()?);
    let changed = state.saved_commands.change(&permit, id, expected.0, change, body.note).await;
    Ok(respond(changed.map_err(problem)?))
}

/// Delete a saved command. What runs it goes on, and its name is free.
#[utoipa::path(
    delete, path = "/commands/saved/{id}", tag = "library", operation_id = "delete_saved_command",
    params(("id" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 412)),
)]
pub(crate) async fn delete(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    id: Id<SavedCommandId>,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    state.saved_commands.delete(&permit, id.get()?, expected.0).await.map_err(problem)?;
    Ok(HttpResponse::NoContent())
}

/// What a saved command said at which time, the newest first.
#[utoipa::path(
    get, path = "/commands/saved/{id}/versions", tag = "library", operation_id = "list_saved_command_versions",
    params(("id" = Uuid, Path), PageQuery),
    responses((status = 200, body = ListAnswer<VersionAnswer>), (status = 404)),
)]
pub(crate) async fn versions(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<SavedCommandId>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let page = page.0.try_into()?;
    let page = state.saved_commands.versions(&permit, id.get()?, &page).await.map_err(problem)?;
    Ok(web::Json(ListAnswer::of(page, |version| VersionAnswer::of(KIND, &version))))
}

/// One version of a saved command, and how its text differs from the version before.
#[utoipa::path(
    get, path = "/commands/saved/{id}/versions/{version}", tag = "library",
    operation_id = "read_saved_command_version",
    params(("id" = Uuid, Path), ("version" = u32, Path)),
    responses((status = 200, body = SavedCommandVersionAnswer), (status = 404)),
)]
pub(crate) async fn version(
    state: web::Data<AppState>,
    permit: May<act::ReadScripts>,
    id: Id<SavedCommandId>,
    number: Number,
) -> Result<impl Responder, Problem> {
    let number = number.0.ok_or(LibraryError::NoVersion).map_err(problem)?;
    let version =
        state.saved_commands.version(&permit, id.get()?, number).await.map_err(problem)?;
    Ok(web::Json(SavedCommandVersionAnswer::of(version)))
}

/// Make a saved command say again what it said in a version, which makes another version.
#[utoipa::path(
    post, path = "/commands/saved/{id}/versions/{version}/restore", tag = "library",
    operation_id = "restore_saved_command_version",
    params(
        ("id" = Uuid, Path), ("version" = u32, Path), ("If-Match" = Option<String>, Header),
    ),
    responses(
        (status = 200, body = SavedCommandAnswer, headers(("ETag"))), (status = 404),
        (status = 409, description = "the name is taken"), (status = 412),
    ),
)]
pub(crate) async fn restore(
    state: web::Data<AppState>,
    permit: May<act::ManageScripts>,
    id: Id<SavedCommandId>,
    number: Number,
    expected: IfMatch,
) -> Result<impl Responder, Problem> {
    let number = number.0.ok_or(LibraryError::NoVersion).map_err(problem)?;
    let restored = state.saved_commands.restore(&permit, id.get()?, number, expected.0).await;
    Ok(respond(restored.map_err(problem)?))
}

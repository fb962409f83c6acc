//! The document that is made of the handlers.

use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::assistant::{ask, assistants, chat, model, projects, proposals, trial};
use super::deployment::{
    compliance, exchange, os_images, profiles, rollouts, software, tasks, templates,
};
use super::{
    ROUTES, account, agent_metrics, agents, alerts, api_keys, approvals, audit, auth, bulk,
    commands, connections, customers, described, enrollment_tokens, events, groups, oidc, older,
    own_customer, register, reports, runs, saved_commands, schedules, scripts, sessions, settings,
    system, users,
};

/// Paths under which other products' clients know a route: the path, and the one it is another
/// name of.
const ALIASES: &[(&str, &str)] = &[
    ("/agent/register", "/agents/register"),
    ("/agents/connected", "/agents/online"),
    ("/agents/{id}/tasks", "/agents/{id}/commands"),
    ("/agents/{id}/tasks/{command_id}", "/agents/{id}/commands/{command_id}"),
    ("/commands/agent/{id}/execute", "/agents/{id}/command"),
    ("/commands/agent/{id}/execute/async", "/agents/{id}/commands"),
    ("/commands/agent/{id}/result/{command_id}", "/agents/{id}/commands/{command_id}"),
    ("/devices", "/agents"),
    ("/devices/{id}", "/agents/{id}"),
    ("/devices/{id}/actions", "/agents/{id}/commands"),
    ("/health", "/system/health"),
    ("/user/me", "/users/profile"),
    ("/websocket/connected", "/agents/online"),
    ("/websocket/send/{id}/command", "/agents/{id}/commands"),
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Muster",
        description = "One control plane for remote machines. Sign in at `/auth/login` and send \
            the access token as `Authorization: Bearer`; programs send a customer's key there, \
            or as `X-API-Key`. Errors are RFC 9457 problem documents \
            whose `code` is stable.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/api/v1")),
    security(("bearer" = []), ("api_key" = [])),
    modifiers(&Credentials),
    components(schemas(crate::problem::Document<'static>)),
    tags(
        (name = "auth", description = "Signing in and out, and one's own account"),
        (name = "users", description = "Who signs in"),
        (name = "customers", description = "Whose machines these are"),
        (name = "API keys", description = "What customers' programs sign in with"),
        (name = "enrollment tokens", description = "What lets machines in"),
        (name = "agents", description = "The machines"),
        (name = "groups", description = "Machines under a name, put together or found by a filter"),
        (name = "commands", description = "What runs on them"),
        (name = "runs", description = "One order to many machines"),
        (name = "approvals", description = "Dangerous requests that wait for a second person"),
        (name = "events", description = "What happens, live"),
        (name = "schedules", description = "What runs again and again"),
        (
            name = "deployment",
            description = "Profiles, software and rollouts: from a bare machine to one that is \
                done",
        ),
        (name = "alerts", description = "What people have to know, and how they are told"),
        (name = "library", description = "Scripts and commands that are kept to be run again"),
        (
            name = "assistant",
            description = "Reads, explains and proposes; a person decides what runs",
        ),
        (name = "settings", description = "What an admin changes while everything runs"),
        (name = "audit", description = "Who did what to what, when, from where"),
        (name = "system", description = "How this installation is"),
    ),
    paths(
        auth::register, auth::login, auth::refresh, auth::logout, auth::me,
        oidc::login, oidc::callback,
        sessions::list, sessions::end_all, sessions::end, sessions::confirm, sessions::ticket,
        account::read, account::update, account::change_password, account::begin_second_factor,
        account::confirm_second_factor, account::remove_second_factor,
        users::list, users::pending, users::read, users::delete, users::set_customers,
        users::approve, users::reject, users::make_admin, users::remove_admin, users::set_role,
        customers::list, customers::create, customers::read, customers::update, customers::delete,
        own_customer::profile, own_customer::agents, own_customer::scripts,
        api_keys::list, api_keys::create, api_keys::revoke, api_keys::generate,
        api_keys::revoke_default, api_keys::info, api_keys::download,
        enrollment_tokens::list, enrollment_tokens::create, enrollment_tokens::read,
        enrollment_tokens::revoke,
        register::register,
        reports::alive, reports::heartbeat, reports::own_heartbeat, reports::result,
        older::submit,
        agents::list, agents::online, agents::offline, agents::status, agents::read,
        agents::update, agents::delete, agents::refresh, agents::tags, agent_metrics::read,
        connections::list, connections::resolve,
        bulk::edit, bulk::delete,
        groups::list, groups::create, groups::read, groups::update, groups::delete,
        groups::members, groups::add_members, groups::replace_members, groups::remove_members,
        commands::give::run, commands::give::queue, commands::give::action,
        commands::read::of_agent, commands::read::one_of_agent, commands::read::list,
        commands::read::read, commands::output::output, commands::cancel::cancel,
        commands::local::execute, commands::local::execute_batch,
        runs::start::start, runs::start::preview, runs::start::retry, runs::execute::script,
        runs::execute::saved_command, runs::read::list,
        runs::read::read, runs::read::commands, runs::events::events, runs::change::cancel,
        runs::change::pause, runs::change::resume,
        approvals::list, approvals::read, approvals::approve, approvals::reject,
        events::events,
        schedules::list, schedules::create, schedules::read, schedules::update, schedules::delete,
        schedules::history, schedules::run_now,
        profiles::list, profiles::create, profiles::read, profiles::update, profiles::delete,
        profiles::apply, exchange::import, exchange::export,
        tasks::list, tasks::create, tasks::order, tasks::update, tasks::delete,
        templates::list, templates::read, templates::instantiate,
        rollouts::list, rollouts::read, rollouts::devices, rollouts::device, rollouts::events,
        rollouts::cancel, rollouts::retry,
        software::list, software::create, software::read, software::update, software::delete,
        os_images::list, os_images::create, os_images::read, os_images::update, os_images::delete,
        os_images::devices, os_images::of_agent, os_images::assign, os_images::forget,
        compliance::list, compliance::create, compliance::read, compliance::update,
        compliance::delete, compliance::run, compliance::standings,
        alerts::list, alerts::read, alerts::acknowledge, alerts::resolve,
        alerts::rules::list, alerts::rules::create, alerts::rules::read, alerts::rules::update,
        alerts::rules::delete,
        alerts::channels::list, alerts::channels::create, alerts::channels::read,
        alerts::channels::update, alerts::channels::delete, alerts::channels::rotate,
        alerts::channels::test, alerts::channels::deliveries,
        alerts::windows::list, alerts::windows::create, alerts::windows::delete,
        saved_commands::list, saved_commands::create, saved_commands::read,
        saved_commands::update, saved_commands::delete, saved_commands::versions,
        saved_commands::version, saved_commands::restore,
        scripts::list, scripts::create, scripts::read, scripts::update, scripts::delete,
        scripts::versions, scripts::version, scripts::restore,
        ask::generate, ask::suggest, ask::explain_command, ask::explain_error, ask::optimize,
        trial::run, assistants::list, assistants::create, assistants::read, assistants::update,
        assistants::delete, projects::list, projects::create, projects::read, projects::update,
        projects::delete, chat::list, chat::say, chat::read, proposals::list, proposals::read,
        proposals::approve, proposals::reject, proposals::explain, model::status, model::validate_key, model::config, model::configure,
        model::test, model::reload, settings::list, settings::update, settings::update_one,
        settings::read, settings::reset, audit::list, audit::verify, audit::export,
        system::metrics, system::health, system::database_health, system::redis_health,
    ),
)]
struct Api;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", scheme);
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("api_key", key);
    }
}

/// The OpenAPI document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = Api::openapi();
    for (alias, path) in ALIASES {
        let Some(mut item) = document.paths.paths.get(*path).cloned() else { continue };
        only_mounted(alias, &mut item);
        describe_alias(&mut item, alias, path);
        match document.paths.paths.get_mut(*alias) {
            Some(own) => own.merge_operations(item),
            None => drop(document.paths.paths.insert((*alias).to_owned(), item)),
        }
    }
    described::describe_problems(&mut document);
    document
}

fn only_mounted(path: &str, item: &mut PathItem) {
    let mounted = |method: &str| ROUTES.contains(&(method, path));
    item.get = item.get.take().filter(|_| mounted("get"));
    item.post = item.post.take().filter(|_| mounted("post"));
    item.put = item.put.take().filter(|_| mounted("put"));
    item.delete = item.delete.take().filter(|_| mounted("delete"));
}

fn describe_alias(item: &mut PathItem, alias: &str, path: &str) {
    let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
    for operation in operations.into_iter().flatten() {
        operation.description = Some(format!("Another name of `{path}`."));
        operation.operation_id = operation.operation_id.take().map(|id| {
            let suffix = alias.replace(['/', '{', '}', '-'], "_");
            format!("{id}{suffix}")
        });
    }
}

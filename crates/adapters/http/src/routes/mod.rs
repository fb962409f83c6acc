//! The table of routes, and the document made of the same handlers.

mod account;
mod agent_metrics;
mod agent_query;
mod agents;
mod alerts;
mod api_keys;
mod approvals;
mod assistant;
mod audit;
mod auth;
mod browser_session;
mod bulk;
mod commands;
mod connections;
mod customers;
mod deployment;
mod described;
mod enrollment_tokens;
mod events;
mod groups;
mod library;
mod oidc;
mod older;
mod own_customer;
mod register;
mod reports;
mod runs;
mod saved_commands;
mod schedules;
mod scripts;
mod sessions;
mod settings;
mod system;
mod users;
mod wish;

use actix_web::{Responder, web};
use muster_kernel::ProblemCode;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::Problem;
use assistant::{ask, model, trial};
use deployment::{compliance, exchange, os_images, profiles, rollouts, software, tasks, templates};
pub use deployment::{read_profile, write_profile};
pub(crate) use described::check_parameters;
pub(crate) use system::health;

/// Makes, of one table, the function that mounts it and the list that tests compare with the
/// document. A path that begins like another with an id in its place stands before it.
macro_rules! routes {
    ($($path:literal { $($method:ident => $handler:path),+ $(,)? })+) => {
        /// Every route beneath the API's base: its method, its path.
        pub const ROUTES: &[(&str, &str)] = &[$($((stringify!($method), $path)),+),+];

        /// Mounts every route.
        pub(crate) fn configure(config: &mut web::ServiceConfig) {
            $(config.service(
                web::resource($path)
                    // What figures about requests are told apart by.
                    .name($path)
                    $(.route(web::$method().to($handler)))+
                    .default_service(web::to(async || {
                        method_not_allowed(&[$(stringify!($method)),+])
                    })),
            );)+
        }
    };
}

routes! {
    "/auth/register" { post => auth::register }
    "/auth/login" { post => auth::login }
    "/auth/refresh" { post => auth::refresh }
    "/auth/logout" { post => auth::logout }
    "/auth/me" { get => auth::me }
    "/auth/sessions" { get => sessions::list, delete => sessions::end_all }
    "/auth/sessions/{id}" { delete => sessions::end }
    "/auth/confirm" { post => sessions::confirm }
    "/auth/tickets" { post => sessions::ticket }
    "/auth/totp" {
        post => account::begin_second_factor, delete => account::remove_second_factor,
    }
    "/auth/oidc/login" { get => oidc::login }
    "/auth/oidc/callback" { get => oidc::callback }
    "/auth/totp/confirm" { post => account::confirm_second_factor }
    "/users/profile" { get => account::read, put => account::update }
    "/user/me" { get => account::read, put => account::update }
    "/users/change-password" { post => account::change_password }
    "/users" { get => users::list }
    "/users/{id}" { get => users::read, delete => users::delete }
    "/users/{id}/customers" { put => users::set_customers }
    "/admin/pending-users" { get => users::pending }
    "/admin/users/{id}/approve" { post => users::approve }
    "/admin/users/{id}/reject" { post => users::reject }
    "/admin/users/{id}/make-admin" { post => users::make_admin }
    "/admin/users/{id}/remove-admin" { post => users::remove_admin }
    "/admin/users/{id}/set-role" { post => users::set_role }
    "/customers" { get => customers::list, post => customers::create }
    "/customers/{id}" {
        get => customers::read, put => customers::update, delete => customers::delete,
    }
    "/customers/{id}/generate-api-key" { post => api_keys::generate }
    "/customers/{id}/revoke-api-key" { post => api_keys::revoke_default }
    "/customers/{id}/api-key-info" { get => api_keys::info }
    "/customers/{id}/download-config" { get => api_keys::download }
    "/customers/{id}/api-keys" { get => api_keys::list, post => api_keys::create }
    "/customers/{id}/api-keys/{key_id}" { delete => api_keys::revoke }
    "/customer/profile" { get => own_customer::profile }
    "/customer/agents" { get => own_customer::agents }
    "/customer/scripts" { get => own_customer::scripts }
    "/enrollment-tokens" { get => enrollment_tokens::list, post => enrollment_tokens::create }
    "/enrollment-tokens/{id}" {
        get => enrollment_tokens::read, delete => enrollment_tokens::revoke,
    }
    "/agents/register" { post => register::register }
    "/agent/register" { post => register::register }
    "/agent/heartbeat" { get => reports::alive, post => reports::heartbeat }
    "/agent/actions/{command_id}/result" { post => reports::result }
    "/agents/{id}/heartbeat" { post => reports::own_heartbeat }
    "/agents/online" { get => agents::online }
    "/agents/connected" { get => agents::online }
    "/agents/offline" { get => agents::offline }
    "/agents/status/{id}" { get => agents::status }
    "/agents/tags" { get => agents::tags }
    "/agents/bulk" { post => bulk::edit }
    "/agents/bulk/delete" { post => bulk::delete }
    "/agents" { get => agents::list }
    "/agents/{id}" { get => agents::read, put => agents::update, delete => agents::delete }
    "/agents/{id}/metrics" { get => agent_metrics::read }
    "/agents/{id}/refresh" { post => agents::refresh }
    "/agents/{id}/connections" { get => connections::list }
    "/agents/{id}/os-image" {
        get => os_images::of_agent, put => os_images::assign, delete => os_images::forget,
    }
    "/agents/{id}/clones/{connection_id}/resolve" { post => connections::resolve }
    "/agents/{id}/command" { post => commands::give::run }
    "/agents/{id}/commands" { get => commands::read::of_agent, post => commands::give::queue }
    "/agents/{id}/tasks" { get => commands::read::of_agent }
    "/agents/{id}/tasks/{command_id}" { get => commands::read::one_of_agent }
    "/agents/{id}/tasks/{command_id}/result" { post => older::submit }
    "/agents/{id}/commands/{command_id}" { get => commands::read::one_of_agent }
    "/groups" { get => groups::list, post => groups::create }
    "/groups/{id}" { get => groups::read, put => groups::update, delete => groups::delete }
    "/groups/{id}/agents" {
        get => groups::members, post => groups::add_members, put => groups::replace_members,
        delete => groups::remove_members,
    }
    "/devices" { get => agents::list }
    "/devices/{id}" { get => agents::read, put => agents::update, delete => agents::delete }
    "/devices/{id}/actions" { get => commands::read::of_agent, post => commands::give::action }
    "/websocket/connected" { get => agents::online }
    "/websocket/send/{id}/command" { post => commands::give::queue }
    "/commands/agent/{id}/execute" { post => commands::give::run }
    "/commands/agent/{id}/execute/async" { post => commands::give::queue }
    "/commands/agent/{id}/result/{command_id}" { get => commands::read::one_of_agent }
    "/commands/execute" { post => commands::local::execute }
    "/commands/execute/batch" { post => commands::local::execute_batch }
    "/commands/ai/generate" { post => ask::generate }
    "/commands/ai/test" { post => trial::run }
    "/commands/ai/status" { get => model::status }
    "/ai/suggest-command" { post => ask::suggest }
    "/ai/explain-command" { post => ask::explain_command }
    "/ai/explain-error" { post => ask::explain_error }
    "/ai/optimize-command" { post => ask::optimize }
    "/ai/validate-key" { post => model::validate_key }
    "/commands/saved" { get => saved_commands::list, post => saved_commands::create }
    "/commands/saved/{id}" {
        get => saved_commands::read, put => saved_commands::update,
        delete => saved_commands::delete,
    }
    "/commands/saved/{id}/versions" { get => saved_commands::versions }
    "/commands/saved/{id}/versions/{version}" { get => saved_commands::version }
    "/commands/saved/{id}/versions/{version}/restore" { post => saved_commands::restore }
    "/scripts" { get => scripts::list, post => scripts::create }
    "/scripts/{id}" { get => scripts::read, put => scripts::update, delete => scripts::delete }
    "/scripts/{id}/execute" { post => runs::execute::script }
    "/commands/saved/{id}/execute" { post => runs::execute::saved_command }
    "/scripts/{id}/versions" { get => scripts::versions }
    "/scripts/{id}/versions/{version}" { get => scripts::version }
    "/scripts/{id}/versions/{version}/restore" { post => scripts::restore }
    "/commands" { get => commands::read::list }
    "/commands/{id}" { get => commands::read::read }
    "/commands/{id}/output" { get => commands::output::output }
    "/commands/{id}/cancel" { post => commands::cancel::cancel }
    "/runs" { get => runs::read::list, post => runs::start::start }
    "/runs/preview" { post => runs::start::preview }
    "/runs/{id}" { get => runs::read::read }
    "/runs/{id}/commands" { get => runs::read::commands }
    "/runs/{id}/events" { get => runs::events::events }
    "/runs/{id}/cancel" { post => runs::change::cancel }
    "/runs/{id}/pause" { post => runs::change::pause }
    "/runs/{id}/resume" { post => runs::change::resume }
    "/runs/{id}/retry" { post => runs::start::retry }
    "/approvals" { get => approvals::list }
    "/approvals/{id}" { get => approvals::read }
    "/approvals/{id}/approve" { post => approvals::approve }
    "/approvals/{id}/reject" { post => approvals::reject }
    "/events" { get => events::events }
    "/schedules" { get => schedules::list, post => schedules::create }
    "/schedules/{id}" {
        get => schedules::read, put => schedules::update, delete => schedules::delete,
    }
    "/schedules/{id}/runs" { get => schedules::history }
    "/schedules/{id}/run" { post => schedules::run_now }
    "/profiles" { get => profiles::list, post => profiles::create }
    "/profiles/import" { post => exchange::import }
    "/profiles/{id}" { get => profiles::read, put => profiles::update, delete => profiles::delete }
    "/profiles/{id}/tasks" { get => tasks::list, post => tasks::create }
    "/profiles/{id}/tasks/order" { put => tasks::order }
    "/profiles/{id}/tasks/{task_id}" { put => tasks::update, delete => tasks::delete }
    "/profiles/{id}/apply" { post => profiles::apply }
    "/profiles/{id}/compliance" { get => compliance::standings }
    "/profiles/{id}/export" { get => exchange::export }
    "/templates" { get => templates::list }
    "/templates/{id}" { get => templates::read }
    "/templates/{id}/instantiate" { post => templates::instantiate }
    "/rollouts" { get => rollouts::list }
    "/rollouts/{id}" { get => rollouts::read }
    "/rollouts/{id}/devices" { get => rollouts::devices }
    "/rollouts/{id}/devices/{agent_id}" { get => rollouts::device }
    "/rollouts/{id}/events" { get => rollouts::events }
    "/rollouts/{id}/cancel" { post => rollouts::cancel }
    "/rollouts/{id}/retry" { post => rollouts::retry }
    "/software" { get => software::list, post => software::create }
    "/software/{id}" { get => software::read, put => software::update, delete => software::delete }
    "/os-images" { get => os_images::list, post => os_images::create }
    "/os-images/{id}" {
        get => os_images::read, put => os_images::update, delete => os_images::delete,
    }
    "/os-images/{id}/devices" { get => os_images::devices }
    "/compliance-checks" { get => compliance::list, post => compliance::create }
    "/compliance-checks/{id}" {
        get => compliance::read, put => compliance::update, delete => compliance::delete,
    }
    "/compliance-checks/{id}/run" { post => compliance::run }
    "/alerts/rules" { get => alerts::rules::list, post => alerts::rules::create }
    "/alerts/rules/{id}" {
        get => alerts::rules::read, put => alerts::rules::update, delete => alerts::rules::delete,
    }
    "/alerts/channels" { get => alerts::channels::list, post => alerts::channels::create }
    "/alerts/channels/{id}" {
        get => alerts::channels::read, put => alerts::channels::update,
        delete => alerts::channels::delete,
    }
    "/alerts/channels/{id}/rotate-secret" { post => alerts::channels::rotate }
    "/alerts/channels/{id}/test" { post => alerts::channels::test }
    "/alerts/channels/{id}/deliveries" { get => alerts::channels::deliveries }
    "/alerts/maintenance-windows" { get => alerts::windows::list, post => alerts::windows::create }
    "/alerts/maintenance-windows/{id}" { delete => alerts::windows::delete }
    "/alerts" { get => alerts::list }
    "/alerts/{id}" { get => alerts::read }
    "/alerts/{id}/acknowledge" { post => alerts::acknowledge }
    "/alerts/{id}/resolve" { post => alerts::resolve }
    "/settings" {
        get => settings::list, put => settings::update, post => settings::update_one,
    }
    "/settings/chatgpt/config" { get => model::config, post => model::configure }
    "/settings/chatgpt/test" { post => model::test }
    "/settings/reload-ai-service" { post => model::reload }
    "/settings/{key}" { get => settings::read, delete => settings::reset }
    "/audit" { get => audit::list }
    "/audit/verify" { get => audit::verify }
    "/audit/export" { get => audit::export }
    "/metrics" { get => system::metrics }
    "/system/health" { get => system::health }
    "/health" { get => system::health }
    "/health/db" { get => system::database_health }
    "/health/redis" { get => system::redis_health }
}

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
        (name = "assistant", description = "Proposes commands and explains them; runs nothing"),
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
        trial::run, model::status, model::validate_key, model::config, model::configure,
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

pub(crate) async fn not_found() -> impl Responder {
    Err::<&str, _>(Problem::new(ProblemCode::NotFound, "there is no such path; see /docs"))
}

fn method_not_allowed(allowed: &[&str]) -> Result<&'static str, Problem> {
    let detail = "the path exists and does not take this method; see /docs";
    Err(Problem::new(ProblemCode::MethodNotAllowed, detail).allow(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn documented() -> BTreeSet<(String, String)> {
        let document = serde_json::to_value(openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let methods = ["get", "post", "put", "delete", "patch"];
        paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |m| (m, path)))
            .filter(|(method, _)| methods.contains(&method.as_str()))
            .map(|(method, path)| (method.clone(), path.clone()))
            .collect()
    }

    #[test]
    fn the_document_describes_the_mounted_routes_and_no_others() {
        let mounted: BTreeSet<_> =
            ROUTES.iter().map(|(method, path)| ((*method).into(), (*path).into())).collect();
        assert_eq!(documented(), mounted);
    }

    #[actix_web::test]
    async fn a_wrong_method_is_told_the_right_ones() {
        use actix_web::http::{StatusCode, header::ALLOW};
        use actix_web::test::{TestRequest, call_service, init_service};
        let app = init_service(actix_web::App::new().configure(configure)).await;
        let request = TestRequest::patch().uri("/customers").to_request();
        let answer = call_service(&app, request).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers().get(ALLOW).unwrap(), "GET, POST");
    }

    #[test]
    fn every_operation_has_an_id_of_its_own() {
        let document = serde_json::to_value(openapi()).unwrap();
        let mut ids = BTreeSet::new();
        for (method, path) in documented() {
            let id = document["paths"][&path][&method]["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} twice");
        }
    }
}

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
mod document;
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

use crate::Problem;
use assistant::{ask, assistants, chat, model, projects, proposals, trial};
use deployment::{compliance, exchange, os_images, profiles, rollouts, software, tasks, templates};
pub use deployment::{read_profile, write_profile};
pub(crate) use described::check_parameters;
pub use document::openapi;
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
    "/assistants" { get => assistants::list, post => assistants::create }
    "/assistants/{id}" {
        get => assistants::read, put => assistants::update, delete => assistants::delete,
    }
    "/projects" { get => projects::list, post => projects::create }
    "/projects/{id}" {
        get => projects::read, put => projects::update, delete => projects::delete,
    }
    "/chat" { get => chat::list, post => chat::say }
    "/chat/{id}" { get => chat::read }
    "/proposals" { get => proposals::list }
    "/proposals/{id}" { get => proposals::read }
    "/proposals/{id}/approve" { post => proposals::approve }
    "/proposals/{id}/reject" { post => proposals::reject }
    "/proposals/{id}/explain" { post => proposals::explain }
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

//! The HTTP API: routes, extractors, problems, OpenAPI.
//!
//! A handler takes a permit, calls one use case with it and maps the answer. Whoever adds an
//! endpoint writes its handler in the file of its resource under `routes/`, with its OpenAPI
//! description beside it, names it in the table in `routes/mod.rs` and in the list there that
//! makes the document; tests compare the two, and every route with `tests/authorisation.txt`.

mod chat_socket;
mod cors;
mod docs;
mod event_stream;
mod extract;
mod finish;
mod limits;
mod mcp;
mod measure;
mod pages;
mod problem;
mod routes;
mod span;
mod state;

use actix_web::web;

pub use cors::cors;
pub use extract::{Presented, client_address, network};
pub use finish::finish;
pub use measure::measure;
pub use pages::{Page, Pages};
pub use problem::Problem;
pub use routes::{ROUTES, openapi, read_profile, write_profile};
pub use span::RequestSpan;
pub use state::{
    AgentPolls, Alerting, AppState, Assistance, Deployment, Exchanged, Exposition, Probe, Probed,
    Probes, Web,
};

/// Mounts everything: the API beneath `/api/v1` and its alias `/api`, and its documentation.
/// `extend` mounts what other adapters add beneath the same two.
pub fn configure(
    config: &mut web::ServiceConfig,
    state: &web::Data<AppState>,
    extend: &dyn Fn(&mut web::ServiceConfig),
) {
    config.app_data(state.clone());
    docs::configure(config);
    mcp::configure(config);
    chat_socket::configure(config);
    pages::configure(config);
    for base in ["/api/v1", "/api"] {
        let scope = web::scope(base).configure(|config| {
            extend(config);
            chat_socket::configure(config);
            routes::configure(config);
        });
        config.service(scope.default_service(web::to(routes::not_found)));
    }
    config.default_service(web::to(pages::other));
}

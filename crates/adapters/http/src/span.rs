//! What the log says of each request that something else is logged about, and what traces show.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage, web};
use muster_kernel::TRACES;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{KeyValue, global};
use tracing::{Span, field, info_span};
use tracing_actix_web::{RequestId, RootSpanBuilder};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::measure::known_method;
use crate::{AppState, client_address};

/// The method, the path without its query, the client's address and the request's id.
///
/// A query may hold a ticket or a provider's code, and anybody can write what the usual headers
/// say of an address: neither belongs in the log. A trace has the route and the status as well, and
/// goes on from what a caller says in `traceparent`.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let state = request.app_data::<web::Data<AppState>>();
        let trusted = state.map(|state| state.web.trusted_proxies.as_slice()).unwrap_or_default();
        let address = client_address(request.request(), trusted);
        let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
        let span = info_span!(
            target: TRACES,
            "request",
            otel.kind = field::Empty,
            http.request.method = %request.method(),
            url.path = request.path(),
            client.address = address.map(|address| address.to_string()),
            request_id,
        );
        let caller = global::get_text_map_propagator(|it| it.extract(&Headers(request.headers())));
        // It fails where nobody collects traces.
        if span.set_parent(caller).is_ok() {
            span.record("otel.kind", "server");
            request.extensions_mut().insert(Traced);
        }
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let Ok(response) = outcome else { return };
        if response.request().extensions_mut().remove::<Traced>().is_some() {
            answered(&span, response);
        }
    }
}

/// Somebody collects what is traced of the request.
struct Traced;

/// Ends the span: what follows the head of an answer may go on for hours.
fn answered<B>(span: &Span, response: &ServiceResponse<B>) {
    let context = span.context();
    let shown = context.span();
    if let Some(route) = response.request().match_pattern() {
        // What `tracing` records of a name comes too late once something happened within the span.
        shown.update_name(format!("{} {route}", known_method(response.request().method())));
        shown.set_attribute(KeyValue::new("http.route", route));
    }
    let status = i64::from(response.status().as_u16());
    shown.set_attribute(KeyValue::new("http.response.status_code", status));
    if response.status().is_server_error() {
        shown.set_status(Status::error(""));
    }
    shown.end();
}

/// What a caller says.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(actix_web::http::header::HeaderName::as_str).collect()
    }
}

//! What the log says of each request that something else is logged about.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpMessage, web};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

use crate::{AppState, client_address};

/// The method, the path without its query, the client's address and the request's id.
///
/// A query may hold a ticket or a provider's code, and anybody can write what the usual headers
/// say of an address: neither belongs in the log.
#[derive(Debug, Clone, Copy)]
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let state = request.app_data::<web::Data<AppState>>();
        let trusted = state.map(|state| state.web.trusted_proxies.as_slice()).unwrap_or_default();
        let address = client_address(request.request(), trusted);
        let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
        tracing::info_span!(
            "request",
            http.method = %request.method(),
            http.path = request.path(),
            client.address = address.map(|address| address.to_string()),
            request_id,
        )
    }

    fn on_request_end<B: MessageBody>(_: Span, _: &Result<ServiceResponse<B>, Error>) {}
}

//! The first touch to every request, and the last to every answer: its request id, its security
//! headers, and a problem document where some library answered with an error of its own.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use tracing_actix_web::RequestId;

use crate::{AppState, Problem, limits};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What an answer of the API may do in a browser: nothing.
const API_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// From now on, for a year, browsers ask by TLS only.
const ONLY_HTTPS: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NOTHING: HeaderValue = HeaderValue::from_static("no-store");

/// Middleware that finishes every answer; it belongs inside of `TracingLogger`.
///
/// # Errors
/// Those of the handlers, which actix turns into answers further out.
pub async fn finish(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let request_id = request.extensions().get::<RequestId>().map(ToString::to_string);
    trim_slash(&mut request);
    let response = next.call(request).await?.map_into_boxed_body();
    let mut response = as_problem(response, request_id.as_deref());
    let asked = response.request().clone();
    let headers = response.headers_mut();
    if let Some(value) = request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(REQUEST_ID, value);
    }
    limits::tell(&asked, headers);
    let state = asked.app_data::<web::Data<AppState>>();
    if state.is_some_and(|state| state.web.is_https()) {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONLY_HTTPS);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, API_POLICY);
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, NOTHING);
    }
    tracing::debug!(
        http.request.method = %response.request().method(),
        url.path = response.request().path(),
        http.response.status_code = response.status().as_u16(),
        "answered"
    );
    Ok(response)
}

/// Takes the slash off the end of a path of the API: some clients write one. The router is told as
/// actix's own `NormalizePath` tells it, which would do it to every path.
fn trim_slash(request: &mut ServiceRequest) {
    let trimmed = request.path().strip_suffix('/').filter(|path| path.starts_with("/api/"));
    let Some(path) = trimmed else { return };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(target) = format!("{path}{query}").parse() else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target);
    let Ok(uri) = Uri::from_parts(parts) else { return };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

fn as_problem(response: ServiceResponse, request_id: Option<&str>) -> ServiceResponse {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if let Some(problem) = response.response().error().and_then(Error::as_error::<Problem>) {
        let answer = problem.respond(request_id);
        return response.into_response(answer);
    }
    // A handler of ours says what it has to say as JSON, such as how the database is; no library does.
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_ours = [&b"application/problem+json"[..], b"application/json"]
        .iter()
        .any(|ours| kind.starts_with(ours));
    if is_ours || status.as_u16() == 426 {
        return response;
    }
    response.into_response(Problem::of_status(status).respond(request_id))
}

//! The dashboard's files, and the page that every address of it begins with.

use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG,
    HeaderMap, IF_NONE_MATCH, VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::{AppState, Problem};

/// What a file of the dashboard is.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its bytes.
    pub bytes: web::Bytes,
    /// The same, compressed by Brotli.
    pub brotli: Option<web::Bytes>,
    /// What it is, as browsers are told.
    pub content_type: &'static str,
    /// Changes with its bytes.
    pub tag: String,
}

/// The dashboard's files, by their paths without a slash in front.
pub trait Pages: Send + Sync + std::fmt::Debug {
    /// The file at this path.
    fn find(&self, path: &str) -> Option<Page>;
}

/// What the dashboard may do in a browser: nothing but ask this server. Its styles are partly written
/// by its scripts.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Where everything begins.
const INDEX: &str = "index.html";
/// Files beneath have their hash in their names.
const HASHED: &str = "assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Asked for each time, and answered with 304 as long as it is the same.
const EACH_TIME: &str = "no-cache";

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.route("/", web::get().to(index));
}

/// The dashboard, or where there is none the documentation of the API.
async fn index(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    match state.pages.find(INDEX) {
        Some(page) => shown(&request, page, EACH_TIME),
        None => HttpResponse::TemporaryRedirect().insert_header(("Location", "/docs/")).finish(),
    }
}

/// What is asked for beside the API: a file of the dashboard, or an address within it.
pub(crate) async fn other(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::of_status(actix_web::http::StatusCode::NOT_FOUND);
    let path = request.path().trim_start_matches('/');
    if !matches!(*request.method(), Method::GET | Method::HEAD) || path.starts_with("api/") {
        return Err(not_found());
    }
    if let Some(page) = state.pages.find(path) {
        let kept = if path.starts_with(HASHED) { FOR_EVER } else { EACH_TIME };
        return Ok(shown(&request, page, kept));
    }
    let is_page = accepts(request.headers(), ACCEPT.as_str(), "text/html");
    let index = state.pages.find(INDEX).filter(|_| is_page && !path.starts_with(HASHED));
    Ok(shown(&request, index.ok_or_else(not_found)?, EACH_TIME))
}

fn accepts(headers: &HeaderMap, name: &str, wanted: &str) -> bool {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| {
        let mut parts = part.split(';').map(str::trim);
        parts.next() == Some(wanted) && !parts.any(|it| it == "q=0")
    })
}

fn shown(request: &HttpRequest, page: Page, kept: &'static str) -> HttpResponse {
    let tag = format!("\"{}\"", page.tag);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|it| it.split(',').any(|it| it.trim().ends_with(&tag)));
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((CACHE_CONTROL, kept))
        .insert_header((VARY, ACCEPT_ENCODING.as_str()))
        .insert_header((ETAG, tag));
    if is_known {
        return response.finish();
    }
    response.content_type(page.content_type);
    match page.brotli.filter(|_| accepts(request.headers(), ACCEPT_ENCODING.as_str(), "br")) {
        Some(brotli) => response.insert_header((CONTENT_ENCODING, "br")).body(brotli),
        None => response.body(page.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    fn page() -> Page {
        let (bytes, brotli) = (web::Bytes::from_static(b"plain"), web::Bytes::from_static(b"br"));
        let tag = "abc".to_owned();
        Page { bytes, brotli: Some(brotli), content_type: "text/javascript", tag }
    }

    fn answer(headers: &[(&'static str, &'static str)]) -> HttpResponse {
        let mut request = TestRequest::get();
        for header in headers {
            request = request.insert_header(*header);
        }
        shown(&request.to_http_request(), page(), FOR_EVER)
    }

    #[test]
    fn a_file_is_sent_compressed_to_those_who_read_that_and_once_to_those_who_keep_it() {
        assert!(!answer(&[]).headers().contains_key(CONTENT_ENCODING));
        assert!(
            !answer(&[("accept-encoding", "gzip, br;q=0")])
                .headers()
                .contains_key("content-encoding")
        );
        let compressed = answer(&[("accept-encoding", "gzip, br")]);
        assert_eq!(compressed.headers().get(CONTENT_ENCODING).unwrap(), "br");
        assert_eq!(compressed.headers().get(CACHE_CONTROL).unwrap(), FOR_EVER);
        let known = answer(&[("if-none-match", "W/\"abc\"")]);
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(&[("if-none-match", "\"abd\"")]).status(), StatusCode::OK);
    }

    #[test]
    fn no_script_runs_that_is_not_a_file_of_the_dashboard() {
        let policy = answer(&[]).headers().get(CONTENT_SECURITY_POLICY).unwrap().clone();
        let policy = policy.to_str().unwrap().to_owned();
        assert!(policy.contains("script-src 'self';"), "{policy}");
    }
}

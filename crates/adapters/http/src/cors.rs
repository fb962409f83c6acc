//! Which pages from elsewhere may use the API.

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER};

use crate::Web;

/// Middleware that lets pages of the named origins, to the letter, use the API. A page sends its
/// credential itself: cookies are not taken.
pub fn cors(web: &Web) -> Cors {
    let headers = ["x-api-key", "x-ai-key", "idempotency-key", "last-event-id"];
    let shown = ["x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];
    let cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH])
        .allowed_headers(headers)
        .expose_headers([ETAG, LOCATION, RETRY_AFTER])
        .expose_headers(shown)
        .max_age(3600);
    web.origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    async fn allowed(origin: &str) -> Option<String> {
        let settings = Web { origins: vec!["https://panel.example.org".into()], ..Web::default() };
        let app =
            App::new().wrap(cors(&settings)).route("/", web::get().to(async || HttpResponse::Ok()));
        let request = TestRequest::get().insert_header((ORIGIN, origin)).to_request();
        let answer = call_service(&init_service(app).await, request).await;
        let header = answer.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN)?;
        Some(header.to_str().unwrap().to_owned())
    }

    #[actix_web::test]
    async fn a_page_of_a_named_origin_may_read_answers_and_no_other_page_may() {
        let named = "https://panel.example.org";
        assert_eq!(allowed(named).await.as_deref(), Some(named));
        for other in
            ["http://panel.example.org", "https://panel.example.org:8443", "https://x", "null"]
        {
            assert_eq!(allowed(other).await, None, "{other}");
        }
    }
}

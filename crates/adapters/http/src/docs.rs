//! The API's documentation, served without anything from elsewhere.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpResponse, Responder, web};
use utoipa_swagger_ui::SwaggerUi;

/// ReDoc 2.5, as its makers publish it; its licence lies beside it.
const REDOC: &[u8] = include_bytes!("../assets/redoc.standalone.js");
const REDOC_PAGE: &str = include_str!("../assets/redoc.html");
/// What the two pages may do in a browser: both write styles into the page and draw from `data:`,
/// and ReDoc works in a worker of its own making.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; worker-src blob:; object-src 'none'; base-uri 'none'; \
    frame-ancestors 'none'";

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/openapi.json", web::get().to(document))
        // Where container probes look.
        .route("/health", web::get().to(crate::routes::health))
        .route("/redoc", web::get().to(redoc))
        .route("/redoc/redoc.standalone.js", web::get().to(redoc_script))
        .route("/docs", web::get().to(to_swagger_ui))
        .service(
            web::scope("/docs")
                .wrap(DefaultHeaders::new().add((CONTENT_SECURITY_POLICY, PAGE_POLICY)))
                .service(SwaggerUi::new("/{_:.*}").config(swagger_ui())),
        );
}

fn swagger_ui() -> utoipa_swagger_ui::Config<'static> {
    utoipa_swagger_ui::Config::from("/openapi.json")
        .persist_authorization(false)
        // The page would show its document to a service elsewhere.
        .validator_url("none")
}

async fn document() -> impl Responder {
    web::Json(crate::openapi())
}

async fn to_swagger_ui() -> impl Responder {
    web::Redirect::to("/docs/").temporary()
}

async fn redoc() -> impl Responder {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(REDOC_PAGE)
}

async fn redoc_script() -> impl Responder {
    HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .body(REDOC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::App;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    /// What a page refers to by `attribute`.
    fn references<'a>(page: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next())
    }

    #[actix_web::test]
    async fn the_pages_may_use_everything_that_they_refer_to_and_all_of_it_is_here() {
        let app = App::new().wrap(from_fn(crate::finish)).configure(configure);
        let app = init_service(app).await;
        for (page, least) in [("/docs/", 6), ("/redoc", 2)] {
            let answer = call_service(&app, TestRequest::get().uri(page).to_request()).await;
            let policy =
                answer.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().to_owned();
            assert!(policy.starts_with("default-src 'self';"), "{page}: {policy}");
            let body = read_body(answer).await;
            let text = std::str::from_utf8(&body).unwrap();
            let mut seen = 0;
            for attribute in ["src=\"", "href=\"", "spec-url=\""] {
                for path in references(text, attribute) {
                    let path = if path.starts_with('/') {
                        path.to_owned()
                    } else {
                        format!("/docs/{}", path.trim_start_matches("./"))
                    };
                    let answer = call_service(&app, TestRequest::get().uri(&path).to_request());
                    assert!(answer.await.status().is_success(), "{page} needs {path}");
                    seen += 1;
                }
            }
            assert!(seen >= least, "{page}: {seen}");
        }
    }

    #[actix_web::test]
    async fn answers_that_are_no_page_may_do_nothing_in_a_browser() {
        let app = App::new().wrap(from_fn(crate::finish)).configure(configure);
        let app = init_service(app).await;
        let request = TestRequest::get().uri("/openapi.json").to_request();
        let answer = call_service(&app, request).await;
        let policy = answer.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
    }
}

//! The API's documentation, served without anything from elsewhere.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use actix_web::{HttpResponse, Responder, web};
use utoipa_swagger_ui::SwaggerUi;

/// ReDoc 2.5, as its makers publish it; its licence lies beside it.
const REDOC: &[u8] = include_bytes!("../assets/redoc.standalone.js");
const REDOC_PAGE: &str = include_str!("../assets/redoc.html");
/// ReDoc writes its styles into the page and works in a worker of its own making.
const REDOC_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; worker-src blob:; object-src 'none'; base-uri 'none'; \
    frame-ancestors 'none'";

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/openapi.json", web::get().to(document))
        .route("/redoc", web::get().to(redoc))
        .route("/redoc/redoc.standalone.js", web::get().to(redoc_script))
        .route("/docs", web::get().to(to_swagger_ui))
        .service(
            SwaggerUi::new("/docs/{_:.*}").config(
                utoipa_swagger_ui::Config::from("/openapi.json").persist_authorization(false),
            ),
        );
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
        .insert_header((CONTENT_SECURITY_POLICY, REDOC_POLICY))
        .body(REDOC_PAGE)
}

async fn redoc_script() -> impl Responder {
    HttpResponse::Ok()
        .content_type("text/javascript; charset=utf-8")
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .body(REDOC)
}

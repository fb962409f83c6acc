//! YAML bodies.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use muster_kernel::ProblemCode;

use super::body::{Unread, is_kind};
use crate::Problem;

/// The largest body, in bytes.
const MAX_BODY: usize = 8 * 1024 * 1024;
/// What YAML is called; JSON is YAML, too.
const KINDS: [&str; 4] =
    ["application/yaml", "application/x-yaml", "text/yaml", "application/json"];

/// A YAML body that was not read yet: see [`Json`](super::Json).
pub(crate) struct Yaml {
    right_kind: bool,
    unread: Unread,
}

impl FromRequest for Yaml {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let right_kind = is_kind(request, &KINDS);
        ready(Ok(Self { right_kind, unread: Unread::of(request, payload) }))
    }
}

impl Yaml {
    /// Reads its bytes.
    pub(crate) async fn bytes(self) -> Result<web::BytesMut, Problem> {
        if !self.right_kind {
            let detail = "send the body as YAML, with Content-Type: application/yaml";
            return Err(Problem::new(ProblemCode::UnsupportedMediaType, detail));
        }
        self.unread.bytes(MAX_BODY).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use actix_web::http::header::CONTENT_TYPE;
    use actix_web::test::TestRequest;

    async fn sent(kind: Option<&'static str>, body: &'static str) -> Result<usize, u16> {
        let request = kind
            .into_iter()
            .fold(TestRequest::post(), |request, kind| request.insert_header((CONTENT_TYPE, kind)));
        let (request, mut payload) = request.set_payload(body).to_http_parts();
        let body = Yaml::from_request(&request, &mut payload).into_inner().unwrap();
        let bytes = body.bytes().await;
        bytes.map(|bytes| bytes.len()).map_err(|problem| problem.status_code().as_u16())
    }

    #[actix_web::test]
    async fn yaml_is_known_by_all_of_its_names_and_nothing_else_is_taken() {
        for kind in ["application/yaml", "Text/YAML; charset=utf-8", "application/json"] {
            assert_eq!(sent(Some(kind), "a: b").await, Ok(4), "{kind}");
        }
        for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
            assert_eq!(sent(kind, "a: b").await, Err(415), "{kind:?}");
        }
    }
}

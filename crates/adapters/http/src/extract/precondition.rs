//! Versions of things: the `ETag` that they are shown with, and the `If-Match` that asks for one.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{ETAG, IF_MATCH};
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::ProblemCode;

use crate::Problem;

/// The version that a change is meant for; any when nobody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfMatch(pub(crate) Option<u32>);

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut headers = request.headers().get_all(IF_MATCH);
        let value = headers.next().map(|value| value.to_str().unwrap_or_default());
        let Some(value) = value.filter(|value| *value != "*") else { return ready(Ok(Self(None))) };
        let version = if headers.next().is_none() { version(value) } else { None };
        ready(version.map(|version| Self(Some(version))).ok_or_else(|| {
            let detail = "If-Match: one ETag is expected, as it was answered";
            Problem::new(ProblemCode::Malformed, detail)
        }))
    }
}

/// The version in an entity tag. Proxies that compress an answer mark its tag as weak; what it
/// names is the same.
fn version(tag: &str) -> Option<u32> {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// The header that shows a version.
pub(crate) fn etag(version: u32) -> impl actix_web::http::header::TryIntoHeaderPair {
    (ETAG, format!("\"{version}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn asked(tag: Option<&'static str>) -> Result<Option<u32>, ()> {
        let request = tag
            .into_iter()
            .fold(TestRequest::default(), |request, tag| request.insert_header((IF_MATCH, tag)));
        let found = IfMatch::from_request(&request.to_http_request(), &mut Payload::None);
        found.into_inner().map(|it| it.0).map_err(|_| ())
    }

    #[test]
    fn one_version_any_or_none_is_asked_for() {
        assert_eq!((asked(None), asked(Some("*"))), (Ok(None), Ok(None)));
        assert_eq!((asked(Some("\"7\"")), asked(Some("W/\"7\""))), (Ok(Some(7)), Ok(Some(7))));
        for odd in ["7", "\"\"", "\"x\"", "\"1\", \"2\"", "\"-1\""] {
            assert_eq!(asked(Some(odd)), Err(()), "{odd}");
        }
    }
}

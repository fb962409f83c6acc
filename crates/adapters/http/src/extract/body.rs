//! Bodies as bytes.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::StreamExt;
use muster_kernel::ProblemCode;

use crate::Problem;

/// How long a body may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// A body that was not read yet.
pub(super) struct Unread(Result<web::Payload, actix_web::Error>);

impl Unread {
    pub(super) fn of(request: &HttpRequest, payload: &mut Payload) -> Self {
        Self(web::Payload::from_request(request, payload).into_inner())
    }

    /// Reads it, if it has no more than so many bytes.
    pub(super) async fn bytes(self, max_bytes: usize) -> Result<web::BytesMut, Problem> {
        let Ok(payload) = self.0 else {
            return Err(Problem::new(ProblemCode::Malformed, "a body is expected"));
        };
        let bytes = tokio::time::timeout(ARRIVES_WITHIN, collect(payload, max_bytes)).await;
        bytes.unwrap_or_else(|_| {
            let detail = "the body took too long to arrive; send it faster";
            Err(Problem::new(ProblemCode::RequestTimeout, detail))
        })
    }
}

/// Whether the body says that it is of one of these kinds.
pub(super) fn is_kind(request: &HttpRequest, kinds: &[&str]) -> bool {
    let header = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = header.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    kinds.iter().any(|known| kind.eq_ignore_ascii_case(known))
}

async fn collect(mut payload: web::Payload, max_bytes: usize) -> Result<web::BytesMut, Problem> {
    let mut body = web::BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let broken = |_| Problem::new(ProblemCode::Malformed, "the body broke off");
        let chunk = chunk.map_err(broken)?;
        // Before it is allocated for: a body may claim any length.
        if body.len() + chunk.len() > max_bytes {
            let detail = format!("a body may have at most {max_bytes} bytes here");
            return Err(Problem::new(ProblemCode::TooLarge, detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

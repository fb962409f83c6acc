//! Ids in paths.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::ProblemCode;

use crate::Problem;

/// The id `{id}` in the path. What is no id at all is not there, like any other unknown id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id<T>(pub(crate) T);

impl<T: FromStr> FromRequest for Id<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").and_then(|text| text.parse().ok());
        ready(id.map(Self).ok_or_else(|| {
            let detail = "there is no such thing: the id in the path is not a UUID";
            Problem::new(ProblemCode::NotFound, detail)
        }))
    }
}

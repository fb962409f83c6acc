//! Ids and versions in paths.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::{ConnectionId, ProblemCode};

use crate::Problem;

/// The id `{id}` in the path. It is looked at when it is known that whoever asks may: nobody else
/// learns whether it is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id<T>(Option<T>);

impl<T> Id<T> {
    /// The id. What is no id at all is not there, like any other unknown id.
    pub(crate) fn get(self) -> Result<T, Problem> {
        self.0.ok_or_else(|| {
            let detail = "there is no such thing: the id in the path is not a UUID";
            Problem::new(ProblemCode::NotFound, detail)
        })
    }
}

impl<T: FromStr> FromRequest for Id<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.match_info().get("id").and_then(|text| text.parse().ok()))))
    }
}

/// The id `{connection_id}` in the path, under the same rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionIn(Id<ConnectionId>);

impl ConnectionIn {
    /// The id.
    pub(crate) fn get(self) -> Result<ConnectionId, Problem> {
        self.0.get()
    }
}

impl FromRequest for ConnectionIn {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("connection_id").and_then(|text| text.parse().ok());
        ready(Ok(Self(Id(id))))
    }
}

/// The number `{version}` in the path; `None` for what is none, which is no version either.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub(crate) Option<u32>);

impl FromRequest for Number {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.match_info().get("version").and_then(|text| text.parse().ok()))))
    }
}

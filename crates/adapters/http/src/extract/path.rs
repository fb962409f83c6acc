//! Ids and versions in paths.

use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use muster_kernel::{AgentId, ConnectionId, ProblemCode, TaskId};

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

/// Extractors of ids that stand in paths beside `{id}`, under the same rules.
macro_rules! other_ids {
    ($($(#[$doc:meta])* $name:ident($id:ty) = $place:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name(Id<$id>);

        impl $name {
            /// The id.
            pub(crate) fn get(self) -> Result<$id, Problem> {
                self.0.get()
            }
        }

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let id = request.match_info().get($place).and_then(|text| text.parse().ok());
                ready(Ok(Self(Id(id))))
            }
        }
    )+};
}

other_ids! {
    /// The id `{agent_id}` in the path.
    AgentIn(AgentId) = "agent_id";
    /// The id `{connection_id}` in the path.
    ConnectionIn(ConnectionId) = "connection_id";
    /// The id `{task_id}` in the path.
    TaskIn(TaskId) = "task_id";
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

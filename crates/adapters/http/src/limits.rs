//! Rate limits: who is counted, and what every answer says of it.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use muster_kernel::limits::{Allowance, Kind};
use muster_kernel::{Author, Plan, Principal, ProblemCode};
use muster_settings::Key;

use crate::{AppState, Problem};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Counts one request.
pub(crate) struct Counter<'a> {
    request: &'a HttpRequest,
    state: &'a AppState,
}

impl<'a> Counter<'a> {
    pub(crate) const fn new(request: &'a HttpRequest, state: &'a AppState) -> Self {
        Self { request, state }
    }

    /// By who asks: a key by its customer's plan, a person by the installation's. An agent is not
    /// counted: what it asks costs no more than what it says over a WebSocket, and it must not be
    /// late with results.
    pub(crate) async fn principal(&self, principal: &Principal) -> Result<(), Problem> {
        let (who, plan) = match principal {
            Principal::User { user_id, .. } => {
                (format!("user/{user_id}"), self.state.default_plan())
            }
            Principal::ApiKey { key_id, plan, .. } => (format!("key/{key_id}"), *plan),
            Principal::Agent { .. } => return Ok(()),
        };
        self.count(&who, Kind::General, plan).await
    }

    /// By who asks, who shows a password or a code as well.
    pub(crate) async fn proof(&self, principal: &Principal) -> Result<(), Problem> {
        let Principal::User { user_id, .. } = principal else { return Ok(()) };
        self.count(&format!("user/{user_id}"), Kind::Auth, self.state.default_plan()).await
    }

    /// By address: who shows nothing that is good.
    pub(crate) async fn stranger(&self, author: &Author) -> Result<(), Problem> {
        self.count(&address(author), Kind::General, self.state.default_plan()).await
    }

    /// By address: who shows a password or a refresh token.
    pub(crate) async fn sign_in(&self, author: &Author) -> Result<(), Problem> {
        self.count(&address(author), Kind::Auth, self.state.default_plan()).await
    }

    async fn count(&self, who: &str, kind: Kind, plan: Plan) -> Result<(), Problem> {
        let Some(allowance) = count(self.state, who, kind, plan).await else { return Ok(()) };
        self.request.extensions_mut().insert(allowance);
        granted(allowance)
    }
}

async fn count(state: &AppState, who: &str, kind: Kind, plan: Plan) -> Option<Allowance> {
    if !state.settings.is_on(Key::RateLimits) {
        return None;
    }
    Some(state.limiter.count(who, kind, plan.per_minute(kind)).await)
}

fn granted(allowance: Allowance) -> Result<(), Problem> {
    let Some(seconds) = allowance.retry_after else { return Ok(()) };
    let detail = format!("at most {} requests a minute; try again later", allowance.limit);
    Err(Problem::new(ProblemCode::TooManyRequests, detail).retry_after(seconds.into()))
}

/// Counts a request by address that shows nothing good, where its answer says nothing of that.
pub(crate) async fn count_stranger(state: &AppState, author: &Author) -> Result<(), Problem> {
    let counted = count(state, &address(author), Kind::General, state.default_plan()).await;
    counted.map_or(Ok(()), granted)
}

/// Whoever has one IPv6 address has 2⁶⁴ of them.
fn address(author: &Author) -> String {
    match author.address {
        Some(std::net::IpAddr::V6(v6)) => format!("address/{:x}", v6.to_bits() >> 64),
        Some(v4) => format!("address/{v4}"),
        None => "address".to_owned(),
    }
}

/// Tells what is left, where something was counted.
pub(crate) fn tell(request: &HttpRequest, headers: &mut HeaderMap) {
    let allowance = request.extensions().get::<Allowance>().copied();
    let Some(Allowance { limit, remaining, reset, .. }) = allowance else { return };
    for (name, value) in [(LIMIT, limit), (REMAINING, remaining), (RESET, reset)] {
        headers.insert(name, HeaderValue::from(value));
    }
}

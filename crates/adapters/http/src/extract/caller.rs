//! Who asks, and whether they may.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, ORIGIN, UPGRADE};
use actix_web::{FromRequest, HttpRequest, web};
use muster_agents::Credential as Admission;
use muster_identity::SessionError;
use muster_kernel::{
    Act, Author, CustomerId, Permit, Principal, ProblemCode, Secret, SessionId, TokenKind, act,
};

use super::source::author;
use crate::limits::Counter;
use crate::routes::check_parameters;
use crate::{AppState, Problem};

/// What somebody proved who they are with. It can be asked again whether it is still good.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    AccessToken(Secret),
    ApiKey(Secret),
    AgentToken(Secret),
    /// A session, however it was proved: a ticket itself is used up.
    Session(SessionId),
}

impl Credential {
    /// Who that is now.
    pub(super) async fn principal(
        &self,
        state: &AppState,
        author: &Author,
    ) -> Result<Principal, Problem> {
        let principal = match self {
            Self::AccessToken(token) => state.identity.authenticate(token).await,
            Self::Session(session) => state.identity.still(*session).await,
            Self::ApiKey(secret) => {
                let principal = state.api_keys.authenticate(secret, author.address).await?;
                Ok(principal.ok_or_else(|| {
                    let detail = "the key is unknown, revoked, expired, or not good from here";
                    Problem::new(ProblemCode::Unauthenticated, detail)
                })?)
            }
            Self::AgentToken(token) => {
                let agent = state.agent_tokens.find(token.hash()).await?;
                let (agent_id, customer_id) = agent.ok_or_else(unauthenticated)?;
                Ok(Principal::Agent { agent_id, customer_id })
            }
        };
        principal.map_err(|error| match error {
            SessionError::Storage(error) => error.into(),
            _ => unauthenticated(),
        })
    }
}

/// Whoever asks, proved by their credential. A route that takes neither one nor [`May`] is public.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    credential: Credential,
    principal: Principal,
    author: Author,
}

impl Caller {
    /// The permission to do `A`.
    pub(crate) fn may<A: Act>(&self) -> Result<Permit<A>, Problem> {
        Ok(Permit::ask(self.principal.clone(), &self.author)?)
    }

    /// Who asks.
    pub(crate) const fn principal(&self) -> &Principal {
        &self.principal
    }

    async fn of(
        request: &HttpRequest,
        state: &AppState,
        tickets: Tickets,
    ) -> Result<Self, Problem> {
        let author = author(request, state);
        let counter = Counter::new(request, state);
        let proved = async {
            let credential = credential(request, state, tickets).await?;
            let principal = credential.principal(state, &author).await?;
            Ok::<_, Problem>((credential, principal))
        };
        match proved.await {
            Ok((credential, principal)) => {
                counter.principal(&principal).await?;
                Ok(Self { credential, principal, author })
            }
            Err(problem) => {
                counter.stranger(&author).await?;
                Err(problem)
            }
        }
    }
}

/// Whether a route opens to tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tickets {
    Taken,
    Refused,
}

/// The permission to do `A`: who asks is proved and allowed before anything else is looked at, the
/// body included.
#[derive(Debug, Clone)]
pub(crate) struct May<A> {
    permit: Permit<A>,
    caller: Caller,
}

/// The same on a route that opens to tickets as well: an event stream or a WebSocket.
#[derive(Debug, Clone)]
pub(crate) struct MayListen<A>(pub(crate) May<A>);

impl<A: Act> May<A> {
    async fn of(request: &HttpRequest, tickets: Tickets) -> Result<Self, Problem> {
        let caller = Caller::of(request, &*state_of(request)?, tickets).await?;
        let permit = caller.may()?;
        check_parameters(request)?;
        Ok(Self { permit, caller })
    }

    /// The permission to do `B` as well.
    pub(crate) fn also<B: Act>(&self) -> Result<Permit<B>, Problem> {
        self.caller.may()
    }

    /// The permission as it is now, which may be another or none: what goes on for long asks again
    /// and again.
    pub(crate) async fn still(&self, state: &AppState) -> Result<Permit<A>, Problem> {
        let Caller { credential, principal, author } = &self.caller;
        // The session counts: an access token is good for less time than some commands run.
        let credential = match principal {
            Principal::User { session_id, .. } => &Credential::Session(*session_id),
            Principal::ApiKey { .. } | Principal::Agent { .. } => credential,
        };
        let principal = credential.principal(state, author).await?;
        Ok(Permit::ask(principal, author)?)
    }

    /// The same for what is about `customer`, and from now on goes by what is allowed now.
    pub(crate) async fn renew(
        &mut self,
        state: &AppState,
        customer: CustomerId,
    ) -> Result<(), Problem> {
        self.permit = self.still(state).await?;
        Ok(self.permit.of(customer)?)
    }

    /// Counts a request that shows a password or a code.
    pub(crate) async fn count_proof(
        &self,
        request: &HttpRequest,
        state: &AppState,
    ) -> Result<(), Problem> {
        Counter::new(request, state).proof(&self.caller.principal).await
    }
}

impl<A> Deref for May<A> {
    type Target = Permit<A>;

    fn deref(&self) -> &Permit<A> {
        &self.permit
    }
}

pub(super) fn unauthenticated() -> Problem {
    let detail = "send Authorization: Bearer with a token that is good; POST /auth/login gives one";
    Problem::new(ProblemCode::Unauthenticated, detail)
}

/// The secret in the header that holds one.
pub(super) fn bearer(request: &HttpRequest) -> Option<Secret> {
    let headers = request.headers();
    if let Some(header) = headers.get(AUTHORIZATION) {
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Secret::from_text(token.trim()));
    }
    let key = Secret::from_text(headers.get("x-api-key")?.to_str().ok()?.trim());
    (TokenKind::of(key.expose()) == Some(TokenKind::ApiKey)).then_some(key)
}

async fn credential(
    request: &HttpRequest,
    state: &AppState,
    tickets: Tickets,
) -> Result<Credential, Problem> {
    let Some(token) = bearer(request) else {
        let ticket = ticket(request, tickets).ok_or_else(unauthenticated)?;
        check_origin(request, state)?;
        let session = state.identity.redeem_ticket(&ticket).await;
        return session.map(Credential::Session).map_err(|error| match error {
            SessionError::Storage(error) => error.into(),
            _ => Problem::new(ProblemCode::Unauthenticated, "the ticket is used, or too old"),
        });
    };
    match TokenKind::of(token.expose()) {
        None => Ok(Credential::AccessToken(token)),
        Some(TokenKind::ApiKey) => Ok(Credential::ApiKey(token)),
        Some(TokenKind::Agent) => Ok(Credential::AgentToken(token)),
        Some(TokenKind::Refresh | TokenKind::Enrollment | TokenKind::Ticket) => {
            Err(unauthenticated())
        }
    }
}

/// The ticket in the address, where a page can send no header: of an event stream or a WebSocket, and
/// nowhere else.
fn ticket(request: &HttpRequest, tickets: Tickets) -> Option<Secret> {
    if tickets == Tickets::Refused || !(wants_events(request) || upgrades(request)) {
        return None;
    }
    let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
    let ticket = pairs.find(|(name, _)| name == "ticket").map(|(_, value)| value.into_owned())?;
    (TokenKind::of(&ticket) == Some(TokenKind::Ticket)).then(|| Secret::from_text(ticket))
}

/// Whether an event stream is asked for.
pub(crate) fn wants_events(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/event-stream"))
}

/// Whether the connection is to become a WebSocket.
fn upgrades(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(UPGRADE).and_then(|it| it.to_str().ok());
    upgrade.is_some_and(|it| it.eq_ignore_ascii_case("websocket"))
}

/// That no page from elsewhere opens this.
pub(crate) fn check_origin(request: &HttpRequest, state: &AppState) -> Result<(), Problem> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    if origin.to_str().is_ok_and(|origin| state.web.allows(origin)) {
        return Ok(());
    }
    let detail = "pages of this origin may not open this; see MUSTER_CORS_ORIGINS";
    Err(Problem::new(ProblemCode::Forbidden, detail))
}

pub(super) type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Problem>>>>;

/// The use cases, which are there in every request of a running server.
pub(super) fn state_of(request: &HttpRequest) -> Result<web::Data<AppState>, Problem> {
    request.app_data::<web::Data<AppState>>().cloned().ok_or_else(unauthenticated)
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request, &*state_of(&request)?, Tickets::Refused).await })
    }
}

impl<A: Act> FromRequest for May<A> {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&request, Tickets::Refused).await })
    }
}

impl<A: Act> FromRequest for MayListen<A> {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { May::of(&request, Tickets::Taken).await.map(Self) })
    }
}

/// A machine that wants to enrol, with its enrollment token or a customer's key.
#[derive(Debug, Clone)]
pub(crate) struct Enroller(pub(crate) Admission);

impl FromRequest for Enroller {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = state_of(&request)?;
            let token = bearer(&request);
            let kind = token.as_ref().and_then(|token| TokenKind::of(token.expose()));
            match (token, kind) {
                (Some(token), Some(TokenKind::Enrollment)) => {
                    let author = author(&request, &state);
                    Counter::new(&request, &state).stranger(&author).await?;
                    Ok(Self(Admission::Token(token, author)))
                }
                // Who is known and lets no machines in is told so.
                (Some(_), None | Some(TokenKind::ApiKey | TokenKind::Agent)) => {
                    let caller = Caller::of(&request, &state, Tickets::Refused).await?;
                    Ok(Self(Admission::Key(caller.may::<act::EnrolAgents>()?)))
                }
                _ => {
                    let detail = "send Authorization: Bearer with an enrollment token (et_…), or \
                         with a customer's key that has the scope agents:write";
                    Err(Problem::new(ProblemCode::Unauthenticated, detail))
                }
            }
        })
    }
}

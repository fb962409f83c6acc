//! Who asks.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use muster_identity::SessionError;
use muster_kernel::{
    Action, Principal, ProblemCode, Resource, Secret, SessionId, TenantScope, TokenKind, UserId,
    access,
};

use crate::{AppState, Problem};

/// Whoever asks, proved by their credential. A route that does not take one is public.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Principal);

impl Caller {
    /// Decides whether the caller may do `action` to `resource`, and in which scope.
    pub(crate) fn may(&self, action: Action, resource: Resource) -> Result<TenantScope, Problem> {
        Ok(access::authorise(&self.0, action, resource)?)
    }

    /// The person who asks, and their session, if they may do `action`.
    pub(crate) fn user(&self, action: Action) -> Result<(UserId, SessionId, TenantScope), Problem> {
        let scope = self.may(action, Resource::InScope)?;
        match &self.0 {
            Principal::User { user_id, session_id, .. } => Ok((*user_id, *session_id, scope)),
            Principal::Agent { .. } => {
                let detail = "this is for people, not for agents";
                Err(Problem::new(ProblemCode::Forbidden, detail))
            }
        }
    }
}

fn unauthenticated() -> Problem {
    let detail = "send Authorization: Bearer with a token that is good; POST /auth/login gives one";
    Problem::new(ProblemCode::Unauthenticated, detail)
}

fn bearer(request: &HttpRequest) -> Option<Secret> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::from_text(token.trim()))
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = bearer(request);
        let state = request.app_data::<web::Data<AppState>>().cloned();
        Box::pin(async move {
            let (Some(token), Some(state)) = (token, state) else { return Err(unauthenticated()) };
            match TokenKind::of(token.expose()) {
                Some(TokenKind::Agent) => {
                    let agent = state.agent_tokens.find(token.hash()).await?;
                    let (agent_id, customer_id) = agent.ok_or_else(unauthenticated)?;
                    Ok(Self(Principal::Agent { agent_id, customer_id }))
                }
                Some(TokenKind::Refresh | TokenKind::Enrollment) => Err(unauthenticated()),
                None => match state.identity.authenticate(&token).await {
                    Ok(principal) => Ok(Self(principal)),
                    Err(SessionError::Invalid) => Err(unauthenticated()),
                    Err(SessionError::Storage(error)) => Err(error.into()),
                },
            }
        })
    }
}

/// A machine that wants to enrol, with its enrollment token.
#[derive(Debug, Clone)]
pub(crate) struct Enroller(pub(crate) Secret);

impl FromRequest for Enroller {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = bearer(request)
            .filter(|token| TokenKind::of(token.expose()) == Some(TokenKind::Enrollment));
        std::future::ready(token.map(Self).ok_or_else(|| {
            let detail = "send Authorization: Bearer with an enrollment token (et_…)";
            Problem::new(ProblemCode::Unauthenticated, detail)
        }))
    }
}

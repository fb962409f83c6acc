//! Agents of older products in plain requests, by what they show.

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, ORIGIN, REFERER};
use actix_web::{FromRequest, HttpRequest, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_agents::{Credential as Admission, LegacyError, RegistrationRequest, Speaker};
use muster_kernel::{
    AgentId, Author, Dialect, Permit, Principal, ProblemCode, Secret, TokenKind, act,
};

use serde::Deserialize;

use super::May;
use super::caller::{Credential, Extracting, bearer, state_of, unauthenticated};
use super::source::author;
use crate::limits::{Counter, count_stranger};
use crate::{AppState, Problem};

/// What a request shows that may come from an agent of an older product: its customer's key or an
/// enrollment token, wherever such clients can put one, or nothing.
#[derive(Debug, Clone)]
pub struct Presented {
    secret: Option<Secret>,
    author: Author,
}

impl Presented {
    /// What this request shows.
    pub fn of(request: &HttpRequest, state: &AppState) -> Self {
        let secret = bearer(request).or_else(|| password(request)).or_else(|| header_key(request));
        Self { secret, author: author(request, state) }
    }

    /// From where it comes.
    pub const fn author(&self) -> &Author {
        &self.author
    }

    /// The same with what the body says, if nothing else was shown.
    #[must_use]
    pub(crate) fn or(self, secret: Option<String>) -> Self {
        Self { secret: self.secret.or_else(|| secret.map(Secret::from_text)), ..self }
    }

    /// The credential, looked at now; `None` where none is shown.
    ///
    /// # Errors
    /// When it is none that lets machines in, or not good.
    pub async fn credential(&self, state: &AppState) -> Result<Option<Admission>, Problem> {
        let Some(secret) = &self.secret else { return Ok(None) };
        match TokenKind::of(secret.expose()) {
            Some(TokenKind::Enrollment) => {
                Ok(Some(Admission::Token(secret.clone(), self.author.clone())))
            }
            Some(TokenKind::ApiKey) => {
                let key = Credential::ApiKey(secret.clone());
                let principal = key.principal(state, &self.author).await?;
                let permit: Permit<act::EnrolAgents> = Permit::ask(principal, &self.author)?;
                Ok(Some(Admission::Key(permit)))
            }
            Some(TokenKind::Agent | TokenKind::Refresh | TokenKind::Ticket) | None => {
                Err(unauthenticated())
            }
        }
    }

    /// Whether nothing is shown at all.
    pub(crate) const fn shows_nothing(&self) -> bool {
        self.secret.is_none()
    }

    /// Counts a request of somebody who was not let in.
    ///
    /// # Errors
    /// When there were too many.
    pub async fn count_refusal(&self, state: &AppState) -> Result<(), Problem> {
        count_stranger(state, &self.author).await
    }

    /// Whether it shows what an agent of an older product could show.
    fn may_be_older(&self) -> bool {
        self.secret.as_ref().is_none_or(|secret| {
            let kind = TokenKind::of(secret.expose());
            matches!(kind, Some(TokenKind::ApiKey | TokenKind::Enrollment))
        })
    }

    /// What lets it in that speaks `dialect`: what it shows, or else its network.
    pub(crate) async fn admission(
        &self,
        state: &AppState,
        dialect: Dialect,
    ) -> Result<Admission, Problem> {
        match self.credential(state).await? {
            Some(credential) => Ok(credential),
            None => Ok(state.legacy.vouch_for_network(self.author.clone(), dialect).await?),
        }
    }

    /// The agent that it is, which speaks one of these and goes by `name`.
    async fn speaker(
        &self,
        state: &AppState,
        dialects: &[Dialect],
        name: &str,
    ) -> Result<Speaker, Problem> {
        let mut refusal: Option<Problem> = None;
        for dialect in dialects {
            let found = async {
                let credential = self.admission(state, *dialect).await?;
                Ok::<_, Problem>(state.legacy.recognise(&credential, *dialect, name).await?)
            };
            match found.await {
                Ok(Some(speaker)) => return Ok(speaker),
                // What the first of them is refused for is told, unless another is only not there.
                Ok(None) => refusal = Some(LegacyError::NotFound.into()),
                Err(problem) => refusal = refusal.or(Some(problem)),
            }
        }
        Err(refusal.unwrap_or_else(|| LegacyError::NotFound.into()))
    }

    /// The permission to report as that agent.
    async fn permit(
        &self,
        state: &AppState,
        dialects: &[Dialect],
        name: &str,
    ) -> Result<(Permit<act::ReportAsAgent>, Dialect), Problem> {
        let Speaker { agent_id, customer_id, dialect } =
            self.speaker(state, dialects, name).await?;
        let principal = Principal::Agent { agent_id, customer_id };
        Ok((Permit::ask(principal, &self.author)?, dialect))
    }
}

/// What `X-API-Key` has, whatever it is.
fn header_key(request: &HttpRequest) -> Option<Secret> {
    let key = request.headers().get("x-api-key")?.to_str().ok()?;
    Some(Secret::from_text(key.trim()))
}

/// The password of `Authorization: Basic`, which clients send whose address has one in it.
fn password(request: &HttpRequest) -> Option<Secret> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (_, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| Secret::from_text(password))
}

/// An agent that reports in a plain request: one of Muster's own, proved by its token, or maybe one
/// of an older product, which is proved by the name that it goes by.
#[derive(Debug, Clone)]
pub(crate) enum Reporting {
    Own(Box<May<act::ReportAsAgent>>),
    Older(Older),
}

/// Somebody who may be an agent of an older product. Like Muster's own it is not counted, once it is
/// known.
#[derive(Debug, Clone)]
pub(crate) struct Older {
    presented: Presented,
    request: HttpRequest,
}

impl Older {
    /// The same with what the body says, if nothing else was shown.
    #[must_use]
    pub(crate) fn or(self, secret: Option<String>) -> Self {
        Self { presented: self.presented.or(secret), ..self }
    }

    /// Whether nothing is shown at all.
    pub(crate) const fn shows_nothing(&self) -> bool {
        self.presented.shows_nothing()
    }

    /// The permission to report as the agent that speaks one of these and goes by `name`.
    pub(crate) async fn permit(
        &self,
        state: &AppState,
        dialects: &[Dialect],
        name: &str,
    ) -> Result<(Permit<act::ReportAsAgent>, Dialect), Problem> {
        match self.presented.permit(state, dialects, name).await {
            Ok(permit) => Ok(permit),
            Err(problem) => Err(self.refuse(state, problem).await),
        }
    }

    /// The same; a machine that goes by no name that is known becomes an agent that speaks the first of
    /// these.
    pub(crate) async fn permit_or_admit(
        &self,
        state: &AppState,
        dialects: &[Dialect],
        name: &str,
        hostname: Option<String>,
    ) -> Result<(Permit<act::ReportAsAgent>, Dialect), Problem> {
        let known = self.presented.permit(state, dialects, name).await;
        let admitted = async |dialect: Dialect| {
            let credential = self.presented.admission(state, dialect).await?;
            let hostname = hostname.unwrap_or_else(|| name.to_owned());
            let machine = RegistrationRequest { hostname, ..RegistrationRequest::default() };
            state.legacy.admit(&credential, dialect, Some(name), machine).await?;
            self.presented.permit(state, &[dialect], name).await
        };
        let permit = match (known, dialects.first()) {
            (Err(problem), Some(dialect)) if problem.code() == ProblemCode::NotFound => {
                admitted(*dialect).await
            }
            (known, _) => known,
        };
        match permit {
            Ok(permit) => Ok(permit),
            Err(problem) => Err(self.refuse(state, problem).await),
        }
    }

    /// That it may have its body read before anybody knows who it is: what it shows may be in there.
    pub(crate) async fn may_show_it_in_the_body(
        &self,
        state: &AppState,
        dialect: Dialect,
    ) -> Result<(), Problem> {
        if !self.shows_nothing() || self.presented.admission(state, dialect).await.is_ok() {
            return Ok(());
        }
        Counter::new(&self.request, state).stranger(&self.presented.author).await
    }

    /// The problem of somebody who is not known, or that they are too many.
    async fn refuse(&self, state: &AppState, problem: Problem) -> Problem {
        let counted = Counter::new(&self.request, state).stranger(&self.presented.author).await;
        counted.err().unwrap_or(problem)
    }

    /// That somebody like this is let in at all who speaks `dialect`.
    pub(crate) async fn is_let_in(
        &self,
        state: &AppState,
        dialect: Dialect,
    ) -> Result<(), Problem> {
        let allowed = async {
            let credential = self.presented.admission(state, dialect).await?;
            Ok::<_, Problem>(state.legacy.allows(&credential, dialect).await?)
        };
        match allowed.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refuse(state, LegacyError::NotAllowed(dialect).into()).await),
            Err(problem) => Err(self.refuse(state, problem).await),
        }
    }
}

impl FromRequest for Reporting {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let own = May::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let state = state_of(&request)?;
            let presented = Presented::of(&request, &state);
            if !presented.may_be_older() {
                return own.await.map(Box::new).map(Self::Own);
            }
            Ok(Self::Older(Older { presented, request }))
        })
    }
}

/// Who asks for the commands of an agent: somebody who may see them, or the agent itself, which is
/// Remote Agent Manager's and fetches what it is to run.
#[derive(Debug, Clone)]
pub(crate) enum CommandsOf {
    Reader(Box<May<act::ReadCommands>>),
    Agent(AgentId),
}

impl FromRequest for CommandsOf {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reader = May::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let state = state_of(&request)?;
            let presented = Presented::of(&request, &state);
            if is_unversioned(&request) && presented.may_be_older() && !is_of_a_page(&request) {
                let (fetching, name) = (&[Dialect::RemoteAgentManager], name_in(&request));
                if let Ok((permit, _)) = presented.permit(&state, fetching, &name).await {
                    return Ok(Self::Agent(permit.agent()?));
                }
            }
            reader.await.map(Box::new).map(Self::Reader)
        })
    }
}

/// Whether a page in a browser asks, which could be anybody's, with whatever network that is in.
fn is_of_a_page(request: &HttpRequest) -> bool {
    let headers = request.headers();
    [ORIGIN.as_str(), REFERER.as_str(), "sec-fetch-site"].iter().any(|it| headers.contains_key(*it))
}

/// The name in the path, as it is kept.
pub(crate) fn name_in(request: &HttpRequest) -> String {
    #[derive(Deserialize, Default)]
    struct Named {
        id: String,
    }
    let path = web::Path::<Named>::from_request(request, &mut Payload::None).into_inner();
    let named = path.map(web::Path::into_inner).unwrap_or_default();
    named.id.trim().to_owned()
}

/// Whether it was asked for by the base path that Remote Agent Manager has.
pub(crate) fn is_unversioned(request: &HttpRequest) -> bool {
    !request.path().starts_with("/api/v1/")
}

impl From<LegacyError> for Problem {
    fn from(error: LegacyError) -> Self {
        let text = error.to_string();
        match error {
            LegacyError::NoCredential => Self::new(ProblemCode::Unauthenticated, text),
            LegacyError::NotAllowed(_) => Self::new(ProblemCode::Forbidden, text),
            LegacyError::NotFound => Self::new(ProblemCode::NotFound, text),
            LegacyError::Invalid(error) => error.into(),
            LegacyError::Enrol(error) => error.into(),
        }
    }
}

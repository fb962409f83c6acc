//! Errors as clients see them: RFC 9457 problem documents.

use std::error::Error;
use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use muster_kernel::{Denied, ProblemCode, StorageError};
use serde::Serialize;
use utoipa::ToSchema;

/// A field that breaks a rule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where in the body, as a JSON pointer.
    pub(crate) pointer: String,
    /// What is expected there.
    pub(crate) detail: String,
}

/// A problem document.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// Always `about:blank`: `code` says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What went wrong, for machines.
    #[schema(example = "NOT_FOUND")]
    code: &'static str,
    /// What went wrong and what to do, for people.
    detail: &'a str,
    /// Names the request in the server's log.
    request_id: Option<&'a str>,
    /// The fields that break a rule.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Vec<FieldError>)]
    errors: &'a [FieldError],
}

/// What went wrong with a request.
#[derive(Debug)]
pub struct Problem {
    code: ProblemCode,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    allow: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl Error for Problem {}

impl Problem {
    /// A problem; `detail` says what to do about it.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None }
    }

    /// What went wrong, for machines.
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// What to do about it.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the same again may soon go well.
    pub(crate) fn is_passing(&self) -> bool {
        self.code == ProblemCode::Unavailable
    }

    /// A body that can be read and breaks a rule at `pointer`.
    pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let field = FieldError { pointer: pointer.into(), detail: detail.into() };
        let text = format!("the body breaks a rule: {}", field.detail);
        let mut problem = Self::new(ProblemCode::ValidationFailed, text);
        problem.errors.push(field);
        problem
    }

    /// A query parameter that can be read and breaks a rule.
    pub(crate) fn invalid_parameter(name: &str, rule: impl Into<String>) -> Self {
        let field = FieldError { pointer: format!("/{name}"), detail: rule.into() };
        let text = format!("the query parameter {name} breaks a rule: {}", field.detail);
        let mut problem = Self::new(ProblemCode::ValidationFailed, text);
        problem.errors.push(field);
        problem
    }

    /// The same of several rules.
    pub(crate) fn all_invalid(broken: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut problem = Self::new(ProblemCode::ValidationFailed, "the body breaks a rule");
        let errors = broken.into_iter().map(|(pointer, detail)| FieldError { pointer, detail });
        problem.errors.extend(errors);
        if let Some(first) = problem.errors.first() {
            problem.detail = format!("the body breaks a rule: {}", first.detail);
        }
        problem
    }

    /// The same in a part of something larger: what points into that part points into the whole.
    #[must_use]
    pub(crate) fn within(mut self, place: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, place);
        }
        self
    }

    /// The client may try again after this many seconds.
    pub(crate) const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The path takes `methods` and no other.
    pub(crate) fn allow(mut self, methods: &[&str]) -> Self {
        self.allow = Some(methods.join(", ").to_ascii_uppercase());
        self
    }

    /// The document of a status that some library answered with.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status.as_u16() {
            404 => (ProblemCode::NotFound, "there is no such path; see /docs"),
            405 => (ProblemCode::MethodNotAllowed, "the path does not take this method"),
            413 => (ProblemCode::TooLarge, "the body is too large"),
            415 => (ProblemCode::UnsupportedMediaType, "send application/json"),
            400..=499 => (ProblemCode::Malformed, "the request could not be read"),
            _ => (ProblemCode::Internal, "something went wrong here; the log says more"),
        };
        Self::new(code, detail)
    }

    /// The body of the answer.
    pub(crate) fn document(&self, request_id: Option<&str>) -> String {
        let status = status(self.code);
        let document = Document {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code.as_str(),
            detail: &self.detail,
            request_id,
            errors: &self.errors,
        };
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// The whole answer.
    pub(crate) fn respond(&self, request_id: Option<&str>) -> HttpResponse {
        let status = status(self.code);
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
        }
        // Every 401 names the scheme, whatever its code: RFC 9110, 15.5.2.
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(self.document(request_id))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status(self.code)
    }

    fn error_response(&self) -> HttpResponse {
        self.respond(None)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Forbidden => ProblemCode::Forbidden,
            Denied::NotFound => ProblemCode::NotFound,
            Denied::Unconfirmed => ProblemCode::ConfirmationRequired,
            Denied::SecondFactorRequired => ProblemCode::SecondFactorMissing,
        };
        Self::new(code, denied.to_string())
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        tracing::error!(error.chain = chain(&error), "the database failed");
        let detail = "the database does not answer; nothing was changed, try again in a moment";
        Self::new(ProblemCode::Unavailable, detail).retry_after(2)
    }
}

/// An error and its causes in one line, for the log and nobody else.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The one table of statuses.
const fn status(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::Malformed => StatusCode::BAD_REQUEST,
        ProblemCode::Unauthenticated
        | ProblemCode::InvalidCredentials
        | ProblemCode::SecondFactorRequired
        | ProblemCode::SignOnFailed
        | ProblemCode::EnrollmentTokenInvalid
        | ProblemCode::EnrollmentTokenExpired
        | ProblemCode::EnrollmentTokenUsedUp => StatusCode::UNAUTHORIZED,
        ProblemCode::AccountPending
        | ProblemCode::AccountDisabled
        | ProblemCode::SecondFactorMissing
        | ProblemCode::ConfirmationRequired
        | ProblemCode::RegistrationClosed
        | ProblemCode::Forbidden => StatusCode::FORBIDDEN,
        ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::AlreadyExists
        | ProblemCode::CustomerHasAgents
        | ProblemCode::IdempotencyConflict
        | ProblemCode::AgentOffline
        | ProblemCode::LastAdmin
        | ProblemCode::NoApiKey
        | ProblemCode::WrongState
        | ProblemCode::DangerousCommand
        | ProblemCode::CommandEnded => StatusCode::CONFLICT,
        ProblemCode::AgentTimeout => StatusCode::GATEWAY_TIMEOUT,
        ProblemCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ProblemCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::ValidationFailed => StatusCode::UNPROCESSABLE_ENTITY,
        ProblemCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ProblemCode::ProtocolUnsupported => StatusCode::UPGRADE_REQUIRED,
        ProblemCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A name as a part of a JSON pointer.
pub(crate) fn pointer_token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_401_says_which_credential_is_expected_and_nothing_else_does() {
        for code in ProblemCode::ALL {
            let answer = Problem::new(*code, "why").respond(Some("r1"));
            let named = answer.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(named, answer.status() == StatusCode::UNAUTHORIZED, "{code}");
        }
    }

    #[test]
    fn every_code_is_an_error_with_a_title() {
        for code in ProblemCode::ALL {
            let status = status(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code}: {status}");
            let document = Problem::new(*code, "why").document(None);
            assert!(!document.contains("\"title\":\"Error\""), "{document}");
        }
    }
}

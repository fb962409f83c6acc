//! How requests go out: with limits of time, again when that may help, and with nothing of what a
//! provider writes in an error.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::HttpRequestFactory;
use muster_assistant::ModelError;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Body, Client, Response, StatusCode};
use serde_json::Value;

use crate::guard::guard;
use crate::{Fate, Patience, reach};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How much of an error is read.
const MAX_ERROR: usize = 64 * 1024;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Failure(pub(crate) ModelError);

impl From<Failure> for OpenAIError {
    fn from(failure: Failure) -> Self {
        Self::Boxed(Box::new(failure))
    }
}

/// What is to be done about an attempt.
enum Attempt {
    Answered(Response),
    /// Nothing helps.
    Failed(ModelError),
    /// It may help to try again, when the provider says, if it says.
    Again(ModelError, Option<Duration>),
}

#[derive(Clone)]
pub(crate) struct Transport {
    client: Client,
    patience: Patience,
    /// Whether the answer is to come bit by bit.
    streams: bool,
    fate: Fate,
}

impl Transport {
    pub(crate) const fn new(client: Client, patience: Patience, streams: bool, fate: Fate) -> Self {
        Self { client, patience, streams, fate }
    }

    async fn send(self, factory: HttpRequestFactory) -> Result<Response, Failure> {
        let mut wait = self.patience.first_wait;
        let mut left = self.patience.retries;
        loop {
            let (error, told) = match self.attempt(&factory).await {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Failed(error) => return Err(Failure(error)),
                Attempt::Again(error, told) => (error, told),
            };
            let pause = told.unwrap_or(wait);
            if left == 0 || pause > self.patience.longest_wait {
                return Err(Failure(error));
            }
            left -= 1;
            wait = wait.saturating_mul(2);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, factory: &HttpRequestFactory) -> Attempt {
        let Ok(request) = factory.build().await else {
            return Attempt::Failed(ModelError::Rejected(None));
        };
        // What is an address already is not resolved any more.
        let host = request.url().host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if literal.is_ok_and(|address| !reach::allows(address)) {
            return Attempt::Failed(ModelError::Unreachable);
        }
        match self.client.execute(request).await {
            Ok(answer) if answer.status().is_success() => self.take(answer).await,
            Ok(answer) => refused(answer).await,
            Err(error) if error.is_timeout() && !error.is_connect() => {
                Attempt::Failed(ModelError::Timeout)
            }
            Err(_) => Attempt::Again(ModelError::Unreachable, None),
        }
    }

    /// The answer, if it can be read.
    async fn take(&self, answer: Response) -> Attempt {
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if self.streams && kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let status = answer.status();
            let body = Box::pin(answer.bytes_stream());
            let body = guard(body, self.patience.idle, Fate::clone(&self.fate));
            let mut guarded = http::Response::new(Body::wrap_stream(body));
            *guarded.status_mut() = status;
            return Attempt::Answered(guarded.into());
        }
        match read(answer, MAX_ANSWER).await {
            // Some answer as a whole though they were asked for bits: that is no stream.
            Some(_) if self.streams => Attempt::Failed(ModelError::Malformed),
            Some(bytes) if serde_json::from_slice::<Value>(&bytes).is_ok() => {
                Attempt::Answered(http::Response::new(bytes).into())
            }
            Some(_) => Attempt::Failed(ModelError::Malformed),
            None => Attempt::Failed(ModelError::CutOff),
        }
    }
}

/// A body up to a limit; `None` when it was cut off or is longer.
async fn read(mut answer: Response, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > most {
            return None;
        }
    }
    Some(bytes)
}

/// What an answer means that is no success.
async fn refused(answer: Response) -> Attempt {
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok());
    let after = after.and_then(|it| it.trim().parse::<f64>().ok());
    let after = after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let body = read(answer, MAX_ERROR).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = code(&body);
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            let error = ModelError::RateLimited { retry_after: after };
            // What was paid for is used up: no waiting helps.
            match code.as_deref() {
                Some("insufficient_quota") => Attempt::Failed(error),
                _ => Attempt::Again(error, after),
            }
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Attempt::Failed(ModelError::Unauthorised)
        }
        StatusCode::REQUEST_TIMEOUT => Attempt::Again(ModelError::Timeout, after),
        _ if status.is_server_error() => Attempt::Again(ModelError::Unreachable, after),
        _ if code.as_deref().is_some_and(|code| code.contains("content_")) => {
            Attempt::Failed(ModelError::Refused)
        }
        _ if status.is_client_error() => Attempt::Failed(ModelError::Rejected(code)),
        _ => Attempt::Failed(ModelError::Unreachable),
    }
}

/// The name that a provider gives an error: small letters, digits and underscores, so no key.
fn code(body: &Value) -> Option<String> {
    let code = body.pointer("/error/code").and_then(Value::as_str);
    let code = code.or_else(|| body.pointer("/error/type").and_then(Value::as_str))?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    (code.len() <= 60 && code.chars().all(plain)).then(|| code.to_owned())
}

impl tower::Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, factory: HttpRequestFactory) -> Self::Future {
        let (sender, patience) = (self.clone(), self.patience.answer);
        Box::pin(async move {
            let sent = tokio::time::timeout(patience, sender.send(factory)).await;
            sent.unwrap_or(Err(Failure(ModelError::Timeout)))
        })
    }
}

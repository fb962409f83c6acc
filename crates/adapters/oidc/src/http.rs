//! How the provider is asked: briefly, at no other place than it was asked at, and never for more
//! than anybody needs.

use std::pin::Pin;
use std::time::Duration;

use openidconnect::http::header::CONTENT_TYPE;
use openidconnect::http::{self, StatusCode};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response};

use crate::settings::is_protected;

/// How long an answer may take, all of it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes of it are read.
const MAX_ANSWER: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("{0} is neither https nor on this machine")]
    Unprotected(String),
    #[error("no answer")]
    Request(#[from] reqwest::Error),
    #[error("the answer is not one")]
    Form(#[from] http::Error),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("the answer of {0} is longer than {MAX_ANSWER} bytes")]
    TooLong(String),
}

/// Our HTTP client as `openidconnect` wants it.
#[derive(Debug, Clone)]
pub(crate) struct Http(Client);

impl Http {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        // A redirect would carry the code and our secret to wherever it points.
        let client =
            Client::builder().redirect(Policy::none()).timeout(TIMEOUT).user_agent("muster");
        client.build().map(Self)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = Request::try_from(request)?;
        let place = request.url().to_string();
        // The provider's own document names the places, and could name one that is not protected.
        if !is_protected(request.url()) {
            return Err(HttpError::Unprotected(place));
        }
        let mut answer = self.0.execute(request).await?;
        if !is_readable(&answer) {
            return Err(HttpError::Status(place, answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(HttpError::TooLong(place));
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = http::Response::builder().status(answer.status()).body(body)?;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

/// Whether the provider itself answers. A redirect, an error of the server and a page of some
/// proxy in between are no answers; a client's error as JSON is one.
fn is_readable(answer: &Response) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    answer.status().is_success() || (answer.status().is_client_error() && is_json)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

//! Language models behind an API like `OpenAI`'s: `OpenAI` itself, `OpenRouter`, Azure, Bedrock, Ollama, vLLM.
//!
//! [`OpenAi`] is the [`LanguageModel`] port on `async-openai`. That crate logs what it can't read, which
//! may hold a key or a conversation; so everything passes `transport`, which lets nothing through
//! that can't be read, and has the time limits and repetitions. Errors say what happened and never
//! what the provider wrote.

mod config;
mod guard;
mod reach;
mod transport;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_openai::Client;
use async_openai::error::OpenAIError;
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use muster_assistant::{Access, Answer, Delta, Deltas, LanguageModel, ModelError, Prompt};
use parking_lot::Mutex;
use reqwest::redirect::Policy;
use serde_json::Value;

use config::Config;
use reach::Reach;
use transport::{Failure, Transport};
use wire::Chunks;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until somebody is there.
    pub connect: Duration,
    /// Until the whole answer is there, or the first of one that comes bit by bit; with all that is
    /// tried again.
    pub answer: Duration,
    /// Between two bits.
    pub idle: Duration,
    /// How often something is tried again.
    pub retries: u32,
    /// Before it is tried again for the first time; twice as long each time after.
    pub first_wait: Duration,
    /// The longest that is waited when the provider says how long.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(90),
            idle: Duration::from_secs(30),
            retries: 2,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(20),
        }
    }
}

/// Language models behind an API like `OpenAI`'s.
#[derive(Debug, Clone)]
pub struct OpenAi {
    client: reqwest::Client,
    patience: Patience,
}

impl OpenAi {
    /// Made for all models; which one, each request says.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(patience: Patience) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Reach))
            .connect_timeout(patience.connect)
            .user_agent("muster")
            .build()?;
        Ok(Self { client, patience })
    }

    fn client(&self, access: &Access, streams: bool, fate: &Fate) -> Client<Config> {
        let transport =
            Transport::new(self.client.clone(), self.patience, streams, Arc::clone(fate));
        Client::build(self.client.clone(), Config::new(access)).with_http_service(transport)
    }
}

/// Reads an answer as a provider writes it.
///
/// # Errors
/// [`ModelError`] says what it means instead.
pub fn read_answer(answer: &Value) -> Result<Answer, ModelError> {
    wire::answer(answer)
}

/// Reads an answer as a provider writes it bit by bit.
///
/// # Errors
/// [`ModelError`] says what it means instead, [`ModelError::CutOff`] when it has no end.
pub fn read_bits(bits: &[Value]) -> Result<Vec<Delta>, ModelError> {
    let mut reading = Chunks::default();
    let mut deltas = Vec::new();
    for bit in bits {
        deltas.extend(reading.take(bit)?);
    }
    deltas.push(reading.end()?);
    Ok(deltas)
}

/// What ended a request or stream, where `async-openai` can't say it.
pub(crate) type Fate = Arc<Mutex<Option<ModelError>>>;

#[async_trait]
impl LanguageModel for OpenAi {
    async fn ask(&self, access: &Access, prompt: &Prompt) -> Result<Answer, ModelError> {
        let fate = Fate::default();
        let client = self.client(access, false, &fate);
        let request = wire::request(access, prompt, false);
        let answer: Value =
            client.chat().create_byot(request).await.map_err(|error| told(&error, &fate))?;
        wire::answer(&answer)
    }

    async fn stream(&self, access: &Access, prompt: &Prompt) -> Result<Deltas, ModelError> {
        let fate = Fate::default();
        let client = self.client(access, true, &fate);
        let request = wire::request(access, prompt, true);
        let chunks = client.chat().create_stream_byot::<_, Value>(request).await;
        let chunks = chunks.map_err(|error| told(&error, &fate))?;
        let state = (chunks, Some(Chunks::default()), fate);
        let deltas = stream::unfold(state, |(mut chunks, reading, fate)| async move {
            let mut reading = reading?;
            loop {
                let taken = match chunks.next().await {
                    Some(Ok(chunk)) => reading.take(&chunk),
                    Some(Err(error)) => Err(told(&error, &fate)),
                    None => {
                        let ended = fate.lock().take().map_or(Ok(()), Err);
                        let end = ended.and_then(|()| reading.end());
                        return Some((end, (chunks, None, fate)));
                    }
                };
                match taken {
                    Ok(Some(delta)) => return Some((Ok(delta), (chunks, Some(reading), fate))),
                    Ok(None) => {}
                    Err(error) => return Some((Err(error), (chunks, None, fate))),
                }
            }
        });
        Ok(deltas.boxed())
    }
}

/// What an error of the crate beneath means.
fn told(error: &OpenAIError, fate: &Fate) -> ModelError {
    if let Some(known) = fate.lock().take() {
        return known;
    }
    match error {
        OpenAIError::Boxed(error) => {
            error.downcast_ref::<Failure>().map_or(ModelError::Unreachable, |it| it.0.clone())
        }
        OpenAIError::Reqwest(error) if error.is_timeout() => ModelError::Timeout,
        OpenAIError::StreamError(_) => ModelError::CutOff,
        OpenAIError::JSONDeserialize(..) | OpenAIError::InvalidArgument(_) => ModelError::Malformed,
        OpenAIError::Reqwest(_)
        | OpenAIError::ApiError(_)
        | OpenAIError::FileSaveError(_)
        | OpenAIError::FileReadError(_) => ModelError::Unreachable,
    }
}

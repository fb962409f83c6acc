//! Frames in requests: one request at a time collects what the server says, another brings what
//! the agent says, so that neither waits for the other.

use std::time::Duration;

use anyhow::{Context, bail};
use muster_protocol::{
    AgentMessage, Hello, MAX_POLL_BYTES, MAX_WAIT_SECONDS, PollAnswer, PollRequest, Polled,
};
use reqwest::{Client, Url};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{FAREWELL, Incoming, address};
use crate::identity::Identity;

/// How many frames wait in either direction before their sender waits.
const QUEUE: usize = 64;
/// How much longer than it may be held back an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections are not used again after so long: servers close them after 5 seconds.
const IDLE: Duration = Duration::from_secs(3);

/// A connection that is a row of requests.
pub(crate) struct Requests {
    incoming: mpsc::Receiver<anyhow::Result<Incoming>>,
    /// `None` when the agent goes.
    outgoing: Option<mpsc::Sender<Polled<AgentMessage>>>,
    bringing: AbortOnDropHandle<()>,
    _collecting: AbortOnDropHandle<()>,
}

#[derive(Deserialize)]
struct Problem {
    detail: Option<String>,
}

/// Where the requests go.
#[derive(Clone)]
struct Endpoint {
    client: Client,
    url: String,
    token: String,
}

impl Requests {
    pub(super) async fn open(
        server: &Url,
        identity: &Identity,
        tls: &ClientConfig,
        hello: Hello,
    ) -> anyhow::Result<Self> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .pool_idle_timeout(IDLE)
            .build()
            .context("can't set up HTTPS")?;
        let (url, token) = (address(server, "/agent/heartbeat"), identity.agent_token.clone());
        let endpoint = Endpoint { client, url, token };
        let hello = PollRequest {
            connection_id: None,
            sent: 0,
            messages: vec![Polled::Message(AgentMessage::Hello(Box::new(hello)))],
            received: 0,
            wait: Some(MAX_WAIT_SECONDS),
            close: false,
        };
        let PollAnswer { connection_id, messages } = endpoint.post(&hello).await?;
        let (heard, incoming) = mpsc::channel(QUEUE);
        let (outgoing, said) = mpsc::channel(QUEUE);
        let collecting = collect(endpoint.clone(), connection_id, messages, heard.clone());
        let bringing = bring(endpoint, connection_id, said, heard);
        Ok(Self {
            incoming,
            outgoing: Some(outgoing),
            bringing: AbortOnDropHandle::new(tokio::spawn(bringing)),
            _collecting: AbortOnDropHandle::new(tokio::spawn(collecting)),
        })
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Incoming> {
        self.incoming.recv().await.context("the connection is over")?
    }

    pub(super) async fn send(&mut self, polled: Polled<AgentMessage>) -> anyhow::Result<()> {
        let outgoing = self.outgoing.as_ref().context("the connection is over")?;
        if outgoing.send(polled).await.is_ok() {
            return Ok(());
        }
        // Why it is over was heard, if it was not read yet.
        loop {
            self.next().await?;
        }
    }

    pub(super) async fn close(&mut self) {
        self.outgoing = None;
        let _ = tokio::time::timeout(FAREWELL, &mut self.bringing).await;
    }
}

impl Endpoint {
    async fn post(&self, request: &PollRequest) -> anyhow::Result<PollAnswer> {
        let wait = Duration::from_secs(request.wait.unwrap_or(0));
        let sending = self.client.post(&self.url).bearer_auth(&self.token).timeout(wait + PATIENCE);
        let answer = sending.json(request).send().await.context("can't connect")?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().await.context("the server's answer can't be read");
        }
        let detail = answer.json::<Problem>().await.ok().and_then(|said| said.detail);
        bail!("the server answered {status}: {}", detail.as_deref().unwrap_or("no reason given"))
    }
}

/// Collects what the server says, from what came with the welcome on.
async fn collect(
    endpoint: Endpoint,
    connection_id: Uuid,
    mut messages: Vec<Polled<muster_protocol::ServerMessage>>,
    heard: mpsc::Sender<anyhow::Result<Incoming>>,
) {
    let mut received = 0;
    loop {
        received += u64::try_from(messages.len()).unwrap_or(0);
        let arrived = messages.into_iter().map(|polled| match polled {
            Polled::Message(message) => Incoming::Message(message),
            Polled::Frame(frame) => Incoming::Frame(frame),
        });
        for incoming in arrived.chain([Incoming::Alive]) {
            if heard.send(Ok(incoming)).await.is_err() {
                return;
            }
        }
        let request = PollRequest {
            connection_id: Some(connection_id),
            sent: 0,
            messages: Vec::new(),
            received,
            wait: Some(MAX_WAIT_SECONDS),
            close: false,
        };
        match endpoint.post(&request).await {
            Ok(answer) => messages = answer.messages,
            Err(error) => {
                let _ = heard.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Brings what the agent says, as much at a time as goes into a request.
async fn bring(
    endpoint: Endpoint,
    connection_id: Uuid,
    mut said: mpsc::Receiver<Polled<AgentMessage>>,
    heard: mpsc::Sender<anyhow::Result<Incoming>>,
) {
    // The hello was the first.
    let mut sent = 1;
    loop {
        let messages = batch(&mut said).await;
        let close = messages.is_empty();
        let count = u64::try_from(messages.len()).unwrap_or(0);
        let connection_id = Some(connection_id);
        let request = PollRequest { connection_id, sent, messages, received: 0, wait: None, close };
        match endpoint.post(&request).await {
            Ok(_) if close => return,
            Ok(_) => sent += count,
            Err(error) => {
                let _ = heard.send(Err(error)).await;
                return;
            }
        }
    }
}

/// What is to be said now; nothing when nothing more will be.
async fn batch(said: &mut mpsc::Receiver<Polled<AgentMessage>>) -> Vec<Polled<AgentMessage>> {
    let Some(first) = said.recv().await else { return Vec::new() };
    let mut size = size_of_polled(&first);
    let mut messages = vec![first];
    while size < MAX_POLL_BYTES / 2
        && let Ok(next) = said.try_recv()
    {
        size += size_of_polled(&next);
        messages.push(next);
    }
    messages
}

/// About how many bytes it takes in a request.
fn size_of_polled(polled: &Polled<AgentMessage>) -> usize {
    match polled {
        Polled::Frame(frame) => frame.bytes.len() * 4 / 3 + 128,
        Polled::Message(_) => 4096,
    }
}

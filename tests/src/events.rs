//! A client of event streams.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::Value;

use crate::Api;

/// How long a test waits for an event.
const PATIENCE: Duration = Duration::from_mins(1);

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerEvent {
    /// By which a client goes on after it.
    pub id: Option<String>,
    /// What kind of event.
    pub name: String,
    /// Its JSON.
    pub data: Value,
}

/// An event stream that is open.
#[derive(Debug)]
pub struct EventSource {
    answer: Response,
    read: Vec<u8>,
}

impl EventSource {
    /// Opens the stream at `path`, behind the event `last` if one is named.
    ///
    /// # Panics
    /// When the server answers with anything else.
    pub async fn open(api: &Api, path: &str, last: Option<&str>) -> Self {
        let mut request = api.request(Method::GET, path).header("Accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Self { answer, read: Vec::new() }
    }

    /// The next event; `None` when the stream has ended.
    ///
    /// # Panics
    /// When none comes for a minute, or one can't be read.
    pub async fn next(&mut self) -> Option<ServerEvent> {
        loop {
            while let Some(end) = self.read.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                if let Some(event) = parse(&String::from_utf8(block).unwrap()) {
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk());
            match chunk.await.expect("an event comes").ok().flatten() {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => return None,
            }
        }
    }

    /// All events up to the first of that name, which is the last of them.
    ///
    /// # Panics
    /// When the stream ends before.
    pub async fn until(&mut self, name: &str) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("no {name}: {events:?}"));
            let last = event.name == name;
            events.push(event);
            if last {
                return events;
            }
        }
    }
}

/// The event in a block of lines; comments are none.
fn parse(block: &str) -> Option<ServerEvent> {
    let field =
        |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(ServerEvent {
        id: field("id").map(ToOwned::to_owned),
        name: field("event")?.to_owned(),
        data: serde_json::from_str(field("data")?).unwrap(),
    })
}

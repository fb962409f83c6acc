//! A command's output: as text, or live.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, Responder, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use muster_commands::{Command, Heard, Notice, OutputBytes, OutputStream, Subscription};
use muster_kernel::{CommandId, ProblemCode, act};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::CommandAnswer;
use crate::event_stream::{Follower, Outbox};
use crate::extract::{Id, May, MayListen, Query, wants_events};
use crate::{AppState, Problem};

/// How much of a stream is read from the archive at a time, in bytes.
const READ_AT_ONCE: u64 = 256 * 1024;
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamParameter {
    Stdout,
    Stderr,
}

impl From<StreamParameter> for OutputStream {
    fn from(stream: StreamParameter) -> Self {
        match stream {
            StreamParameter::Stdout => Self::Stdout,
            StreamParameter::Stderr => Self::Stderr,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OutputQuery {
    /// Which stream, as text: standard output unless given. Live, both come.
    #[param(inline)]
    stream: Option<StreamParameter>,
    /// The first byte that is wanted.
    #[serde(default)]
    offset: u64,
}

/// A command's output: as text what there is by now; with `Accept: text/event-stream` live, as
/// events `output` (`{stream, offset, text}`) and, at the end, `finished` (the command).
/// `Last-Event-ID` goes on after the last event that was received.
#[utoipa::path(
    get, path = "/commands/{id}/output", tag = "commands", operation_id = "command_output",
    params(("id" = Uuid, Path), OutputQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content(
        (String = "text/plain"), (String = "text/event-stream"),
    )), (status = 404)),
)]
pub(crate) async fn output(
    state: web::Data<AppState>,
    MayListen(permit): MayListen<act::ReadCommands>,
    id: Id<CommandId>,
    query: Query<OutputQuery>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let OutputQuery { stream, offset } = query.0;
    if wants_events(&request) {
        let from = match request.headers().get("last-event-id") {
            Some(id) => position(id.to_str().ok())?,
            None => OutputBytes { stdout: offset, stderr: offset },
        };
        // Listening begins before the look into the archive: nothing falls in between.
        let news = state.commands.follow(id.get()?);
        let command = Arc::new(state.commands.get(&permit, id.get()?).await?);
        let outbox = Outbox::new();
        let listening = Listening { state, permit, command, news, from, caught_up: false, outbox };
        return Ok(listening.respond());
    }
    let command = state.commands.get(&permit, id.get()?).await?;
    let stream = stream.unwrap_or(StreamParameter::Stdout).into();
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .streaming(whole(state, command, stream, offset)))
}

/// The position behind an event, as its id says it: `stdout-stderr`.
fn position(id: Option<&str>) -> Result<OutputBytes, Problem> {
    let parts = id.and_then(|id| id.split_once('-'));
    parts
        .and_then(|(stdout, stderr)| {
            Some(OutputBytes { stdout: stdout.parse().ok()?, stderr: stderr.parse().ok()? })
        })
        .ok_or_else(|| {
            let detail = "Last-Event-ID: the id of an event of this stream is expected";
            Problem::new(ProblemCode::Malformed, detail)
        })
}

/// What there is of a stream by now, piece by piece: it is never in memory as a whole.
fn whole(
    state: web::Data<AppState>,
    command: Command,
    stream: OutputStream,
    from: u64,
) -> impl Stream<Item = Result<Bytes, Problem>> {
    let end = command.output.of(stream);
    let pieces = stream::try_unfold(from, move |from| {
        let (state, command) = (state.clone(), command.clone());
        async move {
            if from >= end {
                return Ok(None);
            }
            let chunks = state.commands.output(&command, stream, from, READ_AT_ONCE).await?;
            let read: u64 = chunks.iter().map(|chunk| length(&chunk.bytes)).sum();
            Ok::<_, Problem>(if read == 0 { None } else { Some((chunks, from + read)) })
        }
    });
    pieces
        .map(|piece| match piece {
            Ok(chunks) => stream::iter(chunks).map(|chunk| Ok(chunk.bytes)).boxed(),
            Err(problem) => stream::iter([Err(problem)]).boxed(),
        })
        .flatten()
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Somebody who follows a command.
struct Listening {
    state: web::Data<AppState>,
    permit: May<act::ReadCommands>,
    command: Arc<Command>,
    news: Subscription,
    /// What has been sent.
    from: OutputBytes,
    /// Whether what there was at the beginning has been looked for.
    caught_up: bool,
    outbox: Outbox,
}

impl Listening {
    /// Takes from the archive what has not been sent, at most a piece of each stream.
    async fn catch_up(&mut self) -> Result<(), Problem> {
        let mut behind = false;
        for stream in OutputStream::ALL {
            let from = self.from.of(stream);
            let chunks =
                self.state.commands.output(&self.command, stream, from, READ_AT_ONCE).await?;
            for chunk in &chunks {
                self.send_output(stream, chunk.offset, &chunk.bytes);
            }
            behind |= self.from.of(stream) < self.command.output.of(stream);
        }
        if self.command.status().is_end() && !behind {
            self.finish();
        }
        Ok(())
    }

    async fn look_again(&mut self) -> Result<(), Problem> {
        let id = self.command.id;
        self.command = Arc::new(self.state.commands.get(&self.permit, id).await?);
        self.catch_up().await
    }

    fn send_output(&mut self, stream: OutputStream, offset: u64, bytes: &Bytes) {
        let known = self.from.of(stream).saturating_sub(offset);
        let new = usize::try_from(known).ok().and_then(|known| bytes.get(known..));
        let Some(new) = new.filter(|new| !new.is_empty()) else { return };
        // A character that is cut in two waits for its other half, unless there is none to come.
        let whole = whole_characters(new);
        let ended = self.command.status().is_end();
        let new = if whole == 0 && (ended || new.len() > 3) { Some(new) } else { new.get(..whole) };
        let Some(new) = new.filter(|new| !new.is_empty()) else { return };
        let offset = self.from.of(stream);
        let sent = offset + u64::try_from(new.len()).unwrap_or(0);
        match stream {
            OutputStream::Stdout => self.from.stdout = sent,
            OutputStream::Stderr => self.from.stderr = sent,
        }
        let text = String::from_utf8_lossy(new);
        let data = json!({ "stream": stream.as_str(), "offset": offset, "text": text });
        self.send("output", &data);
    }

    fn finish(&mut self) {
        self.outbox.end();
        match serde_json::to_value(CommandAnswer::of(&self.command)) {
            Ok(data) => self.send("finished", &data),
            Err(error) => tracing::error!(error.cause = %error, "an event could not be written"),
        }
    }

    fn send(&mut self, event: &str, data: &serde_json::Value) {
        let OutputBytes { stdout, stderr } = self.from;
        let text = format!("id: {stdout}-{stderr}\nevent: {event}\ndata: {data}\n\n");
        self.outbox.push(text);
    }
}

impl Follower for Listening {
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    async fn advance(&mut self) -> Result<(), Problem> {
        let behind = |stream| self.from.of(stream) < self.command.output.of(stream);
        if !std::mem::replace(&mut self.caught_up, true)
            || OutputStream::ALL.into_iter().any(behind)
        {
            return self.catch_up().await;
        }
        if self.outbox.is_check_due() {
            let checked = self.permit.renew(&self.state, self.command.customer_id).await;
            if !self.outbox.go_by(checked) {
                return Ok(());
            }
        }
        let Some(heard) = self.outbox.hear(&self.state, self.news.next()).await else {
            return Ok(());
        };
        match heard {
            None | Some(Heard::Missed) => self.look_again().await,
            Some(Heard::Notice(notice)) => match &*notice {
                Notice::Output { stream, offset, bytes } => {
                    if *offset > self.from.of(*stream) {
                        return self.look_again().await;
                    }
                    self.send_output(*stream, *offset, bytes);
                    Ok(())
                }
                Notice::Changed(command) => {
                    self.command = Arc::clone(command);
                    if command.status().is_end() {
                        return self.catch_up().await;
                    }
                    Ok(())
                }
            },
        }
    }
}

/// How many bytes of `bytes` end with a whole character. Bytes that are no text at all count as
/// whole: they are shown as replacement characters.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            let cut = (1..=3).find(|cut| {
                let tail = bytes.len().checked_sub(*cut).and_then(|from| bytes.get(from..));
                tail.is_some_and(|tail| {
                    std::str::from_utf8(tail)
                        .is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0)
                })
            });
            bytes.len() - cut.unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_in_two_waits_for_its_other_half() {
        for (bytes, whole) in [
            (b"abc".as_slice(), 3),
            ("aé".as_bytes(), 3),
            (&"aé".as_bytes()[..2], 1),
            (&"a😀".as_bytes()[..4], 1),
            (b"\xff\xfe", 2),
            (b"\xffa\xc3", 2),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }

    #[test]
    fn the_id_of_an_event_says_where_to_go_on() {
        let at = position(Some("12-7")).unwrap();
        assert_eq!((at.stdout, at.stderr), (12, 7));
        for id in [None, Some(""), Some("12"), Some("a-b"), Some("-1-2")] {
            assert!(position(id).is_err());
        }
    }
}

//! Conversations live: every window that is open on a project, or on a conversation, hears what is said
//! there as it is written, and may say something itself.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason};
use futures_util::StreamExt;
use muster_assistant::chats::{ChatWish, Window};
use muster_kernel::events::{From as Since, Heard, Listener};
use muster_kernel::{AgentId, AssistantId, ChatId, ProblemCode, ProjectId, act};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::extract::{May, MayListen, Query, check_origin};
use crate::{AppState, Problem};

/// The largest message of a window, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// How often it is looked whether the window still may listen.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long a window may take to take what it is sent.
const SLOWEST: Duration = Duration::from_secs(10);
/// How many answers a window may wait for at once.
const MAX_WAITING: usize = 4;
/// How often a quiet window is asked for a sign of life, in looks.
const PING_AFTER: u32 = 15;

/// What a window shows, and from where on.
#[derive(Debug, Default, Deserialize)]
struct WindowQuery {
    /// All conversations of this project, or
    project_id: Option<Uuid>,
    /// this conversation.
    chat_id: Option<Uuid>,
    /// The id of the last event that was received; what came after it is told again.
    after: Option<String>,
}

impl WindowQuery {
    fn window(&self) -> Result<Window, Problem> {
        match (self.project_id, self.chat_id) {
            (Some(id), None) => Ok(Window::Project(ProjectId::from_uuid(id))),
            (None, Some(id)) => Ok(Window::Chat(ChatId::from_uuid(id))),
            _ => {
                let detail = "either project_id or chat_id is expected";
                Err(Problem::new(ProblemCode::Malformed, detail))
            }
        }
    }
}

/// What a window says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    /// Something to an assistant.
    Chat {
        message: String,
        chat_id: Option<Uuid>,
        assistant_id: Option<Uuid>,
        agent_id: Option<Uuid>,
    },
    /// That it is still there.
    Ping,
}

/// Mounts it.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/ws").name("/ws").route(web::get().to(open)));
}

async fn open(
    state: web::Data<AppState>,
    MayListen(may): MayListen<act::ReadAssistants>,
    query: Query<WindowQuery>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    check_origin(&request, &state)?;
    let window = query.0.window()?;
    let since = query.0.after.as_deref().map_or(Since::Now, Since::After);
    let listener = state.assistance.chats.listen(&may, window, since).await?;
    let Ok((response, session, incoming)) = actix_ws::handle(&request, body) else {
        let detail = "this is a WebSocket: connect with an upgrade";
        return Err(Problem::new(ProblemCode::Malformed, detail));
    };
    let incoming = incoming
        .max_frame_size(MAX_MESSAGE)
        .aggregate_continuations()
        .max_continuation_size(MAX_MESSAGE);
    let (answers, answered) = mpsc::channel(16);
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let open = Open { state, may, window, session, listener, answers, waiting, quiet: 0 };
    actix_web::rt::spawn(open.serve(incoming, answered));
    Ok(response)
}

/// A window that is open.
struct Open {
    state: web::Data<AppState>,
    may: May<act::ReadAssistants>,
    window: Window,
    session: actix_ws::Session,
    listener: Box<dyn Listener>,
    /// Where problems come from that what it said ended in.
    answers: mpsc::Sender<Problem>,
    /// How much more may be said before something is answered.
    waiting: Arc<Semaphore>,
    /// How many looks ago something was sent.
    quiet: u32,
}

/// Why a window is closed.
struct Closed(CloseCode, &'static str);

impl Open {
    async fn serve(
        mut self,
        mut incoming: AggregatedMessageStream,
        mut answered: mpsc::Receiver<Problem>,
    ) {
        let mut looks = tokio::time::interval(CHECK_EVERY);
        let closed = loop {
            let step = tokio::select! {
                () = self.state.closing.cancelled() => {
                    Err(Closed(CloseCode::Away, "the server is going down; come back"))
                }
                heard = self.listener.next() => self.pass_on(heard).await,
                Some(problem) = answered.recv() => self.tell_problem(&problem).await,
                said = incoming.next() => self.hear(said).await,
                _ = looks.tick() => self.look().await,
            };
            if let Err(closed) = step {
                break closed;
            }
        };
        let description = Some(closed.1.to_owned());
        // Who is gone hears nothing of it.
        let _ = self.session.close(Some(CloseReason { code: closed.0, description })).await;
    }

    async fn send(&mut self, text: String) -> Result<(), Closed> {
        self.quiet = 0;
        match tokio::time::timeout(SLOWEST, self.session.text(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Closed(CloseCode::Policy, "too slow; come back")),
        }
    }

    async fn pass_on(&mut self, heard: Heard) -> Result<(), Closed> {
        match heard {
            Heard::Event(told) => {
                let id = json!(&*told.id);
                let (name, data) = (told.event.name, &told.event.data);
                self.send(format!(r#"{{"type":"{name}","id":{id},"data":{data}}}"#)).await
            }
            Heard::Reset => self.send(r#"{"type":"reset","data":{}}"#.to_owned()).await,
            Heard::TooSlow => Err(Closed(CloseCode::Policy, "too slow; come back")),
            Heard::Over => Err(Closed(CloseCode::Normal, "nothing more will come")),
        }
    }

    async fn tell_problem(&mut self, problem: &Problem) -> Result<(), Closed> {
        let data = json!({ "code": problem.code().as_str(), "detail": problem.detail() });
        self.send(json!({ "type": "error", "data": data }).to_string()).await
    }

    /// Looks whether the window still may listen, and whether somebody is there.
    async fn look(&mut self) -> Result<(), Closed> {
        let checked = match self.may.still(&self.state).await {
            // A project may have been deleted, or be another tenant's by now.
            Ok(permit) => {
                let chats = &self.state.assistance.chats;
                let seen = chats.listen(&permit, self.window, Since::Now).await;
                seen.map(drop).map_err(Problem::from)
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = checked
            && !problem.is_passing()
        {
            return Err(Closed(CloseCode::Policy, "you may not listen here any more"));
        }
        self.quiet += 1;
        if self.quiet >= PING_AFTER {
            self.quiet = 0;
            let gone = |_| Closed(CloseCode::Away, "nobody is there");
            self.session.ping(b"").await.map_err(gone)?;
        }
        Ok(())
    }

    async fn hear(
        &mut self,
        said: Option<Result<AggregatedMessage, actix_ws::ProtocolError>>,
    ) -> Result<(), Closed> {
        match said {
            Some(Ok(AggregatedMessage::Text(text))) => self.take(&text).await,
            Some(Ok(AggregatedMessage::Ping(bytes))) => {
                let gone = |_| Closed(CloseCode::Away, "nobody is there");
                self.session.pong(&bytes).await.map_err(gone)
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => {
                Err(Closed(CloseCode::Unsupported, "texts are expected"))
            }
            Some(Ok(AggregatedMessage::Close(_))) | None => Err(Closed(CloseCode::Normal, "")),
            Some(Err(_)) => Err(Closed(CloseCode::Protocol, "a message of at most 64 KiB")),
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Closed> {
        let (message, chat_id, assistant_id, agent_id) = match serde_json::from_str::<Said>(text) {
            Ok(Said::Ping) => return self.send(r#"{"type":"pong","data":{}}"#.to_owned()).await,
            Ok(Said::Chat { message, chat_id, assistant_id, agent_id }) => {
                (message, chat_id, assistant_id, agent_id)
            }
            Err(_) => {
                let detail = r#"{"type":"chat","message":…} is expected"#;
                return self.tell_problem(&Problem::new(ProblemCode::Malformed, detail)).await;
            }
        };
        let mut wish = ChatWish {
            chat_id: chat_id.map(ChatId::from_uuid),
            project_id: None,
            assistant_id: assistant_id.map(AssistantId::from_uuid),
            agent_id: agent_id.map(AgentId::from_uuid),
            message,
        };
        match self.window {
            Window::Project(id) => wish.project_id = Some(id),
            Window::Chat(id) => wish.chat_id = Some(id),
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            let detail = "wait for the answers to what was said before";
            return self.tell_problem(&Problem::new(ProblemCode::TooManyRequests, detail)).await;
        };
        let (state, may, answers) = (self.state.clone(), self.may.clone(), self.answers.clone());
        actix_web::rt::spawn(async move {
            let _place = place;
            if let Err(problem) = say(&state, &may, wish).await {
                // Who asked may have closed the window meanwhile.
                let _ = answers.send(problem).await;
            }
        });
        Ok(())
    }
}

/// Says something, if that is still allowed. What comes of it is told to all windows.
async fn say(
    state: &AppState,
    may: &May<act::ReadAssistants>,
    wish: ChatWish,
) -> Result<(), Problem> {
    let permit = may.still(state).await?;
    let asks = muster_kernel::Permit::ask(permit.principal().clone(), permit.author())?;
    state.assistance.chats.say(&asks, wish).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_a_project_or_a_conversation() {
        let id = Uuid::from_u128(1);
        let none = WindowQuery::default();
        assert!(none.window().is_err());
        let one = WindowQuery { project_id: Some(id), ..WindowQuery::default() };
        assert!(matches!(one.window(), Ok(Window::Project(_))));
        let both = WindowQuery { chat_id: Some(id), ..one };
        assert!(both.window().is_err());
        let said = json!({ "type": "chat", "message": "hello" });
        assert!(matches!(serde_json::from_value(said), Ok(Said::Chat { .. })));
    }
}

//! Conversations with assistants.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, Responder, web};
use chrono::{DateTime, Utc};
use muster_assistant::chats::{Chat, ChatFilter, ChatWish, Said, Step, Turn};
use muster_assistant::proposals::ProposalFilter;
use muster_kernel::{
    AgentId, AssistantId, ChatId, CustomerId, PageRequest, ProjectId, Timestamp, act,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::proposals::KeptProposalAnswer;
use crate::extract::{Id, Json, ListAnswer, May, PageQuery, Query};
use crate::routes::commands::RequesterAnswer;
use crate::{AppState, Problem};

/// How many proposals a conversation shows.
const PROPOSALS_SHOWN: u16 = 500;

/// What is said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    /// At most 4000 characters.
    #[schema(example = "Which machines run out of disk space, and what can be done?")]
    message: String,
    /// The conversation that it goes on in; a new one unless given.
    chat_id: Option<Uuid>,
    /// The project that a new conversation belongs to: who sees that sees it. Without one it is
    /// yours alone.
    project_id: Option<Uuid>,
    /// Who is to answer in a new conversation; the project's author, or the usual one, unless given.
    assistant_id: Option<Uuid>,
    /// The machine that it is about: the assistant is told what is known of it.
    agent_id: Option<Uuid>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatAnswer {
    id: Uuid,
    /// Whose machines it is about; all that whoever asks may see when null.
    customer_id: Option<Uuid>,
    project_id: Option<Uuid>,
    assistant_id: Option<Uuid>,
    /// The beginning of the first question.
    title: String,
    owner: RequesterAnswer,
    owner_name: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Chat> for ChatAnswer {
    fn from(chat: Chat) -> Self {
        Self {
            id: chat.id.as_uuid(),
            customer_id: chat.customer_id.map(CustomerId::as_uuid),
            project_id: chat.project_id.map(ProjectId::as_uuid),
            assistant_id: chat.assistant_id.map(AssistantId::as_uuid),
            title: chat.title,
            owner: chat.owner.into(),
            owner_name: chat.owner_name,
            created_at: chat.created_at,
            updated_at: chat.updated_at,
        }
    }
}

/// Something that was done for an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepAnswer {
    /// `said`: another role said something; `read`: a tool read something and the model was told;
    /// `proposed`: something was proposed.
    kind: &'static str,
    /// Of what was said: `planner`, `author`, `reviewer` or `interpreter`.
    role: Option<&'static str>,
    /// What was said.
    text: Option<String>,
    /// Which tool was asked for.
    tool: Option<String>,
    /// What it was asked, without secrets.
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
    /// How much of what was read left the house, in characters.
    characters: Option<usize>,
    /// Whether there was nothing to be had.
    failed: bool,
    proposal_id: Option<Uuid>,
}

impl From<Step> for StepAnswer {
    fn from(step: Step) -> Self {
        let empty = |kind| Self {
            kind,
            role: None,
            text: None,
            tool: None,
            arguments: None,
            characters: None,
            failed: false,
            proposal_id: None,
        };
        match step {
            Step::Said { role, text } => {
                Self { role: Some(role.as_str()), text: Some(text), ..empty("said") }
            }
            Step::Read { tool, arguments, characters, failed } => Self {
                tool: Some(tool),
                arguments: Some(arguments),
                characters: Some(characters),
                failed,
                ..empty("read")
            },
            Step::Proposed { tool, proposal_id } => Self {
                tool: Some(tool),
                proposal_id: Some(proposal_id.as_uuid()),
                ..empty("proposed")
            },
        }
    }
}

/// What somebody said in a conversation, and what came back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TurnAnswer {
    id: Uuid,
    chat_id: Uuid,
    asked_by: RequesterAnswer,
    asker_name: String,
    /// The machine that it is about, if one was named.
    agent_id: Option<Uuid>,
    message: String,
    /// What the assistant answered, as far as it came.
    response: String,
    /// `running`, `completed` or `failed`.
    status: &'static str,
    /// Why there is no whole answer.
    error: Option<String>,
    /// What was done for it, in its order: what left the house, and what was proposed.
    steps: Vec<StepAnswer>,
    /// How many secrets of which kind were taken out before anything left.
    redacted: BTreeMap<String, u64>,
    /// `openai`, `openrouter` or `custom`.
    provider: String,
    model: String,
    /// Tokens that models read.
    read_tokens: u64,
    /// Tokens that models wrote.
    written_tokens: u64,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl TurnAnswer {
    pub(super) fn of(turn: Turn, now: Timestamp) -> Self {
        let (status, error) = (turn.status(now).as_str(), turn.error(now).map(ToOwned::to_owned));
        Self {
            id: turn.id.as_uuid(),
            chat_id: turn.chat_id.as_uuid(),
            finished_at: turn.finished_at(),
            asked_by: turn.asked_by.into(),
            asker_name: turn.asker_name,
            agent_id: turn.agent_id.map(AgentId::as_uuid),
            message: turn.message,
            response: turn.response,
            status,
            error,
            steps: turn.steps.into_iter().map(Into::into).collect(),
            redacted: turn.redacted,
            provider: turn.provider,
            model: turn.model,
            read_tokens: turn.usage.read,
            written_tokens: turn.usage.written,
            created_at: turn.created_at,
        }
    }
}

/// A turn that has ended, and what was proposed in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SaidAnswer {
    #[serde(flatten)]
    turn: TurnAnswer,
    chat: ChatAnswer,
    /// Each waits for a person: nothing of it runs before.
    proposals: Vec<KeptProposalAnswer>,
}

impl SaidAnswer {
    /// Answers with a turn.
    pub(super) fn respond(said: Said, now: Timestamp) -> HttpResponse {
        let location = format!("/api/v1/chat/{}", said.chat.id);
        let proposals = said.proposals.into_iter();
        let answer = Self {
            turn: TurnAnswer::of(said.turn, now),
            chat: said.chat.into(),
            proposals: proposals.map(|it| KeptProposalAnswer::of(it, now)).collect(),
        };
        HttpResponse::Created().insert_header((LOCATION, location)).json(answer)
    }
}

/// A conversation with its latest turns.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WholeChatAnswer {
    #[serde(flatten)]
    chat: ChatAnswer,
    /// The latest 200, the oldest of these first.
    turns: Vec<TurnAnswer>,
    /// What was proposed in it, the newest first.
    proposals: Vec<KeptProposalAnswer>,
}

/// Say something to an assistant, and wait for its answer. It reads by your rights, and proposes; it
/// runs nothing. The answer comes bit by bit to every window that is open on `/ws`.
#[utoipa::path(
    post, path = "/chat", tag = "assistant", operation_id = "chat",
    request_body = ChatRequest,
    responses(
        (status = 201, body = SaidAnswer),
        (status = 404, description = "no such conversation, project, assistant or agent"),
        (status = 409, description = "no language model is set up, the assistant is inactive, or \
            still answering in this conversation"),
        (status = 422, description = "the message breaks a rule, or the model refuses"),
        (status = 429, description = "the plan allows no more today"),
        (status = 503, description = "the model does not answer, or comes to no end"),
    ),
)]
pub(crate) async fn say(
    state: web::Data<AppState>,
    permit: May<act::UseAssistant>,
    body: Json<ChatRequest>,
) -> Result<impl Responder, Problem> {
    let wish = body.value().await?.into();
    let said = state.assistance.chats.say(&permit, wish).await?;
    Ok(SaidAnswer::respond(said, state.clock.now()))
}

impl From<ChatRequest> for ChatWish {
    fn from(wish: ChatRequest) -> Self {
        Self {
            chat_id: wish.chat_id.map(ChatId::from_uuid),
            project_id: wish.project_id.map(ProjectId::from_uuid),
            assistant_id: wish.assistant_id.map(AssistantId::from_uuid),
            agent_id: wish.agent_id.map(AgentId::from_uuid),
            message: wish.message,
        }
    }
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChatQuery {
    /// Only those of this project.
    project_id: Option<Uuid>,
}

/// Conversations, the newest first: those of projects that you see, and your own.
#[utoipa::path(
    get, path = "/chat", tag = "assistant", operation_id = "list_chats",
    params(ChatQuery, PageQuery), responses((status = 200, body = ListAnswer<ChatAnswer>)),
)]
pub(crate) async fn list(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    query: Query<ChatQuery>,
    page: Query<PageQuery>,
) -> Result<impl Responder, Problem> {
    let filter = ChatFilter { project_id: query.0.project_id.map(ProjectId::from_uuid) };
    let page = state.assistance.chats.list(&permit, filter, &page.0.try_into()?).await?;
    Ok(web::Json(ListAnswer::of(page, ChatAnswer::from)))
}

/// A conversation: its turns, with everything that left the house for them, and what was proposed.
#[utoipa::path(
    get, path = "/chat/{id}", tag = "assistant", operation_id = "read_chat",
    params(("id" = Uuid, Path)), responses((status = 200, body = WholeChatAnswer), (status = 404)),
)]
pub(crate) async fn read(
    state: web::Data<AppState>,
    permit: May<act::ReadAssistants>,
    id: Id<ChatId>,
) -> Result<impl Responder, Problem> {
    let (chat, turns) = state.assistance.chats.get(&permit, id.get()?).await?;
    let filter = ProposalFilter { chat_id: Some(chat.id), ..ProposalFilter::default() };
    let page = PageRequest::new(PROPOSALS_SHOWN, None);
    let proposals = state.assistance.kept.list(&permit, filter, &page).await?;
    let now = state.clock.now();
    Ok(web::Json(WholeChatAnswer {
        chat: chat.into(),
        turns: turns.into_iter().map(|turn| TurnAnswer::of(turn, now)).collect(),
        proposals: proposals
            .items
            .into_iter()
            .map(|proposal| KeptProposalAnswer::of(proposal, now))
            .collect(),
    }))
}

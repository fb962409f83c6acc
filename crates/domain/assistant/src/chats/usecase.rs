//! What people do in conversations.

use std::collections::HashMap;
use std::sync::Arc;

use muster_commands::Requester;
use muster_kernel::events::{Channel, Event, EventBus, From as Since, Listener, Topic};
use muster_kernel::{
    Act, AgentId, AssistantId, ChatId, Clock, Denied, Entropy, Page, PageRequest, Permit,
    ProjectId, ProposalId, StorageError, TurnId, act,
};
use parking_lot::Mutex;

use super::chat::PATIENCE;
use super::setup::Setup;
use super::{Chat, ChatFilter, ChatRepository, Onlooker, Turn, TurnState};
use crate::consultation::Consultation;
use crate::model::Usage;
use crate::proposals::{Outcome, Proposal, Proposals, ProposalsError};
use crate::tools::{Rights, ToolError, Toolbox};
use crate::workspace::{ProjectBody, Workspace, WorkspaceError};
use crate::{Assistant, AssistantError};

/// How many characters of the first question a conversation is called by.
const TITLE: usize = 80;
/// How many turns of a conversation are shown.
const SHOWN: u16 = 200;

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// The assistant is switched off.
    #[error("this assistant is inactive: activate it, or ask another one")]
    Inactive,
    /// The assistant is still at what was said before.
    #[error("the assistant is still answering in this conversation: wait for it, or begin another")]
    Busy,
    /// Nothing came of a proposal yet.
    #[error("nothing has come of this proposal: it has to be approved and to run first")]
    NothingCame,
    /// It took more steps or tokens than a turn may have.
    #[error("the assistant came to no end: ask for less at once")]
    Endless,
    /// It took too long.
    #[error("the assistant took too long: ask for less at once")]
    TimedOut,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// No answer.
    #[error(transparent)]
    Assistant(#[from] AssistantError),
    /// Something of the project can't be had.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Something about a proposal.
    #[error(transparent)]
    Proposals(#[from] ProposalsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<ToolError> for ChatError {
    fn from(error: ToolError) -> Self {
        match error {
            ToolError::Useless(_) => Self::NotFound("agent"),
            ToolError::Denied(denied) => denied.into(),
            ToolError::Storage(error) => error.into(),
        }
    }
}

/// What somebody says.
#[derive(Debug, Clone, Default)]
pub struct ChatWish {
    /// The conversation that it goes on in; a new one when absent.
    pub chat_id: Option<ChatId>,
    /// The project that a new conversation belongs to.
    pub project_id: Option<ProjectId>,
    /// Who is to answer in a new conversation.
    pub assistant_id: Option<AssistantId>,
    /// The machine that it is about.
    pub agent_id: Option<AgentId>,
    /// What is said.
    pub message: String,
}

/// A turn that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The conversation.
    pub chat: Chat,
    /// The turn.
    pub turn: Turn,
    /// What was proposed in it.
    pub proposals: Vec<Proposal>,
}

/// The ports of [`Chats`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct ChatsPorts {
    pub repository: Arc<dyn ChatRepository>,
    pub workspace: Workspace,
    pub toolbox: Toolbox,
    pub proposals: Proposals,
    pub bus: Arc<dyn EventBus>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do in conversations; cheap to clone.
#[derive(Debug, Clone)]
pub struct Chats {
    pub(super) ports: ChatsPorts,
    pub(super) consultation: Arc<Consultation>,
    /// How many turns each assistant is at, here.
    busy: Arc<Mutex<HashMap<AssistantId, usize>>>,
}

impl Chats {
    /// Made of its ports; the model is that of `assistant`.
    pub fn new(ports: ChatsPorts, assistant: &Assistant) -> Self {
        Self { ports, consultation: assistant.consultation(), busy: Arc::default() }
    }

    /// Whether an assistant is at something right now, on this node.
    pub fn is_at_work(&self, id: AssistantId) -> bool {
        self.busy.lock().contains_key(&id)
    }

    /// The conversations that the asker may see, the newest first.
    ///
    /// # Errors
    /// [`ChatError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAssistants>,
        filter: ChatFilter,
        page: &PageRequest,
    ) -> Result<Page<Chat>, ChatError> {
        Ok(self.ports.repository.list(&onlooker(permit), filter, page).await?)
    }

    /// A conversation and its latest turns, the oldest of these first.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the asker may not see it.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAssistants>,
        id: ChatId,
    ) -> Result<(Chat, Vec<Turn>), ChatError> {
        let chat = self.find(permit, id).await?;
        let turns = self.ports.repository.turns(id, SHOWN).await?;
        Ok((chat, turns))
    }

    /// Listens to a conversation, from wherever `since` says: the one that `chat` names, or all of a
    /// project.
    ///
    /// # Errors
    /// [`ChatError::NotFound`] when the asker may not see it.
    pub async fn listen(
        &self,
        permit: &Permit<act::ReadAssistants>,
        window: Window,
        since: Since<'_>,
    ) -> Result<Box<dyn Listener>, ChatError> {
        let channel = match window {
            Window::Project(id) => {
                self.ports.workspace.get::<ProjectBody>(permit, id).await?;
                Channel::Project(id)
            }
            Window::Chat(id) => channel(&self.find(permit, id).await?),
        };
        Ok(self.ports.bus.listen(channel, since))
    }

    /// Says something, and waits for the answer. It is kept even if nobody waits for it any more.
    ///
    /// # Errors
    /// [`ChatError`] says what is in the way; a turn that was begun is kept as failed.
    pub async fn say(
        &self,
        permit: &Permit<act::UseAssistant>,
        wish: ChatWish,
    ) -> Result<Said, ChatError> {
        let setup = Setup::of(self, permit, &wish).await?;
        self.take_turn(permit, setup, wish.agent_id, wish.message).await
    }

    /// Has an interpreter explain what came of a proposal, as a turn of its conversation.
    ///
    /// # Errors
    /// [`ChatError::NothingCame`] before it has run; those of [`Chats::say`].
    pub async fn interpret(
        &self,
        permit: &Permit<act::UseAssistant>,
        id: ProposalId,
    ) -> Result<Said, ChatError> {
        let reading = Permit::ask(permit.principal().clone(), permit.author())?;
        let proposal = self.ports.proposals.get(&reading, id).await?;
        let Some(Outcome::Run(run)) = proposal.outcome() else {
            return Err(ChatError::NothingCame);
        };
        let results = self.ports.toolbox.fleet().results(&Rights::of(permit), run).await?;
        let mut wish =
            ChatWish { message: format!("What came of the proposal {id}?"), ..ChatWish::default() };
        if let Some(chat) = proposal.chat_id
            && self.find(&reading, chat).await.is_ok()
        {
            wish.chat_id = Some(chat);
        }
        let setup = Setup::of(self, permit, &wish).await?;
        let setup = setup.interpreting(self, run, &results).await?;
        self.take_turn(permit, setup, None, wish.message).await
    }

    async fn take_turn(
        &self,
        permit: &Permit<act::UseAssistant>,
        setup: Setup,
        agent_id: Option<AgentId>,
        message: String,
    ) -> Result<Said, ChatError> {
        let now = self.ports.clock.now();
        let turn = Turn {
            id: TurnId::new(&*self.ports.clock, &*self.ports.entropy),
            chat_id: setup.chat.id,
            asked_by: Requester::of(permit.actor()).ok_or(Denied::Forbidden)?,
            asker_name: permit.actor().name().unwrap_or_default().to_owned(),
            agent_id,
            message,
            response: String::new(),
            steps: Vec::new(),
            redacted: std::collections::BTreeMap::new(),
            provider: setup.access.provider.as_str().to_owned(),
            model: setup.access.model.clone(),
            usage: Usage::default(),
            created_at: now,
            state: TurnState::Running,
        };
        if setup.is_new {
            self.ports.repository.create(setup.chat.clone(), permit.author()).await?;
        }
        let begun = self.ports.repository.begin(turn.clone(), now - PATIENCE, permit.author());
        if !begun.await? {
            return Err(ChatError::Busy);
        }
        self.tell(&setup.chat, "turn", &turn_told(&turn, now));
        let chats = self.clone();
        // Whoever asked may be gone before the end; the answer is kept all the same.
        let talking = tokio::spawn(async move { chats.talk(setup, turn).await });
        talking.await.map_err(StorageError::new)?
    }

    /// What a window learns.
    pub(super) fn tell(&self, chat: &Chat, name: &'static str, data: &serde_json::Value) {
        let data = data.to_string().into();
        let event = Event { topic: Topic::Assistant, name, customer_id: chat.customer_id, data };
        self.ports.bus.tell(channel(chat), event);
    }

    pub(super) async fn find<A: Act>(
        &self,
        permit: &Permit<A>,
        id: ChatId,
    ) -> Result<Chat, ChatError> {
        let found = self.ports.repository.find(&onlooker(permit), id).await?;
        found.ok_or(ChatError::NotFound("conversation"))
    }

    /// That an assistant is at something, until this is dropped.
    pub(super) fn at_work(&self, ids: Vec<AssistantId>) -> AtWork {
        let mut busy = self.busy.lock();
        for id in &ids {
            *busy.entry(*id).or_default() += 1;
        }
        AtWork { busy: Arc::clone(&self.busy), ids }
    }
}

/// What a window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// All conversations of a project.
    Project(ProjectId),
    /// One conversation.
    Chat(ChatId),
}

/// Assistants that are at something.
pub(super) struct AtWork {
    busy: Arc<Mutex<HashMap<AssistantId, usize>>>,
    ids: Vec<AssistantId>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        for id in &self.ids {
            if let Some(count) = busy.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    busy.remove(id);
                }
            }
        }
    }
}

/// Whoever has a permission, as somebody who looks at conversations.
pub(super) fn onlooker<A: Act>(permit: &Permit<A>) -> Onlooker {
    Onlooker { scope: permit.scope().clone(), requester: Requester::of(permit.actor()) }
}

/// Where it is told what is said in a conversation.
fn channel(chat: &Chat) -> Channel {
    chat.project_id.map_or(Channel::Chat(chat.id), Channel::Project)
}

/// What a conversation is called that begins with this.
pub(super) fn title(message: &str) -> String {
    let line = crate::redact::redact(message).text;
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    crate::proposal::readable(&line).chars().take(TITLE).collect()
}

/// A turn as windows learn of it.
pub(super) fn turn_told(turn: &Turn, now: muster_kernel::Timestamp) -> serde_json::Value {
    serde_json::json!({
        "chat_id": turn.chat_id,
        "turn_id": turn.id,
        "asker_name": turn.asker_name,
        "message": turn.message,
        "response": turn.response,
        "status": turn.status(now).as_str(),
        "error": turn.error(now),
    })
}

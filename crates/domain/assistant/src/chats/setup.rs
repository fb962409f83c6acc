//! Who answers in a turn, with what, and by whose rights.

use muster_commands::Requester;
use muster_kernel::Denied;
use muster_kernel::{AssistantId, ChatId, Permit, RunId, act};
use serde_json::{Value, json};

use super::usecase::{ChatError, ChatWish, Chats, title};
use super::{Chat, Step};
use crate::budget::Payer;
use crate::model::Access;
use crate::proposals::Source;
use crate::tools::{Given, Rights, given_text};
use crate::usecase::{payer_of, within};
use crate::workspace::{AssistantBody, Entry, ProjectBody, Role, WorkspaceError, owner};

/// How many characters may be said at once.
const MAX_MESSAGE: usize = 4_000;
/// What the usual assistant is called.
const USUAL: &str = "Muster";

/// What a turn is made of.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) chat: Chat,
    pub(super) is_new: bool,
    pub(super) rights: Rights,
    pub(super) payer: Payer,
    pub(super) access: Access,
    pub(super) project: Option<Entry<ProjectBody>>,
    /// Who answers; the usual one when absent.
    pub(super) speaker: Option<Entry<AssistantBody>>,
    /// As what.
    pub(super) role: Role,
    pub(super) planner: Option<Entry<AssistantBody>>,
    pub(super) reviewer: Option<Entry<AssistantBody>>,
    /// What is known before anything is asked for.
    pub(super) known: Vec<Given>,
}

impl Setup {
    pub(super) async fn of(
        chats: &Chats,
        permit: &Permit<act::UseAssistant>,
        wish: &ChatWish,
    ) -> Result<Self, ChatError> {
        within(&wish.message, MAX_MESSAGE, "message")?;
        let (chat, is_new) = match wish.chat_id {
            Some(id) => (chats.find(permit, id).await?, false),
            None => (begin(chats, permit, wish).await?, true),
        };
        let workspace = &chats.ports.workspace;
        let project = match chat.project_id {
            Some(id) => Some(workspace.find::<ProjectBody>(permit.scope(), id).await?),
            None => None,
        };
        let rights = match chat.customer_id {
            Some(customer) => Rights::of(permit).within(customer)?,
            None => Rights::of(permit),
        };
        let role = |role| project.as_ref().and_then(|it| it.body.roles.get(&role).copied());
        let find = async |id: Option<AssistantId>| {
            let Some(id) = id else { return Ok(None) };
            match workspace.find::<AssistantBody>(permit.scope(), id).await {
                Ok(entry) => Ok(Some(entry)),
                // It was deleted: the usual one goes on.
                Err(WorkspaceError::NotFound(_)) => Ok(None),
                Err(error) => Err(ChatError::from(error)),
            }
        };
        let speaker = find(chat.assistant_id.or(role(Role::Author))).await?;
        if speaker.as_ref().is_some_and(|it| !it.body.active) {
            return Err(ChatError::Inactive);
        }
        // Whoever is switched off is not asked; that the project has a reviewer still counts.
        let planner = find(role(Role::Planner)).await?.filter(|it| it.body.active);
        let reviewer = find(role(Role::Reviewer)).await?;
        let payer =
            chat.customer_id.map_or_else(|| payer_of(permit, None), |it| Ok(Payer::Customer(it)));
        let mut known = Vec::new();
        if let Some(id) = wish.agent_id {
            let told = chats.ports.toolbox.fleet().agent(&rights, id).await?;
            known.push(given_text("read_agent", &json!({ "agent_id": id }), &told));
        }
        let access = access(chats, speaker.as_ref()).await?;
        let (payer, role) = (payer?, Role::Author);
        Ok(Self {
            chat,
            is_new,
            rights,
            payer,
            access,
            project,
            speaker,
            role,
            planner,
            reviewer,
            known,
        })
    }

    /// The same for an interpreter who is told what came of a run.
    pub(super) async fn interpreting(
        self,
        chats: &Chats,
        run: RunId,
        results: &Value,
    ) -> Result<Self, ChatError> {
        let named = self.project.as_ref().and_then(|it| it.body.roles.get(&Role::Interpreter));
        let speaker = match named {
            Some(id) => {
                let scope = self.rights.asks().scope();
                Some(chats.ports.workspace.find::<AssistantBody>(scope, *id).await?)
            }
            None => None,
        };
        if speaker.as_ref().is_some_and(|it| !it.body.active) {
            return Err(ChatError::Inactive);
        }
        let access = access(chats, speaker.as_ref()).await?;
        let mut known = self.known;
        known.push(given_text("read_results", &json!({ "run_id": run }), results));
        Ok(Self { speaker, access, known, role: Role::Interpreter, planner: None, ..self })
    }

    /// Who proposes.
    pub(super) fn source(&self) -> Source {
        Source {
            assistant_id: self.speaker.as_ref().map(|it| it.id),
            name: self.speaker.as_ref().map_or(USUAL, |it| &it.name).to_owned(),
            model: Some(self.access.model.clone()),
        }
    }

    /// Which assistants are at it.
    pub(super) fn assistants(&self) -> Vec<AssistantId> {
        let all = [&self.speaker, &self.planner, &self.reviewer];
        all.into_iter().flatten().map(|it| it.id).collect()
    }

    /// What was known from the start, as it is recorded.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.known.iter().map(|given| given.step.clone()).collect()
    }
}

/// The model that an assistant is.
pub(super) async fn access(
    chats: &Chats,
    assistant: Option<&Entry<AssistantBody>>,
) -> Result<Access, ChatError> {
    let access = chats.consultation.access(None).await?;
    let model = assistant.and_then(|it| it.body.model.clone());
    Ok(Access { model: model.unwrap_or(access.model), ..access })
}

/// A new conversation.
async fn begin(
    chats: &Chats,
    permit: &Permit<act::UseAssistant>,
    wish: &ChatWish,
) -> Result<Chat, ChatError> {
    let (scope, workspace) = (permit.scope(), &chats.ports.workspace);
    if let Some(id) = wish.assistant_id {
        workspace.find::<AssistantBody>(scope, id).await?;
    }
    let customer_id = match wish.project_id {
        Some(id) => workspace.find::<ProjectBody>(scope, id).await?.customer_id,
        None => owner(scope, None).unwrap_or_default(),
    };
    let now = chats.ports.clock.now();
    Ok(Chat {
        id: ChatId::new(&*chats.ports.clock, &*chats.ports.entropy),
        customer_id,
        project_id: wish.project_id,
        assistant_id: wish.assistant_id,
        owner: Requester::of(permit.actor()).ok_or(Denied::Forbidden)?,
        owner_name: permit.actor().name().unwrap_or_default().to_owned(),
        title: title(&wish.message),
        created_at: now,
        updated_at: now,
    })
}

//! Conversations with assistants: several turns, in which a model reads with tools and proposes.
//!
//! A [`Turn`] is kept with everything that is to know about it: what was said, which tools read what,
//! what was proposed, what it took. [`Chats`] lets people talk; how a turn goes is in `talk`, and it
//! ends: after so many steps, tokens or seconds.

mod chat;
mod setup;
mod talk;
mod usecase;

use async_trait::async_trait;
use muster_commands::Requester;
use muster_kernel::{
    Author, ChatId, Page, PageRequest, ProjectId, StorageError, TenantScope, Timestamp,
};

pub use chat::{Chat, Step, Turn, TurnState, TurnStatus};
pub use usecase::{ChatError, ChatWish, Chats, ChatsPorts, Said, Window};

/// Who looks at conversations. Those of a project lie in the scope in which it does; others are seen by
/// who began them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onlooker {
    /// Whose projects they see.
    pub scope: TenantScope,
    /// Who they are.
    pub requester: Option<Requester>,
}

impl Onlooker {
    /// Whether they see a conversation.
    pub fn sees(&self, chat: &Chat) -> bool {
        match (chat.project_id, chat.customer_id) {
            (None, _) => self.requester == Some(chat.owner),
            (Some(_), Some(customer)) => self.scope.contains(customer),
            (Some(_), None) => self.scope == TenantScope::All,
        }
    }
}

/// Which conversations a list shows; what is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatFilter {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
}

/// Keeps conversations.
#[async_trait]
pub trait ChatRepository: Send + Sync + std::fmt::Debug {
    /// Keeps a new one and enters it in the audit log.
    async fn create(&self, chat: Chat, author: &Author) -> Result<(), StorageError>;

    /// The conversation `id`, if the onlooker [sees](Onlooker::sees) it.
    async fn find(&self, onlooker: &Onlooker, id: ChatId) -> Result<Option<Chat>, StorageError>;

    /// Those that the onlooker sees and that pass `filter`, the newest first.
    async fn list(
        &self,
        onlooker: &Onlooker,
        filter: ChatFilter,
        page: &PageRequest,
    ) -> Result<Page<Chat>, StorageError>;

    /// Begins a turn and enters in the audit log who asks what; says whether it did: not while another
    /// one goes on in this conversation. One that was begun before `patience` goes on no more,
    /// whatever became of it.
    async fn begin(
        &self,
        turn: Turn,
        patience: Timestamp,
        author: &Author,
    ) -> Result<bool, StorageError>;

    /// Writes down how a turn ended.
    async fn finish(&self, turn: Turn) -> Result<(), StorageError>;

    /// The latest turns of a conversation, at most `most`, the oldest of these first.
    async fn turns(&self, id: ChatId, most: u16) -> Result<Vec<Turn>, StorageError>;
}

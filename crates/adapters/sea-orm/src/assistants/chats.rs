//! Conversations and their turns, in the tables `assistant_chats` and `assistant_turns`.

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_assistant::Usage;
use muster_assistant::chats::{Chat, ChatFilter, ChatRepository, Onlooker, Turn, TurnState};
use muster_kernel::{
    AgentId, AssistantId, Audited, Author, ChatId, CustomerId, Deed, Page, PageRequest, ProjectId,
    StorageError, Timestamp, TurnId,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, IntoActiveModel, QueryOrder, QuerySelect};

use super::entity::{chat, turn};
use super::{SeaAssistants, reading};
use crate::audit::Trail;
use crate::columns::{
    count, from_count, from_json, json, maybe_timestamp, micros, scoped, timestamp,
};
use crate::commands::entity::{requester, requester_columns};
use crate::{DatabaseError, pages};

const RUNNING: &str = "running";
const COMPLETED: &str = "completed";
const FAILED: &str = "failed";

impl From<&Chat> for chat::Model {
    fn from(chat: &Chat) -> Self {
        let (kind, owner_id) = requester_columns(chat.owner);
        Self {
            id: chat.id.as_uuid(),
            customer_id: chat.customer_id.map(CustomerId::as_uuid),
            project_id: chat.project_id.map(ProjectId::as_uuid),
            assistant_id: chat.assistant_id.map(AssistantId::as_uuid),
            owner_id,
            owner_kind: kind.to_owned(),
            owner_name: chat.owner_name.clone(),
            title: chat.title.clone(),
            created_at: micros(chat.created_at),
            updated_at: micros(chat.updated_at),
        }
    }
}

impl TryFrom<chat::Model> for Chat {
    type Error = DatabaseError;

    fn try_from(row: chat::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: ChatId::from_uuid(row.id),
            customer_id: row.customer_id.map(CustomerId::from_uuid),
            project_id: row.project_id.map(ProjectId::from_uuid),
            assistant_id: row.assistant_id.map(AssistantId::from_uuid),
            owner: requester(&row.owner_kind, row.owner_id)?,
            owner_name: row.owner_name,
            title: row.title,
            created_at: timestamp(row.created_at, "assistant_chats.created_at")?,
            updated_at: timestamp(row.updated_at, "assistant_chats.updated_at")?,
        })
    }
}

impl From<&Turn> for turn::Model {
    fn from(turn: &Turn) -> Self {
        let (kind, asked_by) = requester_columns(turn.asked_by);
        let (status, error) = match &turn.state {
            TurnState::Running => (RUNNING, None),
            TurnState::Completed { .. } => (COMPLETED, None),
            TurnState::Failed { why, .. } => (FAILED, Some(why.clone())),
        };
        Self {
            id: turn.id.as_uuid(),
            chat_id: turn.chat_id.as_uuid(),
            asked_by,
            asked_by_kind: kind.to_owned(),
            asker_name: turn.asker_name.clone(),
            agent_id: turn.agent_id.map(AgentId::as_uuid),
            message: turn.message.clone(),
            response: turn.response.clone(),
            steps: json(&turn.steps),
            redacted: json(&turn.redacted),
            provider: turn.provider.clone(),
            llm: turn.model.clone(),
            read_tokens: count(turn.usage.read),
            written_tokens: count(turn.usage.written),
            status: status.to_owned(),
            error,
            created_at: micros(turn.created_at),
            finished_at: turn.finished_at().map(micros),
        }
    }
}

impl TryFrom<turn::Model> for Turn {
    type Error = DatabaseError;

    fn try_from(row: turn::Model) -> Result<Self, DatabaseError> {
        let ended = maybe_timestamp(row.finished_at, "assistant_turns.finished_at")?;
        let state = match (row.status.as_str(), ended) {
            (RUNNING, None) => TurnState::Running,
            (COMPLETED, Some(at)) => TurnState::Completed { at },
            (FAILED, Some(at)) => TurnState::Failed { why: row.error.unwrap_or_default(), at },
            _ => return Err(DatabaseError::bad_row("assistant_turns.status")),
        };
        Ok(Self {
            id: TurnId::from_uuid(row.id),
            chat_id: ChatId::from_uuid(row.chat_id),
            asked_by: requester(&row.asked_by_kind, row.asked_by)?,
            asker_name: row.asker_name,
            agent_id: row.agent_id.map(AgentId::from_uuid),
            message: row.message,
            response: row.response,
            steps: from_json(&row.steps, "assistant_turns.steps")?,
            redacted: from_json(&row.redacted, "assistant_turns.redacted")?,
            provider: row.provider,
            model: row.llm,
            usage: Usage {
                read: from_count(row.read_tokens, "assistant_turns.read_tokens")?,
                written: from_count(row.written_tokens, "assistant_turns.written_tokens")?,
            },
            created_at: timestamp(row.created_at, "assistant_turns.created_at")?,
            state,
        })
    }
}

/// Those that an onlooker sees.
fn visible(onlooker: &Onlooker) -> Condition {
    let of_projects = Condition::all()
        .add(chat::Column::ProjectId.is_not_null())
        .add(scoped(chat::Column::CustomerId, &onlooker.scope));
    let own = onlooker.requester.map(|requester| {
        let (kind, id) = requester_columns(requester);
        Condition::all()
            .add(chat::Column::ProjectId.is_null())
            .add(chat::Column::OwnerKind.eq(kind))
            .add(chat::Column::OwnerId.eq(id))
    });
    Condition::any().add(of_projects).add_option(own)
}

async fn begin(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    turn: Turn,
    patience: Timestamp,
    author: &Author,
) -> Result<bool, DatabaseError> {
    // Where several servers share the database, whoever comes second waits here for the first.
    let row = chat::Entity::find_by_id(turn.chat_id.as_uuid()).lock_exclusive();
    let Some(row) = row.one(transaction).await? else { return Ok(false) };
    let going_on = turn::Entity::find()
        .filter(turn::Column::ChatId.eq(turn.chat_id.as_uuid()))
        .filter(turn::Column::Status.eq(RUNNING))
        .filter(turn::Column::CreatedAt.gt(micros(patience)));
    if going_on.count(transaction).await? > 0 {
        return Ok(false);
    }
    let chat = Chat::try_from(row)?;
    let new = turn::Model::from(&turn).into_active_model().reset_all();
    turn::Entity::insert(new).exec_without_returning(transaction).await?;
    chat::Entity::update_many()
        .col_expr(chat::Column::UpdatedAt, Expr::value(micros(turn.created_at)))
        .filter(chat::Column::Id.eq(chat.id.as_uuid()))
        .exec(transaction)
        .await?;
    let deed = Deed::done("chat.ask", chat.place(), Some(turn.facts()));
    trail.enter(transaction, author, turn.created_at, deed).await?;
    Ok(true)
}

#[async_trait]
impl ChatRepository for SeaAssistants {
    async fn create(&self, chat: Chat, author: &Author) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let row = chat::Model::from(&chat).into_active_model().reset_all();
                chat::Entity::insert(row).exec_without_returning(transaction).await?;
                let deed = Deed::created("chat.create", &chat);
                trail.enter(transaction, &author, chat.created_at, deed).await
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn find(&self, onlooker: &Onlooker, id: ChatId) -> Result<Option<Chat>, StorageError> {
        let row = chat::Entity::find_by_id(id.as_uuid())
            .filter(visible(onlooker))
            .one(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(row.map(Chat::try_from).transpose()?)
    }

    async fn list(
        &self,
        onlooker: &Onlooker,
        filter: ChatFilter,
        page: &PageRequest,
    ) -> Result<Page<Chat>, StorageError> {
        let reader = self.database.reader();
        let project = filter.project_id.map(|id| chat::Column::ProjectId.eq(id.as_uuid()));
        let matching = chat::Entity::find()
            .filter(Condition::all().add(visible(onlooker)).add_option(project));
        let page = pages::newest_first(reader, matching, chat::Column::Id, page, |row| row.id);
        Ok(page.await.map_err(reading)?.try_map(Chat::try_from)?)
    }

    async fn begin(
        &self,
        turn: Turn,
        patience: Timestamp,
        author: &Author,
    ) -> Result<bool, StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move { begin(transaction, &trail, turn, patience, &author).await }.boxed()
        });
        Ok(write.await?)
    }

    async fn finish(&self, turn: Turn) -> Result<(), StorageError> {
        let write = self.database.write(move |transaction| {
            async move {
                let row = turn::Model::from(&turn).into_active_model().reset_all();
                let id = turn.id.as_uuid();
                // The conversation may be gone by now, and the turn with it.
                let written = turn::Entity::update_many().set(row);
                written.filter(turn::Column::Id.eq(id)).exec(transaction).await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }

    async fn turns(&self, id: ChatId, most: u16) -> Result<Vec<Turn>, StorageError> {
        let rows = turn::Entity::find()
            .filter(turn::Column::ChatId.eq(id.as_uuid()))
            .order_by_desc(turn::Column::Id)
            .limit(u64::from(most))
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        let turns = rows.into_iter().rev().map(Turn::try_from);
        Ok(turns.collect::<Result<_, DatabaseError>>()?)
    }
}

//! Conversations in memory, and the contract that every repository of them keeps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_commands::Requester;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, ChatId, Clock, Cursor, CustomerId, Page, PageRequest, ProjectId, StorageError,
    TenantScope, Timestamp, TurnId, UserId,
};
use parking_lot::Mutex;
use serde_json::json;

use super::page_of;
use crate::Usage;
use crate::chats::{Chat, ChatFilter, ChatRepository, Onlooker, Step, Turn, TurnState, TurnStatus};
use crate::workspace::Role;

/// Conversations in memory.
#[derive(Debug, Default)]
pub struct FakeChats {
    chats: Mutex<BTreeMap<ChatId, Chat>>,
    turns: Mutex<BTreeMap<TurnId, Turn>>,
}

#[async_trait]
impl ChatRepository for FakeChats {
    async fn create(&self, chat: Chat, _: &Author) -> Result<(), StorageError> {
        self.chats.lock().insert(chat.id, chat);
        Ok(())
    }

    async fn find(&self, onlooker: &Onlooker, id: ChatId) -> Result<Option<Chat>, StorageError> {
        Ok(self.chats.lock().get(&id).filter(|chat| onlooker.sees(chat)).cloned())
    }

    async fn list(
        &self,
        onlooker: &Onlooker,
        filter: ChatFilter,
        page: &PageRequest,
    ) -> Result<Page<Chat>, StorageError> {
        let chats = self.chats.lock();
        let passes = |chat: &&Chat| {
            onlooker.sees(chat)
                && filter.project_id.is_none_or(|project| chat.project_id == Some(project))
        };
        let rows: Vec<_> = chats.values().rev().filter(passes).cloned().collect();
        Ok(page_of(&rows, page, |row| Cursor::after(row.id.as_uuid())))
    }

    async fn begin(
        &self,
        turn: Turn,
        patience: Timestamp,
        _: &Author,
    ) -> Result<bool, StorageError> {
        let mut turns = self.turns.lock();
        let goes_on = |it: &Turn| {
            it.chat_id == turn.chat_id && it.state == TurnState::Running && it.created_at > patience
        };
        if turns.values().any(goes_on) {
            return Ok(false);
        }
        if let Some(chat) = self.chats.lock().get_mut(&turn.chat_id) {
            chat.updated_at = turn.created_at;
        }
        turns.insert(turn.id, turn);
        Ok(true)
    }

    async fn finish(&self, turn: Turn) -> Result<(), StorageError> {
        self.turns.lock().insert(turn.id, turn);
        Ok(())
    }

    async fn turns(&self, id: ChatId, most: u16) -> Result<Vec<Turn>, StorageError> {
        let turns = self.turns.lock();
        let own = turns.values().rev().filter(|turn| turn.chat_id == id);
        let mut own: Vec<_> = own.take(usize::from(most)).cloned().collect();
        own.reverse();
        Ok(own)
    }
}

/// Somebody; the same `seed` is the same one.
pub fn somebody(seed: u64) -> Requester {
    Requester::User(UserId::new(&FakeClock::default(), &SeededEntropy::new(seed)))
}

/// A conversation of somebody; the same `seed` makes the same one, greater seeds make later ones.
pub fn chat(seed: u64, owner: Requester, project: Option<(ProjectId, Option<CustomerId>)>) -> Chat {
    let at = FakeClock::default().now() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let id = ChatId::new(&FakeClock::at(at), &SeededEntropy::new(seed));
    Chat {
        id,
        customer_id: project.and_then(|it| it.1),
        project_id: project.map(|it| it.0),
        assistant_id: None,
        owner,
        owner_name: "ann".to_owned(),
        title: format!("chat {seed}"),
        created_at: at,
        updated_at: at,
    }
}

/// A turn that goes on.
pub fn turn(seed: u64, chat_id: ChatId) -> Turn {
    let at = FakeClock::default().now() + TimeDelta::milliseconds(i64::try_from(seed).unwrap_or(0));
    let (clock, entropy) = (FakeClock::at(at), SeededEntropy::new(seed));
    Turn {
        id: TurnId::new(&clock, &entropy),
        chat_id,
        asked_by: somebody(1),
        asker_name: "ann".to_owned(),
        agent_id: Some(AgentId::new(&clock, &entropy)),
        message: "How full are the disks?".to_owned(),
        response: String::new(),
        steps: Vec::new(),
        redacted: BTreeMap::new(),
        provider: "custom".to_owned(),
        model: "tiny".to_owned(),
        usage: Usage::default(),
        created_at: at,
        state: TurnState::Running,
    }
}

/// The contract of [`ChatRepository`], for one that has none yet, in a house with two customers, each
/// of which has a project.
///
/// # Panics
/// When it is broken.
pub async fn chats_contract(chats: &dyn ChatRepository, projects: [(ProjectId, CustomerId); 2]) {
    who_sees_what(chats, projects).await;
    one_turn_goes_on_at_a_time(chats, projects).await;
}

async fn who_sees_what(chats: &dyn ChatRepository, projects: [(ProjectId, CustomerId); 2]) {
    let [mine, theirs] = projects.map(|(project, customer)| (project, Some(customer)));
    let (ann, bob) = (somebody(1), somebody(2));
    let private = chat(1, ann, None);
    let (shared, other) = (chat(2, ann, Some(mine)), chat(3, bob, Some(theirs)));
    for chat in [&private, &shared, &other] {
        chats.create(chat.clone(), &Author::system()).await.unwrap();
    }
    let looks = |scope: TenantScope, who| Onlooker { scope, requester: Some(who) };
    let of_mine = TenantScope::Customers(mine.1.into_iter().collect());
    let list = async |onlooker: &Onlooker, project_id| {
        let (filter, page) = (ChatFilter { project_id }, PageRequest::default());
        let page = chats.list(onlooker, filter, &page).await.unwrap();
        let mut found = Vec::new();
        for chat in page.items {
            assert_eq!(chats.find(onlooker, chat.id).await.unwrap(), Some(chat.clone()));
            found.push(chat.title);
        }
        found
    };
    let ann = looks(of_mine.clone(), ann);
    assert_eq!(list(&ann, None).await, ["chat 2", "chat 1"], "her own, and those of her projects");
    assert_eq!(list(&ann, Some(mine.0)).await, ["chat 2"]);
    assert!(list(&ann, Some(theirs.0)).await.is_empty(), "a filter opens nothing");
    assert_eq!(chats.find(&ann, other.id).await.unwrap(), None);
    let bob = looks(of_mine, bob);
    assert_eq!(list(&bob, None).await, ["chat 2"], "his own is another customer's by now");
    assert_eq!(chats.find(&bob, private.id).await.unwrap(), None);
    let admin = looks(TenantScope::All, somebody(3));
    assert_eq!(list(&admin, None).await, ["chat 3", "chat 2"], "what is private stays so");
}

async fn one_turn_goes_on_at_a_time(
    chats: &dyn ChatRepository,
    [(project, customer), _]: [(ProjectId, CustomerId); 2],
) {
    let chat = chat(11, somebody(1), Some((project, Some(customer))));
    let author = Author::system();
    chats.create(chat.clone(), &author).await.unwrap();
    let (first, second) = (turn(12, chat.id), turn(13, chat.id));
    let patience = first.created_at - TimeDelta::minutes(1);
    assert!(chats.begin(first.clone(), patience, &author).await.unwrap());
    assert!(!chats.begin(second.clone(), patience, &author).await.unwrap());
    assert_eq!(chats.turns(chat.id, 9).await.unwrap(), std::slice::from_ref(&first));
    let ended = Turn {
        response: "Half full.".to_owned(),
        steps: vec![
            Step::Said { role: Role::Planner, text: "Look.".to_owned() },
            Step::Read {
                tool: "read_agent".to_owned(),
                arguments: json!({ "agent_id": first.agent_id }),
                characters: 10,
                failed: false,
            },
        ],
        redacted: [("password".to_owned(), 2)].into(),
        usage: Usage { read: 100, written: 20 },
        state: TurnState::Completed { at: second.created_at },
        ..first.clone()
    };
    chats.finish(ended.clone()).await.unwrap();
    assert!(chats.begin(second.clone(), patience, &author).await.unwrap());
    assert_eq!(chats.turns(chat.id, 9).await.unwrap(), [ended, second.clone()]);
    assert_eq!(chats.turns(chat.id, 1).await.unwrap(), std::slice::from_ref(&second), "the latest");
    // One that nobody ends any more is in nobody's way.
    let third = turn(14, chat.id);
    assert!(!chats.begin(third.clone(), patience, &author).await.unwrap());
    assert!(chats.begin(third.clone(), second.created_at, &author).await.unwrap());
    let late = third.created_at + TimeDelta::hours(1);
    assert_eq!(second.status(late), TurnStatus::Failed);
    let failed = TurnState::Failed { why: "no".to_owned(), at: late };
    let failed = Turn { state: failed, ..third };
    chats.finish(failed.clone()).await.unwrap();
    assert_eq!(chats.turns(chat.id, 1).await.unwrap(), [failed]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract() {
        let project = |seed| {
            let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(seed));
            (ProjectId::new(&clock, &entropy), CustomerId::new(&clock, &entropy))
        };
        chats_contract(&FakeChats::default(), [project(1), project(2)]).await;
    }
}

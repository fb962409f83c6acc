//! A model that says what it is told to, and the contract of what keeps account.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod chats;
mod fleet;
mod proposals;
mod workspace;

use std::collections::VecDeque;

use async_trait::async_trait;
use chrono::Days;
use futures_util::{StreamExt, stream};
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    Author, Clock, Cursor, CustomerId, Deed, Page, PageRequest, Plan, Secret, StorageError,
    Timestamp, UserId,
};
use parking_lot::Mutex;

pub use chats::{FakeChats, chat, chats_contract, somebody, turn};
pub use fleet::FakeFleet;
pub use proposals::{FakeBench, FakeProposals, proposal, proposals_contract};
pub use workspace::{FakeEntries, entries_contract, entry};

use crate::{
    Access, Answer, AskLog, Budget, Configuration, Daily, Delta, Deltas, LanguageModel, ModelError,
    Payer, Plans, Prompt, Provider, Spent, Usage,
};

/// The page of these rows, in their order, that is asked for.
fn page_of<T: Clone>(rows: &[T], page: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let total = u64::try_from(rows.len()).unwrap();
    let seen = page.cursor.as_ref().and_then(|at| rows.iter().position(|row| cursor(row) == *at));
    let rest = rows.iter().skip(seen.map_or(0, |at| at + 1));
    let items = rest.take(usize::from(page.limit()) + 1).cloned().collect();
    Page::from_rows(items, page, total, cursor)
}

/// A model that says what it is told to, and remembers what it was asked.
#[derive(Debug, Default)]
pub struct FakeModel {
    answers: Mutex<VecDeque<Result<Answer, ModelError>>>,
    asked: Mutex<Vec<(Access, Prompt)>>,
}

impl FakeModel {
    /// What it says next.
    pub fn say(&self, text: impl Into<String>) {
        let usage = Some(Usage { read: 100, written: 20 });
        self.answer(Ok(Answer { text: text.into(), tool_calls: Vec::new(), usage }));
    }

    /// What it answers next.
    pub fn answer(&self, answer: Result<Answer, ModelError>) {
        self.answers.lock().push_back(answer);
    }

    /// Forgets what it was told to say, and what it was asked.
    pub fn clear(&self) {
        self.answers.lock().clear();
        self.asked.lock().clear();
    }

    /// What it was asked, and by which key, the oldest first.
    pub fn asked(&self) -> Vec<(Access, Prompt)> {
        self.asked.lock().clone()
    }
}

#[async_trait]
impl LanguageModel for FakeModel {
    async fn ask(&self, access: &Access, prompt: &Prompt) -> Result<Answer, ModelError> {
        self.asked.lock().push((access.clone(), prompt.clone()));
        self.answers.lock().pop_front().unwrap_or(Err(ModelError::Unreachable))
    }

    async fn stream(&self, access: &Access, prompt: &Prompt) -> Result<Deltas, ModelError> {
        let answer = self.ask(access, prompt).await?;
        let mut deltas: Vec<_> =
            answer.text.split_inclusive(' ').map(|it| Ok(Delta::Text(it.to_owned()))).collect();
        if !answer.tool_calls.is_empty() {
            deltas.push(Ok(Delta::Calls(answer.tool_calls)));
        }
        deltas.push(Ok(Delta::End(answer.usage)));
        Ok(stream::iter(deltas).boxed())
    }
}

/// A model that is set up, or none.
#[derive(Debug)]
pub struct FakeConfiguration(pub Mutex<Option<Access>>);

impl Default for FakeConfiguration {
    fn default() -> Self {
        Self(Mutex::new(Some(Access {
            provider: Provider::OpenAi,
            base_url: "https://api.openai.com/v1".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            key: Some(Secret::from_text("the-key-of-the-house")),
            max_tokens: 1000,
            temperature: Some(0.1),
        })))
    }
}

#[async_trait]
impl Configuration for FakeConfiguration {
    async fn access(&self) -> Result<Option<Access>, StorageError> {
        Ok(self.0.lock().clone())
    }
}

/// Remembers who asked what.
#[derive(Debug, Default)]
pub struct FakeLog(pub Mutex<Vec<Deed>>);

#[async_trait]
impl AskLog for FakeLog {
    async fn asked(&self, _: &Author, _: Timestamp, deed: Deed) -> Result<(), StorageError> {
        self.0.lock().push(deed);
        Ok(())
    }
}

/// Everybody has the same plan.
#[derive(Debug, Default)]
pub struct FakePlans(pub Mutex<Plan>);

#[async_trait]
impl Plans for FakePlans {
    async fn plan(&self, _: Payer) -> Result<Plan, StorageError> {
        Ok(*self.0.lock())
    }
}

/// The contract of [`Budget`], to be run on an account in which nobody took anything.
///
/// # Panics
/// When the contract is broken.
pub async fn budget_contract(budget: &dyn Budget) {
    let clock = FakeClock::default();
    let today = clock.now().date_naive();
    let payer = Payer::Customer(CustomerId::new(&clock, &SeededEntropy::new(1)));
    let other = Payer::Person(UserId::new(&clock, &SeededEntropy::new(2)));
    let daily = Daily { requests: Some(3), tokens: Some(100) };
    let wanted = |requests, tokens| Spent { requests, tokens };

    assert!(budget.reserve(payer, today, daily, wanted(1, 60)).await.unwrap());
    // What is not used comes back, and what could not be had was not taken.
    assert!(!budget.reserve(payer, today, daily, wanted(1, 60)).await.unwrap());
    budget.settle(payer, today, 60, 40).await.unwrap();
    assert_eq!(budget.spent(payer, today).await.unwrap(), wanted(1, 40));
    assert!(budget.reserve(payer, today, daily, wanted(1, 60)).await.unwrap());
    assert!(budget.reserve(payer, today, daily, wanted(1, 0)).await.unwrap());
    assert!(!budget.reserve(payer, today, daily, wanted(1, 0)).await.unwrap());
    // One's account is not another's, and without a limit there is none.
    assert!(budget.reserve(other, today, daily, wanted(1, 100)).await.unwrap());
    assert!(budget.reserve(payer, today, Daily::default(), wanted(9, 9_999)).await.unwrap());
    // The next day begins anew.
    let tomorrow = today.checked_add_days(Days::new(1)).unwrap();
    assert!(budget.reserve(payer, tomorrow, daily, wanted(3, 100)).await.unwrap());
    assert_eq!(budget.spent(payer, tomorrow).await.unwrap(), wanted(3, 100));
}

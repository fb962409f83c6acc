//! How much may be asked of models in a day.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, Utc};
use muster_kernel::{CustomerId, Plan, StorageError, Timestamp, UserId};
use parking_lot::Mutex;

/// On whose account something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payer {
    /// The customer whose key or machine it is about.
    Customer(CustomerId),
    /// A person who asks about no machine.
    Person(UserId),
}

/// How much may be asked in a day; without end where there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Daily {
    /// How many requests.
    pub requests: Option<u64>,
    /// How many tokens, read and written together. With a key of one's own nobody counts them.
    pub tokens: Option<u64>,
}

impl Daily {
    /// What a plan allows.
    pub const fn of(plan: Plan) -> Self {
        let (requests, tokens) = match plan {
            Plan::Free => (10, 50_000),
            Plan::Pro => (100, 500_000),
            Plan::Team => (500, 2_500_000),
            Plan::Enterprise => return Self { requests: None, tokens: None },
        };
        Self { requests: Some(requests), tokens: Some(tokens) }
    }

    /// Whether so much may have been spent.
    pub fn allows(self, spent: Spent) -> bool {
        self.requests.is_none_or(|most| spent.requests <= most)
            && self.tokens.is_none_or(|most| spent.tokens <= most)
    }
}

/// What is asked for, or was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
}

impl Spent {
    /// Together with another.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

/// Keeps account of a day. Days are those of UTC.
#[async_trait]
pub trait Budget: Send + Sync + std::fmt::Debug {
    /// Takes `wanted` from what is left of `day`, if there is as much; says whether there was.
    /// Of two who take at the same time each MUST see what the other took.
    async fn reserve(
        &self,
        payer: Payer,
        day: NaiveDate,
        daily: Daily,
        wanted: Spent,
    ) -> Result<bool, StorageError>;

    /// Puts what was really used in the place of tokens that were reserved.
    async fn settle(
        &self,
        payer: Payer,
        day: NaiveDate,
        reserved: u64,
        used: u64,
    ) -> Result<(), StorageError>;

    /// What was taken on `day`.
    async fn spent(&self, payer: Payer, day: NaiveDate) -> Result<Spent, StorageError>;
}

/// Knows plans.
#[async_trait]
pub trait Plans: Send + Sync + std::fmt::Debug {
    /// The plan of whoever pays.
    async fn plan(&self, payer: Payer) -> Result<Plan, StorageError>;
}

/// The account of the present day in memory, for tests and for one who keeps no other: a restart begins
/// it anew.
#[derive(Debug, Default)]
pub struct BudgetInMemory(Mutex<(NaiveDate, HashMap<Payer, Spent>)>);

impl BudgetInMemory {
    fn on<T>(&self, day: NaiveDate, act: impl FnOnce(&mut HashMap<Payer, Spent>) -> T) -> T {
        let mut account = self.0.lock();
        // What began yesterday and ends today is no reason to forget today.
        if account.0 < day {
            *account = (day, HashMap::new());
        }
        if account.0 == day { act(&mut account.1) } else { act(&mut HashMap::new()) }
    }
}

#[async_trait]
impl Budget for BudgetInMemory {
    async fn reserve(
        &self,
        payer: Payer,
        day: NaiveDate,
        daily: Daily,
        wanted: Spent,
    ) -> Result<bool, StorageError> {
        Ok(self.on(day, |account| {
            let spent = account.entry(payer).or_default();
            let then = spent.plus(wanted);
            let allowed = daily.allows(then);
            if allowed {
                *spent = then;
            }
            allowed
        }))
    }

    async fn settle(
        &self,
        payer: Payer,
        day: NaiveDate,
        reserved: u64,
        used: u64,
    ) -> Result<(), StorageError> {
        self.on(day, |account| {
            if let Some(spent) = account.get_mut(&payer) {
                spent.tokens = spent.tokens.saturating_sub(reserved).saturating_add(used);
            }
        });
        Ok(())
    }

    async fn spent(&self, payer: Payer, day: NaiveDate) -> Result<Spent, StorageError> {
        Ok(self.on(day, |account| account.get(&payer).copied().unwrap_or_default()))
    }
}

/// When the day of `now` is over.
pub(crate) fn next_day(now: Timestamp) -> Timestamp {
    let tomorrow = now.date_naive().checked_add_days(Days::new(1));
    let midnight = tomorrow.and_then(|day| day.and_hms_opt(0, 0, 0));
    midnight.map_or(now, |midnight| DateTime::<Utc>::from_naive_utc_and_offset(midnight, Utc))
}

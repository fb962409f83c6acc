//! How much a principal may ask for.

use async_trait::async_trait;

/// How much a customer may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Plan {
    /// To try it.
    Free,
    /// A few people.
    Pro,
    /// A team.
    Team,
    /// What an installation of one's own starts with.
    #[default]
    Enterprise,
}

impl Plan {
    /// Every plan, from the smallest on.
    pub const ALL: &[Self] = &[Self::Free, Self::Pro, Self::Team, Self::Enterprise];

    /// The plan's name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Team => "team",
            Self::Enterprise => "enterprise",
        }
    }

    /// Reads what [`Plan::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|plan| plan.as_str() == text)
    }

    /// How many requests of `kind` a minute.
    pub const fn per_minute(self, kind: Kind) -> u32 {
        match (self, kind) {
            (Self::Free, Kind::General) => 60,
            (Self::Pro, Kind::General) => 300,
            (Self::Team, Kind::General) => 1000,
            (Self::Enterprise, Kind::General) => 5000,
            (Self::Free, Kind::Auth) => 10,
            (Self::Pro, Kind::Auth) => 20,
            (Self::Team, Kind::Auth) => 50,
            (Self::Enterprise, Kind::Auth) => 100,
        }
    }
}

/// What kind of requests a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// All that is not of another kind.
    General,
    /// What takes a password or a refresh token.
    Auth,
}

/// What is left after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// How many requests a minute there may be.
    pub limit: u32,
    /// How many may come at once now.
    pub remaining: u32,
    /// In how many seconds all of them are there again.
    pub reset: u32,
    /// After how many seconds a refused request may come again; `None` when it was not refused.
    pub retry_after: Option<u32>,
}

/// Counts requests.
#[async_trait]
pub trait RateLimiter: Send + Sync + std::fmt::Debug {
    /// Counts a request of `who`, who may send `per_minute` of this kind.
    async fn count(&self, who: &str, kind: Kind, per_minute: u32) -> Allowance;
}

//! What happens, told to whoever listens now.
//!
//! Events are news, not the truth: that is in the database. Each channel keeps its latest events
//! for a while, so that a listener who was cut off goes on where it was, or is told that it can't.

mod log;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, CustomerId, ProjectId, RolloutId, RunId};

pub use log::{KEPT_BYTES, Log, LogListener, Logs};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Machines.
    Agents,
    /// Commands.
    Commands,
    /// Runs.
    Runs,
    /// Rollouts.
    Rollouts,
    /// Alerts.
    Alerts,
    /// Conversations with assistants, and what those propose.
    Assistant,
}

impl Topic {
    /// Every topic.
    pub const ALL: &[Self] =
        &[Self::Agents, Self::Commands, Self::Runs, Self::Rollouts, Self::Alerts, Self::Assistant];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::Commands => "commands",
            Self::Runs => "runs",
            Self::Rollouts => "rollouts",
            Self::Alerts => "alerts",
            Self::Assistant => "assistant",
        }
    }

    /// Reads what [`Topic::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|topic| topic.as_str() == text)
    }
}

/// Where an event is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Everything that anybody may care for.
    Everything,
    /// One run, with all that its commands write.
    Run(RunId),
    /// One rollout.
    Rollout(RolloutId),
    /// The conversations of one project.
    Project(ProjectId),
    /// One conversation that belongs to no project.
    Chat(ChatId),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub topic: Topic,
    /// Its name in the API: `agent`, `connection`, `command`, `progress`.
    pub name: &'static str,
    /// Whose it is; whose several are, it is told to those who may see everything.
    pub customer_id: Option<CustomerId>,
    /// The JSON text that listeners get, without line breaks.
    pub data: Arc<str>,
}

/// An event in its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where a listener who has it goes on.
    pub id: Arc<str>,
    /// The event.
    pub event: Event,
}

/// What a listener hears next.
#[derive(Debug, Clone)]
pub enum Heard {
    /// An event.
    Event(Arc<Told>),
    /// What came before is not to be had any more: look anew at what you follow.
    Reset,
    /// The listener was too slow. It may come back.
    TooSlow,
    /// Nothing more will come.
    Over,
}

/// From where on a listener wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    /// Whatever the channel still has, if that is all that was ever told there.
    Beginning,
    /// What comes from now on.
    Now,
    /// What came after the event with this id.
    After(&'a str),
}

/// A listener.
#[async_trait]
pub trait Listener: Send + std::fmt::Debug {
    /// Waits for what comes next. Dropping the future loses nothing.
    async fn next(&mut self) -> Heard;

    /// How many events wait for the listener.
    fn behind(&self) -> u64;
}

/// Tells events to listeners. Telling never waits for anybody.
pub trait EventBus: Send + Sync + std::fmt::Debug {
    /// Tells an event.
    fn tell(&self, channel: Channel, event: Event);

    /// Says that nothing more will be told in a channel, whose events are kept for a while.
    fn close(&self, channel: Channel);

    /// Listens.
    fn listen(&self, channel: Channel, from: From<'_>) -> Box<dyn Listener>;
}

/// How long a channel's events are kept after it was closed.
pub const KEPT_AFTER_CLOSING: Duration = Duration::from_mins(5);

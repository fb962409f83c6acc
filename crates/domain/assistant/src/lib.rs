//! From plain words to a command that a person decides about.
//!
//! [`Assistant`] asks a [`LanguageModel`] and answers with [`Proposal`]s and explanations; it has no
//! way to run anything. [`Trials`] run a proposal on one machine, for somebody who may run
//! commands there and by the rules for theirs. How dangerous a proposal is, Muster says: the model
//! can make it more, never less.
//!
//! What machines, scripts and programs wrote reaches the model quoted, and nothing reaches it
//! before [`redact()`] took the secrets out. What was sent is told with each answer ([`Sent`]). A
//! [`Budget`] holds what a day may cost; a key that somebody brings ([`OwnKey`]) is used for one
//! request and is nowhere afterwards.
//!
//! In conversations ([`chats`]) a model reads with [`tools`], by the rights of the person who asks, and
//! makes [`proposals`]: records that run nothing until a person approves them, under whose name they
//! then run. Who answers, and in which project, people set up in the [`workspace`].
//!
//! To have a model do something else, add a `Job` with its form, and a method of [`Assistant`] that
//! judges the answer.
#![deny(missing_docs)]

mod budget;
mod cache;
pub mod chats;
mod consultation;
mod model;
mod prompts;
mod proposal;
pub mod proposals;
mod quote;
mod redact;
mod syntax;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tools;
mod trials;
mod usecase;
pub mod workspace;

pub use budget::{Budget, BudgetInMemory, Daily, Payer, Plans, Spent};
pub use consultation::{
    AskLog, Configuration, ConsultationPorts, Consulted, DEFAULT_MAX_TOKENS, OwnKey, Sent,
};
pub use model::{
    Access, Answer, Delta, Deltas, Exchange, LanguageModel, Message, ModelError, Prompt, Provider,
    Schema, Speaker, Tool, ToolCall, Usage,
};
pub use proposal::Proposal;
pub use quote::{Foreign, MAX_QUOTED, quote};
pub use redact::{Redacted, redact};
pub use syntax::{Broken, check};
pub use trials::{TrialError, Trials};
pub use usecase::{
    Assistant, AssistantError, Diagnosis, Explanation, Failed, ModelInfo, Optimized, Setting, Wish,
};

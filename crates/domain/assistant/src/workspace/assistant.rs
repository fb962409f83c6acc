//! An assistant: a language model with a task and tools.

use std::collections::BTreeSet;

use muster_kernel::AssistantId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Body, InvalidEntry, prose};
use crate::tools::ToolName;

/// The longest prompt, in characters.
const MAX_PROMPT: usize = 8000;
/// The longest name of a model, in characters.
const MAX_MODEL: usize = 200;

/// What an assistant does in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Says in which steps something is best done. Its word is a note to the author.
    Planner,
    /// Answers, reads with tools, and proposes.
    Author,
    /// Looks at what the author proposes. It can make that more dangerous, never less.
    Reviewer,
    /// Explains what came of something.
    Interpreter,
}

impl Role {
    /// Every role.
    pub const ALL: &[Self] = &[Self::Planner, Self::Author, Self::Reviewer, Self::Interpreter];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Author => "author",
            Self::Reviewer => "reviewer",
            Self::Interpreter => "interpreter",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|role| role.as_str() == text)
    }
}

/// What an assistant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssistantBody {
    /// What it is good for.
    pub description: Option<String>,
    /// What it does in a project.
    pub role: Role,
    /// What it is told beside Muster's own rules, which stand above it.
    pub prompt: String,
    /// The model that is asked; that of the settings when absent.
    pub model: Option<String>,
    /// What it may ask for. What whoever asks it may not read, it does not get either.
    pub tools: BTreeSet<ToolName>,
    /// Whether it can be asked.
    pub active: bool,
}

impl Default for AssistantBody {
    fn default() -> Self {
        Self {
            description: None,
            role: Role::Author,
            prompt: String::new(),
            model: None,
            tools: ToolName::ALL.iter().copied().collect(),
            active: true,
        }
    }
}

impl Body for AssistantBody {
    const KIND: &'static str = "assistant";
    const DEEDS: [&'static str; 3] = ["assistant.create", "assistant.update", "assistant.delete"];
    const SHARED: bool = true;
    type Id = AssistantId;

    fn check(self) -> Result<Self, InvalidEntry> {
        let prompt = self.prompt.trim().to_owned();
        if prompt.chars().count() > MAX_PROMPT {
            return Err(InvalidEntry { field: "prompt", rule: "at most 8000 characters" });
        }
        let model = self.model.map(|model| model.trim().to_owned()).filter(|it| !it.is_empty());
        let odd = |model: &String| {
            model.chars().count() > MAX_MODEL || model.chars().any(char::is_control)
        };
        if model.as_ref().is_some_and(odd) {
            return Err(InvalidEntry { field: "model", rule: "at most 200 printable characters" });
        }
        let description = prose("description", self.description)?;
        Ok(Self { description, prompt, model, ..self })
    }

    fn facts(&self) -> Value {
        json!({
            "description": self.description,
            "role": self.role,
            "prompt": self.prompt,
            "model": self.model,
            "tools": self.tools,
            "active": self.active,
        })
    }
}

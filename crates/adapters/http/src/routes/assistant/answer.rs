//! What the assistant answers.

use std::collections::BTreeMap;

use muster_assistant::{Consulted, Diagnosis, Explanation, Optimized, Proposal, Sent};
use serde::Serialize;
use utoipa::ToSchema;

/// Something that was said to the model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageAnswer {
    /// `system`, `user` or `assistant`.
    role: &'static str,
    content: String,
}

/// What it took, and what left the house for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConsultedAnswer {
    /// `openai`, `openrouter` or `custom`.
    provider: &'static str,
    model: String,
    /// Tokens that the model read.
    read_tokens: u64,
    /// Tokens that the model wrote.
    written_tokens: u64,
    /// Whether the same was asked before, and the answer is that one's.
    cached: bool,
    /// What was sent to the provider, to the letter.
    sent: Vec<MessageAnswer>,
    /// How many secrets of which kind were taken out before.
    redacted: BTreeMap<&'static str, usize>,
}

impl ConsultedAnswer {
    fn split<T>(consulted: Consulted<T>) -> (T, Self) {
        let Consulted { answer, provider, model, usage, sent, cached } = consulted;
        let Sent { messages, redacted } = sent;
        let sent = messages
            .into_iter()
            .map(|it| MessageAnswer { role: it.speaker.as_str(), content: it.text })
            .collect();
        let about = Self {
            provider: provider.as_str(),
            model,
            read_tokens: usage.read,
            written_tokens: usage.written,
            cached,
            sent,
            redacted,
        };
        (answer, about)
    }
}

/// A command that a model proposes. Nothing runs it by itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProposalAnswer {
    command: String,
    explanation: String,
    /// Names of variables to fill in.
    parameters: Vec<String>,
    /// `safe`, `caution` or `dangerous`: what the model thinks or what Muster thinks, whichever is
    /// more.
    safety_level: &'static str,
    safety_reasons: Vec<String>,
    estimated_execution_time: String,
    shell_type: &'static str,
}

impl From<Proposal> for ProposalAnswer {
    fn from(proposal: Proposal) -> Self {
        Self {
            command: proposal.command,
            explanation: proposal.explanation,
            parameters: proposal.parameters,
            safety_level: proposal.safety_level.as_str(),
            safety_reasons: proposal.safety_reasons,
            estimated_execution_time: proposal.estimated_execution_time,
            shell_type: proposal.shell_type.as_str(),
        }
    }
}

/// A proposed command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GeneratedAnswer {
    /// Always true: what could not be proposed is a problem document.
    success: bool,
    #[serde(flatten)]
    proposal: ProposalAnswer,
    consulted: ConsultedAnswer,
}

impl From<Consulted<Proposal>> for GeneratedAnswer {
    fn from(consulted: Consulted<Proposal>) -> Self {
        let (proposal, consulted) = ConsultedAnswer::split(consulted);
        Self { success: true, proposal: proposal.into(), consulted }
    }
}

/// A part of a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartAnswer {
    text: String,
    meaning: String,
}

/// What a command does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExplanationAnswer {
    explanation: String,
    parts: Vec<PartAnswer>,
    /// What can go wrong.
    risks: Vec<String>,
    /// `safe`, `caution` or `dangerous`.
    safety_level: &'static str,
    safety_reasons: Vec<String>,
    consulted: ConsultedAnswer,
}

impl From<Consulted<Explanation>> for ExplanationAnswer {
    fn from(consulted: Consulted<Explanation>) -> Self {
        let (told, consulted) = ConsultedAnswer::split(consulted);
        let parts = told.parts.into_iter().map(|(text, meaning)| PartAnswer { text, meaning });
        Self {
            explanation: told.explanation,
            parts: parts.collect(),
            risks: told.risks,
            safety_level: told.safety_level.as_str(),
            safety_reasons: told.safety_reasons,
            consulted,
        }
    }
}

/// Why a command failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DiagnosisAnswer {
    explanation: String,
    /// The likeliest first.
    causes: Vec<String>,
    /// What may help.
    fixes: Vec<ProposalAnswer>,
    consulted: ConsultedAnswer,
}

impl From<Consulted<Diagnosis>> for DiagnosisAnswer {
    fn from(consulted: Consulted<Diagnosis>) -> Self {
        let (told, consulted) = ConsultedAnswer::split(consulted);
        Self {
            explanation: told.explanation,
            causes: told.causes,
            fixes: told.fixes.into_iter().map(Into::into).collect(),
            consulted,
        }
    }
}

/// A command, said better.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OptimizedAnswer {
    #[serde(flatten)]
    proposal: ProposalAnswer,
    /// What is better.
    improvements: Vec<String>,
    consulted: ConsultedAnswer,
}

impl From<Consulted<Optimized>> for OptimizedAnswer {
    fn from(consulted: Consulted<Optimized>) -> Self {
        let (told, consulted) = ConsultedAnswer::split(consulted);
        let Optimized { proposal, improvements } = told;
        Self { proposal: proposal.into(), improvements, consulted }
    }
}

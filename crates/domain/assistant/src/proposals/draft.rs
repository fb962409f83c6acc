//! A proposal as a model writes it, and what is left of it when it was looked at.

use std::collections::BTreeSet;

use muster_agents::{OsType, Target};
use muster_commands::runs::{Parameters, Strategy, Wording, Work};
use muster_commands::{SafetyLevel, ShellType};
use muster_kernel::{AgentId, ProposalId, ScriptId};
use serde::Deserialize;

use super::Weighed;
use crate::proposal::{all_readable, readable, stricter};
use crate::syntax::check;

/// On how many machines an assistant may propose something at once.
const MAX_MACHINES: usize = 500;

/// What a model says of the machines that it means.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DraftTarget {
    agent_ids: BTreeSet<AgentId>,
    tags: BTreeSet<String>,
    os_type: Option<String>,
    all: bool,
}

/// A proposal as a model writes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Draft {
    agent_id: Option<AgentId>,
    target: Option<DraftTarget>,
    command: Option<String>,
    shell_type: Option<String>,
    script_id: Option<ScriptId>,
    parameters: Parameters,
    strategy: Strategy,
    explanation: String,
    safety_level: String,
    safety_reasons: Vec<String>,
    pub(crate) replaces: Option<ProposalId>,
}

/// A draft that makes sense.
#[derive(Debug, Clone)]
pub(crate) struct Drafted {
    pub(crate) target: Target,
    pub(crate) work: Work,
    pub(crate) strategy: Strategy,
    pub(crate) explanation: String,
    claimed: String,
    reasons: Vec<String>,
}

/// How dangerous something is thought to be, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: SafetyLevel,
    pub(crate) reasons: Vec<String>,
}

impl Verdict {
    /// With what somebody else thinks, who can only make it more.
    pub(crate) fn raised(mut self, level: SafetyLevel, reasons: &[String]) -> Self {
        self.level = self.level.max(level);
        for reason in all_readable(reasons) {
            if !self.reasons.contains(&reason) {
                self.reasons.push(reason);
            }
        }
        self
    }
}

impl Draft {
    /// Checks what a model wrote.
    ///
    /// # Errors
    /// What is wrong with it, for the model.
    pub(crate) fn judge(self) -> Result<Drafted, String> {
        let target = self.target()?;
        let work = match (&self.command, self.script_id) {
            (Some(command), None) => Work::Command(self.wording(command)?),
            (None, Some(script_id)) => {
                Work::Script { script_id, parameters: self.parameters, timeout: None }
            }
            _ => return Err("either command or script_id is expected".to_owned()),
        };
        let explanation = readable(&self.explanation);
        if explanation.trim().is_empty() {
            return Err("explanation: say in a sentence or two what it does".to_owned());
        }
        let (strategy, claimed, reasons) = (self.strategy, self.safety_level, self.safety_reasons);
        Ok(Drafted { target, work, strategy, explanation, claimed, reasons })
    }

    fn target(&self) -> Result<Target, String> {
        let target = match (self.agent_id, &self.target) {
            (Some(id), None) => Target { agent_ids: [id].into(), ..Target::default() },
            (None, Some(wished)) => {
                let os_type = wished.os_type.as_deref().map(|name| {
                    OsType::parse(name).ok_or("os_type: linux, windows, macos or other is expected")
                });
                Target {
                    agent_ids: wished.agent_ids.clone(),
                    tags: wished.tags.clone(),
                    os_type: os_type.transpose()?,
                    all: wished.all,
                    ..Target::default()
                }
            }
            _ => return Err("either agent_id or target is expected".to_owned()),
        };
        target.check().map_err(|error| error.to_string())?;
        Ok(target)
    }

    fn wording(&self, command: &str) -> Result<Wording, String> {
        let shell = self.shell_type.as_deref().and_then(ShellType::parse).ok_or_else(|| {
            let all: Vec<_> = ShellType::ALL.iter().map(|shell| shell.as_str()).collect();
            format!("shell_type has to be one of: {}", all.join(", "))
        })?;
        let command = command.trim();
        if command.contains("[redacted ") {
            let advice = "the command holds a secret that was taken out: write a variable instead";
            return Err(advice.to_owned());
        }
        check(shell, command)
            .map_err(|broken| format!("the command is none for {}: {broken}", shell.as_str()))?;
        let (command, shell_type) = (command.to_owned(), Some(shell));
        Ok(Wording { command, shell_type, ..Wording::default() })
    }
}

impl Drafted {
    /// How dangerous it is: what the model says or what Muster finds, whichever is more.
    ///
    /// # Errors
    /// When it means too many machines at once, for the model.
    pub(crate) fn verdict(&self, weighed: &Weighed) -> Result<Verdict, String> {
        if weighed.machines.len() > MAX_MACHINES {
            return Err(format!("at most {MAX_MACHINES} machines at once; narrow the target"));
        }
        let found = Verdict { level: weighed.level, reasons: weighed.reasons.clone() };
        let (level, reasons) = match &self.work {
            Work::Command(wording) => {
                let shell = wording.shell_type.unwrap_or(ShellType::Sh);
                stricter(shell, &wording.command, &self.claimed, &self.reasons)
            }
            Work::Script { .. } | Work::SavedCommand { .. } => {
                let claimed = SafetyLevel::parse(&self.claimed).unwrap_or(SafetyLevel::Caution);
                (claimed, self.reasons.clone())
            }
        };
        let reasons = if level > SafetyLevel::Safe { reasons } else { Vec::new() };
        Ok(found.raised(level, &reasons))
    }
}

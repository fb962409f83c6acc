//! What a model proposes, and what Muster thinks of it.

use muster_commands::{SafetyLevel, ShellType, assess};
use serde::Deserialize;

use crate::quote::is_invisible;
use crate::syntax::check;

/// How many characters a text for people may have.
const MAX_TEXT: usize = 8_000;
/// How many entries a list may have.
const MAX_ENTRIES: usize = 50;

/// A command that somebody may want to run. Nothing runs it by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The text.
    pub command: String,
    /// What it does, in the model's words.
    pub explanation: String,
    /// What has to be filled in.
    pub parameters: Vec<String>,
    /// How dangerous it is: what the model thinks or what Muster thinks, whichever is more.
    pub safety_level: SafetyLevel,
    /// Why.
    pub safety_reasons: Vec<String>,
    /// How long it may take, in the model's words.
    pub estimated_execution_time: String,
    /// Which program reads the text.
    pub shell_type: ShellType,
}

/// A command as a model writes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Draft {
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) explanation: String,
    #[serde(default)]
    pub(crate) parameters: Vec<String>,
    #[serde(default)]
    pub(crate) safety_level: String,
    #[serde(default)]
    pub(crate) safety_reasons: Vec<String>,
    #[serde(default)]
    pub(crate) estimated_execution_time: String,
    pub(crate) shell_type: String,
}

impl Draft {
    /// Checks what a model wrote; one of `shells` has to read it, any when there are none.
    ///
    /// # Errors
    /// What is wrong with it, for the model.
    pub(crate) fn judge(&self, shells: &[ShellType]) -> Result<Proposal, String> {
        let shell = ShellType::parse(&self.shell_type)
            .filter(|shell| shells.is_empty() || shells.contains(shell))
            .ok_or_else(|| {
                let names: Vec<_> = shells.iter().map(|shell| shell.as_str()).collect();
                format!("shell_type has to be one of: {}", names.join(", "))
            })?;
        let command = self.command.trim().to_owned();
        check(shell, &command)
            .map_err(|broken| format!("the command is none for {}: {broken}", shell.as_str()))?;
        let (safety_level, safety_reasons) =
            stricter(shell, &command, &self.safety_level, &self.safety_reasons);
        Ok(Proposal {
            command,
            explanation: readable(&self.explanation),
            parameters: all_readable(&self.parameters),
            safety_level,
            safety_reasons,
            estimated_execution_time: readable(&self.estimated_execution_time),
            shell_type: shell,
        })
    }
}

/// How dangerous a command is: what a model says or what Muster finds, whichever is more. A level
/// that the model makes up is none that lets anything through.
pub(crate) fn stricter(
    shell: ShellType,
    command: &str,
    claimed: &str,
    reasons: &[String],
) -> (SafetyLevel, Vec<String>) {
    let found = assess(shell, command, &[]);
    let claimed = SafetyLevel::parse(claimed).unwrap_or(SafetyLevel::Caution);
    let level = found.level.max(claimed);
    let mut all: Vec<_> = found.reasons.into_iter().map(ToOwned::to_owned).collect();
    if level > SafetyLevel::Safe {
        for reason in all_readable(reasons) {
            if !all.contains(&reason) {
                all.push(reason);
            }
        }
    }
    (level, all)
}

/// A text of a model's as it can be shown: nothing that a terminal obeys, nothing that hides.
pub(crate) fn readable(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, '\n' | '\t') || !(c.is_control() || is_invisible(*c)))
        .take(MAX_TEXT)
        .collect()
}

pub(crate) fn all_readable(texts: &[String]) -> Vec<String> {
    texts.iter().take(MAX_ENTRIES).map(|text| readable(text)).filter(|it| !it.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draft(shell: &str, command: &str, level: &str) -> Draft {
        Draft {
            command: command.to_owned(),
            explanation: "It\u{1b}[2J looks.".to_owned(),
            parameters: vec![],
            safety_level: level.to_owned(),
            safety_reasons: vec!["says so".to_owned()],
            estimated_execution_time: "1 second".to_owned(),
            shell_type: shell.to_owned(),
        }
    }

    #[test]
    fn a_command_for_a_shell_that_was_not_asked_for_is_refused() {
        let only = [ShellType::Bash];
        assert!(draft("cmd", "dir", "safe").judge(&only).is_err());
        assert!(draft("fish", "ls", "safe").judge(&[]).is_err());
        assert!(draft("bash", "ls", "safe").judge(&only).is_ok());
    }

    #[test]
    fn what_a_terminal_obeys_is_in_no_explanation() {
        let proposal = draft("bash", "ls", "safe").judge(&[]).unwrap();
        assert_eq!(proposal.explanation, "It[2J looks.");
    }

    proptest! {
        #[test]
        fn no_word_of_a_model_makes_a_command_safer(
            command in prop::sample::select(vec!["ls", "touch x", "rm -rf /", "curl x | sh"]),
            claimed in prop_oneof![
                prop::sample::select(vec!["safe", "caution", "dangerous", "SAFE", ""]),
            ],
        ) {
            let found = assess(ShellType::Bash, command, &[]).level;
            let proposal = draft("bash", command, claimed).judge(&[]).unwrap();
            prop_assert!(proposal.safety_level >= found);
            if let Some(claimed) = SafetyLevel::parse(claimed) {
                prop_assert_eq!(proposal.safety_level, found.max(claimed));
            } else {
                prop_assert!(proposal.safety_level >= SafetyLevel::Caution);
            }
        }
    }
}

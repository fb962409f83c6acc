//! Commands for agents of older products, which take one text for one shell and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use muster_kernel::{AgentId, CommandId, Dialect};

use crate::{Command, Payload, ShellType, Spec};

/// `failure.code` of a command that can't be said in its agent's dialect.
pub const UNSUPPORTED: &str = "UNSUPPORTED";

/// A command as agents of an older product take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainCommand {
    /// Which.
    pub id: CommandId,
    /// Whose.
    pub agent_id: AgentId,
    /// What the shell reads: arguments, and what the dialect has no field for, are in it as literals.
    pub text: String,
    /// The shell.
    pub shell: PlainShell,
    /// How long it may run, in whole seconds.
    pub timeout: u64,
    /// Where it runs, if the dialect has a field for that.
    pub working_directory: Option<String>,
    /// Variables on top of the machine's own, if the dialect has a field for them.
    pub environment: BTreeMap<String, String>,
}

/// A shell of an older product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainShell {
    /// The Windows command prompt.
    Cmd,
    /// Whichever `PowerShell` the agent has.
    Powershell,
    /// GNU Bash.
    Bash,
}

/// Why a command can't be said in a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// The dialect's agents write secrets into their output and logs.
    #[error("agents of {} can't keep secrets to themselves; use Muster's own agent", .0.product())]
    Secrets(Dialect),
    /// The dialect's agents have no such shell.
    #[error("agents of {} have no {}; they run {}", .0.product(), .1.as_str(), shells(*.0))]
    Shell(Dialect, ShellType),
    /// There is no sure way to hand arguments to cmd in one line.
    #[error("agents of older products hand no arguments to cmd; write them into the command")]
    CmdArguments,
    /// A script for cmd has lines, and there is room for one.
    #[error("agents of older products run one line of cmd, and this has more")]
    CmdLines,
}

impl PlainShell {
    /// The name in the older products' messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cmd => "cmd",
            Self::Powershell => "powershell",
            Self::Bash => "bash",
        }
    }

    /// The shell that an agent of this dialect reads such a text with.
    const fn of(dialect: Dialect, shell: ShellType) -> Option<Self> {
        match (dialect, shell) {
            // It takes what it finds: Windows PowerShell there, PowerShell 7 elsewhere.
            (Dialect::DexAgents | Dialect::DeployFlow, ShellType::Powershell | ShellType::Pwsh)
            | (Dialect::RemoteAgentManager, ShellType::Powershell) => Some(Self::Powershell),
            (Dialect::RemoteAgentManager, ShellType::Cmd) => Some(Self::Cmd),
            (Dialect::RemoteAgentManager, ShellType::Bash | ShellType::Sh) => Some(Self::Bash),
            (Dialect::DexAgents | Dialect::DeployFlow | Dialect::RemoteAgentManager, _) => None,
        }
    }
}

const fn shells(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::DexAgents | Dialect::DeployFlow => "PowerShell",
        Dialect::RemoteAgentManager => "bash, powershell and cmd",
    }
}

impl PlainCommand {
    /// The command as agents of this dialect take it: with the same arguments and variables, none
    /// of which is read as code.
    ///
    /// # Errors
    /// [`Unsayable`] when they can't; it must not run in part.
    pub fn of(dialect: Dialect, command: &Command, payload: &Payload) -> Result<Self, Unsayable> {
        let spec = &command.spec;
        if !payload.secrets.is_empty() {
            return Err(Unsayable::Secrets(dialect));
        }
        let shell = PlainShell::of(dialect, spec.shell_type)
            .ok_or(Unsayable::Shell(dialect, spec.shell_type))?;
        let mut environment = spec.environment.clone();
        let mut working_directory = spec.working_directory.clone();
        let unsaid = in_text(dialect, &mut environment, &mut working_directory);
        let text = match (payload.script.as_deref(), shell) {
            (script, PlainShell::Cmd) => cmd(spec, script)?,
            (Some(script), PlainShell::Bash) => bash_script(script, &spec.args),
            (None, PlainShell::Bash) => bash(&spec.command, &spec.args),
            (script, PlainShell::Powershell) if unsaid.is_empty() && spec.args.is_empty() => {
                script.unwrap_or(&spec.command).to_owned()
            }
            (Some(script), PlainShell::Powershell) => {
                unsaid + &powershell_script(script, &spec.args)
            }
            (None, PlainShell::Powershell) if spec.args.is_empty() => {
                unsaid + &script_block(&spec.command)
            }
            (None, PlainShell::Powershell) => unsaid + &powershell(&spec.command, &spec.args),
        };
        Ok(Self {
            id: command.id,
            agent_id: command.agent_id,
            text,
            shell,
            timeout: whole_seconds(spec.timeout),
            working_directory,
            environment,
        })
    }
}

/// Takes what the dialect has no field for, and says it in lines of `PowerShell`, which is the shell
/// of those that lack one.
fn in_text(
    dialect: Dialect,
    environment: &mut BTreeMap<String, String>,
    working_directory: &mut Option<String>,
) -> String {
    let mut lines = String::new();
    if dialect != Dialect::RemoteAgentManager {
        for (name, value) in std::mem::take(environment) {
            let _ = writeln!(lines, "${{env:{name}}} = {}", powershell_literal(&value));
        }
    }
    if dialect == Dialect::DeployFlow
        && let Some(folder) = working_directory.take()
    {
        let _ = writeln!(lines, "Set-Location -LiteralPath {}", powershell_literal(&folder));
    }
    lines
}

/// Seconds, of which a part counts as a whole.
fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_secs().saturating_add(u64::from(timeout.subsec_nanos() > 0))
}

fn cmd(spec: &Spec, script: Option<&str>) -> Result<String, Unsayable> {
    if !spec.args.is_empty() {
        return Err(Unsayable::CmdArguments);
    }
    let text = script.unwrap_or(&spec.command);
    if text.trim_end().contains(['\n', '\r']) {
        return Err(Unsayable::CmdLines);
    }
    Ok(text.to_owned())
}

/// The arguments are those of the text itself as well: nothing of them is read with it.
fn bash(command: &str, args: &[String]) -> String {
    if args.is_empty() {
        return command.to_owned();
    }
    format!("{}\n{} \"$@\"", bash_arguments(args), command.trim_end())
}

fn bash_script(script: &str, args: &[String]) -> String {
    if args.is_empty() { script.to_owned() } else { format!("{}\n{script}", bash_arguments(args)) }
}

fn bash_arguments(args: &[String]) -> String {
    args.iter().fold("set --".to_owned(), |text, arg| text + " " + &bash_literal(arg))
}

/// `text` in single quotes, in which Bash reads nothing else.
fn bash_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn powershell(command: &str, args: &[String]) -> String {
    let literals: Vec<_> = args.iter().map(|arg| powershell_literal(arg)).collect();
    format!("$musterArgs = @({})\n{command} @musterArgs", literals.join(", "))
}

/// Names of parameters are no literals: a literal is a value, whatever it looks like.
fn powershell_script(script: &str, args: &[String]) -> String {
    args.iter().fold(script_block(script), |text, arg| {
        let word = if is_parameter(arg) { arg.clone() } else { powershell_literal(arg) };
        text + " " + &word
    })
}

/// Whether it names a parameter, as `-Name`, `-Name:` or `-Name:$true`.
fn is_parameter(arg: &str) -> bool {
    let Some(rest) = arg.strip_prefix('-') else { return false };
    let (name, value) = rest.split_once(':').unwrap_or((rest, ""));
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    begins && goes_on && ["", "$true", "$false"].contains(&value)
}

/// A script as a command. It is read by itself: whatever has to be at the top of a script, such as its
/// parameters, is at the top, and what is behind its last line is no part of it.
fn script_block(script: &str) -> String {
    format!("& ([scriptblock]::Create({}))", powershell_literal(script))
}

/// `text` in single quotes; `PowerShell` takes the typographic ones for quotes as well.
fn powershell_literal(text: &str) -> String {
    let quote = |character| matches!(character, '\'' | '\u{2018}'..='\u{201b}');
    let doubled = text.chars().flat_map(|it| std::iter::repeat_n(it, 1 + usize::from(quote(it))));
    format!("'{}'", doubled.collect::<String>())
}

#[cfg(test)]
mod tests;

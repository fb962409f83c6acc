//! Commands as agents of older products take them: every argument and variable is one literal,
//! reads back as it was given, and nothing else of the text follows from it.
//!
//! An input is text in parts between `|`. The first has a letter for the product (`d`, `r`, `f` for
//! `DeployFlow`) and one for the shell (`p`, `w` for pwsh, `c`, `b`, `s`); the letter that others
//! begin with says what follows: `c`ommand, `a`rgument, `v`ariable `NAME=value`, `d`irectory,
//! `s`cript, `t`imeout in milliseconds, `x` for a secret.
#![no_main]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::{Corpus, fuzz_target};
use muster_commands::{
    Command, Limits, OutputBytes, Payload, PlainCommand, PlainShell, Requester, SafetyLevel,
    ShellType, Spec, SpecRequest, State, Unsayable,
};
use muster_kernel::{AgentId, CommandId, CustomerId, Dialect, Secret, UserId};
use uuid::Uuid;

const LIMITS: Limits =
    Limits { default_timeout: Duration::from_secs(30), max_timeout: Duration::from_hours(1) };

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((dialect, command, payload)) = read(&String::from_utf8_lossy(input)) else {
        return Corpus::Reject;
    };
    match PlainCommand::of(dialect, &command, &payload) {
        Ok(plain) => {
            assert!(payload.secrets.is_empty(), "secrets are not said");
            check(dialect, &command, &payload, &plain);
        }
        Err(Unsayable::Secrets(_)) => assert!(!payload.secrets.is_empty()),
        Err(Unsayable::Shell(of, shell)) => {
            assert_eq!((of, shell), (dialect, command.spec.shell_type));
        }
        Err(Unsayable::CmdArguments) => assert!(!command.spec.args.is_empty()),
        Err(Unsayable::CmdLines) => {
            let text = payload.script.as_deref().unwrap_or(&command.spec.command);
            assert!(text.contains(['\n', '\r']));
        }
    }
    Corpus::Keep
});

/// The text is that of an example with other values, but for the values.
fn check(dialect: Dialect, command: &Command, payload: &Payload, plain: &PlainCommand) {
    let spec = &command.spec;
    let timeout = Duration::from_secs(plain.timeout);
    assert!(timeout >= spec.timeout && timeout < spec.timeout + Duration::from_secs(1));
    let (example, values) = example(command, payload);
    let payload = Payload { script: example.1, ..Payload::default() };
    let example = PlainCommand::of(dialect, &example.0, &payload).expect("it can be said as well");
    let mut said = BTreeSet::new();
    let (mut rest, mut model) = (Rest(&plain.text), example.text.as_str());
    while let Some((before, marked)) = model.split_once(MARK) {
        let (number, after) = marked.split_once(MARK).expect("marks come in pairs");
        let number: usize = number.parse().expect("a number is marked");
        said.insert(number);
        let quoted = before.strip_suffix('\'').zip(after.strip_prefix('\''));
        rest.skip(quoted.map_or(before, |(before, _)| before));
        model = quoted.map_or(after, |(_, after)| after);
        match (&values[number], quoted.is_some(), plain.shell) {
            (Part::Value(value), true, PlainShell::Powershell)
                if payload.script.is_some() && rest.0.starts_with('-') =>
            {
                rest.parameter(value);
            }
            (Part::Value(text) | Part::Code(text), true, PlainShell::Powershell) => {
                rest.powershell(text);
            }
            (Part::Value(text) | Part::Code(text), true, PlainShell::Bash) => rest.bash(text),
            (Part::Code(text), false, _) => rest.code(text, model),
            (value, ..) => panic!("{value:?} is no literal in {:?}", plain.text),
        }
    }
    rest.skip(model);
    assert_eq!(rest.0, "", "nothing else is in {:?}", plain.text);
    let missing = |(number, _): &(usize, &Part)| !said.contains(number);
    let missing: Vec<_> = values.iter().enumerate().filter(missing).map(|(_, it)| it).collect();
    let folder = plain.working_directory.as_ref().map(|folder| Part::Value(folder.clone()));
    let fields = plain.environment.values().map(|value| Part::Value(value.clone()));
    let fields: Vec<_> = fields.chain(folder).collect();
    assert_eq!(missing, fields.iter().collect::<Vec<_>>(), "what the text lacks has a field");
    assert!([0, spec.environment.len()].contains(&plain.environment.len()));
}

/// Around the numbers that an example has for values; nothing else there has such a letter.
const MARK: char = 'é';

/// What a text is made of.
#[derive(Debug, PartialEq)]
enum Part {
    /// The command or the script.
    Code(String),
    /// An argument, the value of a variable, the folder.
    Value(String),
}

/// The same command with numbers for all texts, its script, and the texts.
fn example(command: &Command, payload: &Payload) -> ((Command, Option<Arc<str>>), Vec<Part>) {
    let mut parts = Vec::new();
    let mut numbered = |part: Part| {
        parts.push(part);
        format!("{MARK}{}{MARK}", parts.len() - 1)
    };
    let mut example = command.clone();
    let script = match &payload.script {
        Some(script) => Some(Arc::from(numbered(Part::Code(script.to_string())))),
        None => {
            example.spec.command = numbered(Part::Code(command.spec.command.clone()));
            None
        }
    };
    let spec = &mut example.spec;
    let values = spec.args.iter_mut().chain(spec.environment.values_mut());
    for value in values.chain(&mut spec.working_directory) {
        *value = numbered(Part::Value(std::mem::take(value)));
    }
    ((example, script), parts)
}

/// What of a text is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn skip(&mut self, expected: &str) {
        let rest = self.0.strip_prefix(expected);
        self.0 = rest.unwrap_or_else(|| panic!("{expected:?} is not next in {:?}", self.0));
    }

    fn next(&mut self) -> Option<char> {
        let mut rest = self.0.chars();
        let next = rest.next();
        self.0 = rest.as_str();
        next
    }

    /// Passes over a text for the shell, of which the blanks at the end do not count, before `model`.
    fn code(&mut self, text: &str, model: &str) {
        let next = model.split([MARK, '\'']).next().unwrap_or_default();
        let whole = self.0.strip_prefix(text).is_some_and(|rest| rest.starts_with(next));
        self.skip(if whole { text } else { text.trim_end() });
    }

    /// Passes over the name of a parameter, which says nothing else to `PowerShell`.
    fn parameter(&mut self, name: &str) {
        let word = name.strip_suffix("$true").or_else(|| name.strip_suffix("$false"));
        let harmless = |c: char| c.is_ascii_alphanumeric() || ['-', '_', ':'].contains(&c);
        assert!(word.unwrap_or(name).chars().all(harmless), "{name:?} names no parameter");
        self.skip(name);
    }

    /// Reads a word of Bash that is made of single quotes and escaped characters.
    fn bash(&mut self, expected: &str) {
        let mut word = String::new();
        loop {
            if let Some(rest) = self.0.strip_prefix('\'') {
                let (quoted, rest) = rest.split_once('\'').expect("the quotes end");
                word.push_str(quoted);
                self.0 = rest;
            } else if let Some(rest) = self.0.strip_prefix('\\') {
                self.0 = rest;
                word.push(self.next().expect("something is escaped"));
            } else {
                break;
            }
        }
        assert_eq!(word, expected);
    }

    /// Reads a literal of `PowerShell`, in which two quotes of any kind are the first of them.
    fn powershell(&mut self, expected: &str) {
        let quote = |it: &char| matches!(it, '\'' | '\u{2018}'..='\u{201b}');
        self.skip("'");
        let mut literal = String::new();
        loop {
            let next = self.next().expect("the literal ends");
            if quote(&next) {
                match self.0.chars().next().filter(quote) {
                    Some(second) => {
                        assert_eq!(next, second, "quotes come in pairs");
                        self.next();
                    }
                    None => break,
                }
            }
            literal.push(next);
        }
        assert_eq!(literal, expected);
    }
}

/// What is asked for, as the API takes it, and of which product's agent.
fn read(input: &str) -> Option<(Dialect, Command, Payload)> {
    let mut parts = input.split('|');
    let mut head = parts.next()?.chars();
    let dialect = match head.next() {
        Some('r') => Dialect::RemoteAgentManager,
        Some('f') => Dialect::DeployFlow,
        _ => Dialect::DexAgents,
    };
    let shell = match head.next() {
        Some('w') => ShellType::Pwsh,
        Some('c') => ShellType::Cmd,
        Some('b') => ShellType::Bash,
        Some('s') => ShellType::Sh,
        _ => ShellType::Powershell,
    };
    let (mut request, mut payload) = (SpecRequest::default(), Payload::default());
    for part in parts {
        let mut letters = part.chars();
        let (kind, text) = (letters.next(), letters.as_str().to_owned());
        match kind {
            Some('c') => request.command = text,
            Some('a') => request.args.push(text),
            Some('v') => {
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                request.environment.insert(name.to_owned(), value.to_owned());
            }
            Some('d') => request.working_directory = Some(text),
            Some('s') => payload.script = Some(Arc::from(text)),
            Some('t') => request.timeout = text.parse::<f64>().ok().map(|time| time / 1000.0),
            Some('x') => {
                payload.secrets = [("TOKEN".to_owned(), Secret::from_text("hunter2"))].into();
            }
            _ => {}
        }
    }
    let spec = Spec::parse(request, shell, LIMITS).ok()?;
    Some((dialect, command(spec), payload))
}

fn command(spec: Spec) -> Command {
    let noon = chrono::DateTime::from_timestamp_nanos(1_767_268_800_000_000_000);
    Command {
        id: CommandId::from_uuid(Uuid::from_u128(1)),
        agent_id: AgentId::from_uuid(Uuid::from_u128(2)),
        customer_id: CustomerId::from_uuid(Uuid::from_u128(3)),
        spec,
        run_id: None,
        held: false,
        requested_by: Requester::User(UserId::from_uuid(Uuid::from_u128(4))),
        safety_level: SafetyLevel::Safe,
        created_at: noon,
        expires_at: noon,
        dispatched_at: None,
        cancel_requested_at: None,
        state: State::Pending { accepted_at: None },
        output: OutputBytes::default(),
    }
}

//! What agents of older products are told to run.

use muster_kernel::Secret;
use proptest::prelude::*;

use super::*;
use crate::testing::command;

fn given(shell: ShellType, text: &str, args: &[&str]) -> Command {
    let mut command = command(1);
    command.spec.shell_type = shell;
    command.spec.command = text.into();
    command.spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    command.spec.environment.clear();
    command.spec.working_directory = None;
    command
}

fn said(dialect: Dialect, command: &Command) -> Result<PlainCommand, Unsayable> {
    PlainCommand::of(dialect, command, &Payload::default())
}

fn script(text: &str) -> Payload {
    Payload { script: Some(text.into()), ..Payload::default() }
}

#[test]
fn each_product_gets_the_shells_that_it_has_and_no_others() {
    use ShellType::{Bash, Cmd, Powershell, Pwsh, Sh};
    for (dialect, shell, expected) in [
        (Dialect::DexAgents, Powershell, Some(PlainShell::Powershell)),
        (Dialect::DexAgents, Pwsh, Some(PlainShell::Powershell)),
        (Dialect::DexAgents, Bash, None),
        (Dialect::DexAgents, Cmd, None),
        (Dialect::DeployFlow, Powershell, Some(PlainShell::Powershell)),
        (Dialect::DeployFlow, Sh, None),
        (Dialect::RemoteAgentManager, Cmd, Some(PlainShell::Cmd)),
        (Dialect::RemoteAgentManager, Sh, Some(PlainShell::Bash)),
        (Dialect::RemoteAgentManager, Pwsh, None),
    ] {
        let plain = said(dialect, &given(shell, "x", &[])).map(|plain| plain.shell);
        assert_eq!(plain, expected.ok_or(Unsayable::Shell(dialect, shell)));
    }
}

#[test]
fn what_has_no_field_is_said_in_the_text() {
    let mut command = given(ShellType::Powershell, "Get-Date", &[]);
    command.spec.environment = [("NAME".to_owned(), "it's ‘so’".to_owned())].into();
    command.spec.working_directory = Some("C:\\O'Neil".into());
    command.spec.timeout = Duration::from_millis(1500);
    let plain = said(Dialect::DeployFlow, &command).unwrap();
    let block = "& ([scriptblock]::Create('Get-Date'))";
    let variable = "${env:NAME} = 'it''s ‘‘so’’'";
    let expected = format!("{variable}\nSet-Location -LiteralPath 'C:\\O''Neil'\n{block}");
    assert_eq!((&plain.text, plain.timeout), (&expected, 2));
    assert!(plain.environment.is_empty() && plain.working_directory.is_none());
    let plain = said(Dialect::DexAgents, &command).unwrap();
    assert_eq!(plain.working_directory.as_deref(), Some("C:\\O'Neil"));
    assert_eq!(plain.text, format!("{variable}\n{block}"));
    command.spec.shell_type = ShellType::Bash;
    let plain = said(Dialect::RemoteAgentManager, &command).unwrap();
    assert_eq!((plain.text.as_str(), plain.environment.len()), ("Get-Date", 1));
}

#[test]
fn secrets_are_not_told_to_agents_that_can_not_keep_them() {
    let command = given(ShellType::Bash, "x", &[]);
    let secrets = [("TOKEN".to_owned(), Secret::from_text("hunter2"))].into();
    let refused = PlainCommand::of(
        Dialect::RemoteAgentManager,
        &command,
        &Payload { secrets, ..Payload::default() },
    );
    assert_eq!(refused, Err(Unsayable::Secrets(Dialect::RemoteAgentManager)));
}

#[test]
fn cmd_gets_one_line_without_arguments_or_nothing() {
    let ram = Dialect::RemoteAgentManager;
    assert_eq!(said(ram, &given(ShellType::Cmd, "dir", &[])).unwrap().text, "dir");
    let arguments = said(ram, &given(ShellType::Cmd, "dir", &["a&b"]));
    assert_eq!(arguments, Err(Unsayable::CmdArguments));
    let lines = PlainCommand::of(ram, &given(ShellType::Cmd, "s", &[]), &script("dir\r\ndel x"));
    assert_eq!(lines, Err(Unsayable::CmdLines));
}

#[test]
fn a_script_for_powershell_gets_its_arguments_as_parameters() {
    let args = ["-Path:", "C:\\it's", "-Deep:$true", "-Force", "-1", "-x y"];
    let command = given(ShellType::Powershell, "name", &args);
    let payload = script("param($x)\n$x # last");
    let plain = PlainCommand::of(Dialect::DexAgents, &command, &payload).unwrap();
    let block = "& ([scriptblock]::Create('param($x)\n$x # last'))";
    let words = "-Path: 'C:\\it''s' -Deep:$true -Force '-1' '-x y'";
    assert_eq!(plain.text, format!("{block} {words}"));
    let mut command = given(ShellType::Powershell, "name", &[]);
    command.spec.environment = [("X".to_owned(), "1".to_owned())].into();
    let plain = PlainCommand::of(Dialect::DexAgents, &command, &payload).unwrap();
    assert_eq!(plain.text, format!("${{env:X}} = '1'\n{block}"), "its parameters stay at its top");
    command.spec.environment.clear();
    let plain = PlainCommand::of(Dialect::DexAgents, &command, &payload).unwrap();
    assert_eq!(plain.text, "param($x)\n$x # last", "it goes as it is");
}

#[test]
fn a_comment_at_the_end_of_a_command_makes_no_code_of_its_arguments() {
    for text in ["printf '[%s]' a # b", "printf '[%s]' a # b\n"] {
        let command = given(ShellType::Bash, text, &["x\nprintf injected\n"]);
        let plain = said(Dialect::RemoteAgentManager, &command).unwrap();
        assert_eq!(bash_says(&plain.text), b"[a]", "{}", plain.text);
    }
}

fn bash_says(text: &str) -> Vec<u8> {
    std::process::Command::new("bash").args(["-c", text]).output().unwrap().stdout
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bash_gets_every_argument_as_it_is(args in prop::collection::vec("[^\u{0}]{0,20}", 0..4)) {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let expected = args.iter().fold(String::new(), |text, arg| text + "[" + arg + "]");
        let whole = given(ShellType::Bash, "f() { for a; do printf '[%s]' \"$a\"; done; }; f", &args);
        let plain = said(Dialect::RemoteAgentManager, &whole).unwrap();
        prop_assert_eq!(bash_says(&plain.text), expected.as_bytes());
        let payload = script("for a; do printf '[%s]' \"$a\"; done");
        let plain = PlainCommand::of(Dialect::RemoteAgentManager, &whole, &payload).unwrap();
        prop_assert_eq!(bash_says(&plain.text), expected.as_bytes());
    }

    #[test]
    fn no_quote_ends_a_literal_of_powershell(text in "['\u{2018}-\u{201b}a ]{0,12}") {
        let literal = powershell_literal(&text);
        let inner = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).unwrap();
        let quotes = inner.chars().filter(|it| matches!(it, '\'' | '\u{2018}'..='\u{201b}'));
        let runs: Vec<_> = quotes.collect();
        prop_assert!(runs.len().is_multiple_of(2));
        prop_assert!(runs.chunks(2).all(|pair| pair[0] == pair[1]));
    }
}

//! Tests of the saved commands that everybody starts with.

use std::path::Path;
use std::process::Command;

use muster_agents::OsType;
use muster_commands::library::{Draft, Kind, LibraryFilter, Opened, ParameterKind, ScriptTexts};
use muster_commands::runs::{ParameterValue, Parameters};
use muster_commands::{SafetyLevel, ShellType};
use muster_kernel::{Actor, SavedCommandId};

use super::*;
use crate::testing::on_sqlite;

/// Programs without which there is no Linux; all others may be missing.
const BARE: &str = "sh cat cut df find grep head tail uname";

async fn saved_commands() -> Vec<Opened<SavedCommandId>> {
    let library = SeaLibrary::new(on_sqlite().await);
    let (page, filter) = (PageRequest::new(100, None), LibraryFilter::default());
    let page = library.list(&TenantScope::All, &filter, &page).await.unwrap();
    let mut opened = Vec::new();
    for item in page.items {
        let text = library.text(item.version.id).await.unwrap().unwrap();
        opened.push(Opened { item, text });
    }
    opened
}

/// No values, and then each choice of each parameter.
fn values(command: &Opened<SavedCommandId>) -> Vec<Parameters> {
    let mut all = vec![Parameters::new()];
    for parameter in &command.item.version.about.parameters {
        if let ParameterKind::Choice { choices, .. } = &parameter.kind {
            let value = |choice: &String| ParameterValue::Text(choice.clone());
            let values = choices.iter().map(|it| [(parameter.name.clone(), value(it))].into());
            all.extend(values);
        }
    }
    all
}

#[tokio::test]
async fn there_are_ten_for_each_system_and_none_is_dangerous() {
    let commands = saved_commands().await;
    assert_eq!(commands.len(), 30);
    let mut wrong = Vec::new();
    for Opened { item, text } in &commands {
        let (version, name) = (&item.version, &item.version.about.name);
        let draft = Draft::parse(Kind::SavedCommand, version.about.clone(), Arc::clone(text));
        let draft = draft.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(draft.about(), &version.about, "{name} is written as it would be kept");
        if draft.assess().level != version.safety_level {
            wrong.push(format!("{name}: {:?}", draft.assess()));
        }
        assert!(version.safety_level < SafetyLevel::Dangerous, "{name}");
        assert_eq!((item.customer_id, &version.author), (None, &Actor::System), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for system in [OsType::Linux, OsType::Macos, OsType::Windows] {
        let is_for =
            |it: &&Opened<SavedCommandId>| it.item.version.about.target_os_type == Some(system);
        assert_eq!(commands.iter().filter(is_for).count(), 10, "{system:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn shells_can_read_them() {
    let commands = saved_commands().await;
    let posix = commands.iter().filter(|it| it.item.version.about.shell_type == ShellType::Sh);
    let mut seen = 0;
    for command in posix {
        for shell in ["sh", "bash"] {
            let output = Command::new(shell).args(["-n", "-c", &command.text]).output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", command.item.version.about.name);
        }
        seen += 1;
    }
    assert_eq!(seen, 20);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn those_for_linux_work_here_and_where_little_is_installed() {
    let bare = tempfile::tempdir().unwrap();
    for program in BARE.split(' ') {
        let paths = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&paths).map(|folder| folder.join(program));
        let found = found.into_iter().find(|path| path.is_file()).unwrap();
        std::os::unix::fs::symlink(found, bare.path().join(program)).unwrap();
    }
    let commands = saved_commands().await;
    let mut seen = 0;
    for command in commands.iter().filter(|it| it.item.version.about.name.contains("Linux")) {
        for values in values(command) {
            let bound = command.bind(&values).unwrap();
            run(command, &bound.environment, None);
            run(command, &bound.environment, Some(bare.path()));
        }
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[cfg(target_os = "linux")]
fn run(
    command: &Opened<SavedCommandId>,
    environment: &std::collections::BTreeMap<String, String>,
    path: Option<&Path>,
) {
    let name = &command.item.version.about.name;
    let mut process = Command::new("/bin/sh");
    process.args(["-c", &command.text]).envs(environment);
    if let Some(path) = path {
        process.env("PATH", path);
    }
    let output = process.output().unwrap();
    assert!(output.status.success() && !output.stdout.is_empty(), "{name}: {output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("not found") && !error.contains("syntax"), "{name}: {error}");
}

//! Commands from their orders to their results, by real processes.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::DateTime;
use muster_protocol::{ScriptText, ShellType};

use super::*;

const SECRET: &str = "hunter2 of 'Acme'";
const TEXT: &str =
    "printf '%s|' \"$@\"; echo; echo \"it is $TOKEN\"; echo \"oops $TOKEN\" >&2; ls \"$0\"";

fn job(script: Option<&str>) -> Job {
    Job {
        execute: Execute {
            command_id: Uuid::from_u128(7),
            stream_id: 1,
            shell_type: ShellType::Sh,
            command: "echo \"$TOKEN\"".into(),
            args: Vec::new(),
            working_directory: Some("/".into()),
            environment: BTreeMap::new(),
            secrets: [("TOKEN".to_owned(), SECRET.to_owned())].into(),
            script: script.map(|text| ScriptText::of(text.as_bytes())),
            timeout: 30.0,
            deadline: DateTime::UNIX_EPOCH,
            traceparent: None,
        },
        script: script.map(|text| Bytes::copy_from_slice(text.as_bytes())),
    }
}

/// How it ended, and what it wrote to both streams.
async fn run(engine: &Arc<Engine>, job: Job) -> (Finished, [String; 2]) {
    let mut news = engine.listen();
    let id = job.execute.command_id;
    assert_eq!(engine.execute(job, 1024 * 1024), Taken::New);
    let task = engine.task(id).unwrap();
    while task.finished().is_none() {
        news.recv().await.unwrap();
        task.look();
    }
    let all = |spool: &Spool| String::from_utf8(spool.read(0, 1024 * 1024).unwrap()).unwrap();
    (task.finished().unwrap().clone(), [all(&task.stdout), all(&task.stderr)])
}

/// Whether a file anywhere in the folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_script_runs_with_its_arguments_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let engine = Engine::open(&data).await.unwrap();
    let mut job = job(Some(TEXT));
    job.execute.args = vec!["a b".into(), "$(id)".into(), "-n".into()];
    let (finished, [stdout, stderr]) = run(&engine, job).await;
    assert_eq!(finished.outcome, Outcome::Completed, "{finished:?} {stderr}");
    let file = data.file("scripts").join(format!("{}.sh", Uuid::from_u128(7)));
    assert_eq!(stdout, format!("a b|$(id)|-n|\nit is ********\n{}\n", file.display()));
    assert_eq!(stderr, "oops ********\n");
    assert!(!file.exists());
}

#[tokio::test]
async fn a_secret_reaches_the_command_and_no_file_of_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(&DataDir::open(folder.path()).unwrap()).await.unwrap();
    let mut job = job(None);
    job.execute.command = "test ${#TOKEN} = 17 && echo \"$TOKEN\" && exit 3".into();
    let (finished, [stdout, _]) = run(&engine, job).await;
    assert_eq!((finished.exit_code, stdout.as_str()), (Some(3), "********\n"));
    assert!(!holds(folder.path(), SECRET));
}

#[tokio::test]
async fn what_goes_wrong_at_the_start_is_told_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(&DataDir::open(folder.path()).unwrap()).await.unwrap();
    let mut job = job(Some(TEXT));
    // Beyond what an operating system hands to a process.
    job.execute.secrets.insert("LARGE".into(), SECRET.repeat(1024 * 1024));
    let (finished, _) = run(&engine, job).await;
    assert_eq!(finished.failure_code.as_deref(), Some("SPAWN_FAILED"));
    assert!(!format!("{finished:?}").contains("hunter2") && !holds(folder.path(), SECRET));
    assert_eq!(fs::read_dir(folder.path().join("scripts")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_command_that_is_refused_never_begins_and_is_not_begun_later() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(&DataDir::open(folder.path()).unwrap()).await.unwrap();
    let job = job(Some(TEXT));
    let mut news = engine.listen();
    engine.refuse(job.execute.command_id, "SCRIPT_MISMATCH", "another text");
    assert_eq!(news.recv().await, Some(News::More(job.execute.command_id)));
    let task = engine.task(job.execute.command_id).unwrap();
    assert_eq!(task.finished().map(|finished| finished.outcome), Some(Outcome::Refused));
    assert_eq!(engine.execute(job, 1024), Taken::Known);
}

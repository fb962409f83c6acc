//! What becomes of commands and of what they start.

use muster_commands::{Limits, SpecRequest};

use super::*;

const LIMIT: usize = 100_000;

fn spec(command: &str, timeout: f64) -> Spec {
    let request = SpecRequest {
        command: command.to_owned(),
        timeout: Some(timeout),
        ..SpecRequest::default()
    };
    let limits =
        Limits { default_timeout: Duration::from_secs(30), max_timeout: Duration::from_mins(1) };
    Spec::parse(request, ShellType::Sh, limits).unwrap()
}

async fn run(spec: &Spec) -> LocalReport {
    Shells::new(LIMIT).run(spec).await
}

fn code(report: &LocalReport) -> &str {
    match &report.outcome {
        Outcome::Failed(failure) => &failure.code,
        _ => "",
    }
}

/// The number that a command wrote into the file.
fn pid_in(file: &std::path::Path) -> Option<nix::unistd::Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().parse().ok().map(nix::unistd::Pid::from_raw)
}

async fn is_gone(pid: nix::unistd::Pid) -> bool {
    for _ in 0..100 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that nobody has waited for yet runs no more.
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn a_command_tells_how_it_ended_and_what_it_wrote() {
    let report = run(&spec("echo out; echo err >&2; exit 3", 10.0)).await;
    assert_eq!((code(&report), report.exit_code), ("EXIT_CODE", Some(3)));
    assert_eq!((&report.stdout[..], &report.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let report = run(&spec("cat; kill -9 $$", 10.0)).await;
    assert_eq!((code(&report), report.exit_code), ("SIGNALLED", None), "there is nothing to read");
}

#[tokio::test]
async fn output_is_kept_up_to_the_limit() {
    let report = run(&spec("head -c 1000000 /dev/zero", 10.0)).await;
    assert_eq!((report.outcome, report.stdout.len()), (Outcome::Completed, LIMIT));
    assert!(report.truncated);
}

#[tokio::test]
async fn who_is_late_ends_with_everything_that_it_started() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let name = file.path().display();
    let report = run(&spec(&format!("sleep 60 & echo $! > {name}; echo on; wait"), 0.5)).await;
    assert_eq!((code(&report), &report.stdout[..]), ("TIMED_OUT", &b"on\n"[..]));
    assert!(is_gone(pid_in(file.path()).unwrap()).await);
}

#[tokio::test]
async fn what_a_command_leaves_running_with_its_output_open_ends_with_it() {
    let report = run(&spec("sleep 60 & echo $!", 30.0)).await;
    assert_eq!(report.outcome, Outcome::Completed);
    let pid = String::from_utf8(report.stdout.to_vec()).unwrap().trim().parse().unwrap();
    assert!(is_gone(nix::unistd::Pid::from_raw(pid)).await);
}

#[tokio::test]
async fn what_a_command_detaches_lives_on() {
    let report = run(&spec("sleep 60 > /dev/null 2>&1 & echo $!", 30.0)).await;
    let pid = String::from_utf8(report.stdout.to_vec()).unwrap().trim().parse().unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    let lives = nix::sys::signal::kill(pid, None).is_ok();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(lives);
}

#[tokio::test]
async fn who_stops_waiting_ends_the_command() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let spec = spec(&format!("echo $$ > {}; sleep 60", file.path().display()), 30.0);
    let running = tokio::spawn(async move { run(&spec).await });
    let pid = loop {
        if let Some(pid) = pid_in(file.path()) {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    running.abort();
    assert!(is_gone(pid).await);
}

#[tokio::test]
async fn what_can_not_be_started_says_why() {
    let mut nowhere = spec("true", 1.0);
    nowhere.working_directory = Some("/does/not/exist".to_owned());
    assert_eq!(code(&run(&nowhere).await), "SPAWN_FAILED");
    let mut foreign = spec("ver", 1.0);
    foreign.shell_type = ShellType::Cmd;
    assert_eq!(code(&run(&foreign).await), "SHELL_NOT_AVAILABLE");
}

#[test]
fn what_configures_muster_is_known_by_its_name() {
    for ours in ["MUSTER_SECRET_KEY", "MUSTER_ADMIN_PASSWORD", "DATABASE_URL"] {
        assert!(is_ours(ours), "{ours}");
    }
    assert!(!is_ours("PATH"));
}

//! What runs on the server, who is told, and what does not.

use muster_kernel::testing::{FakeClock, SeededEntropy, permit};

use super::*;
use crate::testing::local::{FakeShell, FakeTrail};

struct World {
    shell: Arc<FakeShell>,
    trail: Arc<FakeTrail>,
    local: LocalExecution,
}

fn world_with(on: bool) -> World {
    let (shell, trail) = (Arc::new(FakeShell::default()), Arc::new(FakeTrail::default()));
    let ports = LocalPorts {
        shell: on.then(|| -> Arc<dyn LocalShell> { shell.clone() }),
        trail: trail.clone(),
        clock: Arc::new(FakeClock::default()),
        entropy: Arc::new(SeededEntropy::new(1)),
    };
    let limits =
        Limits { default_timeout: Duration::from_secs(30), max_timeout: Duration::from_hours(1) };
    World { shell, trail, local: LocalExecution::new(ports, limits) }
}

fn world() -> World {
    world_with(true)
}

fn request(command: &str) -> LocalRequest {
    let spec = SpecRequest { command: command.to_owned(), ..SpecRequest::default() };
    LocalRequest { spec, confirm: false }
}

impl World {
    async fn run(&self, request: LocalRequest) -> Result<LocalRun, LocalError> {
        self.local.run(&permit(1), request).await
    }

    async fn batch(&self, commands: &[&str], order: BatchOrder) -> Result<Vec<String>, LocalError> {
        let requests = commands.iter().map(|command| request(command)).collect();
        let runs = self.local.run_batch(&permit(1), requests, order).await?;
        Ok(runs.into_iter().map(|run| run.spec.command).collect())
    }
}

#[tokio::test]
async fn nothing_runs_where_it_is_switched_off() {
    let world = world_with(false);
    let refusal = world.run(request("uptime")).await.unwrap_err();
    assert!(matches!(refusal, LocalError::SwitchedOff));
    assert!(refusal.to_string().contains("local_execution"), "it says what to do");
    assert!(world.shell.ran().is_empty() && world.trail.entered().is_empty());
}

#[tokio::test]
async fn what_runs_is_entered_before_it_begins_and_when_it_has_ended() {
    let world = world();
    let long = format!("echo {}", "x".repeat(5000));
    let mut wish = request(&long);
    wish.spec.environment = [("TOKEN".to_owned(), "hidden".to_owned())].into();
    let run = world.run(wish).await.unwrap();
    assert_eq!(run.report.exit_code, Some(0));
    let [begun, ended] = &world.trail.entered()[..] else { panic!("two entries") };
    assert_eq!((begun.action, ended.action), ("local_command.run", "local_command.end"));
    assert_eq!((begun.place.id, ended.place.id), (run.id.as_uuid(), run.id.as_uuid()));
    let facts = begun.after.as_ref().unwrap();
    assert_eq!(facts["command"], long, "there is no other trace of it");
    assert_eq!(facts["environment"], json!(["TOKEN"]));
    assert!(!facts.to_string().contains("hidden"));
    assert_eq!(ended.after.as_ref().unwrap()["exit_code"], 0);
}

#[tokio::test]
async fn what_can_not_be_entered_does_not_run() {
    let world = world();
    world.trail.fail();
    assert!(matches!(world.run(request("uptime")).await, Err(LocalError::NotEntered(_))));
    assert!(world.shell.ran().is_empty());
}

#[tokio::test]
async fn what_is_dangerous_has_to_be_meant() {
    let world = world();
    let dangerous = request("rm -rf /");
    let refusal = world.run(dangerous.clone()).await;
    assert!(matches!(refusal, Err(LocalError::Dangerous { .. })));
    assert!(world.shell.ran().is_empty());
    let run = world.run(LocalRequest { confirm: true, ..dangerous }).await.unwrap();
    assert_eq!(run.safety_level, SafetyLevel::Dangerous);
}

#[tokio::test]
async fn of_a_batch_with_a_mistake_in_it_nothing_runs() {
    let world = world();
    let batch = world.batch(&["uptime", " "], BatchOrder::Parallel).await;
    assert!(matches!(batch, Err(LocalError::Invalid { at: 1, .. })));
    let batch = world.batch(&["uptime", "rm -rf /"], BatchOrder::Parallel).await;
    assert!(matches!(batch, Err(LocalError::Dangerous { at: 1, .. })));
    assert!(world.shell.ran().is_empty());
}

#[tokio::test]
async fn a_batch_answers_in_its_order_and_stops_where_it_is_told_to() {
    let world = world();
    let commands = ["echo 1", "false", "echo 3"];
    let all = world.batch(&commands, BatchOrder::Parallel).await.unwrap();
    assert_eq!(all, commands);
    let go_on = BatchOrder::InTurn { stop_on_error: false };
    assert_eq!(world.batch(&commands, go_on).await.unwrap(), commands);
    let stop = BatchOrder::InTurn { stop_on_error: true };
    assert_eq!(world.batch(&commands, stop).await.unwrap(), commands[..2]);
}

#[tokio::test]
async fn no_more_than_a_few_run_at_a_time() {
    let world = world();
    world.batch(&["uptime"; 3 * AT_ONCE], BatchOrder::Parallel).await.unwrap();
    assert_eq!(world.shell.ran().len(), 3 * AT_ONCE);
    assert_eq!(world.shell.most_at_once(), AT_ONCE);
}

#[tokio::test]
async fn what_has_begun_is_entered_as_ended_when_nobody_waits_any_more() {
    let world = world();
    let asked = world.local.clone();
    let waiting = tokio::spawn(async move { asked.run(&permit(1), request("uptime")).await });
    while world.shell.ran().is_empty() {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    while world.trail.entered().len() < 2 {
        tokio::task::yield_now().await;
    }
}

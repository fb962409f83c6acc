//! What an agent gets that asks in plain requests, and when it gets it again.

use muster_kernel::testing::{FakeClock, FakeVault};
use muster_kernel::{Author, Principal, Sealed};

use super::*;
use crate::testing::{FakeFeed, FakeLedger, FakeTexts, command, noon};
use crate::{CommandLedger, Status};

struct World {
    ledger: Arc<FakeLedger>,
    clock: Arc<FakeClock>,
    leases: Leases,
}

fn world() -> World {
    let (ledger, clock) = (Arc::new(FakeLedger::default()), Arc::new(FakeClock::at(noon())));
    let feed = Arc::new(FakeFeed::default());
    let channel = AgentChannel::new(ledger.clone(), ledger.clone(), feed, clock.clone());
    let payloads = Payloads::new(Arc::new(FakeTexts::default()), Arc::new(FakeVault));
    let leases = Leases::new(channel, ledger.clone(), payloads, clock.clone(), 4);
    World { ledger, clock, leases }
}

fn agent(seed: u64) -> Permit<act::ReportAsAgent> {
    let Command { agent_id, customer_id, .. } = command(seed);
    Permit::ask(Principal::Agent { agent_id, customer_id }, &Author::system()).unwrap()
}

fn completed(output: &str) -> Said {
    Said::Finished {
        outcome: Outcome::Completed,
        exit_code: Some(0),
        execution_time: None,
        stdout: Bytes::copy_from_slice(output.as_bytes()),
        stderr: Bytes::new(),
    }
}

impl World {
    async fn give(&self, command: &Command) {
        self.ledger.submit(command.clone(), None, Author::system()).await.unwrap();
    }

    /// The ids of what the agent gets after so many seconds more.
    async fn taken(&self, seconds: i64) -> Vec<CommandId> {
        self.clock.advance(TimeDelta::seconds(seconds));
        let leased = self.leases.take(&agent(1)).await.unwrap();
        leased.iter().map(|leased| leased.command.id).collect()
    }

    async fn now(&self, id: CommandId) -> Command {
        let agent_id = command(1).agent_id;
        self.ledger.in_flight(agent_id, &[id]).await.unwrap().remove(&id).unwrap()
    }
}

#[tokio::test]
async fn a_command_comes_once_in_two_heartbeats_until_something_is_heard_of_it() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    assert_eq!(world.taken(0).await, [command.id]);
    assert_eq!(world.taken(59).await, []);
    assert_eq!(world.taken(1).await, [command.id]);
    assert_eq!(world.taken(59).await, []);
    world.leases.report(&agent(1), command.id, Said::Accepted).await.unwrap();
    assert_eq!(world.taken(60).await, []);
}

#[tokio::test]
async fn a_result_counts_once_with_what_is_kept_of_its_output() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    world.taken(0).await;
    for output in ["123456", "something else"] {
        let told = world.leases.report(&agent(1), command.id, completed(output)).await.unwrap();
        assert_eq!(told.status(), Status::Completed);
    }
    let ended = world.now(command.id).await;
    assert_eq!((ended.output.stdout, ended.output_truncated()), (4, true));
    let kept = world.ledger.output(command.id, OutputStream::Stdout, 0, 9).await.unwrap();
    assert_eq!(kept.first().map(|chunk| &*chunk.bytes), Some(&b"1234"[..]));
    assert_eq!(world.taken(60).await, []);
}

impl World {
    /// What an agent of an older product is given after so many seconds more.
    async fn entrusted(&self, seconds: i64) -> Vec<CommandId> {
        self.clock.advance(TimeDelta::seconds(seconds));
        let agent_id = command(1).agent_id;
        let waiting = self.leases.waiting(agent_id, Dialect::RemoteAgentManager).await.unwrap();
        let mut given = Vec::new();
        for plain in waiting.commands {
            if self.leases.entrust(agent_id, plain.id).await.unwrap().is_some() {
                given.push(plain.id);
            }
        }
        given
    }
}

#[tokio::test]
async fn an_agent_of_an_older_product_is_given_a_command_once_whatever_is_heard_of_it() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    assert_eq!(world.entrusted(0).await, [command.id]);
    assert_eq!(world.now(command.id).await.status(), Status::Running);
    assert_eq!(world.entrusted(60).await, []);
    assert_eq!(world.entrusted(60).await, []);
    assert_eq!(world.leases.entrust(command.agent_id, command.id).await.unwrap(), None);
    let late = world.leases.hear(command.agent_id, command.id, completed("late")).await.unwrap();
    assert_eq!(late.status(), Status::Completed);
}

#[tokio::test]
async fn what_was_dispatched_to_an_older_agent_and_not_given_to_it_is_given_to_it_later() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    let agent_id = command.agent_id;
    for _ in 0..2 {
        let waiting = world.leases.waiting(agent_id, Dialect::RemoteAgentManager).await.unwrap();
        assert_eq!(waiting.commands.len(), 1, "the server died before it was entrusted");
    }
    assert_eq!(world.entrusted(0).await, [command.id]);
}

#[tokio::test]
async fn a_command_of_an_older_agent_that_nothing_is_heard_of_is_interrupted_in_the_end() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    world.entrusted(0).await;
    let timeout = i64::try_from(command.spec.timeout.as_secs()).unwrap();
    assert_eq!(world.entrusted(timeout + 120).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Running);
    assert_eq!(world.entrusted(1).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Failed);
    let late = world.leases.hear(command.agent_id, command.id, completed("late")).await.unwrap();
    assert_eq!(late.status(), Status::Completed, "the agent knows better");
}

#[tokio::test]
async fn an_older_agent_has_few_commands_at_a_time_and_the_next_when_one_has_ended() {
    let world = world();
    let first = command(1);
    let mut given = Vec::new();
    for seed in 0..7 {
        let id = CommandId::new(&*world.clock, &muster_kernel::testing::SeededEntropy::new(seed));
        world.give(&Command { id, ..first.clone() }).await;
        world.clock.advance(TimeDelta::milliseconds(1));
        given.push(id);
    }
    assert_eq!(world.entrusted(0).await, given[..FEW]);
    let full = world.leases.waiting(first.agent_id, Dialect::RemoteAgentManager).await.unwrap();
    assert!(full.commands.is_empty() && full.more);
    world.leases.hear(first.agent_id, given[1], completed("")).await.unwrap();
    assert_eq!(world.entrusted(0).await, [given[FEW]]);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_when_its_turn_comes_is_not_given_to_an_older_agent() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    let dialect = Dialect::RemoteAgentManager;
    let waiting = world.leases.waiting(command.agent_id, dialect).await.unwrap();
    assert_eq!(waiting.commands.len(), 1);
    let cancel = Entry::Event(Event::CancelRequested { at: noon() });
    world.ledger.record(command.agent_id, command.id, cancel).await.unwrap();
    assert_eq!(world.leases.entrust(command.agent_id, command.id).await.unwrap(), None);
}

#[tokio::test]
async fn what_can_not_be_said_in_a_dialect_ends_and_says_why() {
    let world = world();
    let mut command = command(1);
    command.spec.shell_type = crate::ShellType::Pwsh;
    world.give(&command).await;
    assert_eq!(world.entrusted(0).await, []);
    let ended = world.now(command.id).await;
    let Some(Outcome::Failed(failure)) = ended.end().map(|end| &end.outcome) else {
        panic!("{ended:?}");
    };
    assert_eq!(failure.code, UNSUPPORTED);
    assert!(failure.detail.as_ref().unwrap().contains("pwsh"));
}

#[tokio::test]
async fn what_was_cancelled_before_it_was_given_to_an_older_agent_is_not_given_to_it() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    world.leases.waiting(command.agent_id, Dialect::RemoteAgentManager).await.unwrap();
    let cancel = Entry::Event(Event::CancelRequested { at: noon() });
    world.ledger.record(command.agent_id, command.id, cancel).await.unwrap();
    assert_eq!(world.entrusted(0).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Cancelled);
}

#[tokio::test]
async fn another_agents_command_is_not_there() {
    let world = world();
    world.give(&command(1)).await;
    let stranger = world.leases.report(&agent(2), command(1).id, Said::Accepted).await;
    assert!(matches!(stranger, Err(LeaseError::NotFound)));
    assert!(world.leases.take(&agent(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_command_whose_secrets_can_not_be_opened_ends_and_is_not_handed_out() {
    let world = world();
    let mut command = command(1);
    command.spec.secrets = Some(Sealed(b"elsewhere={}".to_vec()));
    world.give(&command).await;
    assert_eq!(world.taken(0).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Failed);
}

#[tokio::test]
async fn what_was_cancelled_or_is_too_late_does_not_come_again() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    world.taken(0).await;
    let cancel = Entry::Event(Event::CancelRequested { at: noon() });
    world.ledger.record(command.agent_id, command.id, cancel).await.unwrap();
    assert_eq!(world.taken(60).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Cancelled);
}

#[tokio::test]
async fn a_command_that_was_accepted_and_never_ended_is_interrupted_when_its_time_is_over() {
    let world = world();
    let command = command(1);
    world.give(&command).await;
    world.taken(0).await;
    world.leases.report(&agent(1), command.id, Said::Started).await.unwrap();
    assert_eq!(world.taken(60).await, []);
    assert_eq!(world.now(command.id).await.status(), Status::Running);
    world.taken(120).await;
    assert_eq!(world.now(command.id).await.status(), Status::Failed);
}

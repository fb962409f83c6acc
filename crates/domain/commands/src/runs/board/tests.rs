use super::*;
use crate::Event as Happened;
use crate::testing::{FakeFeed, command, completed, noon, run};
use muster_kernel::testing::SilentBus;

/// A board of one pending command, and that command.
fn board() -> (Board, Command) {
    let command = command(1);
    let member = Member {
        command_id: command.id,
        agent_id: command.agent_id,
        customer_id: command.customer_id,
        status: Status::Pending,
        held: false,
    };
    (Board::new(run(1, 1), vec![member]), command)
}

fn after(command: &Command, events: &[Happened]) -> Command {
    let mut command = command.clone();
    for event in events {
        command.apply(event);
    }
    command
}

#[test]
fn each_change_is_news_once_whichever_is_heard_first() {
    let start = Happened::Started { at: noon(), pid: None };
    let end = Happened::Finished(completed(noon()));
    let (mut board, command) = board();
    let running = after(&command, std::slice::from_ref(&start));
    let ended = after(&command, &[start, end]);
    assert_eq!(board.take_in(&ended), [Status::Running, Status::Completed]);
    assert_eq!(board.take_in(&running), []);
    assert_eq!(board.take_in(&ended), []);
    assert_eq!(board.tally, Tally { completed: 1, ..Tally::default() });
}

#[test]
fn a_command_that_never_began_is_told_of_once() {
    let (mut board, command) = board();
    let cancelled = after(&command, &[Happened::CancelRequested { at: noon() }]);
    assert_eq!(board.take_in(&cancelled), [Status::Cancelled]);
}

#[test]
fn the_agents_word_on_what_was_believed_to_have_expired_is_news() {
    let (mut board, command) = board();
    let dispatched = Happened::Dispatched { at: noon() };
    let expired = after(&command, &[dispatched.clone(), Happened::Expired { at: noon() }]);
    assert_eq!(board.take_in(&expired), [Status::Expired]);
    let end = Happened::Finished(completed(noon()));
    let ended = after(&expired, &[end]);
    assert_eq!(board.take_in(&ended), [Status::Completed]);
    assert_eq!(board.tally, Tally { completed: 1, ..Tally::default() });
}
#[derive(Debug, Default)]
struct Left(Mutex<(Vec<CommandId>, Vec<RunId>)>);

impl RunRelay for Left {
    fn changed(&self, id: CommandId) {
        self.0.lock().0.push(id);
    }

    fn turned(&self, id: RunId) {
        self.0.lock().1.push(id);
    }
}

#[test]
fn a_node_that_does_not_drive_runs_leaves_what_happens_to_them_to_the_one_that_does() {
    let left = Arc::new(Left::default());
    let boards = Boards::new(Arc::new(FakeFeed::default()), Arc::new(SilentBus));
    let boards = boards.on_one_of_several(left.clone());
    let run = run(1, 1);
    let single = Arc::new(command(2));
    let of_run = Arc::new(Command { run_id: Some(run.id), ..command(1) });
    for command in [&single, &of_run] {
        boards.publish(command, Notice::Changed(command.clone()));
    }
    boards.turned(run.id);
    assert_eq!(*left.0.lock(), (vec![of_run.id], vec![run.id]));
    boards.hold(true);
    boards.publish(&of_run, Notice::Changed(of_run.clone()));
    boards.turned(run.id);
    assert_eq!(*left.0.lock(), (vec![of_run.id], vec![run.id]), "it is its own now");
}

#[test]
fn a_node_that_drives_runs_no_more_lets_go_of_them() {
    let boards = Boards::new(Arc::new(FakeFeed::default()), Arc::new(SilentBus));
    let id = boards.put(run(1, 1), Vec::new()).lock().run.id;
    assert!(boards.get(id).is_some());
    boards.hold(false);
    assert!(boards.get(id).is_none() && boards.all().is_empty());
    boards.put(run(1, 1), Vec::new());
    assert!(boards.get(id).is_none(), "what was begun meanwhile is left to others");
}

#[test]
fn what_the_database_knows_better_is_told_apart() {
    let (board, command) = board();
    let mut now = Member { status: Status::Running, ..board.members[0] };
    assert_eq!(board.behind(&[now]).collect::<Vec<_>>(), [command.id]);
    now.status = Status::Pending;
    assert_eq!(board.behind(&[now]).count(), 0);
}

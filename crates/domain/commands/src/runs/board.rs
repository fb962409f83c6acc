//! The runs that go on, in memory: how far each of their machines is, told to listeners as it
//! changes. The database has the truth; a board is made of it anew at any time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_kernel::events::{Channel, Event, EventBus, Topic};
use muster_kernel::{AgentId, CommandId, RunId};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::ports::{Member, RunRelay};
use super::run::{Run, Tally};
use crate::ports::{CommandFeed, Notice, Subscription};
use crate::{Command, Outcome, Status};

/// Output of a run's command beyond this is told of, and not told: in bytes at a time.
const TOLD_AT_ONCE: usize = 8 * 1024;

/// One run that goes on.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) run: Run,
    members: Vec<Member>,
    index: HashMap<CommandId, usize>,
    pub(super) tally: Tally,
    /// Whether listeners have not been told of the latest tally.
    pub(super) untold: bool,
    /// Whether those that have not begun were cancelled since the run was stopped.
    pub(super) swept: bool,
    /// Whether the run is durable: before, nothing is done for it.
    pub(super) begun: bool,
}

impl Board {
    fn new(run: Run, members: Vec<Member>) -> Self {
        let mut tally = Tally::default();
        for member in &members {
            *tally.of_mut(member.status, member.held) += 1;
        }
        let index = members.iter().enumerate().map(|(n, member)| (member.command_id, n)).collect();
        Self { run, members, index, tally, untold: true, swept: false, begun: false }
    }

    /// Takes in how far a command is; answers with what is news, in the order in which it happened:
    /// of two changes that come at once the later one may be heard first, and then tells of both.
    fn take_in(&mut self, command: &Command) -> Vec<Status> {
        let Some(member) = self.index.get(&command.id).and_then(|n| self.members.get_mut(*n))
        else {
            return Vec::new();
        };
        let status = command.status();
        let back = rank(status) < rank(member.status);
        // Nothing follows upon an end, save the agent's word on what was believed to have expired.
        let ended = member.status.is_end() && member.status != Status::Expired;
        if back || ended || (status == member.status && command.held == member.held) {
            return Vec::new();
        }
        *self.tally.of_mut(member.status, member.held) -= 1;
        *self.tally.of_mut(status, command.held) += 1;
        let before = std::mem::replace(&mut member.status, status);
        member.held = command.held;
        self.untold = true;
        let began = before == Status::Pending && status.is_end() && command.started_at().is_some();
        let news = began.then_some(Status::Running).into_iter().chain([status]);
        news.filter(|status| *status != before).collect()
    }

    /// Takes in how far a command is in the database, unless more of it was heard already.
    pub(super) fn correct(&mut self, now: Member) {
        let known = self.index.get(&now.command_id).and_then(|n| self.members.get_mut(*n));
        let Some(member) = known.filter(|member| rank(now.status) >= rank(member.status)) else {
            return;
        };
        *self.tally.of_mut(member.status, member.held) -= 1;
        *self.tally.of_mut(now.status, now.held) += 1;
        *member = now;
        self.untold = true;
    }

    /// Which commands are known to be less far than in the database.
    pub(super) fn behind<'a>(
        &'a self,
        members: &'a [Member],
    ) -> impl Iterator<Item = CommandId> + 'a {
        let differs = |now: &&Member| {
            let known = self.index.get(&now.command_id).and_then(|n| self.members.get(*n));
            known.is_some_and(|known| (known.status, known.held) != (now.status, now.held))
        };
        members.iter().filter(differs).map(|member| member.command_id)
    }

    /// The first of those that are held back and whose machine passes, at most `limit`.
    pub(super) fn held(
        &self,
        limit: usize,
        passes: impl Fn(AgentId) -> bool,
    ) -> Vec<(AgentId, CommandId)> {
        self.members
            .iter()
            .filter(|member| member.held && member.status == Status::Pending)
            .filter(|member| passes(member.agent_id))
            .take(limit)
            .map(|member| (member.agent_id, member.command_id))
            .collect()
    }

    /// Those that have not begun, held back or not.
    pub(super) fn pending(&self) -> Vec<(AgentId, CommandId)> {
        let pending = self.members.iter().filter(|member| member.status == Status::Pending);
        pending.map(|member| (member.agent_id, member.command_id)).collect()
    }

    /// Those that have not ended.
    pub(super) fn open(&self) -> Vec<(AgentId, CommandId)> {
        let open = self.members.iter().filter(|member| !member.status.is_end());
        open.map(|member| (member.agent_id, member.command_id)).collect()
    }
}

const fn rank(status: Status) -> u8 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Completed | Status::Failed | Status::Cancelled | Status::Expired => 2,
    }
}

/// The JSON text of how far a run is.
fn progress(run: &Run, tally: &Tally) -> String {
    json!({
        "run_id": run.id,
        "status": run.status.as_str(),
        "stop_reason": run.stop.map(super::StopReason::as_str),
        "total": tally.total(),
        "pending": tally.held + tally.pending,
        "running": tally.running,
        "completed": tally.completed,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "expired": tally.expired,
    })
    .to_string()
}

impl Run {
    /// What listeners are told of how far it is: a JSON text.
    pub fn progress(&self) -> String {
        progress(self, &self.tally)
    }
}

/// The JSON text of how far a command is, or was when it had this status.
fn state(command: &Command, status: Status) -> String {
    let end = command.end().filter(|_| status.is_end());
    json!({
        "command_id": command.id,
        "agent_id": command.agent_id,
        "customer_id": command.customer_id,
        "run_id": command.run_id,
        "rollout_id": command.rollout_id,
        "status": status.as_str(),
        "success": end.map(|end| end.outcome == Outcome::Completed),
        "exit_code": end.and_then(|end| end.exit_code),
        "execution_time": end.and_then(|end| end.execution_time).map(|time| time.as_secs_f64()),
        "failure_code": end.and_then(|end| match &end.outcome {
            Outcome::Failed(failure) => Some(failure.code.as_str()),
            Outcome::Completed | Outcome::Cancelled | Outcome::Expired => None,
        }),
        "started_at": command.started_at(),
        "finished_at": end.map(|end| end.at),
    })
    .to_string()
}

/// The runs that go on, and whoever wants to know.
#[derive(Debug)]
pub struct Boards {
    going_on: Mutex<HashMap<RunId, Arc<Mutex<Board>>>>,
    feed: Arc<dyn CommandFeed>,
    bus: Arc<dyn EventBus>,
    /// The way to the node that holds them, where there are several.
    relay: Option<Arc<dyn RunRelay>>,
    /// Whether this node holds them.
    held: AtomicBool,
    /// Told when a run may have something to do.
    poked: Notify,
}

impl Boards {
    /// Which tells news of single commands through `feed` and of everything through `bus`.
    pub fn new(feed: Arc<dyn CommandFeed>, bus: Arc<dyn EventBus>) -> Self {
        let (going_on, poked) = (Mutex::default(), Notify::new());
        Self { going_on, feed, bus, relay: None, held: AtomicBool::new(true), poked }
    }

    /// The same on one of several nodes, which holds none before `hold` says so.
    #[must_use]
    pub fn on_one_of_several(self, relay: Arc<dyn RunRelay>) -> Self {
        Self { relay: Some(relay), held: AtomicBool::new(false), ..self }
    }

    /// From now on this node holds them, or does not any more.
    pub(super) fn hold(&self, held: bool) {
        let mut going_on = self.going_on.lock();
        self.held.store(held, Ordering::Release);
        if !held {
            going_on.clear();
        }
        drop(going_on);
        self.poke();
    }

    /// Whether this node holds them.
    pub(super) fn are_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// The way to the node that holds them, unless that is this one.
    fn elsewhere(&self) -> Option<&dyn RunRelay> {
        self.relay.as_deref().filter(|_| !self.are_held())
    }

    /// Has whoever holds them see to a run that was begun or is to go on otherwise.
    pub(super) fn turned(&self, id: RunId) {
        match self.elsewhere() {
            Some(relay) => relay.turned(id),
            None => self.poke(),
        }
    }

    /// Makes the board of a run, unless there is one. On a node that does not hold them any more it
    /// is not listed: nobody would tell it what happens.
    pub(super) fn put(&self, run: Run, members: Vec<Member>) -> Arc<Mutex<Board>> {
        let id = run.id;
        let board = Arc::new(Mutex::new(Board::new(run, members)));
        let mut going_on = self.going_on.lock();
        if !self.are_held() {
            return board;
        }
        let board = Arc::clone(going_on.entry(id).or_insert(board));
        drop(going_on);
        self.poke();
        board
    }

    pub(super) fn get(&self, id: RunId) -> Option<Arc<Mutex<Board>>> {
        self.going_on.lock().get(&id).cloned()
    }

    pub(super) fn remove(&self, id: RunId) {
        self.going_on.lock().remove(&id);
    }

    pub(super) fn all(&self) -> Vec<Arc<Mutex<Board>>> {
        self.going_on.lock().values().cloned().collect()
    }

    pub(super) fn poke(&self) {
        self.poked.notify_one();
    }

    pub(super) async fn poked(&self) {
        self.poked.notified().await;
    }

    /// Tells listeners how far a run is.
    pub(super) fn tell_progress(&self, board: &mut Board) {
        if std::mem::take(&mut board.untold) {
            self.tell_run(&board.run, "progress", "run", progress(&board.run, &board.tally));
        }
    }

    /// Tells listeners that a run has ended, and that this was all.
    pub(super) fn tell_end(&self, run: &Run) {
        self.tell_run(run, "finished", "run", run.progress());
        self.bus.close(Channel::Run(run.id));
    }

    fn tell_run(&self, run: &Run, name: &'static str, everywhere: &'static str, data: String) {
        let (id, customer_id) = (run.id, run.customer_id);
        let event = Event { topic: Topic::Runs, name, customer_id, data: data.into() };
        self.bus.tell(Channel::Run(id), event.clone());
        self.bus.tell(Channel::Everything, Event { name: everywhere, ..event });
    }

    /// Tells listeners how far a command is; that of a run is told by the node that holds the
    /// boards, so that everybody hears each change once and in order.
    pub(super) fn tell_command(&self, command: &Command) {
        if let Some(relay) = self.elsewhere().filter(|_| command.run_id.is_some()) {
            return relay.changed(command.id);
        }
        let Some((id, board)) = command.run_id.and_then(|id| Some((id, self.get(id)?))) else {
            let event = command_event(command, command.status());
            return self.bus.tell(Channel::Everything, event);
        };
        // Told under the lock, so that listeners hear it in the order of the changes.
        let mut board = board.lock();
        let news = board.take_in(command);
        let changed = !news.is_empty();
        for status in news {
            let event = command_event(command, status);
            self.bus.tell(Channel::Run(id), event.clone());
            self.bus.tell(Channel::Everything, event);
        }
        drop(board);
        if changed {
            self.poke();
        }
    }

    /// Has its run take in how far a command is.
    pub(super) fn hear(&self, command: &Command) {
        if command.run_id.is_some_and(|id| self.get(id).is_some()) {
            self.tell_command(command);
        }
    }

    fn tell_output(&self, command: &Command, notice: &Notice) {
        let (Notice::Output { stream, offset, bytes }, Some(id)) = (notice, command.run_id) else {
            return;
        };
        // What comes when the run is over would open a channel that nobody closes.
        if self.elsewhere().is_none() && self.get(id).is_none() {
            return;
        }
        let told = bytes.get(..bytes.len().min(TOLD_AT_ONCE)).unwrap_or_default();
        let data = json!({
            "command_id": command.id,
            "agent_id": command.agent_id,
            "stream": stream.as_str(),
            "offset": offset,
            "bytes": bytes.len(),
            "text": String::from_utf8_lossy(told),
            "truncated": told.len() < bytes.len(),
        });
        let event = Event {
            topic: Topic::Runs,
            name: "output",
            customer_id: Some(command.customer_id),
            data: data.to_string().into(),
        };
        self.bus.tell(Channel::Run(id), event);
    }
}

fn command_event(command: &Command, status: Status) -> Event {
    Event {
        topic: Topic::Commands,
        name: "command",
        customer_id: Some(command.customer_id),
        data: state(command, status).into(),
    }
}

/// What is told of a command is taken in by its run first.
impl CommandFeed for Boards {
    fn publish(&self, command: &Arc<Command>, notice: Notice) {
        match &notice {
            Notice::Changed(changed) => self.tell_command(changed),
            Notice::Output { .. } => self.tell_output(command, &notice),
        }
        self.feed.publish(command, notice);
    }

    fn subscribe(&self, id: CommandId) -> Subscription {
        self.feed.subscribe(id)
    }
}

#[cfg(test)]
mod tests;

//! One live connection, as others see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Gauge, gauge};
use muster_agents::{Connection, CopyDecision, Incarnation, Metrics, NewIdentity, Transport};
use muster_commands::Command;
use muster_kernel::{CommandId, ConnectionId, CustomerId, Dialect, Timestamp, TokenHash};
use muster_protocol::{DEAD_AFTER_SECONDS, MAX_UNFINISHED_COMMANDS};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A peer that said nothing for so long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(DEAD_AFTER_SECONDS);
/// How many loads of a machine are kept for later each minute; agents say two.
const METRICS_A_MINUTE: u8 = 12;
const MINUTE: Duration = Duration::from_mins(1);
/// How long a connection may take to show that there is somebody at its other end.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// Counts connections by transport, for as long as they are there.
#[derive(Debug)]
struct Counted(Gauge);

impl Counted {
    fn new(transport: Transport) -> Self {
        let gauge = gauge!("muster_agent_connections", "transport" => transport.as_str());
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// What a session is told from outside.
#[derive(Debug)]
pub(crate) enum Instruct {
    /// A durable command whose dispatch is recorded.
    Deliver(Arc<Command>),
    /// There are commands in the archive that nobody had yet.
    LookForMore,
    /// End a command.
    Cancel(CommandId),
    /// Ask what kind of machine it is, and tell when the answer is kept.
    Refresh(oneshot::Sender<()>),
    /// Find out whether there is still somebody, and tell.
    Probe(oneshot::Sender<()>),
    /// Do what was decided about a copy of a machine.
    Settle(Box<(CopyDecision, Option<NewIdentity>)>),
    /// End the connection.
    Close(CloseReason),
}

/// Why the server ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The same agent has connected again.
    Replaced,
    /// The agent was removed.
    Removed,
    /// The server is shutting down.
    Shutdown,
    /// A person rejected this copy of a machine.
    Rejected,
    /// This copy of a machine is an agent of its own now.
    Separated,
    /// This copy of a machine is to take its place when it connects again.
    Promoted,
}

/// Who is at the other end, and how it got there.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) connection_id: ConnectionId,
    pub(crate) customer_id: CustomerId,
    pub(crate) transport: Transport,
    pub(crate) address: Option<String>,
    /// `None` where nobody said hello: the agent asks in plain requests.
    pub(crate) incarnation: Option<Incarnation>,
    /// The token that it showed, where that is known.
    pub(crate) token: Option<TokenHash>,
    /// What it speaks, where it is an older product's agent.
    pub(crate) dialect: Option<Dialect>,
}

/// One live connection, as others see it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) connected_at: Timestamp,
    last_frame: Mutex<(Timestamp, Instant)>,
    /// The load, and how many of this minute's were kept for later.
    metrics: Mutex<Option<(Metrics, (Instant, u8))>>,
    /// Whether a frame came since last-seen times were last written.
    seen: AtomicBool,
    /// Commands that the agent has and that have not ended.
    unfinished: AtomicUsize,
    /// `None` when nobody follows any: the agent asks in plain requests.
    instructions: Option<mpsc::UnboundedSender<Instruct>>,
    _counted: Counted,
}

impl Link {
    pub(crate) fn new(
        peer: Peer,
        now: Timestamp,
        instructions: Option<mpsc::UnboundedSender<Instruct>>,
    ) -> Self {
        Self {
            _counted: Counted::new(peer.transport),
            peer,
            connected_at: now,
            last_frame: Mutex::new((now, Instant::now())),
            metrics: Mutex::new(None),
            seen: AtomicBool::new(false),
            unfinished: AtomicUsize::new(0),
            instructions,
        }
    }

    /// Keeps the load; says whether it may be kept for later as well: of a machine that says it all
    /// the time only some may.
    pub(crate) fn set_metrics(&self, metrics: Metrics) -> bool {
        let mut known = self.metrics.lock();
        let minute = known.map(|(_, minute)| minute).filter(|(begun, _)| begun.elapsed() < MINUTE);
        let (begun, count) = minute.unwrap_or_else(|| (Instant::now(), 0));
        let may = count < METRICS_A_MINUTE;
        *known = Some((metrics, (begun, count + u8::from(may))));
        may
    }

    pub(crate) fn set_unfinished(&self, count: usize) {
        self.unfinished.store(count, Ordering::Relaxed);
    }

    /// Notes that a frame came; says whether it is the first since [`Link::look`].
    pub(crate) fn saw(&self, now: Timestamp) -> bool {
        *self.last_frame.lock() = (now, Instant::now());
        !self.seen.swap(true, Ordering::Relaxed)
    }

    /// Last-seen times are written now: the next frame is news again. Says whether one came.
    pub(crate) fn look(&self) -> bool {
        self.seen.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn last_frame_at(&self) -> Timestamp {
        self.last_frame.lock().0
    }

    /// When the peer counts as gone unless it says something.
    pub(crate) fn silent_at(&self) -> Instant {
        self.last_frame.lock().1 + SILENCE
    }

    /// Whether nothing but plain requests stands behind it.
    pub(crate) const fn is_plain(&self) -> bool {
        self.instructions.is_none()
    }

    /// Whether the agent may get another command.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.unfinished.load(Ordering::Relaxed) < MAX_UNFINISHED_COMMANDS;
        room && !self.is_plain()
    }

    pub(crate) fn instruct(&self, instruction: Instruct) {
        // A session that has ended misses nothing: the next one asks the archive.
        if let Some(instructions) = &self.instructions {
            let _ = instructions.send(instruction);
        }
    }

    /// Whether another process than `incarnation` stands behind it.
    pub(crate) fn is_other(&self, incarnation: &Incarnation) -> bool {
        let own = self.peer.incarnation.as_ref();
        own.is_some_and(|own| !own.may_be(incarnation)) && !self.is_plain()
    }

    /// Whether there is somebody at the other end, who has to show it.
    pub(crate) async fn answers(&self) -> bool {
        let (sender, answer) = oneshot::channel();
        self.instruct(Instruct::Probe(sender));
        matches!(tokio::time::timeout(PROBE_PATIENCE, answer).await, Ok(Ok(())))
    }

    pub(crate) fn view(&self) -> Connection {
        Connection {
            connection_id: self.peer.connection_id,
            connected_at: self.connected_at,
            transport: self.peer.transport,
            plain: self.is_plain(),
            peer_address: self.peer.address.clone(),
            last_frame_at: self.last_frame_at(),
            metrics: self.metrics.lock().map(|(metrics, _)| metrics),
        }
    }
}

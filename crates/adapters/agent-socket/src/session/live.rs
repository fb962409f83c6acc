//! A connection after its hello.

mod delivery;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use muster_commands::{Command, Effect, Entry, Event, Opening, Recorded};
use muster_kernel::{AgentId, CommandId, ConnectionId, StorageError};
use muster_protocol::{
    AgentMessage, Cancel, Credit, FinishedAck, HeartbeatAck, Instruction, JournalEntry,
    PING_EVERY_SECONDS, ResumePoint, ServerMessage, Settings, StreamFrame, SystemInfo, Welcome,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Arrivals, End, Incoming, Orders, Outgoing};
use crate::AgentSocketPorts;
use crate::link::{CloseReason, Instruct, Link};
use crate::streams::{Streams, WINDOW};
use crate::translate;
use delivery::Unfinished;

/// Seconds between the heartbeats of an agent.
const HEARTBEAT_INTERVAL: u64 = 30;
/// A peer is sent something when it was not for so long.
const PING_EVERY: Duration = Duration::from_secs(PING_EVERY_SECONDS);
/// How many of the agent's reports may wait for a commit before no more are read.
const MAX_RECORDINGS: usize = 1024;
/// How long a good-bye may take that is on its way.
const GOOD_BYE_PATIENCE: Duration = Duration::from_millis(100);
/// How long a shutdown waits for reports that are on their way to a commit.
const SETTLE_PATIENCE: Duration = Duration::from_secs(5);

/// What is to be done when an entry is durable.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// Give credit for output that came on this stream.
    Credit { stream_id: u32, bytes: usize },
    /// Let the agent forget a command.
    Acknowledge(CommandId),
    /// Make room where a command was that the agent never gets.
    LetGo(CommandId),
    /// Nothing.
    Nothing,
}

type Settled = (Then, Result<Option<Recorded>, StorageError>);

/// A connection after its hello.
pub(super) struct Live {
    ports: Arc<AgentSocketPorts>,
    agent_id: AgentId,
    outgoing: Outgoing,
    link: Arc<Link>,
    orders: Orders,
    /// When something was last sent.
    sent_at: Instant,
    streams: Streams,
    unfinished: HashMap<CommandId, Unfinished>,
    /// Dispatched commands for which the window has no room yet.
    waiting: VecDeque<Arc<Command>>,
    /// Whether the archive may have commands that nobody had yet.
    more: bool,
    recordings: FuturesOrdered<BoxFuture<'static, Settled>>,
    refreshes: Vec<oneshot::Sender<()>>,
    /// Who wants to know whether there is still somebody.
    probes: Vec<oneshot::Sender<()>>,
}

/// The welcome to a connection.
pub(super) fn welcome(
    ports: &AgentSocketPorts,
    connection_id: ConnectionId,
    resume: Vec<ResumePoint>,
) -> Instruction {
    Instruction::Welcome(Welcome {
        connection_id: connection_id.as_uuid(),
        server_time: ports.clock.now(),
        settings: Settings {
            heartbeat_interval: HEARTBEAT_INTERVAL,
            output_limit_bytes: ports.output_limit,
            initial_credit_bytes: WINDOW,
        },
        resume,
    })
}

impl Live {
    pub(super) fn new(
        ports: Arc<AgentSocketPorts>,
        agent_id: AgentId,
        outgoing: Outgoing,
        link: Arc<Link>,
        orders: Orders,
    ) -> Self {
        Self {
            ports,
            agent_id,
            outgoing,
            link,
            orders,
            sent_at: Instant::now(),
            streams: Streams::default(),
            unfinished: HashMap::new(),
            waiting: VecDeque::new(),
            more: true,
            recordings: FuturesOrdered::new(),
            refreshes: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// Finds out what server and agent owe each other.
    pub(super) async fn opening(
        &self,
        version: &str,
        journal: &[JournalEntry],
    ) -> Result<Opening, End> {
        let journal = translate::journal(journal);
        let opening = self.ports.channel.open(self.agent_id, &journal).await?;
        tracing::info!(
            agent.id = %self.agent_id, agent.version = version,
            agent.journalled = journal.len(), "agent connected"
        );
        Ok(opening)
    }

    /// Welcomes the agent and settles that.
    pub(super) async fn begin(&mut self, opening: Opening) -> Result<(), End> {
        let mut resume = Vec::with_capacity(opening.resume.len());
        for command in opening.resume {
            resume.push(ResumePoint {
                command_id: command.id.as_uuid(),
                stream_id: self.streams.open(command.id),
                stdout_bytes: command.output.stdout,
                stderr_bytes: command.output.stderr,
            });
            self.unfinished.insert(command.id, Unfinished::accepted(command));
        }
        let welcome = welcome(&self.ports, self.link.peer.connection_id, resume);
        self.order(welcome).await?;
        for id in opening.acknowledge {
            self.say(&ServerMessage::FinishedAck(FinishedAck { command_id: id.as_uuid() })).await?;
        }
        for id in opening.cancel {
            self.order(Instruction::Cancel(Cancel { command_id: id.as_uuid() })).await?;
        }
        for command in opening.deliver {
            self.deliver(command).await?;
        }
        self.fill_window().await
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(
        &mut self,
        arrivals: &mut Arrivals,
        mut instructions: mpsc::UnboundedReceiver<Instruct>,
    ) -> End {
        let due = tokio::time::sleep_until(self.due());
        tokio::pin!(due);
        loop {
            // What is done is boxed while it is done: a connection that waits does not carry room
            // for it.
            let step = tokio::select! {
                arrival = arrivals.next(), if self.recordings.len() < MAX_RECORDINGS => {
                    match arrival {
                        Some(Ok(arrival)) => Box::pin(self.hear(arrival)).await,
                        Some(Err(end)) => return end,
                        None => return End::Gone,
                    }
                }
                Some((then, recorded)) = self.recordings.next(), if !self.recordings.is_empty() => {
                    Box::pin(self.settle(then, recorded)).await
                }
                instruction = instructions.recv() => match instruction {
                    Some(instruction) => Box::pin(self.follow(instruction)).await,
                    None => Err(End::Gone),
                },
                () = &mut due => {
                    let done = Box::pin(self.on_time()).await;
                    due.as_mut().reset(self.due());
                    done
                }
            };
            if let Err(end) = step {
                return if matches!(end, End::Gone) { why_gone(arrivals).await } else { end };
            }
        }
    }

    /// When there is something to do, if nothing else happens. It is asked for when the last such
    /// moment has come, and never further away than a ping: frames in between cost no timer.
    fn due(&self) -> Instant {
        let ping = self.sent_at + PING_EVERY;
        let again = self.send_again_at().unwrap_or(ping);
        self.link.silent_at().min(ping).min(again)
    }

    async fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.link.silent_at() <= now {
            return Err(End::TimedOut);
        }
        if self.sent_at + PING_EVERY <= now {
            self.ping().await?;
        }
        self.send_again().await
    }

    async fn hear(&mut self, arrival: Incoming) -> Result<(), End> {
        self.ports.connections.saw(self.agent_id, &self.link);
        for probe in self.probes.drain(..) {
            let _ = probe.send(());
        }
        match arrival {
            Incoming::Message(message) => self.take_in(message).await,
            Incoming::Frame(frame) => self.take_in_output(frame),
            Incoming::Ping(payload) => self.outgoing.pong(&payload).await,
            Incoming::Alive => Ok(()),
        }
    }

    async fn take_in(&mut self, message: AgentMessage) -> Result<(), End> {
        let now = self.ports.clock.now();
        match message {
            AgentMessage::Hello(_) => return Err(End::Violation("hello is said once")),
            AgentMessage::Heartbeat(heartbeat) => {
                let metrics = translate::metrics(&heartbeat.metrics);
                self.ports.connections.measured(self.agent_id, &self.link, metrics);
                let ack = ServerMessage::HeartbeatAck(HeartbeatAck { server_time: now });
                return self.say(&ack).await;
            }
            AgentMessage::SystemInfo(info) => self.keep_system_info(*info),
            AgentMessage::Accepted(accepted) => {
                let id = CommandId::from_uuid(accepted.command_id);
                if let Some(held) = self.unfinished.get_mut(&id) {
                    held.accepted = true;
                }
                if let Some(traces) = self.ports.connections.traces() {
                    traces.accepts(id, now);
                }
                self.record(id, Entry::Event(Event::Accepted { at: now }), Then::Nothing);
            }
            AgentMessage::Started(started) => {
                let id = CommandId::from_uuid(started.command_id);
                // The agent goes by the server's clock, but nothing begins in the future.
                let at = muster_kernel::time::to_micros(started.started_at.min(now));
                let event = Event::Started { at, pid: Some(started.pid) };
                self.record(id, Entry::Event(event), Then::Nothing);
            }
            AgentMessage::Finished(finished) => {
                let id = CommandId::from_uuid(finished.command_id);
                let event = Event::Finished(translate::report(&finished, now));
                self.record(id, Entry::Event(event), Then::Acknowledge(id));
            }
            AgentMessage::Error(error) => {
                tracing::warn!(
                    agent.id = %self.agent_id, error.code = error.code,
                    command.id = ?error.command_id, error.detail = error.detail,
                    "an agent could not use what it was sent"
                );
            }
            AgentMessage::Unknown => {
                tracing::debug!(agent.id = %self.agent_id, "a message of an unknown type");
            }
        }
        Ok(())
    }

    fn take_in_output(&mut self, frame: StreamFrame) -> Result<(), End> {
        let (stream_id, bytes) = (frame.stream_id, frame.bytes.len());
        // What still comes for a command that has ended is of no use to anybody.
        let Some(received) = self.streams.receive(stream_id, bytes) else { return Ok(()) };
        let id = received.map_err(|_| End::Violation("more output than there was credit for"))?;
        let Some(stream) = translate::stream(frame.kind) else {
            return Err(End::Violation("agents send no files"));
        };
        let entry = Entry::Output { stream, offset: frame.offset, bytes: frame.bytes };
        self.record(id, entry, Then::Credit { stream_id, bytes });
        Ok(())
    }

    fn record(&mut self, id: CommandId, entry: Entry, then: Then) {
        let recording = self.ports.channel.record(self.agent_id, id, entry);
        self.recordings.push_back(recording.map(move |recorded| (then, recorded)).boxed());
    }

    async fn settle(
        &mut self,
        then: Then,
        recorded: Result<Option<Recorded>, StorageError>,
    ) -> Result<(), End> {
        let recorded = recorded?;
        if let (Some(traces), Some(recorded)) = (self.ports.connections.traces(), &recorded)
            && recorded.effect == Effect::Changed
        {
            traces.ends(&recorded.command);
        }
        match then {
            Then::Nothing => Ok(()),
            Then::Credit { stream_id, bytes } => {
                if recorded.is_some_and(|recorded| recorded.effect == Effect::Gap) {
                    return Err(End::Violation("output with a gap"));
                }
                match self.streams.keep(stream_id, bytes) {
                    Some(bytes) => {
                        self.say(&ServerMessage::Credit(Credit { stream_id, bytes })).await
                    }
                    None => Ok(()),
                }
            }
            Then::Acknowledge(id) => {
                let ack = FinishedAck { command_id: id.as_uuid() };
                self.say(&ServerMessage::FinishedAck(ack)).await?;
                self.let_go(id).await
            }
            Then::LetGo(id) => self.let_go(id).await,
        }
    }

    /// The agent has nothing more to do with the command.
    async fn let_go(&mut self, id: CommandId) -> Result<(), End> {
        self.streams.close(id);
        self.unfinished.remove(&id);
        self.fill_window().await
    }

    async fn follow(&mut self, instruction: Instruct) -> Result<(), End> {
        match instruction {
            Instruct::Deliver(command) => self.deliver(command).await,
            Instruct::LookForMore => {
                self.more = true;
                self.fill_window().await
            }
            Instruct::Cancel(id) => {
                self.order(Instruction::Cancel(Cancel { command_id: id.as_uuid() })).await
            }
            Instruct::Refresh(waiting) => {
                self.refreshes.push(waiting);
                self.say(&ServerMessage::SystemInfoRequest).await
            }
            Instruct::Probe(waiting) => {
                self.probes.push(waiting);
                self.provoke().await
            }
            Instruct::Settle(_) => Ok(()),
            Instruct::Close(reason) => {
                if reason == CloseReason::Shutdown {
                    let settled = std::mem::take(&mut self.recordings).for_each(|_| async {});
                    let _ = tokio::time::timeout(SETTLE_PATIENCE, settled).await;
                }
                Err(End::Told(reason))
            }
        }
    }

    fn keep_system_info(&mut self, info: SystemInfo) {
        let now = self.ports.clock.now();
        let (agents, id) = (Arc::clone(&self.ports.agents), self.agent_id);
        let waiting = std::mem::take(&mut self.refreshes);
        actix_web::rt::spawn(async move {
            let info = translate::system_info(info, now);
            match agents.record_system_info(id, info, now).await {
                Ok(()) => {
                    for waiting in waiting {
                        let _ = waiting.send(());
                    }
                }
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(agent.id = %id, error.cause = cause, "system information was lost");
                }
            }
        });
    }

    async fn order(&mut self, instruction: Instruction) -> Result<(), End> {
        let order = self.orders.sign(&self.ports, instruction)?;
        self.say(&order).await
    }

    async fn say(&mut self, message: &ServerMessage) -> Result<(), End> {
        self.sent_at = Instant::now();
        self.outgoing.say(message).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.sent_at = Instant::now();
        self.outgoing.ping().await
    }

    /// Has the peer show at once that it is there. Who polls does so by the next request, for
    /// which it has to be given something.
    async fn provoke(&mut self) -> Result<(), End> {
        if let Outgoing::Polled(_) = self.outgoing {
            let server_time = self.ports.clock.now();
            return self.say(&ServerMessage::HeartbeatAck(HeartbeatAck { server_time })).await;
        }
        self.ping().await
    }
}

/// Why nothing more can be sent to a peer: it may have said good-bye while something was on its way.
async fn why_gone(arrivals: &mut Arrivals) -> End {
    let good_bye = async {
        loop {
            match arrivals.next().await {
                Some(Ok(_)) => {}
                Some(Err(End::Closed)) => return End::Closed,
                Some(Err(_)) | None => return End::Gone,
            }
        }
    };
    tokio::time::timeout(GOOD_BYE_PATIENCE, good_bye).await.unwrap_or(End::Gone)
}

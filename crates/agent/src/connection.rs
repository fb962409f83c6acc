//! One connection to the server, from its hello to its end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use muster_protocol::{
    Accepted, AgentMessage, DEAD_AFTER_SECONDS, ErrorMessage, Execute, Heartbeat, Hello,
    Instruction, MAX_CHUNK_BYTES, PING_EVERY_SECONDS, Separate, ServerMessage, Settings, Signed,
    Started, StreamFrame, StreamKind, Verifier, Welcome,
};
use reqwest::Url;
use rustls::ClientConfig;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::{ServerTime, machine_time};
use crate::engine::{Engine, Job, News, Taken};
use crate::enrol::Machine;
use crate::identity::{Identity, random_id};
use crate::inventory::Inventory;
use crate::scripts::Arriving;
use crate::transport::{Incoming, Transport, Way};

/// How long the server may take to let the agent in and to welcome it.
const WELCOME_PATIENCE: Duration = Duration::from_secs(30);
/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(5);
/// Every how many heartbeats it is looked whether the machine is another than before.
const LOOK_EVERY: u32 = 10;

/// What every connection of this agent shares.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) engine: Arc<Engine>,
    pub(crate) identity: Identity,
    /// Drawn when the process starts: tells it from one with a copy of its data folder.
    pub(crate) instance_id: Arc<str>,
    pub(crate) machine: Arc<Machine>,
    pub(crate) inventory: Inventory,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) way: Way,
    pub(crate) stopping: CancellationToken,
}

/// What became of earlier connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Attempts to connect that failed since the last connection.
    pub(crate) attempts: u32,
    /// Why the last connection ended.
    pub(crate) last_end: Option<String>,
}

/// Why a connection that did not break has ended.
pub(crate) enum Leave {
    /// The agent is to stop.
    Stopping,
    /// The agent is another from now on.
    Separated(Separate),
}

/// Output of one command on its way over this connection.
struct Sending {
    stream_id: u32,
    /// How far standard output and standard error have been sent.
    stdout: u64,
    stderr: u64,
    credit: u64,
    finished: bool,
    queued: bool,
}

/// A connection whose welcome came.
pub(crate) struct Connection {
    agent: Agent,
    transport: Transport,
    verifier: Verifier,
    time: ServerTime,
    settings: Settings,
    sending: HashMap<Uuid, Sending>,
    /// Commands that may have something to send, each once, in turn.
    ready: VecDeque<Uuid>,
    /// Texts of scripts whose orders have not come.
    scripts: Arriving,
    /// Who the agent is to be.
    separated: Option<Separate>,
}

/// Connects, says hello and waits for the welcome.
///
/// # Errors
/// When the server can't be reached, does not let the agent in, or is not the one that it pinned.
pub(crate) async fn connect(
    agent: &Agent,
    server: &Url,
    past: &Past,
) -> anyhow::Result<Connection> {
    tokio::time::timeout(WELCOME_PATIENCE, open(agent, server, past))
        .await
        .context("the server did not answer in time")?
}

async fn open(agent: &Agent, server: &Url, past: &Past) -> anyhow::Result<Connection> {
    let nonce = random_id();
    let machine = &agent.machine;
    let hello = Hello {
        version: machine.version.clone(),
        os_type: machine.os_type.clone(),
        os: machine.os.clone(),
        hostname: machine.hostname.clone(),
        capabilities: machine.capabilities.clone(),
        boot_id: boot_id(),
        instance_id: Some(agent.instance_id.to_string()),
        reconnect_attempts: Some(past.attempts),
        last_end: past.last_end.clone(),
        nonce: nonce.clone(),
        agent_time: machine_time(),
        journal: agent.engine.journal_entries(),
    };
    let Agent { way, identity, tls, .. } = agent;
    let mut transport = Transport::open(*way, server, identity, tls, hello).await?;
    let mut verifier = Verifier::new(agent.identity.key()?, agent.identity.agent_id, nonce);
    let welcome = welcome(&mut transport, &mut verifier).await?;
    let mut connection = Connection {
        agent: agent.clone(),
        transport,
        verifier,
        time: ServerTime::heard_now(welcome.server_time),
        settings: welcome.settings,
        sending: HashMap::new(),
        ready: VecDeque::new(),
        scripts: Arriving::default(),
        separated: None,
    };
    for point in welcome.resume {
        connection.register(
            point.command_id,
            point.stream_id,
            point.stdout_bytes,
            point.stderr_bytes,
        );
    }
    Ok(connection)
}

async fn welcome(transport: &mut Transport, verifier: &mut Verifier) -> anyhow::Result<Welcome> {
    loop {
        let incoming = transport.next().await.context("before the welcome")?;
        let Incoming::Message(ServerMessage::Signed(signed)) = incoming else { continue };
        match verifier.verify(&signed, None) {
            Ok(Instruction::Welcome(welcome)) => return Ok(welcome),
            Ok(_) => bail!("the server gave an order before its welcome"),
            Err(error) => bail!("the server's welcome is not to be trusted: {error}"),
        }
    }
}

/// Says which boot this is where the system can't: a container has that of its host.
const BOOT_ID: &str = "MUSTER_AGENT_BOOT_ID";

/// Changes when the machine boots.
fn boot_id() -> String {
    if let Ok(id) = std::env::var(BOOT_ID) {
        return id;
    }
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
        |_| sysinfo::System::boot_time().unwrap_or(0).to_string(),
        |id| id.trim().to_owned(),
    )
}

impl Connection {
    /// Serves until the connection ends; the error says why.
    pub(crate) async fn serve(mut self) -> anyhow::Result<Leave> {
        let mut news = self.agent.engine.listen();
        // What began while nobody was connected is news to the server.
        for id in self.sending.keys().copied().collect::<Vec<_>>() {
            self.say_started(id).await?;
        }
        self.send_system_info().await?;
        let every = Duration::from_secs(self.settings.heartbeat_interval.clamp(1, 3600));
        let mut heartbeat = tokio::time::interval(every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick = tokio::time::interval(TICK);
        let (mut last_frame, mut last_ping) = (Instant::now(), Instant::now());
        let mut beats = 0_u32;
        let stopping = self.agent.stopping.clone();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => {
                    self.transport.close().await;
                    return Ok(Leave::Stopping);
                }
                incoming = self.transport.next() => {
                    last_frame = Instant::now();
                    match incoming? {
                        Incoming::Message(message) => self.take_in(message).await?,
                        Incoming::Frame(frame) => self.take_in_frame(&frame)?,
                        Incoming::Alive => {}
                    }
                }
                Some(news) = news.recv() => self.pass_on(news).await?,
                _ = heartbeat.tick() => {
                    beats = beats.wrapping_add(1);
                    if let Some(metrics) = self.agent.inventory.metrics().await {
                        let beat = AgentMessage::Heartbeat(Heartbeat { metrics });
                        self.transport.say(beat).await?;
                    }
                    if beats.is_multiple_of(LOOK_EVERY) {
                        self.send_system_info().await?;
                    }
                }
                _ = tick.tick() => {
                    if last_frame.elapsed() >= Duration::from_secs(DEAD_AFTER_SECONDS) {
                        bail!("no frame from the server for {DEAD_AFTER_SECONDS} seconds");
                    }
                    if last_ping.elapsed() >= Duration::from_secs(PING_EVERY_SECONDS) {
                        last_ping = Instant::now();
                        self.transport.ping().await?;
                    }
                }
                () = std::future::ready(()), if !self.ready.is_empty() => self.send_next().await?,
            }
            if let Some(separate) = self.separated.take() {
                return Ok(Leave::Separated(separate));
            }
        }
    }

    fn take_in_frame(&mut self, frame: &StreamFrame) -> anyhow::Result<()> {
        match frame.kind {
            StreamKind::File => Ok(self.scripts.take_in(frame)?),
            StreamKind::Stdout | StreamKind::Stderr => bail!("output from the server"),
        }
    }

    async fn take_in(&mut self, message: ServerMessage) -> anyhow::Result<()> {
        match message {
            ServerMessage::Signed(signed) => self.obey(signed).await,
            ServerMessage::HeartbeatAck(ack) => {
                self.time = ServerTime::heard_now(ack.server_time);
                Ok(())
            }
            ServerMessage::SystemInfoRequest => self.send_system_info().await,
            ServerMessage::FinishedAck(ack) => {
                self.sending.remove(&ack.command_id);
                self.agent.engine.forget(ack.command_id);
                Ok(())
            }
            ServerMessage::Credit(credit) => {
                let sending = self
                    .sending
                    .iter_mut()
                    .find(|(_, sending)| sending.stream_id == credit.stream_id);
                if let Some((id, sending)) = sending {
                    sending.credit = sending.credit.saturating_add(credit.bytes);
                    let id = *id;
                    self.queue(id);
                }
                Ok(())
            }
            ServerMessage::Error(error) => {
                tracing::warn!(error.code, error.detail, "the server could not use a message");
                Ok(())
            }
            ServerMessage::Unknown => {
                tracing::debug!("a message of an unknown type");
                Ok(())
            }
        }
    }

    async fn obey(&mut self, signed: Signed) -> anyhow::Result<()> {
        match self.verifier.verify(&signed, Some(self.time.now())) {
            Ok(Instruction::Execute(execute)) => self.execute(*execute).await,
            Ok(Instruction::Cancel(cancel)) => {
                self.agent.engine.cancel(cancel.command_id);
                Ok(())
            }
            Ok(Instruction::Separate(separate)) => {
                self.separated = Some(separate);
                Ok(())
            }
            Ok(Instruction::Welcome(_)) => bail!("the server welcomed the agent twice"),
            Err(error) => {
                tracing::warn!(%error, "an order is not obeyed");
                self.report(error.code(), error.to_string(), None).await
            }
        }
    }

    async fn execute(&mut self, execute: Execute) -> anyhow::Result<()> {
        let id = execute.command_id;
        let stream_id = execute.stream_id;
        if !self.sending.contains_key(&id) {
            self.register(id, stream_id, 0, 0);
        }
        let text = self.scripts.claim(stream_id);
        if self.time.now() > execute.deadline {
            let why = "the command came after the time at which it may begin";
            self.agent.engine.refuse(id, "EXPIRED", why);
            return Ok(());
        }
        if execute.script.as_ref().is_some_and(|script| !script.matches(&text)) {
            let why = "the text that came is not that of the script which was asked for";
            self.agent.engine.refuse(id, "SCRIPT_MISMATCH", why);
            return Ok(());
        }
        let script = execute.script.is_some().then_some(text);
        let job = Job { execute, script };
        match self.agent.engine.execute(job, self.settings.output_limit_bytes) {
            Taken::New => Ok(()),
            Taken::Known => {
                self.queue(id);
                self.transport.say(AgentMessage::Accepted(Accepted { command_id: id })).await
            }
            Taken::Forgotten => {
                self.sending.remove(&id);
                let detail = "the command is over and done with, and never run again".to_owned();
                self.report("ALREADY_FINISHED", detail, Some(id)).await
            }
        }
    }

    async fn report(
        &mut self,
        code: &str,
        detail: String,
        command_id: Option<Uuid>,
    ) -> anyhow::Result<()> {
        let error = ErrorMessage { code: code.to_owned(), detail, command_id };
        self.transport.say(AgentMessage::Error(error)).await
    }

    async fn pass_on(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Accepted(command_id) => {
                self.transport.say(AgentMessage::Accepted(Accepted { command_id })).await
            }
            News::Started(id) => self.say_started(id).await,
            News::More(id) => {
                self.queue(id);
                Ok(())
            }
        }
    }

    async fn say_started(&mut self, id: Uuid) -> anyhow::Result<()> {
        let started = self.agent.engine.task(id).and_then(|task| task.started());
        let Some((pid, ago)) = started else { return Ok(()) };
        let ago = TimeDelta::from_std(ago).unwrap_or_default();
        let started = Started { command_id: id, pid, started_at: self.time.now() - ago };
        self.transport.say(AgentMessage::Started(started)).await
    }

    fn register(&mut self, id: Uuid, stream_id: u32, stdout: u64, stderr: u64) {
        let credit = self.settings.initial_credit_bytes;
        let sending = Sending { stream_id, stdout, stderr, credit, finished: false, queued: false };
        self.sending.insert(id, sending);
        self.queue(id);
    }

    fn queue(&mut self, id: Uuid) {
        if let Some(sending) = self.sending.get_mut(&id)
            && !std::mem::replace(&mut sending.queued, true)
        {
            self.ready.push_back(id);
        }
    }

    /// Sends at most one chunk of each stream of the next command in turn, and its result when
    /// everything before it was sent.
    async fn send_next(&mut self) -> anyhow::Result<()> {
        let Some(id) = self.ready.pop_front() else { return Ok(()) };
        let Some(sending) = self.sending.get_mut(&id) else { return Ok(()) };
        sending.queued = false;
        let Some(task) = self.agent.engine.task(id) else { return Ok(()) };
        // First the look, then the reading: what comes in between is news again.
        task.look();
        let finished = task.finished();
        for (kind, spool, offset) in [
            (StreamKind::Stdout, &task.stdout, &mut sending.stdout),
            (StreamKind::Stderr, &task.stderr, &mut sending.stderr),
        ] {
            let most = usize::try_from(sending.credit).unwrap_or(usize::MAX).min(MAX_CHUNK_BYTES);
            if most == 0 || spool.kept() <= *offset {
                continue;
            }
            let bytes = spool.read(*offset, most).context("reading the spool")?;
            let length = u64::try_from(bytes.len()).unwrap_or(0);
            let stream_id = sending.stream_id;
            let frame = StreamFrame { kind, stream_id, offset: *offset, bytes: bytes.into() };
            *offset += length;
            sending.credit = sending.credit.saturating_sub(length);
            self.transport.write(frame).await?;
        }
        let behind = task.stdout.kept() > sending.stdout || task.stderr.kept() > sending.stderr;
        if behind && sending.credit > 0 {
            self.queue(id);
        } else if let Some(finished) = finished
            && !behind
            && !std::mem::replace(&mut sending.finished, true)
        {
            let finished = AgentMessage::Finished(finished.clone());
            self.transport.say(finished).await?;
        }
        Ok(())
    }

    async fn send_system_info(&mut self) -> anyhow::Result<()> {
        let hostname = self.agent.machine.hostname.clone();
        match self.agent.inventory.system_info(hostname).await {
            Some(info) => self.transport.say(AgentMessage::SystemInfo(Box::new(info))).await,
            None => Ok(()),
        }
    }
}

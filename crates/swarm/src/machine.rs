//! One simulated machine: a task that connects, works and connects again.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use muster_protocol::{
    Accepted, AgentMessage, DEAD_AFTER_SECONDS, ErrorMessage, Execute, Finished, Heartbeat, Hello,
    Instruction, MAX_CHUNK_BYTES, Metrics, Outcome, PING_EVERY_SECONDS, ServerMessage, Started,
    StreamFrame, StreamKind, SystemInfo, Verifier,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::journal::{Journal, Taken, Work};
use crate::link::{Incoming, Link, machine_time};
use crate::swarm::World;
use crate::{Failure, Identity};

/// The operating system that the machines claim to have.
pub(crate) const OS: &str = "Debian GNU/Linux 13 (trixie)";
/// How long the server may take to let a machine in and to welcome it.
const WELCOME_PATIENCE: Duration = Duration::from_secs(30);

/// One machine.
pub(crate) struct Machine {
    pub(crate) number: usize,
    pub(crate) identity: Identity,
    pub(crate) key: VerifyingKey,
    pub(crate) world: Arc<World>,
    pub(crate) journal: Journal,
}

/// When the machine has to do something by itself.
struct Plan {
    beat: Instant,
    beat_every: Duration,
    ping: Instant,
    last_frame: Instant,
    leave: Option<Instant>,
    /// Since when a heartbeat waits for its acknowledgement.
    beat_sent: Option<Instant>,
}

/// Why a connection ended.
enum End {
    /// The machine dropped it, to come back.
    Left,
    /// The swarm ends.
    Stopped,
    /// Something went wrong.
    Failed(Failure),
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Machine {
    /// Connects again and again until the swarm ends.
    pub(crate) async fn live(mut self) {
        let world = Arc::clone(&self.world);
        let mut stopping = pin!(world.stopping.cancelled());
        let (mut failures, mut attempts) = (0, 0);
        tokio::select! {
            () = &mut stopping => return,
            () = world.turn(self.number) => {}
        }
        loop {
            // Boxed: the handshake takes far more room than what follows for hours.
            let connected = tokio::select! {
                () = &mut stopping => return,
                connected = Box::pin(self.connect(attempts)) => connected,
            };
            let end = match connected {
                Ok(mut link) => {
                    failures = 0;
                    world.arrive();
                    let end = tokio::select! {
                        () = &mut stopping => End::Stopped,
                        end = self.serve(&mut link) => end,
                    };
                    world.record.disconnect();
                    world.figures.ended();
                    if !matches!(end, End::Failed(_)) {
                        Box::pin(link.close()).await;
                    }
                    end
                }
                Err(failure) => {
                    attempts += 1;
                    End::Failed(failure)
                }
            };
            match end {
                End::Stopped => return,
                End::Left => {}
                End::Failed(failure) => world.figures.failed(&failure),
            }
            tokio::select! {
                () = &mut stopping => return,
                () = tokio::time::sleep(world.behaviour.reconnect.pause(failures)) => {}
            }
            failures += 1;
        }
    }

    async fn connect(&mut self, attempt: usize) -> Result<Link, Failure> {
        let world = Arc::clone(&self.world);
        let Ok(_turn) = world.gate.acquire().await else { return Err(Failure::TimedOut) };
        let begun = Instant::now();
        let opened = tokio::time::timeout(WELCOME_PATIENCE, self.open(attempt)).await;
        let link = opened.map_err(|_| Failure::TimedOut)??;
        world.figures.connected(begun.elapsed());
        Ok(link)
    }

    async fn open(&mut self, attempt: usize) -> Result<Link, Failure> {
        let world = Arc::clone(&self.world);
        let nonce = Uuid::from_u128(rand::random()).to_string();
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").into(),
            os_type: "linux".into(),
            os: OS.into(),
            hostname: self.identity.name.clone(),
            capabilities: vec!["shell:sh".into(), "shell:bash".into()],
            boot_id: world.boot_id.clone(),
            instance_id: None,
            reconnect_attempts: u32::try_from(attempt).ok(),
            last_end: None,
            nonce: nonce.clone(),
            agent_time: machine_time(),
            journal: self.journal.entries(),
        };
        let verifier = Verifier::new(self.key, self.identity.agent_id, nonce);
        let socket =
            world.endpoint.connect(self.number, attempt, &self.identity.agent_token).await?;
        let (mut link, welcome) = Link::open(socket, verifier, hello, &world.figures).await?;
        let credit = link.settings.initial_credit_bytes;
        for point in &welcome.resume {
            self.journal.resume(point, credit);
        }
        let info = AgentMessage::SystemInfo(Box::new(system_info(&self.identity.name)));
        link.say(&info, &world.figures).await?;
        Ok(link)
    }

    async fn serve(&mut self, link: &mut Link) -> End {
        match self.work(link).await {
            Ok(end) => end,
            Err(failure) => End::Failed(failure),
        }
    }

    async fn work(&mut self, link: &mut Link) -> Result<End, Failure> {
        let world = Arc::clone(&self.world);
        for id in self.journal.ids() {
            self.send(link, id).await?;
        }
        let mut plan = self.plan(link);
        let mut alarm = pin!(tokio::time::sleep_until(plan.next(&self.journal)));
        loop {
            link.flush().await?;
            let due = plan.next(&self.journal);
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            tokio::select! {
                incoming = link.next(&world.figures) => {
                    plan.last_frame = Instant::now();
                    if let Incoming::Message(message) = incoming? {
                        self.take_in(link, message, &mut plan).await?;
                    }
                }
                () = &mut alarm => {
                    if let Some(end) = self.awake(link, &mut plan).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    fn plan(&self, link: &Link) -> Plan {
        let behaviour = &self.world.behaviour;
        let now = Instant::now();
        let said = Duration::from_secs(link.settings.heartbeat_interval.clamp(1, 3600));
        Plan {
            beat: now,
            beat_every: behaviour.heartbeat.unwrap_or(said),
            ping: now + Duration::from_secs(PING_EVERY_SECONDS),
            last_frame: now,
            leave: behaviour.next_stay().and_then(|stay| now.checked_add(stay)),
            beat_sent: None,
        }
    }

    /// Does what is due.
    async fn awake(&mut self, link: &mut Link, plan: &mut Plan) -> Result<Option<End>, Failure> {
        let now = Instant::now();
        if plan.leave.is_some_and(|leave| leave <= now) {
            return Ok(Some(End::Left));
        }
        if now >= plan.dead() {
            return Err(Failure::Silent);
        }
        if plan.beat <= now {
            plan.beat = now + plan.beat_every;
            plan.beat_sent.get_or_insert(now);
            let beat = AgentMessage::Heartbeat(Heartbeat { metrics: metrics() });
            link.say(&beat, &self.world.figures).await?;
        }
        if plan.ping <= now {
            plan.ping = now + Duration::from_secs(PING_EVERY_SECONDS);
            link.ping().await?;
        }
        self.end_due(link, now).await?;
        Ok(None)
    }

    async fn end_due(&mut self, link: &mut Link, now: Instant) -> Result<(), Failure> {
        let ended = self.journal.end(now);
        self.world.record.end(ended.len());
        for id in ended {
            self.send(link, id).await?;
        }
        Ok(())
    }

    async fn take_in(
        &mut self,
        link: &mut Link,
        message: ServerMessage,
        plan: &mut Plan,
    ) -> Result<(), Failure> {
        let world = Arc::clone(&self.world);
        match message {
            ServerMessage::Signed(signed) => match link.verified(&signed)? {
                Instruction::Execute(execute) => self.execute(link, *execute).await,
                Instruction::Cancel(cancel) if !world.behaviour.ignores_cancel => {
                    self.cancel(cancel.command_id);
                    self.end_due(link, Instant::now()).await
                }
                Instruction::Cancel(_) => Ok(()),
                // Nobody copies a simulated machine.
                Instruction::Welcome(_) | Instruction::Separate(_) => Err(Failure::Unreadable),
            },
            ServerMessage::FinishedAck(ack) => {
                if let Some(since) = self.journal.forget(ack.command_id) {
                    world.record.acknowledge();
                    world.figures.acknowledged(since.elapsed());
                }
                Ok(())
            }
            ServerMessage::HeartbeatAck(_) => {
                if let Some(sent) = plan.beat_sent.take() {
                    world.figures.beat(sent.elapsed());
                }
                Ok(())
            }
            ServerMessage::Credit(credit) => {
                match self.journal.credit(credit.stream_id, credit.bytes) {
                    Some(id) => self.send(link, id).await,
                    None => Ok(()),
                }
            }
            ServerMessage::SystemInfoRequest => {
                let info = system_info(&self.identity.name);
                link.say(&AgentMessage::SystemInfo(Box::new(info)), &world.figures).await
            }
            ServerMessage::Error(_) | ServerMessage::Unknown => Ok(()),
        }
    }

    async fn execute(&mut self, link: &mut Link, execute: Execute) -> Result<(), Failure> {
        let world = Arc::clone(&self.world);
        let (id, figures) = (execute.command_id, &world.figures);
        let late = link.now() > execute.deadline;
        let taken = self.journal.take(id, || new_work(&world, self.number, &execute, late));
        if taken == Taken::Forgotten {
            world.record.repeat();
            let detail = "the command is over and done with, and never run again".into();
            let (code, command_id) = ("ALREADY_FINISHED".into(), Some(id));
            let error = ErrorMessage { code, detail, command_id };
            return link.say(&AgentMessage::Error(error), figures).await;
        }
        let credit = link.settings.initial_credit_bytes;
        self.journal.assign(id, execute.stream_id, 0, credit);
        link.say(&AgentMessage::Accepted(Accepted { command_id: id }), figures).await?;
        match taken {
            Taken::New if !late => {
                world.record.start(self.number, id);
                let started = Started { command_id: id, pid: 1, started_at: link.now() };
                link.say(&AgentMessage::Started(started), figures).await?;
                self.end_due(link, Instant::now()).await
            }
            Taken::New | Taken::Forgotten => self.send(link, id).await,
            Taken::Known => {
                world.record.repeat();
                self.send(link, id).await
            }
        }
    }

    /// Ends a command, or makes sure that it never begins.
    fn cancel(&mut self, id: Uuid) {
        let now = Instant::now();
        let cancelled = || Work {
            since: now,
            ends: now,
            outcome: Outcome::Cancelled,
            over: true,
            sending: None,
        };
        if self.journal.take(id, cancelled) == Taken::Known
            && let Some(work) = self.journal.get_mut(id)
            && !work.over
        {
            work.ends = now;
            work.outcome = Outcome::Cancelled;
        }
    }

    /// Sends output of a command that has ended as far as there is credit, then its result.
    async fn send(&mut self, link: &mut Link, id: Uuid) -> Result<(), Failure> {
        let Self { world, journal, .. } = self;
        let limit = link.settings.output_limit_bytes;
        let Some(work) = journal.get_mut(id) else { return Ok(()) };
        let Work { over: true, outcome, sending: Some(sending), .. } = work else { return Ok(()) };
        let finished = finished(id, *outcome, world);
        let kept = finished.stdout_bytes.min(limit);
        while sending.sent < kept && sending.credit > 0 {
            let most = u64::try_from(MAX_CHUNK_BYTES).unwrap_or(u64::MAX);
            let length = (kept - sending.sent).min(sending.credit).min(most);
            let (from, to) = (to_usize(sending.sent), to_usize(sending.sent + length));
            let bytes = world.behaviour.output.slice(from..to);
            let (kind, stream_id) = (StreamKind::Stdout, sending.stream_id);
            let frame = StreamFrame { kind, stream_id, offset: sending.sent, bytes };
            sending.sent += length;
            sending.credit -= length;
            link.write(&frame, &world.figures).await?;
        }
        if sending.sent >= kept && !std::mem::replace(&mut sending.said, true) {
            link.say(&AgentMessage::Finished(finished), &world.figures).await?;
        }
        Ok(())
    }
}

impl Plan {
    /// When the server is taken for dead.
    fn dead(&self) -> Instant {
        self.last_frame + Duration::from_secs(DEAD_AFTER_SECONDS)
    }

    /// When the machine has to wake up.
    fn next(&self, journal: &Journal) -> Instant {
        let soonest = self.beat.min(self.ping).min(self.dead());
        [self.leave, journal.next_end()].into_iter().flatten().fold(soonest, Instant::min)
    }
}

/// What an order becomes.
fn new_work(world: &World, machine: usize, execute: &Execute, late: bool) -> Work {
    let since = Instant::now();
    if late {
        let outcome = Outcome::Refused;
        return Work { since, ends: since, outcome, over: true, sending: None };
    }
    let takes = world.behaviour.next_takes();
    let timeout = Duration::try_from_secs_f64(execute.timeout).unwrap_or(Duration::MAX);
    let outcome = if takes > timeout {
        Outcome::TimedOut
    } else if world.behaviour.next_fails(machine) {
        Outcome::Failed
    } else {
        Outcome::Completed
    };
    Work { since, ends: since + takes.min(timeout), outcome, over: false, sending: None }
}

fn finished(id: Uuid, outcome: Outcome, world: &World) -> Finished {
    let ran = !matches!(outcome, Outcome::Refused | Outcome::Cancelled);
    let length = if ran { world.behaviour.output.len() } else { 0 };
    let (exit_code, failure_code) = match outcome {
        Outcome::Completed => (Some(0), None),
        Outcome::Failed => (Some(1), Some("EXIT_CODE")),
        Outcome::Refused => (None, Some("EXPIRED")),
        Outcome::TimedOut | Outcome::Cancelled | Outcome::Interrupted => (None, None),
    };
    Finished {
        command_id: id,
        outcome,
        exit_code,
        execution_time: ran.then_some(world.behaviour.takes.as_secs_f64()),
        stdout_bytes: u64::try_from(length).unwrap_or(u64::MAX),
        stderr_bytes: 0,
        failure_code: failure_code.map(ToOwned::to_owned),
        detail: None,
    }
}

fn metrics() -> Metrics {
    let share = || rand::random::<f32>() * 100.0;
    Metrics {
        cpu_percent: share(),
        memory_percent: share(),
        disk_percent: share(),
        network_rx_bytes: rand::random::<u32>().into(),
        network_tx_bytes: rand::random::<u32>().into(),
        processes: 200,
        uptime_seconds: rand::random::<u16>().into(),
    }
}

fn system_info(hostname: &str) -> SystemInfo {
    SystemInfo {
        hostname: hostname.to_owned(),
        os_type: "linux".into(),
        os: OS.into(),
        os_version: "13".into(),
        kernel_version: "6.12.0".into(),
        architecture: "x86_64".into(),
        cpu_model: "simulated".into(),
        cpu_count: 4,
        memory_bytes: 8 << 30,
        disk_bytes: 256 << 30,
        interfaces: Vec::new(),
        logged_in_users: Vec::new(),
        pending_reboot: None,
        time_zone: None,
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

//! A connection of an older product's agent that is known.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_ws::AggregatedMessageStream;
use muster_agents::{Metrics, Speaker};
use muster_commands::{LeaseError, Said};
use muster_kernel::{CommandId, Timestamp};
use muster_protocol::PING_EVERY_SECONDS;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Heard;
use super::session::{OlderSession, SEND_PATIENCE};
use crate::link::{Instruct, Link};
use crate::session::End;

/// A peer is sent something when it was not for so long, and it is asked whether it still may.
const PING_EVERY: Duration = Duration::from_secs(PING_EVERY_SECONDS);
/// How long a result may follow a status that says the same.
const RESULT_PATIENCE: Duration = Duration::from_secs(10);
/// How many ends are held back at most; an agent has fewer commands at a time.
const MAX_HELD: usize = 16;
/// How long a database may be away until a result is given up that nobody else has.
const STORAGE_PATIENCE: Duration = Duration::from_mins(1);
const STORAGE_RETRY: Duration = Duration::from_millis(500);

/// A connection of an agent that is known.
pub(super) struct Live {
    session: OlderSession,
    speaker: Speaker,
    name: String,
    link: Arc<Link>,
    /// Whether more waits until the agent has done some of what it has.
    more: bool,
    /// When something that the agent has may have to be given up.
    look_again: Option<Instant>,
    /// Ends that count unless something else is said of the command.
    held: HashMap<CommandId, (Instant, Said)>,
    /// Who waits for the agent to say what kind of machine it is.
    refreshes: Vec<oneshot::Sender<()>>,
    pinged_at: Instant,
}

impl Live {
    pub(super) fn new(
        session: OlderSession,
        speaker: Speaker,
        name: String,
        link: Arc<Link>,
    ) -> Self {
        Self {
            session,
            speaker,
            name,
            link,
            more: false,
            look_again: None,
            held: HashMap::new(),
            refreshes: Vec::new(),
            pinged_at: Instant::now(),
        }
    }

    /// Serves the connection until it ends, and says why. What was told of commands counts then.
    pub(super) async fn run(
        mut self,
        arrivals: &mut AggregatedMessageStream,
        mut instructions: mpsc::UnboundedReceiver<Instruct>,
    ) -> End {
        let end = match self.listen(arrivals, &mut instructions).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        self.more = false;
        for (id, (_, said)) in std::mem::take(&mut self.held) {
            if let Err(lost) = self.record(id, said).await {
                return lost;
            }
        }
        end
    }

    async fn listen(
        &mut self,
        arrivals: &mut AggregatedMessageStream,
        instructions: &mut mpsc::UnboundedReceiver<Instruct>,
    ) -> Result<Infallible, End> {
        loop {
            let due = self.due();
            tokio::select! {
                heard = self.session.next(arrivals) => {
                    self.session.ports.connections.saw(self.speaker.agent_id, &self.link);
                    if let Some(heard) = heard? {
                        Box::pin(self.take_in(heard)).await?;
                    }
                }
                instruction = instructions.recv() => {
                    Box::pin(self.follow(instruction.ok_or(End::Gone)?)).await?;
                }
                () = tokio::time::sleep_until(due) => Box::pin(self.on_time()).await?,
            }
        }
    }

    fn due(&self) -> Instant {
        let held = self.held.values().map(|(until, _)| *until).min();
        let ping = self.pinged_at + PING_EVERY;
        [Some(ping), Some(self.link.silent_at()), self.look_again, held]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(ping)
    }

    async fn on_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.link.silent_at() <= now {
            return Err(End::TimedOut);
        }
        let over: Vec<_> = self.held.iter().filter(|(_, (until, _))| *until <= now).collect();
        for id in over.into_iter().map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some((_, said)) = self.held.remove(&id) {
                self.record(id, said).await?;
            }
        }
        if self.look_again.is_some_and(|at| at <= now) {
            self.hand_out().await?;
        }
        if self.pinged_at + PING_EVERY <= now {
            self.pinged_at = now;
            self.check().await?;
            self.ping().await?;
        }
        Ok(())
    }

    /// That the agent may still be here: its credential is good, and its customer allows it.
    async fn check(&self) -> Result<(), End> {
        let (ports, dialect) = (&self.session.ports, self.speaker.dialect);
        let credential = super::upgrade::credential(ports, &*self.session.shown, dialect).await;
        let credential = match credential {
            Ok(credential) => credential,
            // It is asked again: a database that is away is no reason to send agents away.
            Err(refusal) if refusal.is_unavailable() => return Ok(()),
            Err(_) => return Err(End::Violation("the credential is not good any more")),
        };
        match ports.legacy.recognise(&credential, dialect, &self.name).await {
            Ok(Some(speaker)) if speaker.agent_id == self.speaker.agent_id => Ok(()),
            Ok(_) => Err(End::Told(crate::link::CloseReason::Removed)),
            Err(error) if error.is_storage() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn ping(&mut self) -> Result<(), End> {
        let now = self.session.ports.clock.now();
        if let Some(ping) = self.session.codec.ping(now) {
            self.session.say(&ping).await?;
        }
        let ping = self.session.socket.ping(b"");
        match tokio::time::timeout(SEND_PATIENCE, ping).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    async fn take_in(&mut self, heard: Heard) -> Result<(), End> {
        match heard {
            Heard::Register(introduction) => {
                self.measured(introduction.metrics);
                let connection_id = self.session.connection_id;
                match self.session.codec.welcome(&introduction.name, connection_id) {
                    Some(welcome) => self.session.say(&welcome).await,
                    None => Ok(()),
                }
            }
            Heard::Heartbeat(metrics) => {
                self.measured(metrics);
                let ack = self.session.codec.heartbeat_ack(self.session.ports.clock.now());
                match ack {
                    Some(ack) => self.session.say(&ack).await,
                    None => Ok(()),
                }
            }
            Heard::SystemInfo(metrics) => {
                self.measured(metrics);
                for waiting in self.refreshes.drain(..) {
                    let _ = waiting.send(());
                }
                Ok(())
            }
            Heard::Result(id, said) => {
                self.held.remove(&id);
                self.record(id, said).await
            }
            Heard::Status(id, said @ Said::Finished { .. }) => {
                if self.held.len() >= MAX_HELD && !self.held.contains_key(&id) {
                    return self.record(id, said).await;
                }
                self.held.insert(id, (Instant::now() + RESULT_PATIENCE, said));
                Ok(())
            }
            Heard::Status(..) | Heard::Nothing => Ok(()),
        }
    }

    pub(super) fn measured(&self, metrics: Option<Metrics>) {
        if let Some(metrics) = metrics {
            let connections = &self.session.ports.connections;
            connections.measured(self.speaker.agent_id, &self.link, metrics);
        }
    }

    /// Keeps how a command ended. The agent forgets it at once, so a database that is away is waited
    /// for.
    async fn record(&mut self, id: CommandId, said: Said) -> Result<(), End> {
        let given_up = Instant::now() + STORAGE_PATIENCE;
        loop {
            let leases = &self.session.ports.leases;
            match leases.hear(self.speaker.agent_id, id, said.clone()).await {
                Ok(_) => break,
                Err(LeaseError::NotFound | LeaseError::Denied(_)) => {
                    let agent_id = self.speaker.agent_id;
                    tracing::warn!(agent.id = %agent_id, command.id = %id, "a result of no command");
                    break;
                }
                Err(LeaseError::Storage(error)) if Instant::now() > given_up => {
                    return Err(error.into());
                }
                Err(LeaseError::Storage(_)) => tokio::time::sleep(STORAGE_RETRY).await,
            }
        }
        if self.more { self.hand_out().await } else { Ok(()) }
    }

    async fn follow(&mut self, instruction: Instruct) -> Result<(), End> {
        match instruction {
            Instruct::Deliver(_) | Instruct::LookForMore => self.hand_out().await,
            Instruct::Refresh(waiting) => {
                let now = self.session.ports.clock.now();
                if let Some(request) = self.session.codec.system_info_request(now) {
                    self.refreshes.push(waiting);
                    self.session.say(&request).await?;
                }
                Ok(())
            }
            Instruct::Close(reason) => Err(End::Told(reason)),
            // Its agents can't be told, and show nothing by which copies could be told apart.
            Instruct::Cancel(_) | Instruct::Probe(_) | Instruct::Settle(_) => Ok(()),
        }
    }

    /// Gives the agent what waits for it, each thing once.
    pub(super) async fn hand_out(&mut self) -> Result<(), End> {
        let ports = Arc::clone(&self.session.ports);
        let Speaker { agent_id, dialect, .. } = self.speaker;
        let handout = ports.leases.waiting(agent_id, dialect).await?;
        self.more = handout.more;
        // Who has enough is not sent more, which it would only be asked for.
        self.link.set_unfinished(if handout.more { usize::MAX } else { 0 });
        self.look_again = None;
        self.look_again_at(handout.look_again_at);
        for command in handout.commands {
            // Whoever has come in its place is given it.
            if !ports.connections.is_current(agent_id, &self.link) {
                return Ok(());
            }
            let until = ports.leases.entrust(agent_id, command.id).await?;
            if until.is_some() {
                self.look_again_at(until);
                let message = self.session.codec.command(&command);
                self.session.say(&message).await?;
            }
        }
        Ok(())
    }

    fn look_again_at(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        // A moment later: what is due then is over.
        let wait = (at - self.session.ports.clock.now()).to_std().unwrap_or_default();
        let at = Instant::now().checked_add(wait + Duration::from_secs(1));
        self.look_again = [self.look_again, at].into_iter().flatten().min();
    }
}

impl From<LeaseError> for End {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Storage(error) => Self::Storage(error),
            LeaseError::NotFound | LeaseError::Denied(_) => Self::Violation("no such command"),
        }
    }
}

//! What brings rollouts on: with no memory but the database's, so that any process goes on where
//! another was killed. Of several nodes one has it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use muster_commands::reachable;
use muster_commands::runs::{Step, StopReason, next_step};
use muster_kernel::{AgentId, Author, CommandId, RolloutId, StorageError, TenantScope};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::device::{Device, DeviceStatus, Happening};
use super::ports::RolloutChange;
use super::rollout::{Rollout, RolloutTally};
use super::scribe::{AT_ONCE, Asked, Wish, scribe};
use super::telling;
use super::usecase::Rollouts;
use super::walk::{News, Walk, left_out};

/// How often it is looked whether there is something new to do, whoever forgot to say so.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long listeners wait for the latest tally at most: many changes are told together.
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Brings rollouts on, for as long as it is polled.
#[derive(Debug)]
pub struct Driver {
    rollouts: Rollouts,
    going_on: HashMap<RolloutId, Going>,
}

/// A rollout that goes on.
#[derive(Debug)]
struct Going {
    /// Told which revision of it is to be looked at.
    revision: watch::Sender<u32>,
    task: tokio::task::AbortHandle,
}

impl Driver {
    /// For these rollouts.
    pub fn new(rollouts: Rollouts) -> Self {
        Self { rollouts, going_on: HashMap::new() }
    }

    /// Brings all rollouts on while `leads` says that this process is the one to do it. Dropping
    /// the future lets go of them; another process goes on.
    pub async fn run(mut self, leads: impl Fn() -> bool + Send) {
        let mut tasks = JoinSet::new();
        loop {
            if !leads() {
                tasks.abort_all();
                self.going_on.clear();
            } else if let Err(error) = self.look(&mut tasks).await {
                tracing::warn!(%error, "which rollouts go on could not be read");
            }
            while tasks.try_join_next().is_some() {}
            let _ = tokio::time::timeout(LOOK_EVERY, self.rollouts.poked.notified()).await;
        }
    }

    /// Takes up what goes on, and tells those that go on already what is new.
    async fn look(&mut self, tasks: &mut JoinSet<()>) -> Result<(), StorageError> {
        let active = self.rollouts.ports.repository.active().await?;
        self.going_on.retain(|_, going| !going.task.is_finished());
        for (id, revision) in active {
            if let Some(going) = self.going_on.get(&id) {
                going
                    .revision
                    .send_if_modified(|known| std::mem::replace(known, revision) != revision);
                continue;
            }
            let (told, hears) = watch::channel(revision);
            let task = tasks.spawn(bring_on(self.rollouts.clone(), id, hears));
            self.going_on.insert(id, Going { revision: told, task });
        }
        Ok(())
    }
}

/// Brings one rollout on until it has ended.
async fn bring_on(rollouts: Rollouts, id: RolloutId, mut revision: watch::Receiver<u32>) {
    loop {
        revision.mark_unchanged();
        match Conductor::take_up(&rollouts, id).await {
            Ok(None) => return,
            Ok(Some(conductor)) => match conductor.conduct(&mut revision).await {
                Ok(Pass::Ended) => return,
                Ok(Pass::Again) => {}
                Err(error) => {
                    tracing::warn!(%error, rollout.id = %id, "a rollout could not go on");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            },
            Err(error) => {
                tracing::warn!(%error, rollout.id = %id, "a rollout could not be read");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// How a look at a rollout ended.
enum Pass {
    /// It is over.
    Ended,
    /// It is another than it was: it is to be read anew.
    Again,
}

/// Conducts the machines of one rollout.
struct Conductor {
    rollouts: Rollouts,
    walk: Arc<Walk>,
    news: mpsc::UnboundedReceiver<Device>,
    /// The way to whoever writes for the machines.
    asks: mpsc::UnboundedSender<Asked>,
    devices: BTreeMap<AgentId, Device>,
    /// Those of them that have not begun.
    queued: BTreeSet<AgentId>,
    tally: RolloutTally,
    /// Whether listeners have not been told of the latest tally.
    untold: bool,
    /// Whether nobody who may begin can be reached, as far as that was looked at.
    stalled: bool,
    walks: JoinSet<()>,
}

impl Conductor {
    /// Reads a rollout and has its machines go on that have begun; `None` when it has ended.
    async fn take_up(rollouts: &Rollouts, id: RolloutId) -> Result<Option<Self>, StorageError> {
        let ports = rollouts.ports.clone();
        let rollout = ports.repository.find(&TenantScope::All, id).await?;
        let Some(rollout) = rollout.filter(|it| !it.status.is_end()) else { return Ok(None) };
        let place = Rollout::secrets_place(id);
        let secrets = ports.freezer.workshop.open(&place, rollout.secrets.as_ref()).await?;
        let devices = ports.repository.devices(id).await?;
        let cancelled = rollout.stop == Some(StopReason::Cancelled);
        let (sends, news) = mpsc::unbounded_channel();
        let walk = Arc::new(Walk { ports, rollout, secrets, cancelled, news: sends });
        let (asks, asked) = mpsc::unbounded_channel();
        // It ends when nobody can ask it any more.
        tokio::spawn(scribe(Arc::clone(&walk), asked));
        let mut conductor = Self {
            rollouts: rollouts.clone(),
            walk,
            news,
            asks,
            devices: BTreeMap::new(),
            queued: BTreeSet::new(),
            tally: RolloutTally::default(),
            untold: true,
            stalled: false,
            walks: JoinSet::new(),
        };
        for device in devices {
            conductor.take_in(&device);
            conductor.set_out(&device, None);
        }
        Ok(Some(conductor))
    }

    /// Sees a machine through, if it has begun.
    fn set_out(&mut self, device: &Device, news: Option<News>) {
        let status = device.status();
        if status != DeviceStatus::Queued && !status.is_end() {
            let (walk, asks) = (Arc::clone(&self.walk), self.asks.clone());
            self.walks.spawn(walk.see_through(device.clone(), news, asks));
        }
    }

    async fn conduct(mut self, revision: &mut watch::Receiver<u32>) -> Result<Pass, StorageError> {
        let mut tells = tokio::time::interval(TOLD_EVERY);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            let rollout = &self.walk.rollout;
            let tally = self.tally.as_of_a_run();
            match next_step(&rollout.strategy, &tally, rollout.stop, false) {
                Step::Release(room) if !self.stalled => {
                    self.stalled = !self.release(room).await?;
                    continue;
                }
                Step::Stop(reason) => {
                    if !self.stop(reason).await? {
                        return Ok(Pass::Again);
                    }
                    continue;
                }
                Step::End(_) => return self.end().await,
                Step::Release(_) | Step::Wait => {}
            }
            tokio::select! {
                Some(device) = self.news.recv() => self.hear(&device),
                Some(_) = self.walks.join_next() => {}
                changed = revision.changed() => {
                    if changed.is_ok() {
                        return Ok(Pass::Again);
                    }
                    std::future::pending::<()>().await;
                }
                _ = tells.tick() => self.tell(),
                _ = looks.tick() => {
                    self.stalled = false;
                    self.leave_out_late().await?;
                }
            }
        }
    }

    /// Takes in how far a machine is, and tells it.
    fn hear(&mut self, device: &Device) {
        telling::device(&*self.walk.ports.bus, self.walk.rollout.id, device);
        self.take_in(device);
    }

    /// Takes in how far a machine is, unless more is known already.
    fn take_in(&mut self, device: &Device) {
        if let Some(known) = self.devices.get(&device.agent_id) {
            if known.revision >= device.revision {
                return;
            }
            self.tally.remove(known.status(), known.has_errors());
        }
        self.tally.add(device.status(), device.has_errors(), 1);
        (self.untold, self.stalled) = (true, false);
        if device.status() == DeviceStatus::Queued {
            self.queued.insert(device.agent_id);
        } else {
            self.queued.remove(&device.agent_id);
        }
        self.devices.insert(device.agent_id, device.clone());
    }

    fn tell(&mut self) {
        if std::mem::take(&mut self.untold) {
            telling::progress(&*self.walk.ports.bus, &self.walk.rollout, &self.tally);
        }
    }

    /// Lets the next machines begin; says whether any did. Those that are out of reach are let go
    /// only when there is room for all: they would take a place for as long as they are away.
    async fn release(&mut self, room: u32) -> Result<bool, StorageError> {
        let ports = &self.walk.ports;
        let courier = &*ports.courier;
        let limit = usize::try_from(room).unwrap_or(usize::MAX).min(AT_ONCE);
        let all = room >= self.tally.queued;
        let reached = if all || courier.sees_all() {
            None
        } else {
            let (ids, now) = (self.queued.iter().copied(), ports.clock.now());
            Some(reachable(courier, &*ports.agents, ids, now).await?)
        };
        let passes = |id: &&AgentId| match &reached {
            Some(reached) => reached.contains(id),
            None => all || courier.is_connected(**id),
        };
        let chosen = self.queued.iter().filter(passes).take(limit);
        let chosen: Vec<_> = chosen.filter_map(|id| self.devices.get(id).cloned()).collect();
        self.bring(chosen, &Happening::Released).await
    }

    /// Leaves out those that could not begin in time.
    async fn leave_out_late(&mut self) -> Result<(), StorageError> {
        if self.tally.queued > 0 && self.walk.ports.clock.now() >= self.walk.rollout.expires_at {
            self.leave_out(&left_out(false, true)).await?;
        }
        Ok(())
    }

    /// Lets no other machine begin; says whether the rollout is still the one that was read.
    async fn stop(&mut self, reason: StopReason) -> Result<bool, StorageError> {
        let rollout = &self.walk.rollout;
        if rollout.stop.is_none() {
            let (change, now) = (RolloutChange::Stopped(reason), self.walk.ports.clock.now());
            let (id, expected) = (rollout.id, Some(rollout.revision));
            let repository = &self.walk.ports.repository;
            repository.change(id, expected, change, &Author::system(), now).await?;
            return Ok(false);
        }
        self.leave_out(&left_out(reason == StopReason::Cancelled, false)).await?;
        Ok(true)
    }

    async fn leave_out(&mut self, happening: &Happening) -> Result<(), StorageError> {
        let queued: Vec<_> =
            self.queued.iter().filter_map(|id| self.devices.get(id).cloned()).collect();
        for some in queued.chunks(AT_ONCE) {
            self.bring(some.to_vec(), happening).await?;
        }
        Ok(())
    }

    /// Has machines take in that something happened to them, all in one write, and sets out those
    /// that begin; says whether there were any.
    async fn bring(
        &mut self,
        devices: Vec<Device>,
        happening: &Happening,
    ) -> Result<bool, StorageError> {
        let walk = Arc::clone(&self.walk);
        let ports = &walk.ports;
        let mut wishes = Vec::with_capacity(devices.len());
        let mut news = Vec::with_capacity(devices.len());
        for device in devices {
            let fresh = CommandId::new(&*ports.clock, &*ports.entropy);
            news.push(News { of: fresh, heard: ports.feed.subscribe(fresh) });
            wishes.push(Wish { device, happening: happening.clone(), fresh });
        }
        let devices = walk.write(&wishes).await?;
        let mut any = false;
        for ((wish, device), news) in wishes.iter().zip(&devices).zip(news) {
            any |= *device != wish.device;
            self.take_in(device);
            self.set_out(device, Some(news));
        }
        Ok(any)
    }

    async fn end(mut self) -> Result<Pass, StorageError> {
        let rollout = &self.walk.rollout;
        let (id, now) = (rollout.id, self.walk.ports.clock.now());
        let change = RolloutChange::Ended(self.tally.verdict(rollout.stop), self.tally, now);
        let repository = Arc::clone(&self.rollouts.ports.repository);
        let expected = Some(rollout.revision);
        let changed = repository.change(id, expected, change, &Author::system(), now).await?;
        while let Ok(device) = self.news.try_recv() {
            telling::device(&*self.walk.ports.bus, id, &device);
        }
        match changed {
            Some((rollout, true)) => {
                telling::finished(&*self.walk.ports.bus, &rollout);
                Ok(Pass::Ended)
            }
            // Somebody has it go on.
            Some(_) => Ok(Pass::Again),
            None => Ok(Pass::Ended),
        }
    }
}

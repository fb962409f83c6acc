//! One machine's way through its tasks: waits for what happens, and has written what follows.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::StreamExt;
use muster_agents::ConnectionRecord;
use muster_commands::runs::Secrets;
use muster_commands::{Command, Heard, Notice, Subscription};
use muster_kernel::{AgentId, CommandId, StorageError, TenantScope, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::device::{Device, Happening, Part, SkipReason, Stage, TaskOutcome};
use super::plan::Shape;
use super::rollout::Rollout;
use super::scribe::{Asked, Wish};
use super::usecase::RolloutsPorts;
use super::verdict::{DeviceFailure, Verdict};

/// How long it takes until what could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether a machine has come back.
const LOOK_FOR_BOOT: Duration = Duration::from_secs(1);
/// The longest that a machine may be away for a boot.
const LONGEST_BOOT: TimeDelta = TimeDelta::days(2);
/// How much later than it could be a command is given up that an agent has and says nothing of.
const GRACE: TimeDelta = TimeDelta::minutes(1);
/// How often a command is looked up that nothing is heard of: whoever hears of all needs no more.
const LOOK_FOR_END: Duration = Duration::from_mins(1);

/// News of a command.
pub(super) struct News {
    /// Of which.
    pub(super) of: CommandId,
    /// What is heard of it.
    pub(super) heard: Subscription,
}

/// What the machines of a rollout have in common.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) ports: RolloutsPorts,
    pub(super) rollout: Rollout,
    pub(super) secrets: Secrets,
    /// Whether somebody cancelled it.
    pub(super) cancelled: bool,
    /// Told how far machines are.
    pub(super) news: mpsc::UnboundedSender<Device>,
}

impl Walk {
    /// Sees a machine through until it has ended; `news` are those of its command, where somebody
    /// listened before that was given. Dropping the future loses nothing.
    pub(super) async fn see_through(
        self: Arc<Self>,
        mut device: Device,
        mut news: Option<News>,
        asks: mpsc::UnboundedSender<Asked>,
    ) {
        // A process that was killed may have written that a command is to end, and told nobody.
        if let Stage::Running { command_id, cancelled: true, .. } = device.stage {
            self.ask_for_end(device.agent_id, command_id).await;
        }
        while !device.status().is_end() {
            let happening = match self.wait(&device, &mut news).await {
                Ok(happening) => happening,
                Err(error) => {
                    let rollout = self.rollout.id;
                    tracing::warn!(%error, rollout.id = %rollout, "a device could not be read");
                    tokio::time::sleep(TRY_AGAIN).await;
                    continue;
                }
            };
            let fresh = CommandId::new(&*self.ports.clock, &*self.ports.entropy);
            let heard = self.ports.feed.subscribe(fresh);
            let (sender, answer) = oneshot::channel();
            let wish = Wish { device: device.clone(), happening, fresh };
            let asked = asks.send((wish, sender)).is_ok();
            let Ok(after) = answer.await else { return };
            if !asked {
                return;
            }
            if matches!(after.stage, Stage::Running { command_id, .. } if command_id == fresh) {
                news = Some(News { of: fresh, heard });
            }
            device = after;
        }
    }

    /// Waits for what happens next to a machine that has begun. A rollout that is cancelled is taken
    /// up anew, so nobody has to be woken for that.
    async fn wait(
        &self,
        device: &Device,
        news: &mut Option<News>,
    ) -> Result<Happening, StorageError> {
        let is_told = matches!(device.stage, Stage::Running { cancelled: true, .. });
        if self.cancelled && !is_told {
            return Ok(Happening::Cancelled);
        }
        self.happens(device, news).await
    }

    async fn happens(
        &self,
        device: &Device,
        news: &mut Option<News>,
    ) -> Result<Happening, StorageError> {
        match device.stage {
            Stage::Running { command_id, part, .. } => {
                let command = tokio::select! {
                    command = self.end_of(command_id, news) => command?,
                    started_at = self.lost_in_boot(device, part, command_id) => {
                        let verdict = Verdict::Failed(never_came_back());
                        return Ok(Happening::Ended { command_id, verdict, started_at });
                    }
                };
                let verdict = Verdict::of(&command).unwrap_or_else(given_up);
                if verdict != Verdict::Passed && !self.is_there(device).await? {
                    return Ok(Happening::AgentRemoved);
                }
                let started_at = command.started_at();
                Ok(Happening::Ended { command_id, verdict, started_at })
            }
            Stage::Rebooting { told_at, until, .. } => loop {
                if self.has_booted(device.agent_id, told_at).await? {
                    return Ok(Happening::Booted);
                }
                if self.ports.clock.now() >= until {
                    let there = self.is_there(device).await?;
                    return Ok(if there { Happening::Tick } else { Happening::AgentRemoved });
                }
                tokio::time::sleep(LOOK_FOR_BOOT).await;
            },
            Stage::Pausing { again_at, .. } => {
                let left = again_at - self.ports.clock.now();
                tokio::time::sleep(left.to_std().unwrap_or_default()).await;
                let there = self.is_there(device).await?;
                Ok(if there { Happening::Tick } else { Happening::AgentRemoved })
            }
            Stage::Queued
            | Stage::Done
            | Stage::Failed
            | Stage::Skipped { .. }
            | Stage::Cancelled => std::future::pending().await,
        }
    }

    /// Waits until a machine that went to boot before it could say so is away for too long.
    async fn lost_in_boot(&self, device: &Device, part: Part, id: CommandId) -> Option<Timestamp> {
        let shape = self.rollout.tasks.get(device.position).map(|task| &task.shape);
        let (Some(Shape::Reboot { within, .. }), Part::Work) = (shape, part) else {
            return std::future::pending().await;
        };
        let within = TimeDelta::from_std(*within).unwrap_or(LONGEST_BOOT).min(LONGEST_BOOT);
        loop {
            let command = self.ports.archive.find(&TenantScope::All, id).await;
            let started_at = command.ok().flatten().and_then(|command| command.started_at());
            let now = self.ports.clock.now();
            // What has not begun can't be late sooner than that.
            let late_at = started_at.unwrap_or(now) + within;
            if started_at.is_some() && now >= late_at {
                return started_at;
            }
            tokio::time::sleep((late_at - now).to_std().unwrap_or_default()).await;
        }
    }

    /// Waits for the end of a command.
    async fn end_of(
        &self,
        id: CommandId,
        news: &mut Option<News>,
    ) -> Result<Command, StorageError> {
        if news.as_ref().is_none_or(|news| news.of != id) {
            // Listening begins before the look: nothing can end unheard.
            *news = Some(News { of: id, heard: self.ports.feed.subscribe(id) });
            if let Some(command) = self.ended(id).await? {
                return Ok(command);
            }
        }
        loop {
            let Some(News { heard, .. }) = news else { return self.end_by_looking(id).await };
            match tokio::time::timeout(LOOK_FOR_END, heard.next()).await {
                Ok(Some(Heard::Notice(notice))) => {
                    if let Notice::Changed(command) = &*notice
                        && command.end().is_some()
                    {
                        return Ok((**command).clone());
                    }
                }
                Ok(Some(Heard::Missed)) | Err(_) => {
                    if let Some(command) = self.ended(id).await? {
                        return Ok(command);
                    }
                }
                Ok(None) => *news = None,
            }
        }
    }

    /// The same where nothing is heard.
    async fn end_by_looking(&self, id: CommandId) -> Result<Command, StorageError> {
        loop {
            if let Some(command) = self.ended(id).await? {
                return Ok(command);
            }
            tokio::time::sleep(LOOK_FOR_BOOT).await;
        }
    }

    /// A command, if it has ended.
    async fn ended(&self, id: CommandId) -> Result<Option<Command>, StorageError> {
        let found = self.ports.archive.find(&TenantScope::All, id).await?;
        let gone = || StorageError::new(std::io::Error::other("a command of a rollout is gone"));
        let command = found.ok_or_else(gone)?;
        Ok(Some(command).filter(|command| command.end().is_some() || self.is_given_up(command)))
    }

    /// Whether nothing will be heard any more of a command that an agent has: it could not run so
    /// late, or is to end and its agent is away.
    fn is_given_up(&self, command: &Command) -> bool {
        let now = self.ports.clock.now();
        let runs = TimeDelta::from_std(command.spec.timeout).unwrap_or(TimeDelta::MAX);
        let latest = command.expires_at.checked_add_signed(runs).unwrap_or(Timestamp::MAX_UTC);
        let courier = &*self.ports.courier;
        let is_away = courier.sees_all() && !courier.is_connected(command.agent_id);
        let asked = command.cancel_requested_at.filter(|_| is_away);
        [Some(latest), asked]
            .into_iter()
            .flatten()
            .any(|at| at.checked_add_signed(GRACE).is_some_and(|at| now >= at))
    }

    /// Whether the machine is still there, and its customer's.
    async fn is_there(&self, device: &Device) -> Result<bool, StorageError> {
        let agent = self.ports.agents.find(&TenantScope::All, device.agent_id).await?;
        Ok(agent.is_some_and(|agent| agent.customer_id == device.customer_id))
    }

    async fn has_booted(&self, id: AgentId, told_at: Timestamp) -> Result<bool, StorageError> {
        let courier = &*self.ports.courier;
        if courier.sees_all() && !courier.is_connected(id) {
            return Ok(false);
        }
        Ok(has_booted_since(&self.ports.connections.latest(id).await?, told_at))
    }
}

/// Whether a machine has booted and is connected again, since it was told to at `told_at`: by its
/// latest connections, the newest first.
pub(super) fn has_booted_since(connections: &[ConnectionRecord], told_at: Timestamp) -> bool {
    let Some(now) = connections.first().filter(|it| it.end.is_none() && it.began_at > told_at)
    else {
        return false;
    };
    let before = connections.iter().find(|it| it.began_at <= told_at);
    match (before.and_then(|it| it.boot_id.as_ref()), &now.boot_id) {
        (Some(before), Some(now)) => before != now,
        // An agent that does not tell is believed to have gone with its machine.
        (None, _) | (_, None) => true,
    }
}

impl Device {
    /// Whether a task of it failed and it went on.
    pub fn has_errors(&self) -> bool {
        self.count(TaskOutcome::Failed) > 0
    }
}

/// What came of a command of which nothing will be heard any more.
fn given_up() -> Verdict {
    let detail = "nothing was heard of it in time; how far the command came is unknown";
    let (code, detail) = (muster_commands::INTERRUPTED.to_owned(), Some(detail.to_owned()));
    Verdict::Interrupted(DeviceFailure { code, detail })
}

fn never_came_back() -> DeviceFailure {
    let detail = "the machine was told to boot and did not come back from it in time";
    DeviceFailure { code: "TIMED_OUT".to_owned(), detail: Some(detail.to_owned()) }
}

/// What happens to a machine that has not begun and does not any more.
pub(super) fn left_out(cancelled: bool, expired: bool) -> Happening {
    match (cancelled, expired) {
        (true, _) => Happening::Cancelled,
        (false, true) => Happening::LeftOut(SkipReason::Expired),
        (false, false) => Happening::LeftOut(SkipReason::Stopped),
    }
}

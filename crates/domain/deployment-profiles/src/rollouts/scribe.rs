//! Writes what follows from what happens to machines, many at a time, and does it then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::join_all;
use muster_agents::AgentSelection;
use muster_commands::runs::Secrets;
use muster_commands::{Command, Entry, Event, OutputBytes, Requester, Spec, State};
use muster_kernel::{AgentId, CommandId, CustomerId, StorageError, TenantScope, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::device::{Device, Follows, Happening, Order, Part, Stage};
use super::ports::{Advance, Advanced};
use super::walk::Walk;
use crate::compliance::Standing;

/// How many machines are written at a time.
pub(super) const AT_ONCE: usize = 500;
/// How long it takes until what could not be written is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Something that happened to a machine.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// The machine as it was.
    pub(super) device: Device,
    /// What happened.
    pub(super) happening: Happening,
    /// What a command is called that follows.
    pub(super) fresh: CommandId,
}

/// A wish, and who is told of the machine as it is then.
pub(super) type Asked = (Wish, oneshot::Sender<Device>);

/// Writes what is asked for until nobody can ask any more: what came together while the last write
/// went on is written together. It is seen through, whoever waits for it: a command that is durable
/// is to leave.
pub(super) async fn scribe(walk: Arc<Walk>, mut asked: mpsc::UnboundedReceiver<Asked>) {
    while let Some(first) = asked.recv().await {
        let (mut wishes, mut answers) = (vec![first.0], vec![first.1]);
        while wishes.len() < AT_ONCE
            && let Ok((wish, answer)) = asked.try_recv()
        {
            wishes.push(wish);
            answers.push(answer);
        }
        let devices = loop {
            match walk.write(&wishes).await {
                Ok(devices) => break devices,
                Err(error) => {
                    let rollout = walk.rollout.id;
                    tracing::warn!(%error, rollout.id = %rollout, "devices could not go on");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
        };
        for (answer, device) in answers.into_iter().zip(devices) {
            // Whoever does not wait any more finds it in the database.
            let _ = answer.send(device);
        }
    }
}

impl Walk {
    /// Writes what follows from what happened to machines, all in one write, and does it; answers
    /// with each machine as it is then.
    pub(super) async fn write(&self, wishes: &[Wish]) -> Result<Vec<Device>, StorageError> {
        let (id, now) = (self.rollout.id, self.ports.clock.now());
        let mut devices: Vec<_> = wishes.iter().map(|wish| wish.device.clone()).collect();
        let mut orders = Vec::new();
        let mut changed = Vec::new();
        for (number, (wish, device)) in wishes.iter().zip(&mut devices).enumerate() {
            match device.take(self.rollout.course(), &wish.happening, now, wish.fresh) {
                Follows::Nothing => continue,
                Follows::Change => orders.push(None),
                Follows::Order(order) => orders.push(Some(order)),
            }
            changed.push(number);
        }
        if changed.is_empty() {
            return Ok(devices);
        }
        let there = self.there(&changed, &orders, wishes).await?;
        let mut advances = Vec::with_capacity(changed.len());
        for (number, order) in changed.iter().zip(orders) {
            let (Some(wish), Some(device)) = (wishes.get(*number), devices.get_mut(*number)) else {
                continue;
            };
            let command = match order {
                None => None,
                Some(order) if there.contains(&(device.agent_id, device.customer_id)) => {
                    Some(self.command(device, &order, now).await?)
                }
                Some(_) => {
                    device.clone_from(&wish.device);
                    let gone = Happening::AgentRemoved;
                    device.take(self.rollout.course(), &gone, now, wish.fresh);
                    None
                }
            };
            let standing = Standing::of(&self.rollout, device, now);
            let before = wish.device.revision;
            advances.push(Advance { device: device.clone(), before, command, standing });
        }
        let author = self.rollout.requested_by.author();
        let written = self.ports.repository.advance(id, advances.clone(), &author).await?;
        let mut ends = Vec::new();
        for ((number, advance), written) in changed.iter().zip(&advances).zip(written) {
            let is_now = match written {
                Advanced::Written => None,
                // Another process brought it on, or this one did and was not told.
                Advanced::Stale => {
                    self.ports.repository.device(id, advance.device.agent_id).await?
                }
            };
            match is_now.filter(|device| *device != advance.device) {
                None => ends.extend(self.follow(advance)),
                Some(other) => {
                    let _ = self.news.send(other.clone());
                    if let Some(device) = devices.get_mut(*number) {
                        *device = other;
                    }
                }
            }
        }
        join_all(ends.into_iter().map(|(agent, id)| self.ask_for_end(agent, id))).await;
        Ok(devices)
    }

    /// Which machines that are to get commands are still there, and whose they are.
    async fn there(
        &self,
        changed: &[usize],
        orders: &[Option<Order>],
        wishes: &[Wish],
    ) -> Result<BTreeSet<(AgentId, CustomerId)>, StorageError> {
        let ordered = changed.iter().zip(orders).filter(|(_, order)| order.is_some());
        let ids: BTreeSet<_> = ordered
            .filter_map(|(number, _)| wishes.get(*number))
            .map(|wish| wish.device.agent_id)
            .collect();
        if ids.is_empty() {
            return Ok(BTreeSet::new());
        }
        let wanted = AgentSelection { ids: Some(ids), ..AgentSelection::default() };
        let now = self.ports.clock.now();
        let there = self.ports.agents.select(&TenantScope::All, &wanted, now).await?;
        Ok(there.into_iter().map(|agent| (agent.id, agent.customer_id)).collect())
    }

    /// Does what follows when a machine's going on is durable; answers with the command that is to
    /// end, if there is one.
    fn follow(&self, advance: &Advance) -> Option<(AgentId, CommandId)> {
        let _ = self.news.send(advance.device.clone());
        if let Some(command) = &advance.command {
            self.ports.courier.deliver(Arc::new(command.clone()));
        }
        match advance.device.stage {
            Stage::Running { command_id, cancelled: true, .. } => {
                Some((advance.device.agent_id, command_id))
            }
            _ => None,
        }
    }

    async fn command(
        &self,
        device: &Device,
        order: &Order,
        now: Timestamp,
    ) -> Result<Command, StorageError> {
        let mut spec = self.spec(device, order)?;
        let prefix = format!("{}/", order.task);
        let own = |(name, it): (&String, &muster_kernel::Secret)| {
            Some((name.strip_prefix(&prefix)?.to_owned(), it.clone()))
        };
        let secrets: Secrets = self.secrets.iter().filter_map(own).collect();
        if order.part == Part::Work {
            let place = Spec::secrets_place(order.command_id);
            spec.secrets = self.ports.freezer.workshop.seal(&place, &secrets).await?;
        }
        let patience = TimeDelta::from_std(self.rollout.expires_in).unwrap_or(TimeDelta::MAX);
        let expires_at = now.checked_add_signed(patience).unwrap_or(self.rollout.expires_at);
        let requested_by: Requester = self.rollout.requested_by.requester;
        Ok(Command {
            id: order.command_id,
            agent_id: device.agent_id,
            customer_id: device.customer_id,
            spec,
            run_id: None,
            rollout_id: Some(self.rollout.id),
            held: false,
            requested_by,
            safety_level: self.rollout.safety_level,
            created_at: now,
            expires_at,
            // What is about to leave is recorded as dispatched in the same commit.
            dispatched_at: self.ports.courier.has_room(device.agent_id).then_some(now),
            cancel_requested_at: None,
            state: State::Pending { accepted_at: None },
            output: OutputBytes::default(),
        })
    }

    fn spec(&self, device: &Device, order: &Order) -> Result<Spec, StorageError> {
        let parts = self.rollout.tasks.get(order.task).and_then(|it| it.of(device.os_type));
        let spec = parts.and_then(|parts| match order.part {
            Part::Check | Part::Verify => parts.check.clone(),
            Part::Work => Some(parts.work.clone()),
        });
        let missing = || StorageError::new(std::io::Error::other("a rollout lacks a task's text"));
        spec.ok_or_else(missing)
    }

    /// Asks for the end of a command that is under way.
    pub(super) async fn ask_for_end(&self, agent: AgentId, id: CommandId) {
        let at = self.ports.clock.now();
        let entry = Entry::Event(Event::CancelRequested { at });
        match self.ports.channel.record(agent, id, entry).await {
            Ok(Some(recorded)) if recorded.command.end().is_none() => {
                self.ports.courier.cancel(agent, id);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the end of a command could not be asked for"),
        }
    }
}

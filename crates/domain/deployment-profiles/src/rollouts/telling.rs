//! What listeners hear of rollouts.

use muster_commands::runs::StopReason;
use muster_kernel::RolloutId;
use muster_kernel::events::{Channel, Event, EventBus, Topic};
use serde_json::json;

use super::device::{Device, DeviceStatus, TaskOutcome};
use super::rollout::{Rollout, RolloutTally};

impl Rollout {
    /// What listeners are told of how far it is: a JSON text.
    pub fn progress(&self, tally: &RolloutTally) -> String {
        json!({
            "rollout_id": self.id,
            "status": self.status.as_str(),
            "stop_reason": self.stop.map(StopReason::as_str),
            "dry_run": self.dry_run,
            "total": tally.total(),
            "queued": tally.queued,
            "running": tally.running,
            "waiting_for_reboot": tally.waiting_for_reboot,
            "done": tally.done,
            "failed": tally.failed,
            "skipped": tally.skipped,
            "cancelled": tally.cancelled,
        })
        .to_string()
    }
}

/// Tells how far a rollout is.
pub(super) fn progress(bus: &dyn EventBus, rollout: &Rollout, tally: &RolloutTally) {
    tell(bus, rollout, "progress", rollout.progress(tally));
}

/// Tells that a rollout has ended, and that this was all.
pub(super) fn finished(bus: &dyn EventBus, rollout: &Rollout) {
    tell(bus, rollout, "finished", rollout.progress(&rollout.tally));
    bus.close(Channel::Rollout(rollout.id));
}

fn tell(bus: &dyn EventBus, rollout: &Rollout, name: &'static str, data: String) {
    let (topic, customer_id) = (Topic::Rollouts, rollout.customer_id);
    let event = Event { topic, name, customer_id, data: data.into() };
    bus.tell(Channel::Rollout(rollout.id), event.clone());
    bus.tell(Channel::Everything, Event { name: "rollout", ..event });
}

/// Tells how far a machine of a rollout is.
pub(super) fn device(bus: &dyn EventBus, id: RolloutId, device: &Device) {
    let data = json!({
        "rollout_id": id,
        "agent_id": device.agent_id,
        "status": device.status().as_str(),
        "position": (device.status() != DeviceStatus::Done).then_some(device.position + 1),
        "attempt": device.attempt,
        "changed": device.count(TaskOutcome::Changed),
        "errors": device.count(TaskOutcome::Failed),
    });
    let event = Event {
        topic: Topic::Rollouts,
        name: "device",
        customer_id: Some(device.customer_id),
        data: data.to_string().into(),
    };
    bus.tell(Channel::Rollout(id), event);
}

//! Alerts in memory, and the contract of everything that keeps them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

mod contract;
mod fakes;
mod outside;

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, AlertChannelId, AlertId, AlertRuleId, Clock, CustomerId, DeliveryId,
    MaintenanceWindowId, Sealed, Timestamp,
};
use serde_json::json;

use crate::{
    Alert, Channel, ChannelKind, Condition, ConditionWish, Delivery, DeliveryState, Machine,
    MaintenanceWindow, Message, Rule, Selector, Severity, Span, State, Subject,
};

pub use contract::{
    alert_contract, channel_contract, delivery_contract, deviation_contract, rule_contract,
    window_contract,
};
pub use fakes::FakeAlerts;
pub use outside::FakeMessenger;

fn entropy(seed: u64) -> SeededEntropy {
    SeededEntropy::new(seed)
}

/// The time at which everything here was made.
pub fn noon() -> Timestamp {
    FakeClock::default().now()
}

/// The customer whose everything is here.
pub fn customer_id(seed: u64) -> CustomerId {
    CustomerId::new(&FakeClock::default(), &entropy(seed))
}

/// A machine of the customer of seed 1.
pub fn machine(seed: u64, tags: &[&str]) -> Machine {
    Machine {
        id: AgentId::new(&FakeClock::default(), &entropy(seed)),
        customer_id: customer_id(1),
        hostname: format!("web-{seed}"),
        os_type: "linux".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

/// A condition of this kind, as it is when nobody says anything.
///
/// # Panics
/// When there is no such kind.
pub fn condition(kind: &str) -> Condition {
    let wish = ConditionWish {
        kind: kind.to_owned(),
        metric: (kind == "metric").then(|| "cpu".to_owned()),
        above: (kind == "metric").then_some(90.0),
        resolve_below: (kind == "metric").then_some(80.0),
        ..ConditionWish::default()
    };
    Condition::parse(&wish).unwrap()
}

/// A rule for all customers.
pub fn rule(seed: u64, condition: Condition) -> Rule {
    Rule {
        id: AlertRuleId::new(&FakeClock::default(), &entropy(seed)),
        customer_id: None,
        name: format!("Rule {seed}"),
        severity: Severity::Warning,
        condition,
        selector: Selector::default(),
        channel_ids: [channel(1).id].into(),
        enabled: true,
        version: 1,
        created_at: noon(),
        updated_at: noon(),
    }
}

/// A webhook for all customers.
pub fn channel(seed: u64) -> Channel {
    Channel {
        id: AlertChannelId::new(&FakeClock::default(), &entropy(seed)),
        customer_id: None,
        name: format!("Channel {seed}"),
        kind: ChannelKind::Webhook { url: "https://hooks.example.org/x".to_owned() },
        secret: Some(Sealed(vec![1, 2, 3])),
        enabled: true,
        version: 1,
        created_at: noon(),
        updated_at: noon(),
    }
}

/// A window of an hour from noon on.
pub fn window(seed: u64) -> MaintenanceWindow {
    MaintenanceWindow {
        id: MaintenanceWindowId::new(&FakeClock::default(), &entropy(seed)),
        customer_id: None,
        name: format!("Window {seed}"),
        selector: Selector::default(),
        span: Span::Once { from: noon(), to: noon() + chrono::TimeDelta::hours(1) },
        created_at: noon(),
    }
}

/// An alert that fires: `rule` found something about `machine`.
pub fn alert(seed: u64, rule: &Rule, machine: &Machine) -> Alert {
    Alert {
        id: AlertId::new(&FakeClock::default(), &entropy(seed)),
        rule_id: rule.id,
        rule_name: rule.name.clone(),
        kind: rule.condition.kind().to_owned(),
        severity: rule.severity,
        subject: Subject {
            kind: "agent",
            id: machine.id.as_uuid(),
            name: machine.hostname.clone(),
        },
        customer_id: Some(machine.customer_id),
        summary: format!("{} is offline", machine.hostname),
        details: json!({ "last_seen": noon() }),
        state: State::Firing,
        first_seen_at: noon(),
        last_seen_at: noon(),
        count: 1,
        clear_since: None,
        resolved_at: None,
    }
}

/// A test message through the channel of the same seed, due at noon.
pub fn delivery(seed: u64) -> Delivery {
    Delivery {
        id: DeliveryId::new(&FakeClock::default(), &entropy(seed)),
        channel_id: channel(seed).id,
        alert_id: None,
        message: Message {
            event: "test".to_owned(),
            at: noon(),
            severity: Severity::Info,
            title: "A test".to_owned(),
            alert: None,
        },
        state: DeliveryState::Pending,
        due_at: noon(),
        created_at: noon(),
        attempts: Vec::new(),
    }
}

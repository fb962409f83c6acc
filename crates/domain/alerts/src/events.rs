//! Alerts as listeners and receivers get them.

use std::sync::Arc;

use muster_kernel::events::{Event, Topic};
use serde_json::{Value, json};

use crate::Alert;

/// What there is to know about an alert.
pub(crate) fn facts(alert: &Alert) -> Value {
    json!({
        "id": alert.id,
        "rule_id": alert.rule_id,
        "rule_name": alert.rule_name,
        "kind": alert.kind,
        "severity": alert.severity,
        "subject": {
            "kind": alert.subject.kind,
            "id": alert.subject.id,
            "name": alert.subject.name,
        },
        "customer_id": alert.customer_id,
        "summary": alert.summary,
        "details": alert.details,
        "state": alert.state.as_str(),
        "first_seen_at": alert.first_seen_at,
        "last_seen_at": alert.last_seen_at,
        "count": alert.count,
        "resolved_at": alert.resolved_at,
    })
}

/// The event that tells how an alert is now.
pub(crate) fn news(alert: &Alert) -> Event {
    Event {
        topic: Topic::Alerts,
        name: "alert",
        customer_id: alert.customer_id,
        data: Arc::from(facts(alert).to_string()),
    }
}

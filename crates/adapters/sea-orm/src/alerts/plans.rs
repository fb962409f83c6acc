//! That what is looked for again and again is found by an index.

use std::collections::BTreeSet;

use muster_alerts::Rule;
use muster_alerts::testing::{channel, condition, noon, rule};

use super::deliveries::{next, waiting};
use super::occurrences::{maybe_over, missed};
use super::{in_order, silent};
use crate::agents::plans::plan;
use crate::testing::{agents, on_sqlite, watched};

#[tokio::test]
async fn messages_that_are_due_are_found_by_the_index_of_those_on_their_way() {
    let database = on_sqlite().await;
    watched(&database).await;
    let (now, id) = (noon(), channel(1).id);
    let waits = plan(&database, waiting(now, &BTreeSet::from([id]), 32)).await.join("; ");
    assert!(waits.contains("INDEX alert_deliveries_pending"), "{waits}");
    let takes = plan(&database, next(id.as_uuid(), now)).await.join("; ");
    assert!(
        takes.contains("INDEX alert_deliveries_pending (channel_id=? AND due_at<?)"),
        "{takes}"
    );
    assert!(!takes.contains("TEMP B-TREE"), "{takes}");
    for plan in [waits, takes] {
        assert!(plan.contains("older USING INDEX alert_deliveries_by_alert"), "{plan}");
    }
}

#[tokio::test]
async fn alerts_that_may_be_over_are_found_by_the_indexes_of_such_alerts() {
    let database = on_sqlite().await;
    watched(&database).await;
    let returned = plan(&database, maybe_over(noon())).await.join("; ");
    assert!(returned.contains("alerts USING INDEX alerts_offline"), "{returned}");
    assert!(!returned.contains("SCAN agents"), "{returned}");
    let silent = plan(&database, in_order(silent())).await.join("; ");
    assert!(silent.contains("alerts USING INDEX alerts_suppressed"), "{silent}");
}

#[tokio::test]
async fn machines_that_are_missed_are_found_by_when_they_were_seen_or_their_ids() {
    let database = on_sqlite().await;
    let [(web, customer), _] = agents(&database).await;
    let all = rule(1, condition("offline"));
    let theirs = Rule { customer_id: Some(customer), ..rule(2, condition("offline")) };
    let (mut tagged, mut named) = (all.clone(), all.clone());
    tagged.selector.tags.insert("db".into());
    tagged.selector.os_type = Some("linux".into());
    named.selector.agent_ids.insert(web);
    for rule in [all, theirs, tagged, named] {
        let plan = plan(&database, missed(&rule, noon(), noon())).await.join("; ");
        assert!(plan.contains("SEARCH agents USING"), "{plan}");
        assert!(plan.contains("alerts USING INDEX alerts_open"), "{plan}");
        assert!(plan.contains("INDEX alerts_over (rule_id=? AND subject_id=?"), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
    }
}

//! That what is looked for again and again is found by an index.

use std::collections::BTreeSet;

use muster_alerts::testing::{channel, noon};

use super::deliveries::{next, waiting};
use crate::agents::plans::plan;
use crate::testing::{on_sqlite, watched};

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

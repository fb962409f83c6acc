//! Examples, and the contract that every log keeps.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::sync::Arc;

use chrono::TimeDelta;
use futures_util::TryStreamExt;
use muster_kernel::testing::{FakeClock, SeededEntropy, permit};
use muster_kernel::{Clock, CustomerId, Deed, PageRequest, Place};

use crate::{Audit, AuditFilter, AuditLog, ChainKey, Entry};

/// A deed done to the thing `n`.
pub fn deed(n: u64) -> Deed {
    let place = Place {
        kind: "thing",
        id: uuid::Uuid::from_u64_pair(1, n),
        customer_id: Some(CustomerId::new(&FakeClock::default(), &SeededEntropy::new(n % 3))),
    };
    Deed::done("thing.touch", place, Some(serde_json::json!({ "n": n })))
}

/// An entry like many others.
pub fn entry(n: u64) -> Entry {
    let permit = permit::<muster_kernel::act::ReadAudit>(n);
    let mut author = permit.author().clone();
    author.request_id = Some("r".into());
    Entry::new(n, FakeClock::default().now(), &author, &deed(n))
}

/// The contract of [`AuditLog`]: `append` enters the deed at the instant, in a transaction.
///
/// # Panics
/// When the log breaks it.
pub async fn contract(
    log: Arc<dyn AuditLog>,
    key: ChainKey,
    append: impl AsyncFn(Deed, muster_kernel::Timestamp),
) {
    let clock = Arc::new(FakeClock::default());
    let audit = Audit::new(Arc::clone(&log), key, clock.clone());
    let reader = permit(1);
    assert_eq!(audit.verify(&reader).await.unwrap().outcome, Ok(0));
    for n in 0..10 {
        append(deed(n), clock.now()).await;
        clock.advance(TimeDelta::days(1));
    }
    let report = audit.verify(&reader).await.unwrap();
    assert_eq!((report.outcome, report.head.last), (Ok(10), 10));

    let page = audit.list(&reader, &AuditFilter::default(), &PageRequest::new(4, None)).await;
    let page = page.unwrap();
    let seqs: Vec<_> = page.items.iter().map(|entry| entry.seq).collect();
    assert_eq!((seqs, page.total), (vec![10, 9, 8, 7], 10));
    let next = PageRequest::new(4, page.next_cursor);
    let page = audit.list(&reader, &AuditFilter::default(), &next).await.unwrap();
    assert_eq!(page.items[0].seq, 6);
    let filters = [
        (AuditFilter { resource_id: Some(deed(3).place.id), ..AuditFilter::default() }, 1),
        (AuditFilter { customer_id: deed(1).place.customer_id, ..AuditFilter::default() }, 3),
        (AuditFilter { action: Some("thing.".into()), ..AuditFilter::default() }, 10),
        (AuditFilter { action: Some("thing".into()), ..AuditFilter::default() }, 0),
        (AuditFilter { resource_kind: Some("user".into()), ..AuditFilter::default() }, 0),
        (AuditFilter { from: Some(clock.now() - TimeDelta::days(2)), ..AuditFilter::default() }, 2),
        (AuditFilter { to: Some(clock.now() - TimeDelta::days(9)), ..AuditFilter::default() }, 1),
    ];
    for (filter, expected) in filters {
        let page = audit.list(&reader, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(page.total, expected, "{filter:?}");
    }
    let all: Vec<_> = audit.export(&reader).await.unwrap().try_collect().await.unwrap();
    assert_eq!(all.len(), 10);
    assert_eq!(all[2].entry.after.as_deref(), Some("{\"n\":2}"));

    // Entries 1 to 5 are older than five days; letting them go is an entry itself.
    assert_eq!(audit.prune(TimeDelta::days(5)).await.unwrap(), 5);
    let report = audit.verify(&reader).await.unwrap();
    assert_eq!((report.outcome, report.head.first, report.head.last), (Ok(6), 6, 11));
    let page = audit.list(&reader, &AuditFilter::default(), &PageRequest::new(1, None)).await;
    assert_eq!(page.unwrap().items[0].action, "audit.prune");
    assert_eq!(audit.prune(TimeDelta::days(5)).await.unwrap(), 0);
    assert_eq!(log.head().await.unwrap().0.last, 11, "nothing to let go is no deed");
}

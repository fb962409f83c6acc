//! Work that one of several nodes does for all: whoever holds the lease.
//!
//! No clock is compared with another machine's. A holder writes its lease anew again and again; the
//! others take it when they have seen the same one for longer than a lease lasts, by their own
//! watch. So two never hold it at once, however far their clocks are apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Clock, NodeId, StorageError, Timestamp};

/// How long a lease lasts that is not renewed.
pub const LEASED_FOR: Duration = Duration::from_secs(4);
/// How old a lease gets before its holder renews it.
pub const RENEWED_AFTER: Duration = Duration::from_secs(2);
/// How often a node looks after a lease: one whose holder is dead goes to another node within
/// [`LEASED_FOR`], twice this, and the time that it takes to ask the storage.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Who holds something, as it was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub node: NodeId,
    /// Until when, by the holder's clock: another instant each time that it is renewed.
    pub until: Timestamp,
}

/// Keeps leases.
#[async_trait]
pub trait Leaderships: Send + Sync + std::fmt::Debug {
    /// The lease of this name, if anybody holds it.
    async fn lease(&self, name: &str) -> Result<Option<Lease>, StorageError>;

    /// Makes `next` the lease of this name if it still is `seen`, and says whether it was: of
    /// several that have seen the same one, the first takes it.
    async fn take(
        &self,
        name: &str,
        seen: Option<Lease>,
        next: Option<Lease>,
    ) -> Result<bool, StorageError>;
}

/// A node that stands for the lease of one name.
#[derive(Debug)]
pub struct Candidate {
    leaderships: Arc<dyn Leaderships>,
    clock: Arc<dyn Clock>,
    name: &'static str,
    node: NodeId,
    /// Another's lease, and since when it is known.
    seen: Option<(Lease, Instant)>,
    /// Its own lease, and when that was written.
    held: Option<(Lease, Instant)>,
}

impl Candidate {
    /// That holds nothing yet.
    pub fn new(
        leaderships: Arc<dyn Leaderships>,
        clock: Arc<dyn Clock>,
        name: &'static str,
        node: NodeId,
    ) -> Self {
        Self { leaderships, clock, name, node, seen: None, held: None }
    }

    /// Until when it holds the lease without renewing it; `None` when it holds none.
    pub fn holds_until(&self) -> Option<Instant> {
        self.held.and_then(|(_, since)| since.checked_add(LEASED_FOR))
    }

    /// Renews the lease, or takes it where nobody does; `now` is the present. To be called every
    /// [`LOOK_EVERY`].
    ///
    /// # Errors
    /// When the storage fails; a lease that is held stays so until its time is over.
    pub async fn stand(&mut self, now: Instant) -> Result<(), StorageError> {
        if let Some((held, since)) = self.held {
            if now.saturating_duration_since(since) >= RENEWED_AFTER {
                self.write(Some(held), now).await?;
            }
            return Ok(());
        }
        let Some(lease) = self.leaderships.lease(self.name).await? else {
            return self.write(None, now).await;
        };
        match self.seen {
            Some((seen, since)) if seen == lease => {
                if now.saturating_duration_since(since) >= LEASED_FOR {
                    self.write(Some(lease), now).await?;
                }
            }
            _ => self.seen = Some((lease, now)),
        }
        Ok(())
    }

    /// Gives the lease up, so that another node takes it at once.
    ///
    /// # Errors
    /// When the storage fails; the lease is over in a while all the same.
    pub async fn resign(&mut self) -> Result<(), StorageError> {
        if let Some((held, _)) = self.held.take() {
            self.leaderships.take(self.name, Some(held), None).await?;
        }
        Ok(())
    }

    /// The lease counts from before it is written: others count from when they see it.
    async fn write(&mut self, seen: Option<Lease>, now: Instant) -> Result<(), StorageError> {
        let lasts = chrono::TimeDelta::from_std(LEASED_FOR).unwrap_or_default();
        let until = crate::time::to_micros(self.clock.now() + lasts);
        // Each differs from the one before, also where a clock stands still or was set back.
        let next = match seen {
            Some(seen) if seen.until == until => until + chrono::TimeDelta::microseconds(1),
            _ => until,
        };
        let lease = Lease { node: self.node, until: next };
        let taken = self.leaderships.take(self.name, seen, Some(lease)).await?;
        self.held = taken.then_some((lease, now));
        self.seen = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeClock, FakeLeaderships, SeededEntropy};

    fn candidates() -> [Candidate; 2] {
        let clock = Arc::new(FakeClock::default());
        let leaderships = Arc::new(FakeLeaderships::default());
        [1, 2].map(|seed| {
            let node = NodeId::new(&*clock, &SeededEntropy::new(seed));
            Candidate::new(leaderships.clone(), clock.clone(), "work", node)
        })
    }

    /// Whether it holds the lease at this instant.
    fn holds(candidate: &Candidate, now: Instant) -> bool {
        candidate.holds_until().is_some_and(|until| now < until)
    }

    #[tokio::test]
    async fn one_of_two_holds_it_for_as_long_as_it_renews_it() {
        let [mut one, mut other] = candidates();
        let mut now = Instant::now();
        for _ in 0..40 {
            one.stand(now).await.unwrap();
            other.stand(now).await.unwrap();
            assert!(holds(&one, now) && !holds(&other, now));
            now += LOOK_EVERY;
        }
    }

    #[tokio::test]
    async fn when_the_holder_is_dead_another_takes_it_within_six_seconds_and_never_earlier() {
        let [mut one, mut other] = candidates();
        let begun = Instant::now();
        one.stand(begun).await.unwrap();
        let mut now = begun + Duration::from_millis(100);
        while !holds(&other, now) {
            other.stand(now).await.unwrap();
            assert!(!(holds(&one, now) && holds(&other, now)), "two hold it");
            now += LOOK_EVERY;
        }
        assert!(now - begun <= Duration::from_secs(6), "{:?}", now - begun);
        // The dead one was only slow: it is told that the lease is another's.
        one.stand(now).await.unwrap();
        assert!(!holds(&one, now) && holds(&other, now));
    }

    #[tokio::test]
    async fn whoever_resigns_leaves_it_to_another_at_once() {
        let [mut one, mut other] = candidates();
        let now = Instant::now();
        one.stand(now).await.unwrap();
        other.stand(now).await.unwrap();
        one.resign().await.unwrap();
        other.stand(now).await.unwrap();
        assert!(!holds(&one, now) && holds(&other, now));
    }
}

//! Many agents in one process, as tests want them: `muster-swarm` that ends the test where it fails.

use std::sync::Arc;
use std::time::Duration;

pub use muster_swarm::{Behaviour, Record};
use muster_swarm::{Endpoint, Figures, Names, Pace, Swarm, enrol};
use muster_trust::Trust;
use tokio::time::Instant;
use uuid::Uuid;

/// How many machines enrol at a time.
const AT_ONCE: usize = 64;

/// Many connected machines, named `NAME-0`, `NAME-1`, …; they end when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// Their ids, by number.
    pub ids: Vec<Uuid>,
    /// What they did.
    pub record: Arc<Record>,
    swarm: Swarm,
}

impl Fleet {
    /// Enrols and connects `size` machines, and waits until they are.
    ///
    /// # Panics
    /// When one of them is refused.
    pub async fn start(
        url: &str,
        token: &str,
        name: &str,
        size: usize,
        behaviour: Behaviour,
    ) -> Self {
        let servers = [url.parse().unwrap()];
        let endpoint = Endpoint::open(&servers, &Trust::WebRoots, Vec::new(), size);
        let endpoint = endpoint.await.unwrap();
        let figures = Arc::new(Figures::default());
        let names = Names { prefix: name, from: 0, to: size };
        let mut identities = Vec::with_capacity(size);
        let keep = |identity| {
            identities.push(identity);
            Ok(())
        };
        enrol(&endpoint, token, names, AT_ONCE, &figures, keep).await.unwrap();
        let swarm = Swarm::start(endpoint, identities, behaviour, Pace::default(), figures);
        let swarm = swarm.unwrap();
        let fleet = Self { ids: swarm.ids().to_vec(), record: swarm.record(), swarm };
        fleet.all_connected().await;
        fleet
    }

    /// Waits until all machines are connected.
    ///
    /// # Panics
    /// When they do not connect within a minute.
    pub async fn all_connected(&self) {
        let begun = Instant::now();
        while self.record.connected() < self.ids.len() {
            assert!(begun.elapsed() < Duration::from_mins(1), "not all machines connect");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends all connections for good.
    pub async fn stop(self) {
        self.swarm.stop().await;
    }
}

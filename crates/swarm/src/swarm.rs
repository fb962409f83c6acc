//! Many machines.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::journal::Journal;
use crate::machine::Machine;
use crate::{Behaviour, Endpoint, Figures, Identity, Pace, Record};

/// How long the machines may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What all machines share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) endpoint: Endpoint,
    pub(crate) behaviour: Behaviour,
    pub(crate) record: Arc<Record>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) boot_id: String,
    pub(crate) gate: Semaphore,
    pub(crate) stopping: CancellationToken,
    size: usize,
    begun: Instant,
    per_second: Option<f64>,
}

impl World {
    /// Waits until the machine may connect for the first time.
    pub(crate) async fn turn(&self, machine: usize) {
        let Some(per_second) = self.per_second else { return };
        let number = u32::try_from(machine).map_or(f64::INFINITY, f64::from);
        if let Ok(later) = Duration::try_from_secs_f64(number / per_second) {
            tokio::time::sleep_until(self.begun + later).await;
        }
    }

    /// Notes that a machine is connected.
    pub(crate) fn arrive(&self) {
        if self.record.connect() == self.size {
            self.figures.all_are_connected(self.begun.elapsed());
        }
    }
}

/// Many machines; they end when it is dropped.
#[derive(Debug)]
pub struct Swarm {
    world: Arc<World>,
    ids: Vec<Uuid>,
    tasks: JoinSet<()>,
}

impl Swarm {
    /// Starts a machine for each identity; they connect as `pace` says.
    ///
    /// # Errors
    /// When an identity has no key of a server.
    pub fn start(
        endpoint: Endpoint,
        identities: Vec<Identity>,
        behaviour: Behaviour,
        pace: Pace,
        figures: Arc<Figures>,
    ) -> anyhow::Result<Self> {
        let world = Arc::new(World {
            endpoint,
            behaviour,
            record: Arc::default(),
            figures,
            boot_id: Uuid::from_u128(rand::random()).to_string(),
            gate: Semaphore::new(pace.at_once.clamp(1, Semaphore::MAX_PERMITS)),
            stopping: CancellationToken::new(),
            size: identities.len(),
            begun: Instant::now(),
            per_second: pace.per_second,
        });
        let ids = identities.iter().map(|identity| identity.agent_id).collect();
        let mut tasks = JoinSet::new();
        for (number, identity) in identities.into_iter().enumerate() {
            let (key, world) = (identity.key()?, Arc::clone(&world));
            let machine = Machine { number, identity, key, world, journal: Journal::default() };
            tasks.spawn(machine.live());
        }
        Ok(Self { world, ids, tasks })
    }

    /// The ids of the machines, by number.
    pub fn ids(&self) -> &[Uuid] {
        &self.ids
    }

    /// What they did.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.world.record)
    }

    /// Ends all connections for good, with a goodbye to the server.
    pub async fn stop(mut self) {
        self.world.stopping.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, ended).await;
        self.tasks.shutdown().await;
    }
}

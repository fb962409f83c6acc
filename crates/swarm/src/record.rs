//! What the machines of a swarm did.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

/// What the machines of a swarm did. It remembers every command, some 60 bytes each.
#[derive(Debug, Default)]
pub struct Record {
    /// How often each command was started, by its id.
    pub starts: Mutex<HashMap<Uuid, usize>>,
    /// The machines that started something, by their number, in that order.
    pub order: Mutex<Vec<usize>>,
    running: AtomicUsize,
    /// The most commands that ran at a time.
    pub peak: AtomicUsize,
    connected: AtomicUsize,
    acknowledged: AtomicUsize,
    ordered_again: AtomicUsize,
}

impl Record {
    /// How many commands were started, each start counted.
    pub fn started(&self) -> usize {
        self.order.lock().len()
    }

    /// How many commands were started more than once, which must not happen.
    pub fn started_again(&self) -> usize {
        self.starts.lock().values().filter(|starts| **starts > 1).count()
    }

    /// How many results the server has acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// How many orders came for commands that were known already, which is harmless.
    pub fn ordered_again(&self) -> usize {
        self.ordered_again.load(Ordering::SeqCst)
    }

    /// How many machines are connected.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::SeqCst)
    }

    pub(crate) fn connect(&self) -> usize {
        self.connected.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn disconnect(&self) {
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn start(&self, machine: usize, command: Uuid) {
        *self.starts.lock().entry(command).or_default() += 1;
        self.order.lock().push(machine);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
    }

    pub(crate) fn end(&self, commands: usize) {
        self.running.fetch_sub(commands, Ordering::SeqCst);
    }

    pub(crate) fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn repeat(&self) {
        self.ordered_again.fetch_add(1, Ordering::SeqCst);
    }
}

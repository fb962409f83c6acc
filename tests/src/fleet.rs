//! Many agents in one process: the protocol without the program, over any number of connections.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use muster_protocol::{
    Accepted, AgentMessage, CommandProgress, Execute, Finished, Instruction, JournalEntry, Outcome,
    ServerMessage, Started, StreamFrame, StreamKind,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Enrolled, RawAgent, now};

/// How many machines enrol and connect at a time.
const AT_ONCE: usize = 64;
/// How long an agent waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(100);

/// How the machines of a fleet work.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// How long each command takes.
    pub takes: Duration,
    /// The machines, by their number, on which every command fails.
    pub failing: Vec<usize>,
    /// What each command writes.
    pub output: String,
}

/// What the machines of a fleet did.
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
}

impl Record {
    /// How many commands were started, each start counted.
    pub fn started(&self) -> usize {
        self.starts.lock().values().sum()
    }

    fn start(&self, machine: usize, command: Uuid) {
        *self.starts.lock().entry(command).or_default() += 1;
        self.order.lock().push(machine);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
    }
}

/// Many connected machines, named `NAME-0`, `NAME-1`, …; they end when it is dropped.
#[derive(Debug)]
pub struct Fleet {
    /// Their ids, by number.
    pub ids: Vec<Uuid>,
    /// What they did.
    pub record: Arc<Record>,
    tasks: JoinSet<()>,
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
        let enrolled: Vec<_> = stream::iter(0..size)
            .map(|number| async move {
                Enrolled::register(url, token, &format!("{name}-{number}")).await
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let record = Arc::new(Record::default());
        let ids = enrolled.iter().map(|machine| machine.agent_id).collect();
        let behaviour = Arc::new(behaviour);
        let mut tasks = JoinSet::new();
        for (number, enrolled) in enrolled.into_iter().enumerate() {
            let machine = Machine {
                number,
                url: url.to_owned(),
                enrolled,
                behaviour: Arc::clone(&behaviour),
                record: Arc::clone(&record),
                open: BTreeMap::new(),
                ends: VecDeque::new(),
            };
            tasks.spawn(machine.live());
        }
        let fleet = Self { ids, record, tasks };
        fleet.all_connected().await;
        fleet
    }

    /// Waits until all machines are connected.
    ///
    /// # Panics
    /// When they do not connect within a minute.
    pub async fn all_connected(&self) {
        let begun = Instant::now();
        while self.record.connected.load(Ordering::SeqCst) < self.ids.len() {
            assert!(begun.elapsed() < Duration::from_mins(1), "not all machines connect");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends all connections for good.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// One machine, with the journal that an agent keeps.
struct Machine {
    number: usize,
    url: String,
    enrolled: Enrolled,
    behaviour: Arc<Behaviour>,
    record: Arc<Record>,
    /// What the server has not acknowledged; `None` while it runs.
    open: BTreeMap<Uuid, Option<Finished>>,
    /// What runs, in the order in which it ends.
    ends: VecDeque<(Instant, Uuid, u32)>,
}

impl Machine {
    async fn live(mut self) {
        loop {
            let journal = self.open.iter().map(|(id, finished)| JournalEntry {
                command_id: *id,
                progress: match finished {
                    Some(_) => CommandProgress::Finished,
                    None => CommandProgress::Accepted,
                },
            });
            let journal = journal.collect();
            if let Ok(mut agent) = RawAgent::connect(&self.url, &self.enrolled).await {
                agent.hello(journal, now()).await;
                if let Some(Instruction::Welcome(_)) = agent.order().await {
                    self.record.connected.fetch_add(1, Ordering::SeqCst);
                    let _ = self.serve(&mut agent).await;
                    self.record.connected.fetch_sub(1, Ordering::SeqCst);
                }
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    /// Until the connection ends.
    async fn serve(&mut self, agent: &mut RawAgent) -> Option<()> {
        for finished in self.open.values().flatten() {
            agent.say(&AgentMessage::Finished(finished.clone())).await.ok()?;
        }
        loop {
            let next = self.ends.front().map(|(at, ..)| *at);
            let never = Instant::now() + Duration::from_hours(1);
            tokio::select! {
                message = agent.hear() => match message? {
                    ServerMessage::Signed(signed) => {
                        if let Instruction::Execute(execute) = agent.verified(&signed) {
                            self.execute(agent, *execute).await?;
                        }
                    }
                    ServerMessage::FinishedAck(ack) => drop(self.open.remove(&ack.command_id)),
                    _ => {}
                },
                () = tokio::time::sleep_until(next.unwrap_or(never)) => self.end(agent).await?,
            }
        }
    }

    async fn execute(&mut self, agent: &mut RawAgent, execute: Execute) -> Option<()> {
        let id = execute.command_id;
        if let Entry::Vacant(entry) = self.open.entry(id) {
            entry.insert(None);
            self.record.start(self.number, id);
            self.ends.push_back((Instant::now() + self.behaviour.takes, id, execute.stream_id));
        }
        agent.say(&AgentMessage::Accepted(Accepted { command_id: id })).await.ok()?;
        let started = Started { command_id: id, pid: 1, started_at: now() };
        agent.say(&AgentMessage::Started(started)).await.ok()
    }

    async fn end(&mut self, agent: &mut RawAgent) -> Option<()> {
        let (_, id, stream_id) = self.ends.pop_front()?;
        self.record.running.fetch_sub(1, Ordering::SeqCst);
        let fails = self.behaviour.failing.contains(&self.number);
        let bytes = bytes::Bytes::from(self.behaviour.output.clone());
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        let finished = Finished {
            command_id: id,
            outcome: if fails { Outcome::Failed } else { Outcome::Completed },
            exit_code: Some(i32::from(fails)),
            execution_time: Some(self.behaviour.takes.as_secs_f64()),
            stdout_bytes: length,
            stderr_bytes: 0,
            failure_code: fails.then(|| "EXIT_CODE".to_owned()),
            detail: None,
        };
        self.open.insert(id, Some(finished.clone()));
        if length > 0 {
            let frame = StreamFrame { kind: StreamKind::Stdout, stream_id, offset: 0, bytes };
            agent.write(&frame).await.ok()?;
        }
        agent.say(&AgentMessage::Finished(finished)).await.ok()
    }
}

//! What metrics of a large fleet cost: taking in its heartbeats, in rows of one sample or of ten,
//! and reading what one machine said in a day. `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use muster_agents::metrics::{
    Ageing, MetricsStore, Pack, Recorder, Resolution, Rolled, Sample, Step, roll,
};
use muster_agents::testing::metrics::{agent, day_of_samples, heartbeat, noon};
use muster_agents::{Heartbeat, Heartbeats};
use muster_audit::ChainKey;
use muster_kernel::{AgentId, Timestamp};
use muster_sea_orm::{Database, DatabaseUrl, SeaMetrics};
use tempfile::TempDir;

const MACHINES: u64 = 18_000;
/// Of how many machines a whole day is kept.
const WHOLE_DAYS: u64 = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    println!("{MACHINES} machines, a heartbeat every 30 s");
    for (name, samples) in [("one sample a row", 1), ("ten samples a row", 10)] {
        let folder = TempDir::new().unwrap();
        let store = store(folder.path()).await;
        days(&store, samples).await;
        let used = writing(&store, samples).await;
        println!("{name}:");
        println!("  processor, of one core      {:.2} %", used.processor * 100.0);
        println!("  written to the disk         {:.0} KiB/s", used.written / 1024.0);
        println!("  bytes a sample in the file  {:.0}", size(folder.path()) / used.samples);
        println!("  one machine's day           {:.2?}", reading(&store).await);
    }
    let folder = TempDir::new().unwrap();
    let used = recording(store(folder.path()).await).await;
    println!("from the heartbeat on:");
    println!("  processor, of one core      {:.2} %", used.processor * 100.0);
    println!("  written to the disk         {:.0} KiB/s", used.written / 1024.0);
}

struct Used {
    /// Of one core.
    processor: f64,
    /// Bytes a second.
    written: f64,
    /// All that are kept.
    samples: f64,
}

async fn store(folder: &Path) -> SeaMetrics {
    let url: DatabaseUrl = format!("sqlite://{}/m.db", folder.display()).parse().unwrap();
    let database = Database::connect(&url, None, ChainKey::new([3; 32])).await.unwrap();
    database.migrate().await.unwrap();
    SeaMetrics::new(database)
}

fn shifted(samples: &[Sample], by: TimeDelta) -> Vec<Sample> {
    samples.iter().map(|sample| Sample { at: sample.at + by, ..*sample }).collect()
}

/// A day of some machines, with what it comes to.
async fn days(store: &SeaMetrics, samples: usize) {
    let day = day_of_samples();
    let buckets = roll(Step::FIVE_MINUTES, None, &day);
    for number in 0..WHOLE_DAYS {
        let agent_id = agent(number * 90);
        let packs = day.chunks(samples).map(|pack| Pack { agent_id, samples: pack.to_vec() });
        store.append(packs.collect()).await.unwrap();
        let resolution = Resolution::FiveMinutes;
        let rolled = buckets.chunks(12).map(|hour| Rolled {
            resolution,
            at: hour.first().unwrap().at,
            buckets: hour.to_vec(),
        });
        let ageing = Ageing { agent_id, rolled: rolled.collect(), forget: Vec::new() };
        store.age(vec![ageing]).await.unwrap();
    }
}

/// Ten minutes of all machines, a write every ten seconds.
async fn writing(store: &SeaMetrics, samples: usize) -> Used {
    let ids: Vec<AgentId> = (0..MACHINES).map(agent).collect();
    let (day, begun) = (day_of_samples(), Spent::now());
    let by = TimeDelta::days(1);
    let writes: usize = 60;
    // A machine's turn comes every so many writes.
    let every = 3 * samples;
    for write in 0..writes {
        let turn = ids.iter().skip(write % every).step_by(every);
        let first = write / every * samples;
        let packs = turn.map(|id| Pack {
            agent_id: *id,
            samples: shifted(day.get(first..first + samples).unwrap(), by),
        });
        store.append(packs.collect()).await.unwrap();
    }
    let seconds = writes as f64 * 10.0;
    let used = begun.until_now();
    let all = writes as f64 * MACHINES as f64 / 3.0 + WHOLE_DAYS as f64 * 2880.0;
    Used { processor: used.processor / seconds, written: used.written / seconds, samples: all }
}

/// The same from the heartbeat on.
async fn recording(store: SeaMetrics) -> Used {
    let heartbeats = Heartbeats::default();
    let recorder = Recorder::new(heartbeats.clone(), Arc::new(store), Vec::new());
    let ids: Vec<AgentId> = (0..MACHINES).map(agent).collect();
    let one = heartbeat(1, 0);
    let beat = |id: &AgentId, at: Timestamp| {
        heartbeats.hear(Heartbeat { agent_id: *id, at, ..one });
    };
    let mut begun = Spent::now();
    for write in 0..120 {
        // What is measured is how it goes on: packs are as full as they will be.
        if write == 60 {
            begun = Spent::now();
        }
        let at = noon() + TimeDelta::seconds(i64::from(write) * 10);
        let turn = usize::try_from(write % 3).unwrap();
        ids.iter().skip(turn).step_by(3).for_each(|id| beat(id, at));
        recorder.write().await.unwrap();
    }
    let used = begun.until_now();
    Used { processor: used.processor / 600.0, written: used.written / 600.0, samples: 0.0 }
}

/// How long reading a day takes, on average over machines whose day was not read before.
async fn reading(store: &SeaMetrics) -> Duration {
    let from = Step::DAY.floor(noon());
    let begun = Instant::now();
    for number in 0..100_u32 {
        let id = agent(u64::from(number) * 90);
        let samples = store.samples(id, from, from + TimeDelta::days(1)).await.unwrap();
        assert_eq!(samples.len(), 2880);
    }
    begun.elapsed() / 100
}

/// The size of all files.
fn size(folder: &Path) -> f64 {
    let file = folder.join("m.db");
    std::fs::metadata(file).unwrap().len() as f64
}

/// What this process has used.
struct Spent {
    processor: f64,
    written: f64,
}

impl Spent {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks = |index: usize| fields.get(index).unwrap().parse::<f64>().unwrap();
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        Self { processor: (ticks(11) + ticks(12)) / 100.0, written: line.parse().unwrap() }
    }

    fn until_now(&self) -> Self {
        let now = Self::now();
        Self { processor: now.processor - self.processor, written: now.written - self.written }
    }
}

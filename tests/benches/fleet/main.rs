//! What a whole fleet costs: `make bench-fleet`, or `make bench-fleet PART=idle`. It prints what
//! goes into `docs/performance.md`. Parts that need what is not there say so and are skipped.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

mod echo;
mod idle;
mod nodes;
mod postgres;
mod run;
mod swarm;
mod vanish;

use std::fs;

use chrono::SubsecRound;

/// How many machines a server is measured with, unless `MUSTER_BENCH_AGENTS` says otherwise.
const AGENTS: usize = 18_000;

/// Why a part could not be measured.
type Skipped = String;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if arguments.first().is_some_and(|first| first == "echo") {
        return echo::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run(&arguments));
}

async fn run(parts: &[String]) {
    let known = ["idle", "run", "nodes", "vanish"];
    if let Some(unknown) = parts.iter().find(|part| !known.contains(&part.as_str())) {
        println!("{unknown} is no part; there are {}", known.join(", "));
        std::process::exit(2);
    }
    println!("{}", circumstances());
    for part in known {
        if !parts.is_empty() && !parts.iter().any(|wanted| wanted == part) {
            continue;
        }
        println!("\n{part}");
        let outcome = match part {
            "idle" => idle::measure(agents(AGENTS)).await,
            "run" => run::measure(agents(AGENTS)).await,
            "nodes" => nodes::measure(agents(75_000)).await,
            _ => vanish::measure(agents(AGENTS)).await,
        };
        if let Err(reason) = outcome {
            println!("  SKIPPED {part}: {reason}");
        }
    }
}

/// How many machines, when it is `usual` to measure with that many.
fn agents(usual: usize) -> usize {
    std::env::var("MUSTER_BENCH_AGENTS").map_or(usual, |text| text.parse().expect("a number"))
}

/// When and on what it was measured.
fn circumstances() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {cores} cores ({}), {} GiB, load before {}; server, machines and this program share \
         the cores",
        muster_tests::now().trunc_subsecs(0).to_rfc3339(),
        model.unwrap_or("unknown processor"),
        kib.unwrap_or(0) >> 20,
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}

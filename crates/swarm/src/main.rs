//! `muster-swarm`: thousands of simulated agents, to size and to measure a server.

mod limits;
mod options;
mod report;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use muster_swarm::{Endpoint, Figures, Identity, Names, Record, State, Swarm, enrol};
use muster_trust::Trust;
use tokio::time::{Instant, MissedTickBehavior};

use options::Options;

/// How often the progress line is written.
const EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime
        .context("can't start")
        .and_then(|runtime| runtime.block_on(async { run(options).await }));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "muster-swarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    options.check()?;
    limits::allow(options.agents)?;
    let trust = Trust::given(options.ca_file.as_deref(), options.server_fingerprint)?;
    let trust = trust.unwrap_or_default();
    let sources = options.source.clone();
    let endpoint = Endpoint::open(&options.server, &trust, sources, options.agents).await?;
    let figures = Arc::new(Figures::default());
    let mut ended = std::pin::pin!(signal());
    let (_state, identities) = tokio::select! {
        identities = identities(&options, &endpoint, &figures) => identities?,
        () = &mut ended => bail!("ended before all machines were enrolled; --state keeps those that are"),
    };
    let swarm = Swarm::start(
        endpoint,
        identities,
        options.behaviour(),
        options.pace(),
        Arc::clone(&figures),
    )?;
    let record = swarm.record();
    tokio::select! {
        () = progress(options.agents, &figures, &record) => {}
        () = over(options.duration) => {}
        () = &mut ended => {}
    }
    let summary = figures.summary(options.agents, &record);
    swarm.stop().await;
    report::print(&mut stdout(), &summary, options.json)
}

/// Who the machines are: those in the file, and as many as are missing enrolled anew. The file
/// stays taken while the answer's first part lives.
async fn identities(
    options: &Options,
    endpoint: &Endpoint,
    figures: &Figures,
) -> anyhow::Result<(Option<State>, Vec<Identity>)> {
    let (mut state, mut identities) = match &options.state {
        Some(path) => {
            let (state, known) = State::open(path)?;
            (Some(state), known)
        }
        None => (None, Vec::new()),
    };
    let known = identities.len();
    identities.truncate(options.agents);
    if known < options.agents {
        let missing = options.agents - known;
        let token = options.enrollment_token.as_deref();
        let token = token.with_context(|| {
            format!("{missing} machines are not enrolled: pass --enrollment-token")
        })?;
        let begun = Instant::now();
        let names = Names { prefix: &options.name, from: known, to: options.agents };
        let at_once = options.enrol_parallel;
        let keep = |identity: Identity| {
            if let Some(state) = &mut state {
                state.keep(&identity)?;
            }
            identities.push(identity);
            Ok(())
        };
        enrol(endpoint, token, names, at_once, figures, keep).await?;
        let took = begun.elapsed().as_secs_f64();
        let _ = writeln!(stderr(), "{missing} machines enrolled in {took:.1} s");
    }
    Ok((state, identities))
}

/// Says how it goes: each second on a terminal, and everywhere when all are connected.
async fn progress(agents: usize, figures: &Figures, record: &Record) {
    let terminal = stderr().is_terminal();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = false;
    let mut before = 0;
    loop {
        tick.tick().await;
        if let Some(took) = figures.all_connected()
            && !std::mem::replace(&mut said, true)
        {
            let clear = if terminal { "\r\x1b[K" } else { "" };
            let took = took.as_secs_f64();
            let _ = writeln!(stderr(), "{clear}all {agents} machines connected after {took:.2} s");
        }
        if terminal {
            let acknowledged = record.acknowledged();
            let rate = acknowledged.saturating_sub(before);
            before = acknowledged;
            let line = report::progress(agents, &figures.summary(agents, record), rate);
            let _ = write!(stderr(), "\r\x1b[K{line}");
            let _ = stderr().flush();
        }
    }
}

/// Completes when the asked time is over.
async fn over(seconds: Option<f64>) {
    match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Completes when somebody wants the process to end.
async fn signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

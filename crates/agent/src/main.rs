//! The agent: runs on the managed machine and does what its server orders.

mod backoff;
mod clock;
mod connection;
mod engine;
mod enrol;
mod executor;
mod identity;
mod inventory;
mod journal;
mod mask;
mod platform;
mod scripts;
mod shell;
mod spool;
mod transport;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use muster_protocol::Separate;
use muster_trust::{Fingerprint, Trust};
use reqwest::Url;
use sysinfo::System;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::backoff::Backoff;
use crate::connection::{Agent, Leave, Past};
use crate::engine::Engine;
use crate::enrol::{Machine, Refused};
use crate::identity::{DataDir, random_id};
use crate::inventory::Inventory;
use crate::transport::Way;

/// A connection that lived this long was a good one: the next is tried soon.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

#[derive(Parser)]
#[command(name = "muster-agent", version, about)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Enrol if that has not happened yet, then serve until told to stop.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// The server's address; needed at the first run only.
    #[arg(long, env = "MUSTER_SERVER")]
    server: Option<Url>,
    /// The enrollment token; the variable keeps it out of the process list.
    #[arg(long, env = "MUSTER_ENROLLMENT_TOKEN", hide_env_values = true)]
    enrollment_token: Option<String>,
    /// Where the agent keeps what it must not forget.
    #[arg(long, env = "MUSTER_AGENT_DATA_DIR", default_value = "./muster-agent-data")]
    data_dir: PathBuf,
    /// The name to enrol under; the host name when absent.
    #[arg(long, env = "MUSTER_AGENT_NAME")]
    name: Option<String>,
    /// PEM certificates to trust beside the usual roots; kept for later runs.
    #[arg(long, env = "MUSTER_CA_FILE", conflicts_with = "server_fingerprint")]
    ca_file: Option<PathBuf>,
    /// The SHA-256 of the only certificate to trust; kept for later runs.
    #[arg(long, env = "MUSTER_SERVER_FINGERPRINT")]
    server_fingerprint: Option<Fingerprint>,
    /// How to reach the server: over a WebSocket, or in requests where none gets through.
    #[arg(long, env = "MUSTER_AGENT_TRANSPORT", value_enum, default_value_t)]
    transport: Way,
    /// Allow a plain connection to a server that is not this machine.
    #[arg(long)]
    insecure_http: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .init();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Action::Run(options) = Cli::parse().action;
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(if error.is::<Refused>() { 2 } else { 1 })
        }
    }
}

async fn run(options: Run) -> anyhow::Result<()> {
    let data = DataDir::open(&options.data_dir)?;
    let mut known = data.identity()?;
    let given = Trust::given(options.ca_file.as_deref(), options.server_fingerprint)?;
    let server = match (options.server, &known) {
        (Some(server), _) => server,
        (None, Some(identity)) => identity.server.parse().context("identity.json is damaged")?,
        (None, None) => bail!("the first run needs --server and an enrollment token"),
    };
    check_transport(&server, options.insecure_http)?;
    if given.is_some() && server.scheme() != "https" {
        bail!("{server} shows no certificate: use https, or drop what is said about certificates");
    }
    if let (Some(identity), Some(trust)) = (&mut known, &given)
        && identity.trust != *trust
    {
        identity.trust = trust.clone();
        data.keep_identity(identity)?;
    }
    let kept = known.as_ref().map(|identity| identity.trust.clone());
    let trust = given.or(kept).unwrap_or_default();
    let tls = trust.client_config()?;
    let machine = machine(&data, options.name)?;
    let identity = if let Some(identity) = known {
        identity
    } else {
        let token = options.enrollment_token.context("the first run needs an enrollment token")?;
        enrol::enrol(&data, server.as_str(), &token, &machine, trust, &tls).await?
    };
    identity.key()?;
    let stopping = CancellationToken::new();
    let mut agent = Agent {
        engine: Engine::open(&data.of(&identity)?).await?,
        identity,
        instance_id: random_id().into(),
        machine: Arc::new(machine),
        inventory: Inventory::new(),
        tls,
        way: options.transport,
        stopping: stopping.clone(),
    };
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping; a second signal ends at once");
        stopping.cancel();
        signal().await;
        std::process::exit(1);
    });
    stay_connected(&mut agent, &data, &server).await;
    agent.engine.stop().await;
    Ok(())
}

/// Connects again and again until the agent is to stop.
async fn stay_connected(agent: &mut Agent, data: &DataDir, server: &Url) {
    let mut backoff = Backoff::default();
    let mut past = Past::default();
    while !agent.stopping.is_cancelled() {
        let begun = Instant::now();
        let ended = tokio::select! {
            () = agent.stopping.cancelled() => return,
            connected = connection::connect(agent, server, &past) => match connected {
                Ok(connection) => {
                    tracing::info!(agent.id = %agent.identity.agent_id, %server, "connected");
                    past = Past::default();
                    let ended = connection.serve().await;
                    past.last_end = ended.as_ref().err().map(|error| format!("{error:#}"));
                    ended
                }
                Err(error) => {
                    past.attempts = past.attempts.saturating_add(1);
                    Err(error)
                }
            },
        };
        let ended = match ended {
            Ok(Leave::Stopping) => return,
            Ok(Leave::Separated(separate)) => become_another(agent, data, &separate).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(error = format!("{error:#}"), "not connected");
        }
        if begun.elapsed() >= GOOD_CONNECTION {
            backoff = Backoff::default();
        }
        tokio::select! {
            () = agent.stopping.cancelled() => return,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

/// Keeps who the agent is from now on, and leaves the commands of the one that it was alone. When
/// that fails the server says it again at the next connection.
async fn become_another(
    agent: &mut Agent,
    data: &DataDir,
    separate: &Separate,
) -> anyhow::Result<()> {
    let identity = agent.identity.separated(separate);
    let engine = Engine::open(&data.of(&identity)?).await?;
    data.keep_identity(&identity)?;
    tracing::warn!(
        agent.id = %identity.agent_id, agent.was = %agent.identity.agent_id,
        "this machine is a copy of another; it is an agent of its own from now on"
    );
    agent.engine.stop().await;
    (agent.engine, agent.identity) = (engine, identity);
    Ok(())
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

/// Tokens and output must not cross a network in plain text.
fn check_transport(server: &Url, insecure_http: bool) -> anyhow::Result<()> {
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match server.scheme() {
        "https" => Ok(()),
        "http" if loopback || insecure_http => Ok(()),
        "http" => bail!("{server} is not encrypted: use https, or pass --insecure-http"),
        scheme => bail!("a server's address starts with https, not {scheme}"),
    }
}

fn machine(data: &DataDir, name: Option<String>) -> anyhow::Result<Machine> {
    let kept = std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
    let id = if kept.is_empty() { data.random("machine-id")? } else { kept };
    Ok(Machine {
        machine_id: name.as_ref().map_or_else(|| id.clone(), |name| format!("{id}/{name}")),
        hostname: name.or_else(|| System::host_name().ok()).unwrap_or_else(|| "unknown".into()),
        os_type: std::env::consts::OS.into(),
        os: inventory::os(),
        version: env!("CARGO_PKG_VERSION").into(),
        capabilities: shell::capabilities(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_connection_leaves_this_machine_only_when_asked_to() {
        let allowed =
            |url: &str, insecure| check_transport(&url.parse().unwrap(), insecure).is_ok();
        assert!(allowed("https://muster.example", false));
        assert!(allowed("http://127.0.0.1:8080", false) && allowed("http://[::1]:8080", false));
        assert!(!allowed("http://muster.example", false));
        assert!(allowed("http://muster.example", true));
        assert!(!allowed("ftp://localhost", true));
    }
}

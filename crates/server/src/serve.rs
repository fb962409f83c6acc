//! Serving, and ending in two stages: a first signal drains, a second one or a deadline cuts off.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::{Context, bail};
use muster_agent_socket::AgentSocket;
use muster_http::{AppState, RequestSpan};
use tokio::net::TcpSocket;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;

use crate::config::Config;
use crate::descriptors;
use crate::jobs;
use crate::jobs::metrics;
use crate::leading::{self, Leading};
use crate::orphans::Orphans;
use crate::tls::Tls;
use crate::wiring::{Nodes, Wired, wire};
use crate::{logging, observability, watch};

/// How long requests under way may take to end.
const DRAIN_SECONDS: u64 = 20;
/// How long a TLS handshake may take: the last of a fleet that comes back at once waits its turn.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(20);
/// Connections that may wait to be accepted: after a restart all agents come back at once.
const BACKLOG: u32 = 16_384;

/// Runs the server until a signal ends it.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let traces = logging::start(&config)?;
    let listeners = Listeners::open(&config)?;
    let tls = Tls::open(&config)?;
    let wired = wire(&config).await?;
    show_first_password(&wired)?;
    let served = run(listeners, tls, wired).await;
    if let Some(traces) = traces {
        traces.end().await;
    }
    served
}

/// The addresses that were taken.
pub(crate) struct Listeners {
    api: TcpListener,
    /// For scrapers, if there is one.
    figures: Option<TcpListener>,
}

impl Listeners {
    /// Takes the addresses. It comes before everything that changes something: a start that can't
    /// succeed leaves nothing behind. Who connects meanwhile waits to be accepted.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let figures = config.metrics_listen.map(observability::listen).transpose()?;
        Ok(Self { api: listen(config.listen)?, figures })
    }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of a process before this one may linger. (Windows would share the address.)
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listen().with_context(|| format!("MUSTER_LISTEN: listening on {address}"))
}

/// The first admin's password goes to whoever started the server, and not into the log.
pub(crate) fn show_first_password(wired: &Wired) -> anyhow::Result<()> {
    let Some(password) = &wired.first_password else { return Ok(()) };
    let mut out = std::io::stdout();
    writeln!(out, "The first admin: user name admin, password {}", password.expose())?;
    writeln!(out, "It is shown this once. Sign in and keep it safe.")?;
    Ok(out.flush()?)
}

/// Serves until a signal comes or `wired.stop` is cancelled.
pub(crate) async fn run(
    listeners: Listeners,
    tls: Option<Tls>,
    wired: Wired,
) -> anyhow::Result<()> {
    let Wired {
        state,
        socket,
        connections,
        agents,
        lookout,
        sweep,
        retention,
        history,
        compression,
        scheduler,
        recorder,
        upkeep,
        watcher,
        loads,
        dispatcher,
        alerts,
        database,
        orphans,
        nodes,
        figures,
        stop,
        ..
    } = wired;
    descriptors::raise_limit();
    let server = http(listeners.api, tls.as_ref(), &state, &socket)?;
    let handle = server.handle();
    if let Some(listener) = listeners.figures {
        let serving = observability::serve(listener, figures.clone(), stop.clone());
        actix_web::rt::spawn(serving);
    }
    let mut tasks = JoinSet::new();
    let (leading, link) = match nodes {
        Some(nodes) => join(&mut tasks, nodes, orphans, &state, &stop),
        None => (Leading::alone(), None),
    };
    let look_out = leading::look_out(lookout, connections.clone(), leading.clone(), stop.clone());
    tasks.spawn(look_out);
    tasks.spawn(jobs::sweep(sweep, leading.clone(), stop.clone()));
    tasks.spawn(jobs::drive(state.runs.clone(), leading.clone(), stop.clone()));
    tasks.spawn(jobs::tell(state.runs.clone(), stop.clone()));
    tasks.spawn(jobs::run_schedules(scheduler, state.clock.clone(), leading.clone(), stop.clone()));
    let rollouts = state.deployment.rollouts.clone();
    tasks.spawn(jobs::bring_rollouts_on(rollouts, leading.clone(), stop.clone()));
    let compliance = state.deployment.compliance.clone();
    tasks.spawn(jobs::compare(compliance, leading.clone(), stop.clone()));
    tasks.spawn(watch::watch(watcher.clone(), leading.clone(), stop.clone()));
    tasks.spawn(watch::send(dispatcher, stop.clone()));
    tasks.spawn(watch::read_loads(watcher, loads, stop.clone()));
    tasks.spawn(jobs::write_ended(connections.clone(), agents.clone(), stop.clone()));
    tasks.spawn(jobs::watch_silence(connections.clone(), stop.clone()));
    tasks.spawn(jobs::write_seen(connections.clone(), agents, stop.clone()));
    tasks.spawn(metrics::record(recorder, stop.clone()));
    tasks.spawn(metrics::look_after(upkeep, stop.clone()));
    tasks.spawn(figures.tidy(stop.clone()));
    tasks.spawn(jobs::write_key_uses(state.api_keys.clone(), stop.clone()));
    tasks.spawn(jobs::reload_settings(state.settings.clone(), stop.clone()));
    let housekeeping =
        jobs::Housekeeping { state, retention, history, compression, alerts, database };
    tasks.spawn(housekeeping.run(leading, stop.clone()));
    if let Some(tls) = tls {
        tasks.spawn(tls.follow(stop.clone()));
    }
    let serving = tokio::spawn(until_ended(server));
    let mut outcome = Ok(());
    tokio::select! {
        // In this order: jobs also end because of `stop`.
        biased;
        () = signal() => tracing::info!("a signal came; draining, a second one ends at once"),
        () = stop.cancelled() => {}
        // A server that no longer does all of its work had better be started again.
        ended = tasks.join_next() => outcome = job_ended(ended),
    }
    stop.cancel();
    connections.close_all();
    outcome.and(drain(handle, serving, tasks, link).await)
}

/// What answers requests.
fn http(
    listener: TcpListener,
    tls: Option<&Tls>,
    state: &Data<AppState>,
    socket: &AgentSocket,
) -> anyhow::Result<Server> {
    let (state, socket) = (state.clone(), socket.clone());
    let server = HttpServer::new(move || {
        let (state, socket) = (state.clone(), socket.clone());
        App::new()
            .wrap(muster_http::cors(&state.web))
            .wrap(Compress::default())
            .wrap(from_fn(muster_http::finish))
            .wrap(TracingLogger::<RequestSpan>::new())
            .wrap(from_fn(muster_http::measure))
            .configure(move |app| {
                socket.configure_root(app);
                muster_http::configure(app, &state, &|scope| socket.configure(scope));
            })
    })
    // Small frames leave at once: held back until the last was acknowledged, each would cost an
    // agent up to 40 ms.
    .tcp_nodelay(true)
    .shutdown_timeout(DRAIN_SECONDS)
    .client_request_timeout(Duration::from_secs(30))
    .tls_handshake_timeout(HANDSHAKE_WITHIN)
    .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls.server_config()?),
        None => server.listen(listener),
    };
    let server = server.context("serving")?;
    for address in server.addrs() {
        tracing::info!(server.address = %address, "muster is listening");
    }
    Ok(server.run())
}

/// Does what one of several nodes has to do beside. The token ends its link to the others, which
/// hear by it what the end of everything else has to tell.
fn join(
    tasks: &mut JoinSet<()>,
    nodes: Nodes,
    orphans: Orphans,
    state: &AppState,
    stop: &CancellationToken,
) -> (Leading, Option<CancellationToken>) {
    let Nodes { redis, relay, candidate } = nodes;
    let (leading, link) = (Leading::one_of_several(), CancellationToken::new());
    let runs = &state.runs;
    tasks.spawn(redis.clone().run(link.clone()));
    tasks.spawn(leading::stand(candidate, leading.clone(), runs.clone(), stop.clone()));
    tasks.spawn(orphans.look_after(redis.clone(), leading.clone(), stop.clone()));
    let heard = leading::hear_of_runs(relay, redis, runs.clone(), leading.clone(), stop.clone());
    tasks.spawn(heard);
    (leading, Some(link))
}

/// What it means that a job ended before it was told to.
fn job_ended(ended: Option<Result<(), JoinError>>) -> anyhow::Result<()> {
    ended.transpose().context("a background job died")?;
    bail!("a background job ended by itself")
}

async fn until_ended(server: Server) -> std::io::Result<()> {
    server.await
}

async fn drain(
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    mut tasks: JoinSet<()>,
    link: Option<CancellationToken>,
) -> anyhow::Result<()> {
    let drained = async {
        handle.stop(true).await;
        while tasks.len() > usize::from(link.is_some())
            && let Some(ended) = tasks.join_next().await
        {
            ended.context("a background job died")?;
        }
        if let Some(link) = link {
            link.cancel();
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a background job died")?;
        }
        anyhow::Ok(())
    };
    let deadline = Duration::from_secs(DRAIN_SECONDS + 10);
    tokio::select! {
        drained = drained => {
            drained?;
            tracing::info!("drained; good bye");
        }
        () = signal() => bail!("a second signal came; what was under way is cut off"),
        () = tokio::time::sleep(deadline) => bail!("draining took too long; cut off"),
    }
    serving.await.context("the server's task died")?.context("serving")
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

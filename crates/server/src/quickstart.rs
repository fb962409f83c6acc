//! A server and one agent on this machine, for whoever wants to see Muster at work.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use muster_customers::{Name, NewToken};
use muster_http::AppState;
use muster_kernel::{Act, Author, DangerPolicy, PageRequest, Permit, Plan, Secret, Tags};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, TlsSource};
use crate::logging;
use crate::serve;
use crate::serve::Listeners;
use crate::tls::Tls;
use crate::wiring::wire;

/// How long the agent may take to come online.
const ONLINE_WITHIN: Duration = Duration::from_secs(30);
/// How long the agent may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(10);
const CUSTOMER: &str = "This machine";

/// Runs both until a signal ends them.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let traces = logging::start(&config)?;
    let program = agent_program()?;
    let listeners = Listeners::open(&config)?;
    let tls = Tls::open(&config)?;
    // Even of a certificate that the usual roots know: it may be valid for another name than the
    // local one. A later one is followed by the next start.
    let pin = tls.as_ref().map(Tls::fingerprint);
    let wired = wire(&config).await?;
    // At once: whatever goes wrong from here on, nobody would ever learn it.
    serve::show_first_password(&wired)?;
    let state = wired.state.clone();
    let first_password = wired.first_password.clone();
    let stop = wired.stop.clone();
    // Whichever ends first, well or not, ends the other.
    let serving = async {
        let served = serve::run(listeners, tls, wired).await;
        stop.cancel();
        served
    };
    let beside = async {
        let outcome = run_agent(&program, &config, pin, &state, first_password, &stop).await;
        stop.cancel();
        outcome
    };
    let (served, beside) = tokio::join!(serving, beside);
    if let Some(traces) = traces {
        traces.end().await;
    }
    served.and(beside)
}

/// Starts the agent, says what to do with it and stays with it until `stop`.
async fn run_agent(
    program: &Path,
    config: &Config,
    pin: Option<String>,
    state: &AppState,
    first_password: Option<Secret>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let data_dir = config.data_dir.join("agent");
    let token = if data_dir.join("identity.json").exists() {
        None
    } else {
        Some(enrollment_token(state).await?)
    };
    let mut agent = start_agent(program, config, &data_dir, pin, token)?;
    let introduced = async {
        introduce(config, state, first_password).await?;
        stop.cancelled().await;
        anyhow::Ok(())
    };
    let outcome = tokio::select! {
        outcome = introduced => outcome,
        ended = agent.wait() => Err(anyhow::anyhow!("the agent ended: {}", ended?)),
        () = stop.cancelled() => Ok(()),
    };
    stop.cancel();
    end(&mut agent).await;
    outcome
}

/// `muster-agent`, which stands beside this program.
fn agent_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program")?;
    let name = if cfg!(windows) { "muster-agent.exe" } else { "muster-agent" };
    let program = own.with_file_name(name);
    if !program.exists() {
        bail!("{} is missing; `make run` builds it", program.display());
    }
    Ok(program)
}

async fn enrollment_token(state: &AppState) -> anyhow::Result<Secret> {
    let name = Name::parse(CUSTOMER)?;
    let reading = permit(state).await?;
    let page = PageRequest::default();
    let known = state.customers.list(&reading, Some(CUSTOMER), &page).await?.items;
    let known = known.into_iter().find(|customer| customer.name == name);
    let customer = if let Some(customer) = known {
        customer
    } else {
        let managing = permit(state).await?;
        {
            let (plan, danger) = (Plan::default(), DangerPolicy::default());
            state.customers.create(&managing, name, None, plan, danger).await?
        }
    };
    let wish = NewToken {
        customer_id: customer.id,
        name: Name::parse("Quickstart")?,
        expires_at: None,
        max_uses: Some(1),
        tags: Tags::default(),
        group_ids: [].into(),
    };
    let minted = state.enrollment_tokens.create(&permit(state).await?, wish, None).await?;
    Ok(minted.secret)
}

/// What is done here is done in the name of an admin: of whoever started this.
async fn permit<A: Act>(state: &AppState) -> anyhow::Result<Permit<A>> {
    let admin = state.identity.local_admin().await?.context("there is no active admin")?;
    Ok(Permit::ask(admin, &Author::system())?)
}

fn start_agent(
    program: &Path,
    config: &Config,
    data_dir: &Path,
    pin: Option<String>,
    token: Option<Secret>,
) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.arg("run").arg("--server").arg(&config.web.public_url).arg("--data-dir").arg(data_dir);
    if let Some(pin) = pin {
        command.arg("--server-fingerprint").arg(pin);
    }
    if let Some(token) = token {
        command.env("MUSTER_ENROLLMENT_TOKEN", token.expose());
    }
    // A group of its own: Ctrl-C in a terminal reaches this program only, which then ends both.
    #[cfg(unix)]
    command.process_group(0);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("starting {}", program.display()))
}

/// Waits for the agent and says what to do now.
async fn introduce(
    config: &Config,
    state: &AppState,
    first_password: Option<Secret>,
) -> anyhow::Result<()> {
    let reading = permit(state).await?;
    let agent = tokio::time::timeout(ONLINE_WITHIN, async {
        loop {
            let (page, _) = state
                .agents
                .list(
                    &reading,
                    &muster_agents::AgentFilter::default(),
                    muster_agents::AgentOrder::default(),
                    &PageRequest::default(),
                )
                .await?;
            let online = page.items.into_iter().find(|view| view.connection.is_some());
            if let Some(view) = online {
                return anyhow::Ok(view.agent);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let agent = agent.await.context("the agent did not come online; see the log above")??;
    let url = &config.web.public_url;
    let password = match &first_password {
        Some(password) => password.expose().to_owned(),
        None => "YOUR-PASSWORD".to_owned(),
    };
    let curl = match &config.tls {
        TlsSource::SelfSigned => {
            format!("curl -s --cacert '{}'", config.data_dir.join("tls.crt").display())
        }
        TlsSource::Off | TlsSource::Files { .. } => "curl -s".to_owned(),
    };
    let mut out = std::io::stdout();
    writeln!(out, "\nMuster runs at {url}, its API is described at {url}/docs")?;
    if first_password.is_none() {
        writeln!(out, "Sign in as admin with the password that the first start showed")?;
    }
    writeln!(out, "The agent {} ({}) is online. Run a command on it:\n", agent.hostname, agent.id)?;
    writeln!(
        out,
        "  TOKEN=$({curl} {url}/api/v1/auth/login -H 'Content-Type: application/json' \
         -d '{{\"username\":\"admin\",\"password\":\"{password}\"}}' \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/'); \
         {curl} {url}/api/v1/agents/{}/command -H \"Authorization: Bearer $TOKEN\" \
         -H 'Content-Type: application/json' -d '{{\"command\":\"uname -a; uptime\"}}'\n",
        agent.id
    )?;
    writeln!(out, "Ctrl-C ends both.")?;
    Ok(out.flush()?)
}

/// Ends the agent gently, and if that takes too long, otherwise.
async fn end(agent: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = agent.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGTERM,
        );
    }
    if tokio::time::timeout(ENDED_WITHIN, agent.wait()).await.is_err() {
        let _ = agent.kill().await;
    }
}

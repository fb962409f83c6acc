//! Which adapter stands behind which port.

mod alerting;
mod assisting;
mod deploying;
mod importing;
mod measuring;
mod planning;
mod registry;
mod sharing;
mod work;

use std::sync::Arc;

use actix_web::web;
use anyhow::Context;
use ipnet::IpNet;
use muster_agent_socket::{
    AgentSocket, AgentSocketPorts, Connections, OlderSocket, OlderSocketPorts, PeerAddress, Sign,
};
use muster_agents::metrics::{Recorder, Upkeep};
use muster_agents::{Enrolment, Legacy};
use muster_alerts::{Dispatcher, Sample, Watcher};
use muster_audit::{Audit, ChainKey};
use muster_commands::schedules::{HistoryRetention, Scheduler};
use muster_commands::{Compression, Lookout, Retention, Sweep};
use muster_crypto::{
    BcryptHasher, InstructionKey, JwtTokens, Keys, MasterKey, OsEntropy, SealedVault, SystemClock,
    Totps,
};
use muster_customers::{ApiKeys, Customers, EnrollmentTokens};
use muster_http::{AppState, client_address};
use muster_identity::{Identity, IdentityPorts, TicketStore};
use muster_kernel::{Clock, Entropy, Secret};
use muster_local_bus::LocalTickets;
use muster_protocol::Signed;
use muster_sea_orm::{
    Database, SeaAgents, SeaApiKeys, SeaAudit, SeaCustomers, SeaEnrollmentTokens, SeaIdentity,
    SeaSettings,
};
use muster_settings::{Rotation, Settings};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::alerting::Watch;
pub(crate) use self::importing::{ImportTarget, import_target};
use self::measuring::Measuring;
use self::planning::Planning;
use self::registry::Registry;
pub(crate) use self::sharing::Nodes;
use self::sharing::Sharing;
use self::work::Work;
use crate::absentees::KnownAbsentees;
use crate::config::Config;
use crate::dashboard::Dashboard;
use crate::observability::{self, Figures, Needs};
use crate::older;
use crate::orphans::Orphans;
use crate::policy::SettingsPolicy;
use crate::polls::Polls;
use crate::secrets;
use crate::sign_on::SettingsSignOn;
use crate::watch::Loads;

const OTHER_KEY: &str = "MUSTER_SECRET_KEY: the database was written under another key; set the one \
     that it was made with, or put its secret.key back";

/// Everything that one process serves.
pub(crate) struct Wired {
    pub(crate) state: web::Data<AppState>,
    pub(crate) socket: AgentSocket,
    pub(crate) connections: Connections,
    pub(crate) agents: Arc<SeaAgents>,
    pub(crate) lookout: Lookout,
    pub(crate) sweep: Sweep,
    pub(crate) retention: Retention,
    pub(crate) history: HistoryRetention,
    pub(crate) compression: Compression,
    pub(crate) scheduler: Scheduler,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) upkeep: Upkeep,
    pub(crate) watcher: Arc<Watcher>,
    /// How loaded machines say that they are.
    pub(crate) loads: mpsc::Receiver<Vec<Sample>>,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) alerts: muster_alerts::Retention,
    pub(crate) database: Database,
    pub(crate) orphans: Orphans,
    /// What it takes to be one of several nodes, if this is one.
    pub(crate) nodes: Option<Nodes>,
    pub(crate) figures: Arc<Figures>,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    /// The first admin's password, when this is the first start.
    pub(crate) first_password: Option<Secret>,
}

/// Opens the database, brings it up to date and plugs everything together.
pub(crate) async fn wire(config: &Config) -> anyhow::Result<Wired> {
    // First of all: what is made before does not count.
    let handle = observability::start()?;
    let base = claimed(config).await?;
    let Base { master, database, clock, entropy, .. } = &base;
    let settings = Arc::new(settings(&base));
    settings.reload().await?;
    let sharing = Sharing::new(&base, config)?;
    let tickets = sharing.tickets.clone();
    let identity = Arc::new(identity(&base, &settings, &config.web.public_url, tickets));
    let first_password = identity.ensure_first_admin(config.admin_password.clone()).await?;

    let keys = Arc::new(Keys::new(master.clone()));
    let output_limit = usize::try_from(config.output_limit).unwrap_or(usize::MAX);
    let work = Work::new(&base, &sharing, config.limits, output_limit, config.local_execution);
    let stop = CancellationToken::new();
    let api_keys = Arc::new(api_keys(&base, work.customers.clone(), keys.clone()));
    let absentees = Arc::new(KnownAbsentees::new(identity.clone(), api_keys.clone()));
    let approvals = work.approvals(absentees.clone(), clock.clone());
    let deployment = deploying::deployment(&base, &work, absentees.clone());
    let planning = Planning::new(&base, &work, absentees, config.limits);
    let watch = Watch::new(&base, &settings, work.bus.clone(), work.presence.clone())?;
    let (loads, heard) = Loads::new();
    let measuring = Measuring::new(&base, &work, &settings, vec![Arc::new(loads)]);
    let orphans = work.orphans(clock.clone());
    let legacy = legacy(&base, &work);
    let socket = agent_socket(&base, &work, legacy.clone(), config);
    let limiter = sharing.limiter.clone();
    let nodes = sharing.nodes(&base);
    orphans.take_over(nodes.is_none()).await?;
    let figures = Figures::new(handle, work.connections.clone(), database.clone(), clock.now());
    let figures = Arc::new(figures);
    let registry = Registry::new(&base, &work);
    let assistance = assisting::assistance(&base, &work, &settings, (&registry, &measuring))?;
    let Work { agents, customers, connections, .. } = work;
    let state = AppState {
        identity,
        customers: Customers::new(customers.clone(), clock.clone(), entropy.clone()),
        api_keys,
        enrollment_tokens: enrollment_tokens(&base, customers, keys.clone()),
        legacy,
        enrolment: Enrolment::new(agents.clone(), keys, clock.clone(), entropy.clone()),
        agents: registry.agents,
        many_agents: registry.many_agents,
        groups: registry.groups,
        metrics: measuring.history,
        agent_tokens: agents.clone(),
        commands: work.commands,
        local: work.local,
        leases: work.leases,
        polls: Arc::new(Polls::new(socket.clone())),
        runs: work.runs,
        approvals,
        bus: work.bus,
        schedules: planning.schedules,
        scripts: work.scripts,
        saved_commands: work.saved_commands,
        alerting: watch.alerting,
        deployment,
        assistance,
        settings,
        audit: Audit::new(
            Arc::new(SeaAudit::new(database.clone())),
            chain_key(master),
            clock.clone(),
        ),
        limiter,
        web: config.web.clone(),
        exposition: figures.clone(),
        pages: Arc::new(Dashboard),
        probes: needs(&base, nodes.as_ref()),
        output_limit,
        started_at: clock.now(),
        clock: clock.clone(),
        closing: stop.clone(),
    };
    let database = database.clone();
    Ok(Wired {
        state: web::Data::new(state),
        socket,
        connections,
        agents,
        lookout: work.lookout,
        sweep: work.sweep,
        retention: work.retention,
        compression: work.compression,
        history: planning.history,
        scheduler: planning.ticker,
        recorder: measuring.recorder,
        upkeep: measuring.upkeep,
        watcher: watch.watcher,
        loads: heard,
        dispatcher: watch.dispatcher,
        alerts: watch.retention,
        database,
        orphans,
        nodes,
        figures,
        stop,
        first_password,
    })
}

/// What is asked how it is.
fn needs(base: &Base, nodes: Option<&Nodes>) -> Arc<Needs> {
    let redis = nodes.map(|nodes| nodes.redis.clone());
    Arc::new(Needs { database: base.database.clone(), redis })
}

/// What everything else is made of.
struct Base {
    master: MasterKey,
    database: Database,
    vault: Arc<SealedVault>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

async fn base(config: &Config) -> anyhow::Result<Base> {
    secrets::prepare_data_dir(&config.data_dir)?;
    let master = if let Some(key) = &config.secret_key {
        key.clone()
    } else {
        let there = Database::is_there(&config.database).await.context("DATABASE_URL")?;
        secrets::master_key(&config.data_dir, there)?
    };
    let connections = config.database_connections;
    let database = Database::connect(&config.database, connections, chain_key(&master)).await;
    let database = database.context("DATABASE_URL")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let keys = Arc::new(SeaSettings::new(database.clone()));
    let vault = Arc::new(SealedVault::new(&master, keys, clock.clone(), entropy.clone()));
    Ok(Base { master, database, vault, clock, entropy })
}

/// The same, its schema brought up to date, for a server that it belongs to from then on.
async fn claimed(config: &Config) -> anyhow::Result<Base> {
    let base = base(config).await?;
    base.database.migrate().await?;
    if !base.database.claim().await? {
        anyhow::bail!(OTHER_KEY);
    }
    Ok(base)
}

/// The same for programs beside a server: with another key they would only do harm.
async fn ours(config: &Config) -> anyhow::Result<Base> {
    let base = base(config).await?;
    if !base.database.is_ours().await? {
        anyhow::bail!(OTHER_KEY);
    }
    Ok(base)
}

/// What seals everything anew, beside a server that goes on.
pub(crate) async fn rotation(config: &Config) -> anyhow::Result<Rotation> {
    let Base { database, vault, .. } = ours(config).await?;
    Ok(Rotation::new(vault, Arc::new(SeaSettings::new(database))))
}

/// What lets people in again, beside a server that goes on.
pub(crate) async fn recovery(config: &Config) -> anyhow::Result<Identity> {
    let base = ours(config).await?;
    let settings = Arc::new(settings(&base));
    settings.reload().await?;
    let tickets = Arc::new(LocalTickets::default());
    Ok(identity(&base, &settings, &config.web.public_url, tickets))
}

/// The database, for changes of its schema.
pub(crate) async fn database(config: &Config) -> anyhow::Result<Database> {
    Ok(base(config).await?.database)
}

pub(crate) fn chain_key(master: &MasterKey) -> ChainKey {
    ChainKey::new(master.derive("audit", &[]))
}

fn legacy(base: &Base, work: &Work) -> Legacy {
    let (agents, customers) = (work.agents.clone(), work.customers.clone());
    Legacy::new(agents.clone(), customers, agents, base.clock.clone(), base.entropy.clone())
}

fn older_socket(base: &Base, work: &Work, legacy: Legacy, config: &Config) -> OlderSocket {
    OlderSocket::new(OlderSocketPorts {
        legacy,
        leases: work.leases.clone(),
        agents: work.agents.clone(),
        connections: work.connections.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
        shown: older::shown(),
        output_limit: config.output_limit,
    })
}

fn agent_socket(base: &Base, work: &Work, legacy: Legacy, config: &Config) -> AgentSocket {
    let ports = AgentSocketPorts {
        tokens: work.agents.clone(),
        agents: work.agents.clone(),
        verdicts: work.agents.clone(),
        channel: work.channel.clone(),
        payloads: work.payloads.clone(),
        connections: work.connections.clone(),
        bus: work.bus.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
        sign: signer(&base.master),
        peer_address: peer_address(config.web.trusted_proxies.clone()),
        output_limit: config.output_limit,
    };
    AgentSocket::new(ports, older_socket(base, work, legacy, config))
}

fn api_keys(base: &Base, customers: Arc<SeaCustomers>, keys: Arc<Keys>) -> ApiKeys {
    let repository = Arc::new(SeaApiKeys::new(base.database.clone()));
    ApiKeys::new(repository, customers, keys, base.clock.clone(), base.entropy.clone())
}

fn enrollment_tokens(
    base: &Base,
    customers: Arc<SeaCustomers>,
    keys: Arc<Keys>,
) -> EnrollmentTokens {
    let repository = Arc::new(SeaEnrollmentTokens::new(base.database.clone()));
    EnrollmentTokens::new(repository, customers, keys, base.clock.clone(), base.entropy.clone())
}

fn settings(base: &Base) -> Settings {
    let repository = Arc::new(SeaSettings::new(base.database.clone()));
    Settings::new(repository, base.vault.clone(), base.clock.clone())
}

fn identity(
    base: &Base,
    settings: &Arc<Settings>,
    public_url: &str,
    tickets: Arc<dyn TicketStore>,
) -> Identity {
    let repository = Arc::new(SeaIdentity::new(base.database.clone()));
    Identity::new(IdentityPorts {
        users: repository.clone(),
        sessions: repository.clone(),
        factors: repository,
        passwords: Arc::new(BcryptHasher::default()),
        codes: Arc::new(Totps),
        vault: base.vault.clone(),
        access_tokens: Arc::new(JwtTokens::new(&base.master)),
        tickets,
        policy: Arc::new(SettingsPolicy::new(settings.clone())),
        sign_on: Arc::new(SettingsSignOn::new(settings.clone(), public_url, base.clock.clone())),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    })
}

fn peer_address(trusted: Vec<IpNet>) -> PeerAddress {
    Arc::new(move |request| Some(client_address(request, &trusted)?.to_string()))
}

fn signer(master: &MasterKey) -> Sign {
    let key = InstructionKey::derive(master);
    Arc::new(move |order| match Signed::sign(order, key.signing_key()) {
        Ok(signed) => Some(signed),
        Err(error) => {
            tracing::error!(error.cause = %error, "an order could not be written");
            None
        }
    })
}

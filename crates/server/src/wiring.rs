//! Which adapter stands behind which port.

use std::sync::Arc;

use actix_web::web;
use anyhow::Context;
use muster_agent_socket::{AgentSocket, AgentSocketPorts, Connections, Sign};
use muster_agents::{Agents, Enrolment};
use muster_commands::{AgentChannel, Commands, CommandsPorts, Sweep};
use muster_crypto::{
    BcryptHasher, InstructionKey, JwtTokens, Keys, MasterKey, OsEntropy, SystemClock,
};
use muster_customers::{Customers, EnrollmentTokens};
use muster_http::AppState;
use muster_identity::{Identity, IdentityPorts};
use muster_kernel::{Clock, Entropy, Secret};
use muster_local_bus::LocalFeed;
use muster_protocol::Signed;
use muster_sea_orm::{
    Database, SeaAgents, SeaCommands, SeaCustomers, SeaEnrollmentTokens, SeaIdentity,
};

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::secrets;

/// Everything that one process serves.
pub(crate) struct Wired {
    pub(crate) state: web::Data<AppState>,
    pub(crate) socket: AgentSocket,
    pub(crate) connections: Connections,
    pub(crate) agents: Arc<SeaAgents>,
    pub(crate) sweep: Sweep,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    /// The first admin's password, when this is the first start.
    pub(crate) first_password: Option<Secret>,
}

/// Opens the database, brings it up to date and plugs everything together.
pub(crate) async fn wire(config: &Config) -> anyhow::Result<Wired> {
    secrets::prepare_data_dir(&config.data_dir)?;
    let master = match &config.secret_key {
        Some(key) => key.clone(),
        None => secrets::master_key(&config.data_dir)?,
    };
    let database = Database::connect(&config.database).await.context("DATABASE_URL")?;
    database.migrate().await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let identity = identity(&database, &master, &clock, &entropy);
    let first_password = identity.ensure_first_admin(config.admin_password.clone()).await?;

    let keys = Arc::new(Keys::new(master.clone()));
    let customers = Arc::new(SeaCustomers::new(database.clone()));
    let agents = Arc::new(SeaAgents::new(database.clone()));
    let ledger = Arc::new(SeaCommands::new(database.clone()));
    let feed = Arc::new(LocalFeed::default());
    let connections = Connections::new(clock.clone());
    let presence = Arc::new(connections.clone());
    let channel = AgentChannel::new(ledger.clone(), ledger.clone(), feed.clone(), clock.clone());
    let commands = Commands::new(
        CommandsPorts {
            ledger: ledger.clone(),
            archive: ledger.clone(),
            agents: agents.clone(),
            courier: presence.clone(),
            feed,
            clock: clock.clone(),
            entropy: entropy.clone(),
        },
        config.limits,
    );
    let stop = CancellationToken::new();
    let tokens = Arc::new(SeaEnrollmentTokens::new(database));
    let state = AppState {
        identity,
        customers: Customers::new(customers.clone(), clock.clone(), entropy.clone()),
        enrollment_tokens: EnrollmentTokens::new(
            tokens,
            customers,
            keys.clone(),
            clock.clone(),
            entropy.clone(),
        ),
        enrolment: Enrolment::new(agents.clone(), keys, clock.clone(), entropy.clone()),
        agents: Agents::new(agents.clone(), presence, clock.clone()),
        agent_tokens: agents.clone(),
        commands,
        output_limit: usize::try_from(config.output_limit).unwrap_or(usize::MAX),
        started_at: clock.now(),
        clock: clock.clone(),
        closing: stop.clone(),
    };
    let socket = AgentSocket::new(AgentSocketPorts {
        tokens: agents.clone(),
        agents: agents.clone(),
        channel: channel.clone(),
        connections: connections.clone(),
        clock: clock.clone(),
        entropy,
        sign: signer(&master),
        output_limit: config.output_limit,
    });
    let sweep = Sweep::new(channel, ledger, clock);
    let state = web::Data::new(state);
    Ok(Wired { state, socket, connections, agents, sweep, stop, first_password })
}

fn identity(
    database: &Database,
    master: &MasterKey,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Identity {
    let repository = Arc::new(SeaIdentity::new(database.clone()));
    Identity::new(IdentityPorts {
        users: repository.clone(),
        sessions: repository,
        passwords: Arc::new(BcryptHasher::default()),
        access_tokens: Arc::new(JwtTokens::new(master)),
        clock: clock.clone(),
        entropy: entropy.clone(),
    })
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

//! What an import writes with, beside a server that goes on.

use std::sync::Arc;

use anyhow::{Context, bail};
use muster_agents::{AgentRepository, Enrol};
use muster_customers::CustomerRepository;
use muster_identity::UserRepository;
use muster_kernel::{Clock, Entropy, Plan};
use muster_sea_orm::{Database, SeaAgents, SeaCustomers, SeaIdentity};
use muster_settings::Key;

use super::{ours, settings};
use crate::config::Config;

const NO_DATABASE: &str =
    "there is no database of Muster's to import into yet; start the server once, which makes it";
const OTHER_SCHEMA: &str = "the database of Muster's is not this version's; start this version of \
     the server first, or run `muster migrate up`";

/// Where an import writes.
pub(crate) struct ImportTarget {
    pub(crate) customers: Arc<dyn CustomerRepository>,
    pub(crate) agents: Arc<dyn AgentRepository>,
    pub(crate) enrol: Arc<dyn Enrol>,
    pub(crate) users: Arc<dyn UserRepository>,
    /// The plan of a customer that names none.
    pub(crate) plan: Plan,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The database of an installation that was started before. Nothing is made or changed by this.
pub(crate) async fn import_target(config: &Config) -> anyhow::Result<ImportTarget> {
    if !Database::is_there(&config.database).await.context("DATABASE_URL")? {
        bail!(NO_DATABASE);
    }
    let base = ours(config).await?;
    if base.database.migrations().await?.iter().any(|(_, applied)| !applied) {
        bail!(OTHER_SCHEMA);
    }
    let settings = settings(&base);
    settings.reload().await?;
    let agents = Arc::new(SeaAgents::new(base.database.clone()));
    let users = SeaIdentity::new(base.database.clone());
    // The first start makes the admin, and begins the audit log.
    if users.is_empty().await? {
        bail!(NO_DATABASE);
    }
    Ok(ImportTarget {
        customers: Arc::new(SeaCustomers::new(base.database)),
        agents: agents.clone(),
        enrol: agents,
        users: Arc::new(users),
        plan: Plan::parse(&settings.text(Key::DefaultPlan)).unwrap_or_default(),
        clock: base.clock,
        entropy: base.entropy,
    })
}

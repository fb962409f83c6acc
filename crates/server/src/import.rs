//! Takes over what an older product left in its database.

mod checks;
mod intake;

use std::io::{Stdout, Write};

use anyhow::Context;
use clap::{Args, Subcommand};
use muster_agents::{Admission, EnrolCandidate, EnrolError};
use muster_customers::Name;
use muster_identity::{User, UserStatus, UserWriteError};
use muster_kernel::{AgentId, Author, CustomerId, Dialect, Role, Secret, TokenKind, UserId};
use muster_sea_orm::ImportSource;
use serde_json::json;

use self::checks::{NewAgent, NewUser};
use self::intake::Intake;
use crate::config::{Config, Settings};
use crate::wiring::{self, ImportTarget};

/// How many characters of a foreign text are shown.
const SHOWN: usize = 100;

/// Whose data is taken over.
#[derive(Debug, Subcommand)]
pub(crate) enum Product {
    /// Take over the agents and users of `DexAgents`. Its database is only read; the same again
    /// changes nothing.
    Dexagents(DexAgentsImport),
}

#[derive(Debug, Args)]
pub(crate) struct DexAgentsImport {
    /// Its database, as its own configuration has it: `sqlite:///./data/dexagents.db` from the
    /// present folder, `sqlite:////data/dexagents.db`, or `postgres://USER:PASSWORD@HOST/NAME`.
    #[arg(env = "MUSTER_IMPORT_FROM", hide_env_values = true)]
    source: String,
    /// The customer whose they become; made unless there is one of that name.
    #[arg(long, default_value = "DexAgents")]
    customer: String,
    /// Write nothing, and tell what would be written.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Takes over what there is.
pub(crate) async fn run(product: Product) -> anyhow::Result<()> {
    let Product::Dexagents(wish) = product;
    let source: ImportSource = wish.source.parse().context("the database of DexAgents")?;
    let name = Name::parse(&wish.customer).context("--customer")?;
    let config = Config::load(wish.settings)?;
    let data = muster_sea_orm::read_dexagents(&source).await?;
    let target = wiring::import_target(&config).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} was read.", shown(&data.place))?;
    let mut intake = Intake::of(data, name, &target).await?;
    if wish.dry_run {
        preview(&intake, &mut out)?;
    } else {
        write(&mut intake, &target, &mut out).await?;
    }
    conclude(&intake, wish.dry_run, &mut out)?;
    if !(wish.dry_run || intake.is_new && intake.is_empty()) {
        next_steps(&intake, &config.web.public_url, &mut out)?;
    }
    writeln!(
        out,
        "\nNot taken over: the history of commands, saved commands, groups, sessions, and settings \
         with the secrets in them."
    )?;
    Ok(())
}

fn preview(intake: &Intake, out: &mut Stdout) -> std::io::Result<()> {
    let made = if intake.is_new { ", which would be made" } else { "" };
    writeln!(out, "For the customer {}{made}:", intake.customer.name.as_str())?;
    for agent in &intake.agents {
        writeln!(out, "  {}", line(agent))?;
    }
    for user in &intake.users {
        writeln!(out, "  user {}", shown(user.username.as_str()))?;
    }
    Ok(())
}

/// Writes each agent and each user as a whole, and tells it when it is there: what is told is
/// written, whatever happens then.
async fn write(intake: &mut Intake, target: &ImportTarget, out: &mut Stdout) -> anyhow::Result<()> {
    if intake.is_empty() {
        return Ok(());
    }
    let customer = intake.customer.clone();
    let (id, name) = (customer.id, customer.name.as_str().to_owned());
    if intake.is_new {
        let made = target.customers.create(customer, &Author::system()).await;
        made.with_context(|| format!("the customer {name} was not made, and nothing written"))?;
    }
    writeln!(out, "For the customer {name} ({id}){}:", if intake.is_new { ", new" } else { "" })?;
    for agent in &intake.agents {
        write_agent(agent, id, target).await.with_context(|| unfinished(&line(agent)))?;
        writeln!(out, "  {}", line(agent))?;
    }
    for user in std::mem::take(&mut intake.users) {
        let name = format!("user {}", shown(user.username.as_str()));
        match write_user(&user, id, target).await {
            Ok(()) => {
                writeln!(out, "  {name}, who waits for approval")?;
                intake.users.push(user);
            }
            // Somebody registered this very moment.
            Err(error @ UserWriteError::Taken) => intake.skip(&name, &error.to_string()),
            Err(error) => return Err(error).with_context(|| unfinished(&name)),
        }
    }
    Ok(())
}

fn unfinished(name: &str) -> String {
    format!(
        "{name} was not written; what is listed above was, and the same again goes on from there"
    )
}

fn line(agent: &NewAgent) -> String {
    let seen = agent.last_seen.as_deref().map(|seen| format!(", last seen {}", shown(seen)));
    let (host, seen) = (shown(&agent.registration.hostname), seen.unwrap_or_default());
    format!("agent {} on {host}{seen}", shown(&agent.id))
}

async fn write_agent(
    agent: &NewAgent,
    customer: CustomerId,
    target: &ImportTarget,
) -> Result<(), EnrolError> {
    let candidate = EnrolCandidate {
        id: AgentId::new(&*target.clock, &*target.entropy),
        registration: agent.registration.clone(),
        // Nobody is told it: what such an agent shows is its customer's.
        agent_token: Secret::draw(TokenKind::Agent, &*target.entropy).hash(),
        now: target.clock.now(),
        author: Author::system(),
    };
    target.enrol.enrol(Admission::Customer(customer), candidate).await?;
    Ok(())
}

/// They may do as little as anybody, and see this customer alone, until an admin says otherwise.
async fn write_user(
    user: &NewUser,
    customer: CustomerId,
    target: &ImportTarget,
) -> Result<(), UserWriteError> {
    let user = User {
        id: UserId::new(&*target.clock, &*target.entropy),
        username: user.username.clone(),
        email: user.email.clone(),
        full_name: None,
        role: Role::Viewer,
        status: UserStatus::Pending,
        customers: [customer].into(),
        password_hash: Some(user.password_hash.clone()),
        has_second_factor: false,
        created_at: target.clock.now(),
    };
    target.users.create(user, &Author::system()).await
}

fn conclude(intake: &Intake, dry_run: bool, out: &mut Stdout) -> std::io::Result<()> {
    if !intake.skipped.is_empty() {
        writeln!(out, "Skipped:")?;
    }
    for skipped in &intake.skipped {
        writeln!(out, "  {skipped}")?;
    }
    let (agents, users) = (intake.agents.len(), intake.users.len());
    let (known, skipped) = (intake.known, intake.skipped.len());
    let written = if dry_run { "to write" } else { "written" };
    writeln!(
        out,
        "Agents {written}: {agents}; users {written}: {users}; agents that were there already and \
         stay as they are: {known}; rows skipped: {skipped}."
    )?;
    if dry_run {
        writeln!(out, "Nothing was written: this was a dry run.")?;
    }
    Ok(())
}

fn next_steps(intake: &Intake, url: &str, out: &mut Stdout) -> std::io::Result<()> {
    let customer = format!("{url}/api/v1/customers/{}", intake.customer.id);
    writeln!(out, "\nNext, as an admin (docs/migrating.md says more):")?;
    let mut allowed = intake.customer.dialects.allowed.clone();
    if allowed.insert(Dialect::DexAgents) {
        let change = json!({ "allowed_dialects": allowed });
        writeln!(out, "- Allow these agents; until then they are refused:")?;
        writeln!(
            out,
            "  curl -X PUT {customer} -H \"Authorization: Bearer $TOKEN\" \
             -H 'Content-Type: application/json' -d '{change}'"
        )?;
    }
    let key = json!({ "name": "DexAgents", "scopes": ["agents:enrol"] });
    writeln!(out, "- Make a key for them, POST {customer}/api-keys with {key};")?;
    writeln!(
        out,
        "  or, for those that can show none, name the networks that they come from: \
         legacy_agents_without_credentials in the PUT."
    )?;
    let place = url.replacen("http", "ws", 1).replacen("://", "://agent:sk_…@", 1);
    writeln!(out, "- Point the agents here: {place}/api/v1/ws/agent")?;
    if !intake.users.is_empty() {
        writeln!(
            out,
            "- Approve the users: GET {url}/api/v1/admin/pending-users, POST \
             {url}/api/v1/admin/users/ID/approve, and POST …/set-role for more than a viewer."
        )?;
    }
    Ok(())
}

/// A text of another program, as any terminal may have it.
fn shown(text: &str) -> String {
    let text: String = text.chars().take(SHOWN).collect();
    text.escape_debug().to_string()
}

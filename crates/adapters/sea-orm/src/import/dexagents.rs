//! The tables of `DexAgents` that matter: `agents` and `users`.

use sea_orm::DatabaseConnection;

use super::table::{Table, Texts};
use super::{ImportError, ImportSource, Unreadable};

/// What is read of an agent.
const AGENT: [&str; 7] = ["id", "hostname", "ip", "os", "version", "tags", "last_seen"];
/// What is read of a user.
const USER: [&str; 4] = ["username", "email", "password_hash", "is_active"];

/// An agent, as its row has it. Nothing of it was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DexAgent {
    /// The id that it says when it connects.
    pub id: String,
    /// Its host name.
    pub hostname: String,
    /// Its address.
    pub ip: Option<String>,
    /// Its operating system, as people call it.
    pub os: Option<String>,
    /// The version of the agent program.
    pub version: Option<String>,
    /// Its tags, as JSON.
    pub tags: Option<String>,
    /// When it was last seen, as the database writes that.
    pub last_seen: Option<String>,
}

/// A user, as the row has it. Nothing of it was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DexUser {
    /// What they sign in with.
    pub username: String,
    /// Their address.
    pub email: Option<String>,
    /// bcrypt's hash of their password.
    pub password_hash: Option<String>,
    /// Whether they may sign in.
    pub is_active: bool,
}

/// What is taken over of an installation of `DexAgents`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DexAgentsData {
    /// Where it was read.
    pub place: String,
    /// The agents, by their ids.
    pub agents: Vec<Result<DexAgent, Unreadable>>,
    /// The users, by their names; none where there is no such table.
    pub users: Vec<Result<DexUser, Unreadable>>,
}

/// Reads the agents and users of an installation of `DexAgents`, which may go on meanwhile.
///
/// # Errors
/// [`ImportError`] when there is no such database.
pub async fn read_dexagents(source: &ImportSource) -> Result<DexAgentsData, ImportError> {
    let (connection, place) = source.open().await?;
    let data = read(&connection, place).await;
    let _ = connection.close().await;
    data
}

async fn read(
    connection: &DatabaseConnection,
    place: String,
) -> Result<DexAgentsData, ImportError> {
    let failed = ImportError::database("reading", &place);
    let find = async |table| Table::find(connection, table).await.map_err(&failed);
    let is_own = find("installation").await?.is_some_and(|table| table.has(&["key_check"]));
    if is_own {
        return Err(ImportError::Own(place));
    }
    let foreign = |lack| ImportError::Foreign { place: place.clone(), lack };
    let agents = find("agents").await?.ok_or_else(|| foreign("it has no table agents"))?;
    if !agents.has(&["id", "hostname"]) {
        return Err(foreign("its table agents has no id or no hostname"));
    }
    let users = find("users").await?;
    if users.as_ref().is_some_and(|users| !users.has(&["username"])) {
        return Err(foreign("its table users has no username"));
    }
    let agents = agents.read(connection, &AGENT).await.map_err(&failed)?;
    let users = match users {
        Some(users) => users.read(connection, &USER).await.map_err(&failed)?,
        None => Vec::new(),
    };
    Ok(DexAgentsData {
        agents: agents.into_iter().map(|row| row.map(agent)).collect(),
        users: users.into_iter().map(|row| row.map(user)).collect(),
        place,
    })
}

fn agent(mut row: Texts) -> DexAgent {
    DexAgent {
        id: row.take("id").unwrap_or_default(),
        hostname: row.take("hostname").unwrap_or_default(),
        ip: row.take("ip"),
        os: row.take("os"),
        version: row.take("version"),
        tags: row.take("tags"),
        last_seen: row.take("last_seen"),
    }
}

fn user(mut row: Texts) -> DexUser {
    let is_active = row.take("is_active");
    DexUser {
        username: row.take("username").unwrap_or_default(),
        email: row.take("email"),
        password_hash: row.take("password_hash"),
        is_active: is_active.is_none_or(|text| is_true(&text)),
    }
}

/// Whether a truth value is one, in the words of either database.
fn is_true(text: &str) -> bool {
    ["1", "t", "true", "yes", "on"].contains(&&*text.trim().to_lowercase())
}

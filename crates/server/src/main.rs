//! `muster`: the server.

mod absentees;
mod backup;
mod config;
mod dashboard;
mod descriptors;
mod import;
mod jobs;
mod leading;
mod logging;
mod observability;
mod older;
mod orphans;
mod policy;
mod polls;
mod quickstart;
mod secrets;
mod serve;
mod sign_on;
mod tls;
mod watch;
mod wiring;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use muster_identity::Username;
use muster_kernel::Author;

use config::{Config, Settings};

/// One control plane for remote machines.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Settings),
    /// Run the server and one agent on this machine, ready to try.
    Quickstart(Settings),
    /// Change the database's schema; `serve` brings it up to date by itself.
    Migrate {
        #[command(subcommand)]
        direction: Direction,
    },
    /// Copy the database into a new file; the server may run meanwhile.
    Backup {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Put a backup in the place of the database; the server must not run. What is replaced is
    /// kept.
    Restore {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Take over the data of an older product; the server may run meanwhile.
    Import {
        #[command(subcommand)]
        product: import::Product,
    },
    /// Work on the secrets in the database; the server may run meanwhile.
    Secrets {
        #[command(subcommand)]
        work: SecretsWork,
    },
    /// Work on users where nobody can sign in; the server may run meanwhile.
    Users {
        #[command(subcommand)]
        work: UsersWork,
    },
    /// Print the OpenAPI document.
    Openapi {
        /// Print the AsyncAPI document of the agent protocol instead.
        #[arg(long)]
        asyncapi: bool,
    },
}

#[derive(Debug, Subcommand)]
enum SecretsWork {
    /// Make a new data key and seal every secret anew with it.
    Rotate(Settings),
}

#[derive(Debug, Subcommand)]
enum UsersWork {
    /// Give somebody a new password, printed once, and take their second factor away.
    Recover {
        /// The user name.
        #[arg(default_value = "admin")]
        username: String,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Subcommand)]
enum Direction {
    /// Apply every step that is missing.
    Up(Settings),
    /// Undo the last steps, and lose what only they can hold.
    Down {
        /// How many steps.
        #[arg(default_value_t = 1)]
        steps: u32,
        #[command(flatten)]
        settings: Settings,
    },
    /// Show which steps are applied.
    Status(Settings),
    /// Copy everything into an empty database, of the same kind or the other, and compare every
    /// row; no server must run on either.
    Copy {
        /// The database to copy: `sqlite://PATH` or `postgres://USER@HOST/NAME`.
        #[arg(long, env = "MUSTER_COPY_FROM", hide_env_values = true)]
        from: String,
        /// The database to fill.
        #[arg(long, env = "MUSTER_COPY_TO", hide_env_values = true)]
        to: String,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "muster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let system = actix_web::rt::System::new();
    match command {
        Command::Serve(settings) => system.block_on(serve::serve(Config::load(settings)?)),
        Command::Quickstart(settings) => system.block_on(quickstart::run(Config::load(settings)?)),
        Command::Migrate { direction } => system.block_on(migrate(direction)),
        Command::Backup { file, settings } => {
            system.block_on(backup::backup(&file, &Config::load(settings)?))
        }
        Command::Restore { file, settings } => {
            system.block_on(backup::restore(&file, &Config::load(settings)?))
        }
        Command::Import { product } => system.block_on(import::run(product)),
        Command::Secrets { work: SecretsWork::Rotate(settings) } => {
            system.block_on(rotate(&Config::load(settings)?))
        }
        Command::Users { work: UsersWork::Recover { username, settings } } => {
            system.block_on(recover(&username, &Config::load(settings)?))
        }
        Command::Openapi { asyncapi } => {
            let document = if asyncapi {
                serde_json::to_string_pretty(&muster_protocol::asyncapi())?
            } else {
                serde_json::to_string_pretty(&muster_http::openapi())?
            };
            writeln!(std::io::stdout(), "{document}").context("printing the document")
        }
    }
}

async fn recover(username: &str, config: &Config) -> anyhow::Result<()> {
    let password = wiring::recovery(config).await?.recover(&Username::parse(username)?).await?;
    let mut out = std::io::stdout();
    writeln!(out, "The new password of {username}: {}", password.expose())?;
    writeln!(out, "It is shown this once; all of their sessions are ended.")?;
    Ok(())
}

async fn rotate(config: &Config) -> anyhow::Result<()> {
    let (done, failed) = wiring::rotation(config).await?.run(&Author::system()).await?;
    writeln!(std::io::stdout(), "{done} secrets are sealed with a new key")?;
    if failed > 0 {
        bail!("{failed} secrets can't be opened and stay as they are; set them again");
    }
    Ok(())
}

async fn migrate(direction: Direction) -> anyhow::Result<()> {
    let (settings, up, down) = match direction {
        Direction::Up(settings) => (settings, true, 0),
        Direction::Down { steps, settings } => (settings, false, steps),
        Direction::Status(settings) => (settings, false, 0),
        Direction::Copy { from, to } => return backup::copy(&from, &to).await,
    };
    let database = wiring::database(&Config::load(settings)?).await?;
    if up {
        database.migrate().await?;
    }
    if down > 0 {
        database.undo_migrations(down).await?;
    }
    let mut out = std::io::stdout();
    for (step, applied) in database.migrations().await? {
        writeln!(out, "{}  {step}", if applied { "applied" } else { "missing" })?;
    }
    Ok(())
}

//! Copies of the database: to keep, to put back, and into a database of another kind.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use muster_crypto::SystemClock;
use muster_kernel::Clock;
use muster_sea_orm::DatabaseUrl;

use crate::config::Config;
use crate::{secrets, wiring};

/// Copies the database into a file, beside a server that goes on.
pub(crate) async fn backup(file: &Path, config: &Config) -> anyhow::Result<()> {
    let Some(database) = config.database.file() else {
        bail!(
            "PostgreSQL makes its own backups: pg_dump --format=custom --file={} \"$DATABASE_URL\"; \
             keep the server's key with them",
            file.display()
        );
    };
    muster_sea_orm::backup(database, file).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} is a whole copy of {}", file.display(), database.display())?;
    writeln!(out, "Keep {} as well: without it the copy is of no use", key(config))?;
    Ok(())
}

/// Puts a backup in the place of the database, while no server runs.
pub(crate) async fn restore(file: &Path, config: &Config) -> anyhow::Result<()> {
    let Some(database) = config.database.file() else {
        bail!(
            "PostgreSQL restores its own backups: stop the servers, then pg_restore --clean \
             --if-exists --single-transaction --dbname=\"$DATABASE_URL\" {}",
            file.display()
        );
    };
    secrets::prepare_data_dir(&config.data_dir)?;
    let master = match &config.secret_key {
        Some(key) => key.clone(),
        // It is never drawn here: the backup was made under another.
        None => secrets::master_key(&config.data_dir, true)?,
    };
    let key = wiring::chain_key(&master);
    let before = muster_sea_orm::restore(file, database, key, SystemClock.now()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{} is in its place: {}", file.display(), database.display())?;
    if let Some(before) = before {
        writeln!(out, "What was there before is {}", before.display())?;
    }
    Ok(())
}

/// Where the key is that a database is of no use without.
fn key(config: &Config) -> String {
    match &config.secret_key {
        Some(_) => "MUSTER_SECRET_KEY".to_owned(),
        None => config.data_dir.join("secret.key").display().to_string(),
    }
}

/// Copies everything from one database into another that is empty.
pub(crate) async fn copy(from: &str, to: &str) -> anyhow::Result<()> {
    let from: DatabaseUrl = from.parse().context("--from")?;
    let to: DatabaseUrl = to.parse().context("--to")?;
    if from == to {
        bail!("--to: another database than --from is expected");
    }
    let copied = muster_sea_orm::copy(&from, &to).await?;
    let mut out = std::io::stdout();
    for table in &copied {
        writeln!(out, "{:>10}  {}", table.rows, table.name)?;
    }
    writeln!(out, "Every row was read again and is the same in both databases.")?;
    writeln!(
        out,
        "Now start the server with the other DATABASE_URL, and with the same secret.key."
    )?;
    Ok(())
}

//! Where an older product's database is.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sea_orm::{ConnectOptions, DatabaseConnection, DbErr};

use super::ImportError;
use crate::connection::{Purpose, open};
use crate::{DatabaseUrl, InvalidDatabaseUrl};

/// How long to wait for the older product, which may still write.
const WAIT: Duration = Duration::from_secs(5);

/// Where an older product's database is, as its own configuration says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportSource {
    /// A file: of several that the address may mean, the first that is there.
    File(Vec<PathBuf>),
    /// A PostgreSQL server.
    Server(DatabaseUrl),
}

impl FromStr for ImportSource {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidDatabaseUrl::Scheme)?;
        // Behind a plus there is the driver by which the older product speaks to the database.
        let kind = scheme.split('+').next().unwrap_or_default();
        if kind == "sqlite" {
            return files(rest).map(Self::File);
        }
        Ok(Self::Server(format!("{kind}://{rest}").parse()?))
    }
}

/// The files that may be meant. Behind three slashes the older products write a path from the
/// folder that they run in, behind four an absolute one; behind three Muster writes an absolute one.
fn files(rest: &str) -> Result<Vec<PathBuf>, InvalidDatabaseUrl> {
    let path = rest.split('?').next().unwrap_or_default();
    let files = match path.strip_prefix('/') {
        Some(absolute) if absolute.starts_with('/') => vec![absolute],
        Some(relative) if relative.starts_with('.') => vec![relative],
        Some(relative) => vec![relative, path],
        None => vec![path],
    };
    if files.iter().any(|file| file.trim_matches('/').is_empty()) {
        return Err(InvalidDatabaseUrl::Scheme);
    }
    Ok(files.into_iter().map(PathBuf::from).collect())
}

impl ImportSource {
    /// Opens it to be read, and says what people call the place.
    pub(super) async fn open(&self) -> Result<(DatabaseConnection, String), ImportError> {
        match self {
            Self::File(files) => {
                let file = files.iter().find(|file| file.is_file());
                let file = file.ok_or_else(|| ImportError::NoFile(files.clone()))?;
                let place = file.display().to_string();
                let opened = open_file(file).await;
                Ok((opened.map_err(ImportError::database("opening", &place))?, place))
            }
            Self::Server(url) => {
                // The address may hold a password.
                let place = "the PostgreSQL database".to_owned();
                let opened = open(url, Purpose::Read(1)).await;
                Ok((opened.map_err(ImportError::database("opening", &place))?, place))
            }
        }
    }
}

async fn open_file(path: &Path) -> Result<DatabaseConnection, DbErr> {
    let path = path.to_owned();
    // What is opened is the path below; an address has no way to write every path.
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .in_memory(false)
            .shared_cache(false)
            .filename(&path)
            .read_only(true)
            .busy_timeout(WAIT)
    });
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await
}

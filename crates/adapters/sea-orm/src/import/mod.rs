//! Data of older products, read from the databases that they leave behind.
//!
//! Nothing is written there and little is believed: a table is asked which columns it has, and
//! every value is read as text. What the texts are good for is decided by whoever imports them.

mod dexagents;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use sea_orm::DbErr;

use crate::DatabaseError;

pub use dexagents::{DexAgent, DexAgentsData, DexUser, read_dexagents};
pub use source::ImportSource;
pub use table::Unreadable;

/// Why an older product's data can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no such file, wherever the address may mean it to be.
    #[error("there is no file {}", list(.0))]
    NoFile(Vec<PathBuf>),
    /// The database is another program's.
    #[error("{place} is no database of DexAgents: {lack}")]
    Foreign {
        /// Where it is.
        place: String,
        /// What it would have.
        lack: &'static str,
    },
    /// The database is Muster's own.
    #[error("{0} is a database of Muster's own, which `muster migrate copy` copies")]
    Own(String),
    /// The database failed.
    #[error("{doing} {place} failed")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Where it is.
        place: String,
        /// Why.
        #[source]
        source: DatabaseError,
    },
}

impl ImportError {
    fn database(doing: &'static str, place: &str) -> impl Fn(DbErr) -> Self + use<> {
        let place = place.to_owned();
        move |source| Self::Database { doing, place: place.clone(), source: source.into() }
    }
}

fn list(files: &[PathBuf]) -> String {
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    files.join(" or ")
}

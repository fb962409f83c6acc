//! Assistants, projects, conversations and what is proposed in them.

mod chats;
mod entity;
mod entries;
mod proposals;
mod spending;

use muster_kernel::StorageError;
use sea_orm::DbErr;

use crate::{Database, DatabaseError};
pub(crate) use entries::{forget, remove_all};

/// Everything of assistants, in the tables `assistant_…`.
#[derive(Debug, Clone)]
pub struct SeaAssistants {
    database: Database,
}

impl SeaAssistants {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading what belongs to assistants", error).into()
}

#[cfg(test)]
mod tests;

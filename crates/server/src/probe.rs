//! The way from the route that asks how the database is to the database.

use async_trait::async_trait;
use muster_http::DatabaseProbe;
use muster_kernel::StorageError;
use muster_sea_orm::Database;

/// The database, as far as the route may know it.
#[derive(Debug)]
pub(crate) struct Probe(Database);

impl Probe {
    pub(crate) const fn new(database: Database) -> Self {
        Self(database)
    }
}

#[async_trait]
impl DatabaseProbe for Probe {
    async fn ping(&self) -> Result<(), StorageError> {
        Ok(self.0.ping().await?)
    }
}

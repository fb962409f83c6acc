//! A database of its own for every test.

use tempfile::TempDir;

use crate::{Database, DatabaseUrl};

/// A fresh, migrated SQLite database. Its file lives in a folder that goes away with the
/// process's temporary files: the folder is leaked on purpose, for the writer outlives the test.
pub(crate) async fn database() -> Database {
    let folder = TempDir::new().unwrap().keep();
    let url = format!("sqlite://{}", folder.join("muster.db").display());
    let database = Database::connect(&url.parse::<DatabaseUrl>().unwrap()).await.unwrap();
    database.migrate().await.unwrap();
    database
}

//! Copies of a SQLite database: taken while a server writes to it, and put back in its place.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use muster_audit::ChainKey;
use muster_kernel::Timestamp;
use muster_migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};

use crate::audit::Trail;
use crate::{DatabaseError, installation};

/// Why no copy was taken or put back. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database to copy.
    #[error("there is no database at {}", .0.display())]
    NoDatabase(PathBuf),
    /// Something is there already.
    #[error("{} is there already; name another file", .0.display())]
    Exists(PathBuf),
    /// The file is none of Muster's.
    #[error("{} is no database of this version of Muster, or of one before it", .0.display())]
    Foreign(PathBuf),
    /// SQLite finds fault with the file.
    #[error("{} is damaged: {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        fault: String,
    },
    /// It was made under another key.
    #[error(
        "{} was written under another key: put the secret.key of its time into the data folder, or \
         set MUSTER_SECRET_KEY",
        .0.display()
    )]
    OtherKey(PathBuf),
    /// A server runs on the database that would be replaced.
    #[error("something has {} open: stop the server first", .0.display())]
    InUse(PathBuf),
    /// SQLite failed.
    #[error("{doing} failed")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: DatabaseError,
    },
    /// A file could not be read, written or moved.
    #[error("{doing} failed")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BackupError {
    fn database(doing: &'static str) -> impl Fn(DbErr) -> Self {
        move |source| Self::Database { doing, source: DatabaseError::new(doing, source) }
    }

    fn file(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { doing, source }
    }
}

/// Copies the database in the file `database`, as it is at one instant, into the new file `copy`,
/// which only its owner reads. A server may go on writing meanwhile.
///
/// # Errors
/// As [`BackupError`] says; then there is no new file.
pub async fn backup(database: &Path, copy: &Path) -> Result<(), BackupError> {
    if !fs::metadata(database).is_ok_and(|file| file.len() > 0) {
        return Err(BackupError::NoDatabase(database.to_owned()));
    }
    if copy.exists() {
        return Err(BackupError::Exists(copy.to_owned()));
    }
    let unfinished = beside(copy, "unfinished");
    let copied = copy_into(database, &unfinished).await.and_then(|()| {
        let moved = fs::hard_link(&unfinished, copy);
        moved.and_then(|()| sync_folder(copy)).map_err(BackupError::file("naming the backup"))
    });
    let _ = fs::remove_file(&unfinished);
    copied
}

async fn copy_into(database: &Path, copy: &Path) -> Result<(), BackupError> {
    new_file(copy).map_err(BackupError::file("making the backup's file"))?;
    let failed = BackupError::database("copying the database");
    let connection = open(database, "rw").await.map_err(&failed)?;
    let whole = Statement::from_sql_and_values(
        DbBackend::Sqlite,
        "VACUUM INTO ?",
        [copy.to_string_lossy().into_owned().into()],
    );
    connection.execute_raw(whole).await.map_err(&failed)?;
    connection.close().await.map_err(&failed)?;
    let synced = File::open(copy).and_then(|file| file.sync_all());
    synced.map_err(BackupError::file("writing the backup"))
}

/// Puts `copy` in the place of the database in the file `database`, and answers with where that is
/// kept, if there was one. `key` has to be the one that the copy was written under; `now` names
/// what is replaced.
///
/// # Errors
/// As [`BackupError`] says; then the database is as it was.
pub async fn restore(
    copy: &Path,
    database: &Path,
    key: ChainKey,
    now: Timestamp,
) -> Result<Option<PathBuf>, BackupError> {
    check(copy, key).await?;
    let there = database.exists();
    if there {
        close(database).await?;
    }
    let failed = BackupError::file("putting the backup in its place");
    let unfinished = beside(database, "restoring");
    let copied = new_file(&unfinished)
        .and_then(|()| fs::copy(copy, &unfinished))
        .and_then(|_| File::open(&unfinished)?.sync_all());
    if let Err(error) = copied {
        let _ = fs::remove_file(&unfinished);
        return Err(failed(error));
    }
    let kept = there.then(|| beside(database, &now.format("before-%Y%m%dT%H%M%SZ").to_string()));
    if let Some(kept) = &kept {
        fs::rename(database, kept).map_err(&failed)?;
    }
    // A log that was left behind would be taken for the log of what comes now.
    for end in ["-wal", "-shm", "-journal"] {
        let left = with_end(database, end);
        if left.exists() {
            let to = kept.as_ref().map_or_else(|| beside(database, "left"), Clone::clone);
            fs::rename(&left, with_end(&to, end)).map_err(&failed)?;
        }
    }
    fs::rename(&unfinished, database).map_err(&failed)?;
    sync_folder(database).map_err(&failed)?;
    Ok(kept)
}

/// Whether a file is a whole database of Muster's, written under this key.
async fn check(copy: &Path, key: ChainKey) -> Result<(), BackupError> {
    if !copy.is_file() {
        return Err(BackupError::NoDatabase(copy.to_owned()));
    }
    let foreign = || BackupError::Foreign(copy.to_owned());
    let connection = open(copy, "ro").await.map_err(|_| foreign())?;
    let sound = Statement::from_string(DbBackend::Sqlite, "PRAGMA integrity_check(1)");
    let sound = connection.query_one_raw(sound).await.map_err(|_| foreign())?;
    let fault: Option<String> = sound.and_then(|row| row.try_get_by_index(0).ok());
    match fault {
        Some(fault) if fault == "ok" => {}
        fault => {
            let (path, fault) = (copy.to_owned(), fault.unwrap_or_default());
            return Err(BackupError::Damaged { path, fault });
        }
    }
    Migrator::get_migration_with_status_read_only(&connection).await.map_err(|_| foreign())?;
    let ours = installation::is_ours(&connection, Trail::new(key).key_check()).await;
    let ours = ours.map_err(|_| foreign())?;
    let _ = connection.close().await;
    match ours {
        Some(true) => Ok(()),
        Some(false) => Err(BackupError::OtherKey(copy.to_owned())),
        None => Err(foreign()),
    }
}

/// Takes what is in the log beside a database into its one file. It can't be done while anybody
/// else has it open.
async fn close(database: &Path) -> Result<(), BackupError> {
    let alone = Statement::from_string(DbBackend::Sqlite, "PRAGMA journal_mode = DELETE");
    let closed = async {
        let connection = open(database, "rw").await?;
        let alone = connection.query_one_raw(alone).await;
        // In any case: whoever tries again must not find that this one still has it open.
        connection.close().await?;
        alone.map(drop)
    };
    match closed.await {
        Err(error) if is_busy(&error) => Err(BackupError::InUse(database.to_owned())),
        // Damaged as it may be, it is what a backup is put back for.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether somebody else has it open.
fn is_busy(error: &DbErr) -> bool {
    let text = error.to_string();
    text.contains("locked") || text.contains("busy")
}

async fn open(path: &Path, mode: &'static str) -> Result<DatabaseConnection, DbErr> {
    let path = path.to_owned();
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .in_memory(false)
            .shared_cache(false)
            .filename(&path)
            .read_only(mode == "ro")
            .busy_timeout(std::time::Duration::from_secs(1))
    });
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options).await
}

/// A file beside another, with one more ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    with_end(path, &format!(".{ending}"))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes an empty file that only its owner reads, in the place of one that was left behind.
fn new_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path).map(|_| ())
}

/// A name is durable with its folder.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

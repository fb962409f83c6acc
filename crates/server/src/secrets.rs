//! The data folder and the secret in it.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use muster_crypto::{MasterKey, OsEntropy};

/// Makes the data folder, for its owner only. One that others read and that holds other things is
/// left as it is: closing it could take more from them than Muster's data.
pub(crate) fn prepare_data_dir(path: &Path) -> anyhow::Result<()> {
    let doing = || format!("MUSTER_DATA_DIR: making {}", path.display());
    fs::create_dir_all(path).with_context(doing)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let open = fs::metadata(path).with_context(doing)?.permissions().mode() & 0o077 != 0;
        if open && !is_ours(path).with_context(doing)? {
            anyhow::bail!(
                "MUSTER_DATA_DIR: {} holds other things and others may read it; name a folder of \
                 Muster's own, or close it with chmod 700",
                path.display()
            );
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(doing)?;
    }
    Ok(())
}

/// Whether a folder is empty or has Muster's data in it.
#[cfg(unix)]
fn is_ours(path: &Path) -> std::io::Result<bool> {
    let known = ["secret.key", "muster.db"].iter().any(|name| path.join(name).exists());
    Ok(known || fs::read_dir(path)?.next().is_none())
}

/// The key in the data folder; the first start draws it. Where there is a database already, it was
/// made under a key that is somewhere else, and another one would only do harm.
pub(crate) fn master_key(data_dir: &Path, is_there: bool) -> anyhow::Result<MasterKey> {
    let path = data_dir.join("secret.key");
    match fs::read_to_string(&path) {
        Ok(text) => MasterKey::parse(&text).with_context(|| format!("{}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if is_there {
                anyhow::bail!(
                    "MUSTER_SECRET_KEY: there is a database and no {}: set the key that the \
                     server runs with, or put the file back",
                    path.display()
                );
            }
            let key = MasterKey::draw(&OsEntropy);
            write_once(&path, key.to_base64().as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
            // Of two first starts at the same time, both go by the key that got there first.
            let text = fs::read_to_string(&path)?;
            MasterKey::parse(&text).with_context(|| format!("{}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Writes a file that only its owner reads, whole or not at all, unless it is there already.
pub(crate) fn write_once(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = match fs::hard_link(&unfinished, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&unfinished)?;
    // A name is durable with its folder: agents pin what follows from this key.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_draws_a_key_that_later_ones_find() {
        let folder = tempfile::tempdir().unwrap();
        let first = master_key(folder.path(), false).unwrap();
        let second = master_key(folder.path(), false).unwrap();
        assert_eq!(first.derive("x", &[]), second.derive("x", &[]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_the_folder_or_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        prepare_data_dir(&data).unwrap();
        master_key(&data, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&data.join("secret.key"))), (0o700, 0o600));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_somebody_elses_too_is_refused_and_not_closed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        let refusal = prepare_data_dir(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("MUSTER_DATA_DIR"), "{refusal}");
        let mode = || fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o755);
        fs::write(folder.path().join("muster.db"), "").unwrap();
        prepare_data_dir(folder.path()).unwrap();
        assert_eq!(mode(), 0o700, "what is Muster's is closed again");
    }

    #[test]
    fn a_broken_key_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret.key"), "changeme").unwrap();
        assert!(master_key(folder.path(), false).is_err());
    }

    #[test]
    fn no_key_is_drawn_for_a_database_that_was_made_under_another() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = master_key(folder.path(), true).unwrap_err().to_string();
        assert!(refusal.starts_with("MUSTER_SECRET_KEY"), "{refusal}");
        assert!(!folder.path().join("secret.key").exists());
    }
}

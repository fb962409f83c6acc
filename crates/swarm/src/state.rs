//! The file that keeps who the machines are, so that a second run connects the same ones.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::Identity;

/// A file with one identity a line, as JSON, for its owner only: there are tokens in it.
#[derive(Debug)]
pub struct State {
    file: File,
}

impl State {
    /// Opens the file at `path`, made if it is missing, and reads who is in it. A last line that
    /// broke off is left out and written over.
    ///
    /// # Errors
    /// When the file can't be used, is used by another process or has a line that is no identity.
    pub fn open(path: &Path) -> anyhow::Result<(Self, Vec<Identity>)> {
        let opening = || format!("MUSTER_SWARM_STATE: {}", path.display());
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).with_context(opening)?;
        if let Err(error) = file.try_lock() {
            bail!("{}: another swarm uses it ({error})", opening());
        }
        let (identities, whole) = read(&file).with_context(opening)?;
        file.set_len(whole).with_context(opening)?;
        Ok((Self { file }, identities))
    }

    /// Adds a machine.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn keep(&mut self, identity: &Identity) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(identity).context("writing an identity")?;
        line.push(b'\n');
        self.file.write_all(&line).context("writing the file of identities")
    }
}

/// Who is in the file, and how many bytes of it are whole lines.
fn read(file: &File) -> anyhow::Result<(Vec<Identity>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut identities, mut whole, mut line) = (Vec::new(), 0, String::new());
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => break,
            Ok(length) if line.ends_with('\n') => whole += u64::try_from(length)?,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::InvalidData => bail!("no file of identities"),
            Err(error) => return Err(error.into()),
        }
        let number = identities.len() + 1;
        let identity = serde_json::from_str(&line);
        identities.push(identity.with_context(|| format!("line {number} is no identity"))?);
    }
    std::io::Seek::seek(&mut reader.into_inner(), std::io::SeekFrom::Start(whole))?;
    Ok((identities, whole))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn identity(number: u128) -> Identity {
        Identity {
            name: format!("m-{number}"),
            agent_id: Uuid::from_u128(number),
            agent_token: "ag_secret".into(),
            server_key: String::new(),
        }
    }

    #[test]
    fn who_was_kept_is_there_again_even_after_a_line_broke_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swarm");
        let (mut state, none) = State::open(&path).unwrap();
        assert_eq!(none, []);
        state.keep(&identity(1)).unwrap();
        state.file.write_all(b"{\"name\":\"m-").unwrap();
        drop(state);
        let (mut state, known) = State::open(&path).unwrap();
        assert_eq!(known, [identity(1)]);
        state.keep(&identity(2)).unwrap();
        drop(state);
        assert_eq!(State::open(&path).unwrap().1, [identity(1), identity(2)]);
    }

    #[test]
    fn a_file_of_something_else_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        std::fs::write(&path, "dear diary\n").unwrap();
        let refusal = format!("{:#}", State::open(&path).unwrap_err());
        assert!(refusal.contains("notes") && refusal.contains("line 1"), "{refusal}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary\n");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_the_tokens() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("swarm");
        let (_state, _) = State::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(State::open(&path).is_err(), "two swarms would be each other's clones");
    }
}

//! How many connections the system lets one process have.

/// What a process needs beside its connections.
#[cfg(unix)]
const BESIDE: u64 = 100;

/// Makes room for so many connections.
///
/// # Errors
/// When the system does not allow that many.
#[cfg(unix)]
pub(crate) fn allow(machines: usize) -> anyhow::Result<()> {
    use anyhow::{Context, bail};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let needed = u64::try_from(machines)?.saturating_add(BESIDE);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of files")?;
    if hard < needed {
        bail!(
            "{machines} connections need {needed} open files, and this process may have {hard}: \
             raise the limit (ulimit -Hn {needed}), or divide the machines among several processes"
        );
    }
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("raising the limit of files")?;
    }
    Ok(())
}

/// Other systems have no such limit.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it may fail")]
pub(crate) fn allow(_: usize) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn more_machines_than_the_system_has_room_for_are_refused_with_what_to_do() {
        assert!(allow(1).is_ok());
        let refusal = allow(usize::MAX / 2).unwrap_err().to_string();
        assert!(refusal.contains("ulimit"), "{refusal}");
    }
}

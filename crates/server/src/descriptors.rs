//! How many connections the system lets the server have.

/// Takes as many open files as the system allows: each agent is one, and the usual limit of 1,024
/// is there for programs that can't do with more.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    match raised {
        Ok(limit) => tracing::info!(
            server.open_files = limit,
            "files that may be open, connections included"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

/// Other systems have no such limit.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}

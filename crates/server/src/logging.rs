//! The log: structured, on standard error.

use std::env::VarError;
use std::io::IsTerminal;

use anyhow::{Context, bail};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// What is written unless `RUST_LOG` says otherwise.
const USUAL: &str = "info,sqlx=warn,sea_orm_migration=warn";

/// Starts the log; `RUST_LOG` says how much there is of it.
pub(crate) fn start(format: Option<LogFormat>) -> anyhow::Result<()> {
    let wanted = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => Some(text),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => bail!("RUST_LOG: text is expected"),
    };
    let filter = filter(wanted.as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(terminal).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

fn filter(wanted: Option<&str>) -> anyhow::Result<EnvFilter> {
    let text = wanted.filter(|text| !text.is_empty()).unwrap_or(USUAL);
    EnvFilter::try_new(text).context("RUST_LOG: levels are expected, such as info,muster=debug")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_that_can_not_be_read_stops_the_start_by_name() {
        assert!(filter(None).is_ok() && filter(Some("")).is_ok() && filter(Some("debug")).is_ok());
        let refusal = filter(Some("muster=loud")).unwrap_err();
        assert!(format!("{refusal:#}").contains("RUST_LOG"));
    }
}

//! The log: structured, on standard error; and beside it traces, where somebody collects them.

use std::env::VarError;
use std::io::IsTerminal;

use anyhow::{Context, bail};
use muster_kernel::TRACES;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};
use crate::observability::Exporter;

/// What is written unless `RUST_LOG` says otherwise.
const USUAL: &str = "info,sqlx=warn,sea_orm_migration=warn";

/// Starts the log, of which `RUST_LOG` says how much there is, and traces if they go anywhere.
pub(crate) fn start(config: &Config) -> anyhow::Result<Option<Exporter>> {
    let wanted = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => Some(text),
        Err(VarError::NotPresent) => None,
        Err(VarError::NotUnicode(_)) => bail!("RUST_LOG: text is expected"),
    };
    let filter = filter(wanted.as_deref())?;
    let terminal = std::io::stderr().is_terminal();
    let format =
        config.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Text => log.with_ansi(terminal).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let Some(otlp) = &config.otlp else {
        tracing_subscriber::registry().with(log).with(filter).init();
        return Ok(None);
    };
    let exporter = Exporter::start(otlp)?;
    let spans = tracing_opentelemetry::layer()
        .with_tracer(exporter.tracer())
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        // Nothing else: what is logged may say more than a collector is to know.
        .with_filter(Targets::new().with_target(TRACES, Level::TRACE));
    tracing_subscriber::registry().with(log.with_filter(filter)).with(spans).init();
    Ok(Some(exporter))
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

//! Whether the server itself does TLS.

use std::path::PathBuf;

use anyhow::bail;
use serde::Deserialize;

/// Whether there is TLS, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    Off,
    SelfSigned,
    Files,
}

/// Where the certificate comes from, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsSource {
    Off,
    SelfSigned,
    Files { cert: PathBuf, key: PathBuf },
}

impl TlsSource {
    /// Whether the server itself does TLS.
    pub(crate) fn is_on(&self) -> bool {
        *self != Self::Off
    }
}

pub(super) fn tls(
    mode: Option<TlsMode>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> anyhow::Result<TlsSource> {
    let source = match (mode.unwrap_or(TlsMode::Off), cert, key) {
        (TlsMode::Files, Some(cert), Some(key)) => TlsSource::Files { cert, key },
        (TlsMode::Files, None, _) => bail!("MUSTER_TLS_CERT: MUSTER_TLS=files needs a PEM file"),
        (TlsMode::Files, _, None) => bail!("MUSTER_TLS_KEY: MUSTER_TLS=files needs a PEM file"),
        // Whoever names a certificate believes that it is served.
        (_, Some(_), _) => bail!("MUSTER_TLS_CERT: it is served with MUSTER_TLS=files only"),
        (_, _, Some(_)) => bail!("MUSTER_TLS_KEY: it is used with MUSTER_TLS=files only"),
        (TlsMode::SelfSigned, None, None) => TlsSource::SelfSigned,
        (TlsMode::Off, None, None) => TlsSource::Off,
    };
    Ok(source)
}

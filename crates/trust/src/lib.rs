//! Which servers an agent believes to be its own. There is no way to believe any.
#![deny(missing_docs)]

mod pin;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

use pin::Pinned;
pub use pin::{Fingerprint, NoFingerprint};

/// What a server's certificate is measured by; kept with the agent's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The roots that browsers know.
    #[default]
    WebRoots,
    /// Those, and the certificates in this PEM text.
    Ca(String),
    /// One certificate and no other.
    Fingerprint(Fingerprint),
}

impl Trust {
    /// What the flags say, if they say anything.
    ///
    /// # Errors
    /// When the CA file can't be read or has no certificate that can be used.
    pub fn given(
        ca_file: Option<&Path>,
        fingerprint: Option<Fingerprint>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(path) = ca_file else { return Ok(fingerprint.map(Self::Fingerprint)) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("MUSTER_CA_FILE: reading {}", path.display()))?;
        roots(&text).with_context(|| format!("MUSTER_CA_FILE: {}", path.display()))?;
        Ok(Some(Self::Ca(text)))
    }

    /// How every connection to the server is made, at enrolment and after.
    ///
    /// # Errors
    /// When the certificates can't be used.
    pub fn client_config(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("can't set up TLS")?;
        let builder = match self {
            Self::WebRoots => builder.with_root_certificates(web_roots()),
            Self::Ca(text) => builder.with_root_certificates(roots(text)?),
            // Sound: the verifier takes one certificate only, and like the usual one it has the
            // server prove with a signature that it holds that certificate's key.
            Self::Fingerprint(fingerprint) => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned {
                    fingerprint: *fingerprint,
                    algorithms,
                }))
            }
        };
        let mut config = builder.with_no_client_auth();
        // A session that is resumed shows no certificate; an agent connects rarely, and then looks.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

fn web_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// The web's roots, and the certificates in `text`.
fn roots(text: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = web_roots();
    let known = roots.len();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.context("not PEM")?;
        roots.add(certificate).context("a certificate can't be used")?;
    }
    if roots.len() == known {
        bail!("no certificate as PEM");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_can_not_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refusal = || format!("{:#}", Trust::given(Some(&path), None).unwrap_err());
        assert!(refusal().starts_with("MUSTER_CA_FILE: reading"), "{}", refusal());
        for useless in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, useless).unwrap();
            assert!(refusal().starts_with("MUSTER_CA_FILE: "), "{}", refusal());
        }
    }
}

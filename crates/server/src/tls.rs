//! TLS: where the certificate comes from, and that a new one is served without a restart.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Uri;
use anyhow::{Context, bail};
use parking_lot::RwLock;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, TlsSource};
use crate::jobs::pause;
use crate::secrets;

/// How often it is looked whether the files hold something else.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The two PEM files, and the settings to name when one can't be used.
#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    cert_setting: &'static str,
    key_setting: &'static str,
}

/// What the two files hold.
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What was found in the files, as far as two looks are compared: a digest, or why there is none.
type Look = Result<[u8; 32], String>;

/// The certificate that handshakes are answered with.
#[derive(Debug)]
struct Served(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

/// A certificate that is served, and the files behind it.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    provider: Arc<CryptoProvider>,
    served: Arc<Served>,
    loaded: Look,
    /// The host that agents and browsers are told.
    host: String,
}

impl Tls {
    /// Reads the certificate that the settings name, or makes it; `None` when TLS is off.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let host = || host(&config.web.public_url);
        let files = match &config.tls {
            TlsSource::Off => return Ok(None),
            TlsSource::SelfSigned => self_signed(&config.data_dir, &host()?, config.listen.ip())
                .context("MUSTER_TLS: a self-signed certificate")?,
            TlsSource::Files { cert, key } => Files {
                cert: cert.clone(),
                key: key.clone(),
                cert_setting: "MUSTER_TLS_CERT",
                key_setting: "MUSTER_TLS_KEY",
            },
        };
        let host = host()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pem = files.read()?;
        let loaded = Ok(pem.digest());
        let certified = Arc::new(files.certified(&pem, &provider)?);
        announce(&certified, &host);
        let served = Arc::new(Served(RwLock::new(certified)));
        Ok(Some(Self { files, provider, served, loaded, host }))
    }

    /// TLS 1.2 and 1.3 with this certificate; actix adds what ALPN offers, h2 and http/1.1.
    pub(crate) fn server_config(&self) -> anyhow::Result<ServerConfig> {
        Ok(ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .context("MUSTER_TLS")?
            .with_no_client_auth()
            .with_cert_resolver(self.served.clone()))
    }

    /// The SHA-256 of the certificate that is served now, in hex.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.served.0.read())
    }

    /// Serves what the files hold whenever that changes, until `stop`.
    ///
    /// A task of its own, so that no handshake ever waits for a disk. It compares what is in the
    /// files rather than their times and sizes: that is cheap, and true on every file system and
    /// behind every kind of link.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut known = self.loaded.clone();
        let mut last = known.clone();
        while pause(LOOK_EVERY, &stop).await {
            let files = self.files.clone();
            let found = tokio::task::spawn_blocking(move || files.read()).await;
            let found = found.context("reading the certificate").flatten();
            let look = match &found {
                Ok(pem) => Ok(pem.digest()),
                Err(error) => Err(format!("{error:#}")),
            };
            // Seen twice: of two files that are being replaced, one is new before the other.
            if look == last && look != known {
                known = look.clone();
                self.replace(found);
            }
            last = look;
        }
    }

    fn replace(&self, found: anyhow::Result<Pem>) {
        match found.and_then(|pem| self.files.certified(&pem, &self.provider)) {
            Ok(certified) => {
                announce(&certified, &self.host);
                *self.served.0.write() = Arc::new(certified);
            }
            Err(error) => tracing::error!(
                error.cause = format!("{error:#}"),
                "the new certificate can't be used; the one before is still served"
            ),
        }
    }
}

impl Files {
    fn read(&self) -> anyhow::Result<Pem> {
        let read = |path: &Path, setting| {
            std::fs::read(path).with_context(|| format!("{setting}: reading {}", path.display()))
        };
        Ok(Pem {
            cert: read(&self.cert, self.cert_setting)?,
            key: read(&self.key, self.key_setting)?,
        })
    }

    /// The chain and its key, if they belong together.
    fn certified(&self, pem: &Pem, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
        let (setting, path) = (self.cert_setting, self.cert.display());
        let chain = CertificateDer::pem_slice_iter(&pem.cert)
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{setting}: {path} is not PEM"))?;
        let Some(leaf) = chain.first() else { bail!("{setting}: {path} holds no certificate") };
        ParsedCertificate::try_from(leaf)
            .with_context(|| format!("{setting}: {path} does not begin with a certificate"))?;
        let (setting, path) = (self.key_setting, self.key.display());
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .with_context(|| format!("{setting}: {path} holds no private key as PEM"))?;
        match CertifiedKey::from_der(chain, key, provider) {
            Ok(certified) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                bail!("{setting}: {path} is not the key of the certificate {}", self.cert.display())
            }
            Err(error) => Err(error).with_context(|| format!("{setting}: {path} can't be used")),
        }
    }
}

impl Pem {
    fn digest(&self) -> [u8; 32] {
        let cert = Sha256::digest(&self.cert);
        Sha256::new().chain_update(cert).chain_update(&self.key).finalize().into()
    }
}

/// The files in the data folder; the first start makes them.
fn self_signed(data_dir: &Path, host: &str, listen: IpAddr) -> anyhow::Result<Files> {
    let files = Files {
        cert: data_dir.join("tls.crt"),
        key: data_dir.join("tls.key"),
        cert_setting: "MUSTER_TLS",
        key_setting: "MUSTER_TLS",
    };
    if files.cert.exists() {
        return Ok(files);
    }
    secrets::prepare_data_dir(data_dir)?;
    secrets::write_once(&files.key, KeyPair::generate()?.serialize_pem().as_bytes())
        .with_context(|| format!("writing {}", files.key.display()))?;
    // A start before this one may have ended here, and another may be here too: what counts is the
    // key that got there first.
    let key = KeyPair::from_pem(&std::fs::read_to_string(&files.key)?)
        .with_context(|| format!("{} can't be used", files.key.display()))?;
    let certificate = parameters(host, listen)?.self_signed(&key)?;
    secrets::write_once(&files.cert, certificate.pem().as_bytes())
        .with_context(|| format!("writing {}", files.cert.display()))?;
    Ok(files)
}

/// A certificate without an end: whoever trusts it trusts this one only, and an end would part
/// them on some day that nobody has in mind.
fn parameters(host: &str, listen: IpAddr) -> anyhow::Result<CertificateParams> {
    let mut names =
        vec![host.to_owned(), listen.to_string(), "localhost".into(), "127.0.0.1".into()];
    names.push("::1".into());
    names.sort_unstable();
    names.dedup();
    let mut parameters = CertificateParams::new(names)
        .with_context(|| format!("MUSTER_PUBLIC_URL: {host} can't be in a certificate"))?;
    parameters.distinguished_name.push(DnType::CommonName, "Muster");
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

/// Logs what is served from now on, and whether those who are sent here will accept it.
fn announce(certified: &CertifiedKey, host: &str) {
    tracing::info!(tls.fingerprint = fingerprint(certified), "this TLS certificate is served");
    let fits = certified.end_entity_cert().is_ok_and(|leaf| {
        let name = ServerName::try_from(host);
        ParsedCertificate::try_from(leaf)
            .is_ok_and(|leaf| name.is_ok_and(|name| verify_server_name(&leaf, &name).is_ok()))
    });
    if !fits {
        tracing::warn!(
            tls.host = host,
            "the TLS certificate is not valid for the host of MUSTER_PUBLIC_URL; only agents that \
             pin it will connect"
        );
    }
}

fn fingerprint(certified: &CertifiedKey) -> String {
    let leaf = certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
    Sha256::digest(leaf).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The host of a URL, an IPv6 address without its brackets.
fn host(url: &str) -> anyhow::Result<String> {
    let uri: Uri = url.parse().with_context(|| format!("MUSTER_PUBLIC_URL: {url} is no URL"))?;
    let host = uri.host().with_context(|| format!("MUSTER_PUBLIC_URL: {url} has no host"))?;
    Ok(host.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(data: &Path, host: &str) -> (Files, CertifiedKey) {
        let files = self_signed(data, host, [0, 0, 0, 0].into()).unwrap();
        let pem = files.read().unwrap();
        let certified = files.certified(&pem, &aws_lc_rs::default_provider()).unwrap();
        (files, certified)
    }

    #[test]
    fn the_first_start_makes_a_certificate_that_later_ones_find() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = made(folder.path(), "muster.example.org");
        assert_eq!(fingerprint(&first), fingerprint(&made(folder.path(), "muster.example.org").1));
        let leaf = ParsedCertificate::try_from(first.cert.first().unwrap()).unwrap();
        for name in ["muster.example.org", "localhost", "127.0.0.1", "::1", "0.0.0.0"] {
            let name = ServerName::try_from(name).unwrap();
            assert!(verify_server_name(&leaf, &name).is_ok(), "{name:?}");
        }
        assert!(verify_server_name(&leaf, &ServerName::try_from("example.org").unwrap()).is_err());
        #[cfg(unix)]
        for path in [&files.cert, &files.key] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_start_that_ended_between_the_files_is_made_good_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (files, first) = made(folder.path(), "::1");
        std::fs::remove_file(&files.cert).unwrap();
        assert!(made(folder.path(), "::1").1.key.public_key() == first.key.public_key());
    }

    #[test]
    fn files_that_can_not_be_used_are_named() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut files, _) = made(one.path(), "localhost");
        (files.cert_setting, files.key_setting) = ("MUSTER_TLS_CERT", "MUSTER_TLS_KEY");
        let (others, _) = made(other.path(), "localhost");
        let refusal = |files: &Files| {
            let provider = aws_lc_rs::default_provider();
            let read = files.read().and_then(|pem| files.certified(&pem, &provider));
            format!("{:#}", read.unwrap_err())
        };
        let with = |cert: &Path, key: &Path| Files {
            cert: cert.to_owned(),
            key: key.to_owned(),
            ..files.clone()
        };
        let (missing, empty) = (one.path().join("missing"), one.path().join("empty"));
        std::fs::write(&empty, "").unwrap();
        for (cert, key, setting) in [
            (&missing, &files.key, "MUSTER_TLS_CERT"),
            (&empty, &files.key, "MUSTER_TLS_CERT"),
            (&files.key, &files.key, "MUSTER_TLS_CERT"),
            (&files.cert, &missing, "MUSTER_TLS_KEY"),
            (&files.cert, &files.cert, "MUSTER_TLS_KEY"),
            (&files.cert, &others.key, "MUSTER_TLS_KEY"),
        ] {
            let refusal = refusal(&with(cert, key));
            assert!(refusal.starts_with(setting), "{refusal}");
        }
    }

    #[test]
    fn the_host_of_an_address_is_found() {
        assert_eq!(host("https://muster.example.org:8443/x").unwrap(), "muster.example.org");
        assert_eq!(host("https://[::1]:8000").unwrap(), "::1");
        assert!(host("https://").is_err());
    }
}

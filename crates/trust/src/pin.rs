//! Trust in one certificate: the one with the fingerprint that the agent was given.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[error("64 hexadecimal digits are expected, the SHA-256 of the server's certificate")]
pub struct NoFingerprint;

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// Takes digits of either case, with or without the colons that other tools print.
    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: Vec<u8> = text
            .chars()
            .filter(|character| *character != ':')
            .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()
            .ok_or(NoFingerprint)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        if !rest.is_empty() {
            return Err(NoFingerprint);
        }
        bytes.try_into().map(Self).map_err(|_| NoFingerprint)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NoFingerprint;

    fn try_from(text: String) -> Result<Self, NoFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl Display for Fingerprint {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Accepts the pinned certificate, from a server that proves to have its key.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Pinned {
    /// Names, dates and issuers are not looked at: they say whether a certificate may be believed,
    /// and this one is known.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (shown, pinned) = (Fingerprint::of(end_entity), self.fingerprint);
        if shown == pinned {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(format!(
            "the server's certificate has the fingerprint {shown}, and {pinned} is pinned"
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rcgen::{CertifiedKey as Made, KeyPair, generate_simple_self_signed};
    use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::server::{ClientHello, ResolvesServerCert};
    use rustls::sign::CertifiedKey;
    use rustls::{
        CertificateError, ClientConnection, ServerConfig, ServerConnection,
        SupportedProtocolVersion,
    };

    use super::*;
    use crate::Trust;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let plain = "0f".repeat(32);
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), plain);
        assert_eq!(vec!["0F"; 32].join(":").parse::<Fingerprint>().unwrap(), fingerprint);
        for wrong in ["", "0f", &"f".repeat(63), &format!("{plain}0f"), &"0g".repeat(32)] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }

    /// Shows a certificate, whether or not it has the key.
    #[derive(Debug)]
    struct Shows(Arc<CertifiedKey>);

    impl ResolvesServerCert for Shows {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(self.0.clone())
        }
    }

    fn handshake(
        version: &'static SupportedProtocolVersion,
        trust: &Trust,
        certificate: &CertificateDer<'static>,
        key: &KeyPair,
    ) -> Result<(), Error> {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let shown = CertifiedKey::new(vec![certificate.clone()], any_supported_type(&key).unwrap());
        let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shows(Arc::new(shown))));
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        // Another name than the certificate's.
        let name = ServerName::try_from("muster.example.org").unwrap();
        let mut client = ClientConnection::new(trust.client_config().unwrap(), name).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_pinned_certificate_is_accepted_from_who_has_its_key_only() {
        let Made { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
        let other = generate_simple_self_signed(["localhost".into()]).unwrap();
        let pin = Trust::Fingerprint(Fingerprint::of(cert.der()));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let shaken = |trust, cert, key| handshake(version, trust, cert, key);
            shaken(&pin, cert.der(), &signing_key).unwrap();
            let thief = shaken(&pin, cert.der(), &other.signing_key).unwrap_err();
            assert_eq!(thief, Error::InvalidCertificate(CertificateError::BadSignature));
            let stranger = shaken(&pin, other.cert.der(), &other.signing_key).unwrap_err();
            assert!(stranger.to_string().contains("is pinned"), "{stranger}");
            assert!(shaken(&Trust::WebRoots, cert.der(), &signing_key).is_err());
            let misnamed = shaken(&Trust::Ca(cert.pem()), cert.der(), &signing_key).unwrap_err();
            assert!(misnamed.to_string().contains("not valid for name"), "{misnamed}");
        }
    }
}

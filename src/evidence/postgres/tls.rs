//! TLS to PostgreSQL, with as much of a look at its certificate as libpq's `sslmode` asks for.

use std::sync::Arc;

use pgvrrp_config::Tls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::evidence::tls::{client_config, read, roots};

/// What the server's certificate has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Anything.
    Nothing,
    /// Signed by an authority.
    Authority,
    /// And for the host that was asked for.
    Host,
}

/// What a connection with TLS has.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is looked at.
    pub verify: Verify,
    /// Whose certificates are believed, and which one is shown.
    pub files: Tls,
}

/// By what is in the files now: they may have been renewed since the last session.
pub(super) async fn connector(settings: &Settings) -> Result<MakeRustlsConnect, String> {
    let pem = read(&settings.files).await?;
    let mut config = client_config(&pem)?;
    let authorities = match settings.verify {
        Verify::Host => return Ok(MakeRustlsConnect::new(config)),
        Verify::Authority => Some(roots(&pem)),
        Verify::Nothing => None,
    };
    let algorithms = ring::default_provider().signature_verification_algorithms;
    config.dangerous().set_certificate_verifier(Arc::new(Lenient { authorities, algorithms }));
    Ok(MakeRustlsConnect::new(config))
}

/// Takes a certificate for any host. That the server has its key is proved all the same.
#[derive(Debug)]
struct Lenient {
    /// `None`: whoever has signed it.
    authorities: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            let certificate = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&certificate, authorities, intermediates, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

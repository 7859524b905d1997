//! TLS: from the files to a client, and what went wrong in words, since those of the libraries are those of a protocol, several
//! layers deep.

use std::error::Error;
use std::io;

use pgvrrp_config::{Pem, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};
use tokio::task::spawn_blocking;

/// Reads the files as they are now. A disk that does not answer keeps nothing else waiting.
pub(crate) async fn read(tls: &Tls) -> Result<Pem, String> {
    let tls = tls.clone();
    let pem = spawn_blocking(move || tls.read()).await.map_err(|error| error.to_string())?;
    pem.map_err(|unusable| unusable.to_string())
}

/// A client that believes these authorities, and shows this certificate.
pub(crate) fn client_config(pem: &Pem) -> Result<ClientConfig, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let builder = ClientConfig::builder().with_root_certificates(roots(pem));
    match &pem.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let (chain, key) = identity(certificate, key).map_err(|error| failed(&error))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed(&error))
        }
    }
}

/// The authorities; none if there is no `ca_file`.
pub(crate) fn roots(pem: &Pem) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let authorities = pem.authorities.as_deref().unwrap_or_default();
    // The configuration has made sure that there is one which can be used.
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok));
    roots
}

fn identity(
    certificate: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), pem::Error> {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_slice(key)?))
}

/// What a failure means, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// "Its" certificate is the server's.
    pub(crate) words: String,
    pub(crate) fix: &'static str,
}

impl Trouble {
    fn new(words: impl Into<String>, fix: &'static str) -> Self {
        Self { words: words.into(), fix }
    }

    /// Something answers, and ends the connection where TLS would begin.
    pub(crate) fn no_tls_there() -> Self {
        Self::new("it closes the connection in the TLS handshake", "is TLS on there, and is this the port for clients?")
    }

    /// Something with TLS answers where none was expected.
    pub(crate) fn tls_there() -> Self {
        Self::new(
            "it has TLS, which the endpoint is not written with",
            "write https:// in front of it, and name ca_file",
        )
    }
}

/// Looks for a failure of TLS somewhere below `error`.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<TlsError>() {
            return Some(of(tls));
        }
        // HTTP/2 keeps what happened below it as text alone.
        if let Some((_, alert)) = error.to_string().split_once("received fatal alert: ") {
            return Some(refused(alert));
        }
        // An I/O error passes over the one that it is made of.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

fn of(error: &TlsError) -> Trouble {
    match error {
        TlsError::InvalidCertificate(why) => certificate(why),
        TlsError::AlertReceived(alert) => refused(&format!("{alert:?}")),
        TlsError::InvalidMessage(_) => Trouble::no_tls_there(),
        other => Trouble::new(format!("TLS: {other}"), "look at the log of the other side"),
    }
}

fn certificate(why: &CertificateError) -> Trouble {
    use CertificateError as Why;
    match why {
        Why::UnknownIssuer | Why::BadSignature => Trouble::new(
            "its certificate is not signed by an authority in ca_file",
            "name the authority that has signed it: ca_file",
        ),
        Why::Expired | Why::ExpiredContext { .. } => Trouble::new(
            "its certificate has expired",
            "renew the server's certificate; or is this host's clock wrong?",
        ),
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            Trouble::new("its certificate is not valid yet", "is this host's clock right?")
        }
        Why::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            Trouble::new(
                format!("its certificate is not for {}, but for {names}", expected.to_str()),
                "name the server as its certificate does, or have that made for this name too (as subjectAltName)",
            )
        }
        other => Trouble::new(
            format!("its certificate is not accepted: {other}"),
            "have the server's certificate made anew, by the authority in ca_file",
        ),
    }
}

/// A name without what rustls puts around it: `DnsName("etcd1")`, `IpAddress(10.0.20.13)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// What the other side means by the alert with which it ends the handshake.
fn refused(alert: &str) -> Trouble {
    let fix = "cert_file and key_file: a certificate for clients, by an authority that the server believes";
    match alert {
        "CertificateRequired" => Trouble::new("it asks for a client certificate, and there is none", fix),
        "CertificateExpired" | "CertificateRevoked" | "UnknownCA" => {
            Trouble::new(format!("it refuses the client certificate: {alert}"), fix)
        }
        "BadCertificate" | "CertificateUnknown" | "UnsupportedCertificate" | "AccessDenied" => {
            Trouble::new(format!("it refuses the client certificate, or misses one: {alert}"), fix)
        }
        other => Trouble::new(format!("it ends the TLS handshake: {other}"), "look at the log of the other side"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;
    use rustls::pki_types::ServerName;

    use super::*;

    fn words(error: TlsError) -> String {
        explain(&io::Error::other(error)).unwrap().words
    }

    #[test]
    fn what_is_wrong_with_the_servers_certificate() {
        let said = |why: CertificateError| words(TlsError::InvalidCertificate(why));
        assert!(said(CertificateError::UnknownIssuer).contains("ca_file"));
        assert!(said(CertificateError::Expired).contains("has expired"));
        let other_name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("10.0.20.13").unwrap(),
            presented: vec!["DnsName(\"etcd1\")".to_owned(), "IpAddress(10.0.20.14)".to_owned()],
        };
        assert_eq!(said(other_name), "its certificate is not for 10.0.20.13, but for etcd1, 10.0.20.14");
    }

    #[test]
    fn what_the_server_refuses() {
        assert!(words(TlsError::AlertReceived(AlertDescription::CertificateRequired)).contains("asks for a client"));
        assert!(words(TlsError::AlertReceived(AlertDescription::UnknownCA)).contains("refuses the client certificate"));
        let as_text = io::Error::other("connection error: received fatal alert: CertificateExpired");
        assert_eq!(explain(&as_text).unwrap().words, "it refuses the client certificate: CertificateExpired");
    }

    #[test]
    fn what_has_nothing_to_do_with_tls() {
        assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}

//! What went wrong with TLS, in words: the libraries' own are those of a protocol, several layers deep.

use std::error::Error;
use std::io;

use rustls::{CertificateError, Error as Tls};

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
}

/// Looks for a failure of TLS somewhere below `error`.
pub(crate) fn explain(error: &(dyn Error + 'static)) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Tls>() {
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

fn of(error: &Tls) -> Trouble {
    match error {
        Tls::InvalidCertificate(why) => certificate(why),
        Tls::AlertReceived(alert) => refused(&format!("{alert:?}")),
        Tls::InvalidMessage(_) => {
            Trouble::new("what answers there does not speak TLS", "is the port right, and is TLS on there?")
        }
        other => Trouble::new(format!("TLS: {other}"), "look at the log of the other side"),
    }
}

fn certificate(why: &CertificateError) -> Trouble {
    use CertificateError as Why;
    match why {
        Why::UnknownIssuer => Trouble::new(
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
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
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

    fn words(error: Tls) -> String {
        explain(&io::Error::other(error)).unwrap().words
    }

    #[test]
    fn what_is_wrong_with_the_servers_certificate() {
        let said = |why: CertificateError| words(Tls::InvalidCertificate(why));
        assert!(said(CertificateError::UnknownIssuer).contains("ca_file"));
        assert!(said(CertificateError::Expired).contains("has expired"));
        let other_name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("10.0.20.13").unwrap(),
            presented: vec!["etcd1".to_owned()],
        };
        assert_eq!(said(other_name), "its certificate is not for 10.0.20.13, but for etcd1");
    }

    #[test]
    fn what_the_server_refuses() {
        assert!(words(Tls::AlertReceived(AlertDescription::CertificateRequired)).contains("asks for a client"));
        assert!(words(Tls::AlertReceived(AlertDescription::UnknownCA)).contains("refuses the client certificate"));
        let as_text = io::Error::other("connection error: received fatal alert: CertificateExpired");
        assert_eq!(explain(&as_text).unwrap().words, "it refuses the client certificate: CertificateExpired");
    }

    #[test]
    fn what_has_nothing_to_do_with_tls() {
        assert_eq!(explain(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}

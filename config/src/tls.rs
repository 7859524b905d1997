//! The files of a TLS client. They are read when the configuration is, so that a mistake in them is one of its mistakes, and
//! again for each new connection: renewed certificates need no restart.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::file::{Kind, Unusable};

/// A system's whole collection of authorities has a quarter of that.
const LONGEST: u64 = 1 << 20;

const AUTHORITIES: Kind =
    Kind { name: "ca_file", content: "the authority's certificate", longest: LONGEST, is_secret: false };

const CERTIFICATE: Kind = Kind { name: "cert_file", content: "the certificate", longest: LONGEST, is_secret: false };

const KEY: Kind = Kind { name: "key_file", content: "the certificate's key", longest: 1 << 16, is_secret: true };

/// Whom a TLS client believes, and how it shows who it is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `ca_file`: the authorities by which the server's certificate has to be signed.
    pub ca_file: Option<PathBuf>,
    /// `cert_file` and `key_file`.
    pub identity: Option<Identity>,
}

/// A client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `cert_file`: the certificate, and behind it those that lead from it to the authority.
    pub cert_file: PathBuf,
    /// `key_file`: not encrypted, and closed to other users.
    pub key_file: PathBuf,
}

/// What the files hold, each in PEM. It does not print itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pem {
    /// Of `ca_file`.
    pub authorities: Option<Vec<u8>>,
    /// Of `cert_file` and `key_file`.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files as they are now.
    ///
    /// # Errors
    /// If one cannot be read, is no PEM, or certificate and key do not belong together.
    pub fn read(&self) -> Result<Pem, Unusable> {
        Ok(Pem {
            authorities: self.ca_file.as_deref().map(read_authorities).transpose()?,
            identity: self.identity.as_ref().map(Identity::read).transpose()?,
        })
    }
}

impl Identity {
    pub(crate) fn read(&self) -> Result<(Vec<u8>, Vec<u8>), Unusable> {
        let (certificate, chain) = read_certificates(CERTIFICATE, &self.cert_file)?;
        let key = KEY.read(&self.key_file)?;
        let parsed = PrivateKeyDer::from_pem_slice(&key).map_err(|_| no_key(&self.key_file, &key))?;
        CertifiedKey::from_der(chain, parsed, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let message = format!("is not the key of the certificate in {}", self.cert_file.display());
                KEY.refuse(&self.key_file, &message, "name the two files that were made together")
            }
            error => KEY.refuse(&self.key_file, &format!("cannot be used: {error}"), "use an RSA or ECDSA key"),
        })?;
        Ok((certificate, key))
    }
}

/// Certificates of authorities. Some in a system's collection may be of a kind that nobody can use any more.
pub(crate) fn read_authorities(path: &Path) -> Result<Vec<u8>, Unusable> {
    let (pem, certificates) = read_certificates(AUTHORITIES, path)?;
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(AUTHORITIES.refuse(path, "holds no certificate that can be used", AUTHORITIES.put()));
    }
    Ok(pem)
}

fn read_certificates(kind: Kind, path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), Unusable> {
    let pem = kind.read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok((pem, certificates)),
        Ok(_) => {
            let help =
                "it has to be PEM text, with a line -----BEGIN CERTIFICATE-----; from DER: `openssl x509 -inform der`";
            Err(kind.refuse(path, "holds no certificate", help))
        }
        Err(_) => Err(kind.refuse(path, "is damaged: no PEM text as it should be", format!("{} anew", kind.put()))),
    }
}

fn no_key(path: &Path, pem: &[u8]) -> Unusable {
    if String::from_utf8_lossy(pem).contains("ENCRYPTED") {
        let help = "pgvrrp cannot ask for a passphrase: `openssl pkey -in KEY -out NEW`, and chmod 640";
        return KEY.refuse(path, "is encrypted", help);
    }
    KEY.refuse(path, "holds no private key", "it has to be PEM text, with a line that ends in PRIVATE KEY-----")
}

//! Certificates for the lab's TLS, made by an authority of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::process::Account;

/// An authority that signs certificates for servers and clients.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key, which only the owner and the group may read.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, with its files below `dir`.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir:?}"))?;
        let mut params = named("the lab's authority", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self { issuer, dir: dir.to_owned() };
        fs::write(authority.certificate(), authority.issuer.pem())?;
        Ok(authority)
    }

    /// The file with its own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// Where the certificate of this name is, once it is issued.
    #[must_use]
    pub fn files(&self, name: &str) -> Files {
        Files { cert: self.dir.join(format!("{name}.pem")), key: self.dir.join(format!("{name}.key")) }
    }

    /// A certificate for servers and clients: `<name>.pem` and `<name>.key`, for these names and addresses. Files of that
    /// name are replaced.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn issue(&self, name: &str, for_names: &[&str], owner: Account) -> Result<Files> {
        self.write(name, named(name, for_names)?, owner)
    }

    /// The same, of which the time is over.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn issue_expired(&self, name: &str, for_names: &[&str], owner: Account) -> Result<Files> {
        let mut params = named(name, for_names)?;
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.write(name, params, owner)
    }

    /// One for clients that names nobody: etcd's gateway, with authentication on, refuses any other.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn issue_nameless(&self, name: &str, owner: Account) -> Result<Files> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = DistinguishedName::new();
        self.write(name, params, owner)
    }

    fn write(&self, name: &str, mut params: CertificateParams, owner: Account) -> Result<Files> {
        // etcd's gateway is a client of etcd's own, with the server's certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let files = self.files(name);
        replace(&files.cert, &cert.pem(), 0o644, owner)?;
        replace(&files.key, &key.serialize_pem(), 0o600, owner)?;
        Ok(files)
    }
}

fn named(name: &str, for_names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<_> = for_names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// As a whole: somebody may be reading the file.
fn replace(path: &Path, content: &str, mode: u32, owner: Account) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content).with_context(|| format!("cannot write {new:?}"))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    chown(&new, Some(owner.uid), Some(owner.gid))?;
    fs::rename(&new, path).with_context(|| format!("cannot write {path:?}"))
}

//! The runtime directory: one daemon per directory, and the number by which a restarted daemon knows its own lock.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::drained;

/// The kernel's random number of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The directory, locked for as long as this value lives. The kernel drops the lock with the process, however it ends;
/// a process that is stopped keeps it, so no second daemon can take over what the first may still touch.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    _lock: File,
}

/// What can be wrong with the runtime directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another daemon has it.
    #[error("another pgvrrp runs on this host: it holds {0}. Stop it first, or give this one its own `runtime_dir`")]
    InUse(PathBuf),
    /// It cannot be used.
    #[error(
        "cannot use runtime directory {path}: {source}. It must exist, or its parent must be writable, for the user that runs pgvrrp"
    )]
    Unusable {
        /// The path that failed.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl RuntimeDir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process holds the lock, [`Error::Unusable`] for anything else.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Unusable { path, source }
        };
        DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(unusable(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(&lock_path);
        let lock = lock.map_err(unusable(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(lock_path)),
            Err(TryLockError::Error(source)) => Err(Error::Unusable { path: lock_path, source }),
        }
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random number of this directory, made on first use. A directory in `/run` loses it with the boot; a clone of
    /// the machine that has it as well has another boot ID.
    ///
    /// A full disk does not keep the daemon from serving: then the number is this process's alone. The next one has
    /// another, so that it takes the lock of this one for another node's and lets it run out, which is safe and slow.
    ///
    /// # Errors
    /// [`Error::Unusable`] if it is there and cannot be read, or if the kernel has no random numbers.
    pub fn incarnation(&self) -> Result<String, Error> {
        let path = self.path.join("incarnation");
        match fs::read_to_string(&path) {
            Ok(text) if is_number(text.trim()) => return Ok(text.trim().to_owned()),
            // Missing, cut short, or not ours: a new one means at worst that an old lock is waited for.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Unusable { path, source }),
        }
        let fresh = random_number().map_err(|source| Error::Unusable { path: "/dev/urandom".into(), source })?;
        let new = self.path.join("incarnation.new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
            writeln!(file, "{fresh}")?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        if let Err(error) = write() {
            let path = path.display();
            warn!(%path, %error, "the incarnation cannot be kept: after a restart the daemon has to wait until its own lock runs out");
        }
        Ok(fresh)
    }

    /// The VIPs that were drained to stay so.
    ///
    /// # Errors
    /// [`Error::Unusable`] if that is not known: a VIP that is to stay away must not be bound by mistake.
    pub fn drained(&self) -> Result<BTreeSet<String>, Error> {
        drained::read(&self.path).map_err(|source| Error::Unusable { path: drained::path(&self.path), source })
    }
}

/// The kernel's ID of this boot.
///
/// # Errors
/// If `/proc` is not there.
pub fn boot_id() -> Result<String, Error> {
    let text = fs::read_to_string(BOOT_ID).map_err(|source| Error::Unusable { path: BOOT_ID.into(), source })?;
    Ok(text.trim().to_owned())
}

fn random_number() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_number(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_daemon_per_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/if/missing");
        let first = RuntimeDir::open(&path).unwrap();
        assert!(matches!(RuntimeDir::open(&path), Err(Error::InUse(_))));
        drop(first);
        RuntimeDir::open(&path).unwrap();
    }

    #[test]
    fn incarnation_survives_a_restart_but_not_damage() {
        let dir = tempfile::tempdir().unwrap();
        let first = RuntimeDir::open(dir.path()).unwrap().incarnation().unwrap();
        let again = RuntimeDir::open(dir.path()).unwrap().incarnation().unwrap();
        assert_eq!(first, again);
        fs::write(dir.path().join("incarnation"), "cut sho").unwrap();
        let other = RuntimeDir::open(dir.path()).unwrap().incarnation().unwrap();
        assert_ne!(first, other);
        assert!(is_number(&other));
    }
}

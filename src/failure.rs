//! Why the daemon does not start, or another configuration is not taken.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::process::Process;
use crate::runtime_dir;

/// Why the daemon did not start, or ended badly. Each has an exit code; systemd's unit does not restart 64, 77 and 78.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 77: a right is missing.
    #[error("{0}")]
    Permission(String),
    /// 78: the configuration cannot work on this host.
    #[error("{0}")]
    Config(String),
    /// 75: another daemon runs; try again when it has ended. 77: it is not this user's. 71: the disk is full, or broken.
    #[error("{0}")]
    RuntimeDir(runtime_dir::Error),
    /// 75: another daemon serves the same VIP.
    #[error("another pgvrrp runs on this host ({process}), with another runtime_dir, and serves {vip} already")]
    VipInUse {
        /// The VIP.
        vip: IpAddr,
        /// The other daemon.
        process: Process,
    },
    /// 77 or 71: the file to record to cannot be written.
    #[error("cannot record to {}: {source}", path.display())]
    Recording {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// 71: the system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The system's words.
        source: io::Error,
    },
}

impl Failure {
    /// The code to exit with, from `sysexits.h`.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Permission(_) => 77,
            Self::Config(_) => 78,
            Self::RuntimeDir(runtime_dir::Error::InUse(_)) | Self::VipInUse { .. } => 75,
            Self::RuntimeDir(runtime_dir::Error::Unusable { source, .. }) | Self::Recording { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                77
            }
            Self::RuntimeDir(_) | Self::Recording { .. } | Self::System { .. } => 71,
        })
    }

    /// For `map_err`.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

//! `pgvrrp import`: reads another program's configuration, and writes pgvrrp's.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pgvrrp_config::import::{self, Disk, Files, Imported, Request};

/// Where Patroni's configuration is, by its packages and its documentation.
const PATRONI: [&str; 3] = ["/etc/patroni/patroni.yml", "/etc/patroni/config.yml", "/etc/patroni.yml"];

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// The keepalived.conf.
    pub(crate) file: &'a Path,
    /// Patroni's configuration. `None` for the first of the usual ones that is there.
    pub(crate) patroni: Option<&'a Path>,
    /// `None` for this host's name up to the first dot.
    pub(crate) config_id: Option<&'a str>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what is imported.
    #[error(transparent)]
    Import(#[from] import::Failure),
    /// There is something where the configuration was to go.
    #[error("{} exists: name another file, or overwrite it with --force", .0.display())]
    Exists(PathBuf),
    /// The configuration cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Converts it. What is said beside the configuration comes second.
///
/// # Errors
/// [`Failure`] if nothing came of it.
pub(crate) fn run(ask: &Ask<'_>) -> Result<(Imported, String), Failure> {
    let text = read(ask.file)?;
    let mut said = String::new();
    let patroni = match ask.patroni {
        Some(path) => Some((path.to_owned(), read(path)?)),
        None => usual_patroni(&mut said),
    };
    // The kernel's own, as uname has it.
    let host = Disk.read(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host = host.trim();
    let request = Request {
        path: ask.file,
        text: &text,
        config_id: ask.config_id.unwrap_or_else(|| host.split('.').next().unwrap_or_default()),
        host,
        patroni: patroni.as_ref().map(|(path, text)| (path.as_path(), text.as_str())),
    };
    let imported = import::import(&request, &Disk)?;
    let explanation = format!("{said}{}", imported.explanation());
    Ok((imported, explanation))
}

fn read(path: &Path) -> Result<String, Failure> {
    Disk.read(path).map_err(|error| Failure::Read { path: path.to_owned(), error })
}

fn usual_patroni(said: &mut String) -> Option<(PathBuf, String)> {
    for path in PATRONI.map(PathBuf::from) {
        match Disk.read(&path) {
            Ok(text) => return Some((path, text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                *said += &format!(
                    "{}: cannot be read: {error}; name Patroni's configuration by --patroni\n",
                    path.display()
                );
            }
        }
    }
    None
}

/// Writes the configuration to a file, which is not there yet unless `force` says that it may be.
///
/// # Errors
/// [`Failure::Exists`] and [`Failure::Write`].
pub(crate) fn write(path: &Path, toml: &str, force: bool) -> Result<(), Failure> {
    let mut options = File::options();
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.write(true).open(path).and_then(|mut file| file.write_all(toml.as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Exists(path.to_owned()),
        _ => Failure::Write { path: path.to_owned(), error },
    })
}

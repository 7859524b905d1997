//! `pgvrrp drain` and `pgvrrp undrain`: asks the running daemon, and waits until it has done so.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::clock;
use crate::observe::control::{self, Ask, DRAINING, REFUSED, UNDRAINING};

/// A VIP that has not left by then will not: its lifetime would have ended it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may come back may be here in a moment; for so long what is seen meanwhile is no answer.
const MOMENT: Duration = Duration::from_secs(1);

/// Labels of the reasons that are seen meanwhile.
const PASSING: [&str; 5] = ["drained", "unlocking", "acquiring", "etcd_unasked", "postgres_unasked"];

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Why a VIP is not drained, or not undrained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No daemon answers.
    #[error("{0}")]
    NoDaemon(io::Error),
    /// Nothing has changed.
    #[error("nothing has changed: {0}")]
    Refused(String),
    /// It was asked for, and has not come about.
    #[error("{name} is still here after {} s: {why}", PATIENCE.as_secs())]
    Stays {
        /// The VIP.
        name: String,
        /// The daemon's words.
        why: String,
    },
}

/// Asks, and waits. Returns what has come about, for people.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(runtime_dir: &Path, ask: &Ask) -> Result<String, Failure> {
    let (name, drained) = match ask {
        Ask::Drain { name, .. } => (name, true),
        Ask::Undrain { name } => (name, false),
        _ => return Err(Failure::Refused("that is no question".to_owned())),
    };
    let (answer, _) = control::ask(runtime_dir, ask).map_err(Failure::NoDaemon)?;
    if !answer.starts_with(DRAINING) && !answer.starts_with(UNDRAINING) {
        let why = answer.strip_prefix(REFUSED).map(str::trim);
        return Err(Failure::Refused(why.unwrap_or("the daemon is of a version that cannot do this").to_owned()));
    }
    let start = clock::now();
    loop {
        let (picture, _) = control::ask(runtime_dir, &Ask::Json).map_err(Failure::NoDaemon)?;
        let picture: serde_json::Value = serde_json::from_str(&picture).unwrap_or_default();
        let vip = picture["vips"].as_array().into_iter().flatten().find(|vip| vip["name"] == name.as_str());
        let vip = vip.cloned().unwrap_or_default();
        let why = vip["why"].as_str().unwrap_or("it is not configured any more").to_owned();
        let is_gone = vip["held"] == false && vip["phase"] == "closed";
        let is_passing = PASSING.iter().any(|label| vip["reason"] == *label) && clock::now().since(start) < MOMENT;
        if vip["drained"] == drained && if drained { is_gone } else { !is_passing } {
            let place = if vip["held"] == true { "HERE" } else { "not here" };
            return Ok(format!("{name}: {place}: {why}\n"));
        }
        if clock::now().since(start) > PATIENCE {
            return Err(Failure::Stays { name: name.clone(), why });
        }
        sleep(LOOK);
    }
}

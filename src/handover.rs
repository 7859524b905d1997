//! `pgvrrp handover`: the running daemon makes room for the next one, which finds the VIP bound and goes on with it.
//!
//! The daemon renews what is bound and ends; its supervisor starts the next one, which may be another build. Until that has
//! proved its own right the address lives by its lifetime, as after a crash.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::clock;
use crate::observe::control::{self, ACCEPTED, Ask, REFUSED};
use crate::process::Process;

/// How long the next process is waited for: the lifetime of what is bound, and some time to find out what became of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon that has not ended by then has given the handover up, which it does after 1 s.
const GIVEN_UP: Duration = Duration::from_secs(2);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Why there was no handover.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No daemon answers.
    #[error("{0}")]
    NoDaemon(io::Error),
    /// The daemon goes on as before.
    #[error("the daemon ({process}) goes on as before: {why}")]
    Refused {
        /// The daemon.
        process: Process,
        /// Its words.
        why: String,
    },
    /// It ended, and nobody came.
    #[error(
        "the daemon ({process}) has ended, and no other has come within {} s, so the VIP has left with its lifetime if it was here. \
         Start pgvrrp: `systemctl start pgvrrp`; why it was not restarted, `journalctl -u pgvrrp` may tell",
        PATIENCE.as_secs()
    )]
    NobodyCame {
        /// The former daemon.
        process: Process,
    },
    /// The next one is there and has not bound what its predecessor had.
    #[error("the next daemon ({process}) has taken over, but {lost} is not bound here any more: {why}")]
    Lost {
        /// The next daemon.
        process: Process,
        /// The VIP.
        lost: String,
        /// Its words.
        why: String,
    },
}

/// Asks for the handover and follows it. Returns what happened, for people.
///
/// # Errors
/// See [`Failure`]. After [`Failure::NoDaemon`] and [`Failure::Refused`] nothing has changed.
pub fn run(runtime_dir: &Path) -> Result<String, Failure> {
    let (before, _) = control::ask(runtime_dir, &Ask::Json).map_err(Failure::NoDaemon)?;
    let held: Vec<String> = vips(&before).into_iter().filter(|vip| vip.held).map(|vip| vip.address).collect();
    let (answer, former) = control::ask(runtime_dir, &Ask::HandOver).map_err(Failure::NoDaemon)?;
    if !answer.starts_with(ACCEPTED) {
        let why = match answer.strip_prefix(REFUSED) {
            Some(why) => why.trim().to_owned(),
            None => {
                "it is of a version that knows no handover; a restart releases the VIP, and takes it again".to_owned()
            }
        };
        return Err(Failure::Refused { process: former.process, why });
    }
    let start = clock::now();
    let mut last = Failure::NobodyCame { process: former.process };
    while clock::now().since(start) < PATIENCE {
        sleep(LOOK);
        let Ok((picture, daemon)) = control::ask(runtime_dir, &Ask::Json) else {
            last = Failure::NobodyCame { process: former.process };
            continue;
        };
        let process = daemon.process;
        if daemon == former {
            let why = "nothing could be renewed for the next process, see its log".to_owned();
            last = Failure::Refused { process, why };
            if clock::now().since(start) > GIVEN_UP {
                break;
            }
            continue;
        }
        let vips = vips(&picture);
        match held.iter().find(|address| !vips.iter().any(|vip| vip.held && vip.address == **address)) {
            None => return Ok(told(former.process, process, &held, clock::now().since(start))),
            Some(lost) => {
                let why = vips.into_iter().find(|vip| vip.address == *lost).map(|vip| vip.why);
                let why = why.unwrap_or_else(|| "it is not configured any more".to_owned());
                last = Failure::Lost { process, lost: lost.clone(), why };
            }
        }
    }
    Err(last)
}

fn told(former: Process, next: Process, held: &[String], took: Duration) -> String {
    let held = match held {
        [] => "no VIP was here".to_owned(),
        held => format!("{} HERE, and renewed by it", held.join(", ")),
    };
    let who = match (former.number(), next.number()) {
        (Some(_), Some(_)) => format!("{former} has handed over to {next}"),
        // Numbers say nothing to whoever is in another container.
        _ => "the daemon has handed over to the next one".to_owned(),
    };
    format!("{who} within {} ms: {held}\n", took.as_millis())
}

struct Seen {
    address: String,
    held: bool,
    why: String,
}

/// The VIPs in a picture. It may be of another version than this program.
fn vips(picture: &str) -> Vec<Seen> {
    let picture: serde_json::Value = serde_json::from_str(picture).unwrap_or_default();
    let text = |vip: &serde_json::Value, name: &str| vip[name].as_str().unwrap_or_default().to_owned();
    let vips = picture["vips"].as_array().into_iter().flatten();
    vips.map(|vip| Seen {
        address: text(vip, "address"),
        held: vip["held"].as_bool().unwrap_or(false) && vip["phase"] != "adopting",
        why: text(vip, "why"),
    })
    .collect()
}

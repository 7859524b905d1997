//! Logs. A line goes into a bounded queue, and a thread of its own writes it: whoever reads our standard error, or the
//! journal, slowly delays nothing but lines, and what does not fit is dropped and counted.
//!
//! | part | what it does |
//! |---|---|
//! | `choice` | in which form, and from which level on: configuration, environment, what standard error is |
//! | `layer` | where what the code says comes in |
//! | `entry` | a line with fields |
//! | `queue` | the bounded queue, and the thread that empties it |
//! | `limit` | so many lines of a kind in a minute: nobody on the segment can fill the log |
//! | `render` | text, JSON, journald's own protocol |
//! | `level` | the level while the daemon runs |

mod choice;
mod entry;
mod layer;
mod level;
mod limit;
mod queue;
mod render;

use std::io;
use std::thread;

use pgvrrp_config::Log;
use tracing::{error, info, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::evidence;
use crate::node::io::{Event, Level, Notice};
use crate::node::status::Status;
use crate::words::harmless;
use choice::{Choice, Surroundings};
use layer::Lines;
pub(crate) use level::configure_level;
pub(super) use level::{configured_level, level, set_level};
pub use queue::{dropped, finish};

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An environment variable has none of the words that it may have.
    #[error("{0}")]
    Environment(String),
    /// No thread can be started.
    #[error("cannot start logging: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging, in the form and from the level on that the configuration names, unless `PGVRRP_LOG_FORMAT` and
/// `PGVRRP_LOG_LEVEL` name others.
///
/// # Errors
/// See [`Failure`].
pub fn start(log: &Log) -> Result<(), Failure> {
    let Choice { level, target, warning } = choice::choose(log, &Surroundings::own()).map_err(Failure::Environment)?;
    let (entries, waiting) = queue::make();
    let (filter, handle) = level::filter(level);
    // A second start in one process keeps the first.
    if tracing_subscriber::registry().with(filter).with(Lines::new(entries)).try_init().is_ok() {
        level::keep(handle, level);
        thread::Builder::new().name("pgvrrp-log".to_owned()).spawn(move || queue::write(&waiting, target))?;
    }
    if let Some(warning) = warning {
        warn!("{warning}");
    }
    Ok(())
}

/// One line for what the node had to tell, with what it was founded on. `picture`: of the VIP that it is about.
pub(crate) fn tell(notice: &Notice, picture: Option<&Status>) {
    let vip = picture.and_then(|picture| picture.vips.first());
    let mark = notice.mark.as_ref();
    let evidence = picture.filter(|_| mark.is_some()).map(evidence::of);
    let (event, reason, evidence) = (mark.map(|mark| mark.event), mark.map(|mark| mark.reason), evidence.as_deref());
    let text = match vip.filter(|_| event == Some(Event::Gained)) {
        // The node says how long it took.
        Some(vip) => harmless(&format!("{}: {}", notice.text, vip.why)),
        None => harmless(&notice.text),
    };
    let (vip, event) = (vip.map(|vip| vip.name.as_str()), event.map(Event::as_str));
    match notice.level {
        Level::Info => info!(vip, event, reason, evidence, "{text}"),
        Level::Warning => warn!(vip, event, reason, evidence, "{text}"),
        Level::Alarm => error!(vip, event, reason, evidence, "{text}"),
    }
}

//! The level while the daemon runs: `pgvrrp log-level` changes it, a restart forgets that.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgvrrp_config::LogLevel;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::reload::{Handle, Layer};

/// What a running log is held by.
static KEPT: OnceLock<Kept> = OnceLock::new();

struct Kept {
    handle: Handle<Targets, Registry>,
    configured: LogLevel,
    /// Position in [`LogLevel::ALL`].
    present: AtomicUsize,
}

/// What lets lines of `level` and worse through; of other people's code only warnings and errors.
pub(super) fn filter(level: LogLevel) -> (Layer<Targets, Registry>, Handle<Targets, Registry>) {
    Layer::new(targets(level))
}

/// From now on the level can be changed.
pub(super) fn keep(handle: Handle<Targets, Registry>, configured: LogLevel) {
    let kept = Kept { handle, configured, present: AtomicUsize::new(position(configured)) };
    // There is one log in a process.
    let _ = KEPT.set(kept);
}

/// The least severe lines that are written now.
pub(crate) fn level() -> LogLevel {
    KEPT.get().and_then(|kept| LogLevel::ALL.get(kept.present.load(Ordering::Relaxed)).copied()).unwrap_or_default()
}

/// Those that were to be written at the start, by configuration or environment.
pub(crate) fn configured_level() -> LogLevel {
    KEPT.get().map(|kept| kept.configured).unwrap_or_default()
}

/// From now on it is these.
pub(crate) fn set_level(level: LogLevel) {
    if let Some(kept) = KEPT.get()
        && kept.handle.reload(targets(level)).is_ok()
    {
        kept.present.store(position(level), Ordering::Relaxed);
    }
}

fn position(level: LogLevel) -> usize {
    LogLevel::ALL.iter().position(|one| *one == level).unwrap_or_default()
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(LevelFilter::WARN).with_target("pgvrrp", level)
}

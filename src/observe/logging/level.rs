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
    /// Positions in [`LogLevel::ALL`].
    configured: AtomicUsize,
    present: AtomicUsize,
}

/// What lets lines of `level` and worse through; of other people's code only warnings and errors.
pub(super) fn filter(level: LogLevel) -> (Layer<Targets, Registry>, Handle<Targets, Registry>) {
    Layer::new(targets(level))
}

/// From now on the level can be changed.
pub(super) fn keep(handle: Handle<Targets, Registry>, configured: LogLevel) {
    let at = || AtomicUsize::new(position(configured));
    let kept = Kept { handle, configured: at(), present: at() };
    // There is one log in a process.
    let _ = KEPT.set(kept);
}

/// The least severe lines that are written now.
pub(crate) fn level() -> LogLevel {
    KEPT.get().map(|kept| at(&kept.present)).unwrap_or_default()
}

/// Those that are to be written, by the environment at the start or by the configuration.
pub(crate) fn configured_level() -> LogLevel {
    KEPT.get().map(|kept| at(&kept.configured)).unwrap_or_default()
}

/// The configuration was read again, and has another level than before.
pub(crate) fn configure_level(level: LogLevel) {
    if let Some(kept) = KEPT.get() {
        kept.configured.store(position(level), Ordering::Relaxed);
    }
    set_level(level);
}

fn at(level: &AtomicUsize) -> LogLevel {
    LogLevel::ALL.get(level.load(Ordering::Relaxed)).copied().unwrap_or_default()
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

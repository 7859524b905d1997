//! Ctrl-C at any time leaves nothing behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program that Ctrl-C ended.
const EXIT_CODE: i32 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP remove every lab and end the program. Children of the lab do not see the
/// terminal's Ctrl-C, for they have a session of their own.
pub(crate) fn clean_up_on_signals() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let signals = runtime.block_on(async {
        let listen = |kind| signal(kind).context("cannot handle signals");
        anyhow::Ok((listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?))
    })?;
    thread::spawn(move || {
        let (mut interrupt, mut terminate, mut hangup) = signals;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        INTERRUPTED.store(true, Ordering::Relaxed);
        eprintln!("\ninterrupted: cleaning up");
        lab::clean_up_all();
        std::process::exit(EXIT_CODE);
    });
    Ok(())
}

/// To be called at the end of the program. If a signal is being handled, then what went wrong meanwhile is its doing:
/// waits for the handler to end the program.
pub(crate) fn wait_if_interrupted() {
    while INTERRUPTED.load(Ordering::Relaxed) {
        thread::park();
    }
}

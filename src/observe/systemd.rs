//! systemd: READY, STATUS and WATCHDOG. Without systemd all of it does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use super::health::is_alive;
use crate::node::status::Status;

/// STATUS is looked at this often, and the watchdog fed, unless it wants it more often.
const BEAT: Duration = Duration::from_millis(500);

/// Says that the daemon is up. Its sockets are open; evidence may still be missing, which is no reason to hold up a boot.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Says that the daemon is about to end.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog for as long as the protocol thread runs, and keeps STATUS true.
pub async fn serve(status: watch::Receiver<Arc<Status>>) {
    let watchdog = sd_notify::watchdog_enabled();
    let beat = watchdog.map_or(BEAT, |limit| BEAT.min(limit / 3));
    let mut said = String::new();
    loop {
        tokio::time::sleep(beat).await;
        let picture = status.borrow().clone();
        if watchdog.is_some() && is_alive(&picture) {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
        let now = summary(&picture);
        if now != said {
            let _ = sd_notify::notify(&[NotifyState::Status(&now)]);
            said = now;
        }
    }
}

fn summary(status: &Status) -> String {
    let vips = status.vips.iter().map(|vip| {
        let place = if vip.held { "here" } else { "not here" };
        format!("{} {place}: {}", vip.name, vip.why)
    });
    vips.collect::<Vec<_>>().join("; ")
}

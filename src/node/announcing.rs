//! When a bound VIP is announced: at once, in a burst for those who missed it, refreshed, and in slices.

use std::time::Duration;

use vrrp::time::Instant;

use super::io::Output;
use super::settings::VipSettings;
use crate::gate::deadline;
use crate::gate::evidence::VipId;

/// Pauses between the announcements after a bind; then one every [`REFRESH`], for the caches that missed them.
const BURST: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(4)];
const REFRESH: Duration = Duration::from_secs(30);

/// Announcements until nobody is expected any more who has not come.
const UNHEARD: usize = 30;

/// Rivals make this node announce again, but not more often than this; nor is an announcement that could not be sent tried
/// again sooner.
pub(super) const REPLY: Duration = Duration::from_secs(1);

/// Addresses announced in one go, and the pause before the next ones: some 0.2 ms of sending, so that hundreds of addresses
/// delay no advert.
const SLICE: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// The announcements of one VIP while it is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announcing {
    due: Instant,
    /// Announcements made since the bind, or since a rival was heard.
    bursts: usize,
    /// Position of the first address of the next slice; 0 begins an announcement.
    first: usize,
}

impl Announcing {
    /// The bind has been decided; the first announcement goes with it.
    pub(super) fn begin(now: Instant) -> Self {
        Self { due: now, bursts: 0, first: 0 }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The kernel has confirmed the bind. What was announced with it was announced; if it was not, not much later.
    pub(super) fn bound(&mut self, at: Instant) {
        self.due = at + BURST[0];
    }

    /// One is about to be made. Unless it turns out to have been sent, it is tried again after a while.
    pub(super) fn making(&mut self, now: Instant) {
        self.due = now + REPLY;
    }

    /// Not before `until`.
    pub(super) fn wait(&mut self, until: Instant) {
        self.due = self.due.max(until);
    }

    /// What to send now.
    pub(super) fn output(&self, now: Instant, vip: VipId, link: u32) -> Output {
        Output::Announce { vip, link, first: self.first, count: SLICE, not_after: deadline::not_after(now) }
    }

    /// A slice has been sent. As long as nobody has come, one a second: whoever has a stale entry for the address does not.
    pub(super) fn sent(&mut self, now: Instant, settings: &VipSettings, met_clients: bool) {
        if self.first + SLICE < settings.addresses.len() {
            self.first += SLICE;
            self.due = now + PAUSE;
        } else {
            self.first = 0;
            let refresh = if met_clients || self.bursts >= UNHEARD { REFRESH } else { REPLY };
            self.due = now + BURST.get(self.bursts).copied().unwrap_or(refresh);
            self.bursts += 1;
        }
    }

    /// A rival was heard: again from the beginning, at `due` at the latest; with the whole burst if that is at once.
    pub(super) fn again(&mut self, due: Instant, at_once: bool) {
        self.due = self.due.min(due);
        if at_once {
            (self.bursts, self.first) = (0, 0);
        }
    }
}

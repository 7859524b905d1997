//! A router that becomes Active over and over: at a small interval, adverts that wait somewhere for longer than it takes
//! to miss them do that.

use std::collections::VecDeque;
use std::time::Duration;

use vrrp::time::Instant;

/// So many times, within so many Active_Down_Intervals. Whoever becomes Active for lack of another does so once.
const TIMES: usize = 4;
const WITHIN: u32 = 8;

/// Between two lines about it. RFC 9568 section 2.5 wants it logged, at a limited rate.
const QUIET: Duration = Duration::from_secs(600);

/// When the router became Active.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    times: VecDeque<Instant>,
    told: Option<Instant>,
}

impl Flapping {
    /// It becomes Active once more. Returns in what time it did so [`TIMES`] times, if that is too little and news.
    pub(super) fn became_active(&mut self, now: Instant, down_interval: Duration) -> Option<(usize, Duration)> {
        self.times.push_back(now);
        if self.times.len() > TIMES {
            self.times.pop_front();
        }
        let span = now.since(*self.times.front()?);
        let flaps = self.times.len() == TIMES && span <= down_interval * WITHIN;
        if !flaps || self.told.is_some_and(|told| now.since(told) < QUIET) {
            return None;
        }
        self.told = Some(now);
        Some((TIMES, span))
    }
}

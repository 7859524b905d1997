//! Packets that were of no use: counted by reason, and told of, so that neither an attack nor a mistake stays unseen, and
//! nobody on the segment can fill the log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use vrrp::time::Instant;

use super::io::{Level, Notice};

/// Between two lines about one reason. RFC 9568 section 7.1 wants these events logged, at a limited rate.
const QUIET: Duration = Duration::from_secs(600);

/// What was discarded since the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Discards(BTreeMap<Cow<'static, str>, Discarded>);

#[derive(Clone, Copy, Debug, Default)]
struct Discarded {
    count: u64,
    /// When a line was last written, and what the count was then.
    told: Option<(Instant, u64)>,
}

impl Discards {
    /// One more that is no sign of anything: an echo of our own, or another virtual router's.
    pub(super) fn count(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.0.entry(reason.into()).or_default().count += 1;
    }

    /// So many more that failed a check. The first are told of at once, those that follow together.
    pub(super) fn take(&mut self, now: Instant, reason: Cow<'static, str>, count: u64) -> Option<Notice> {
        // A flood comes through here: nothing is written unless it is told.
        let entry = self.0.entry(reason.clone()).or_default();
        entry.count = entry.count.saturating_add(count);
        let before = match entry.told {
            Some((at, _)) if now < at + QUIET => return None,
            told => told.map_or(0, |(_, count)| count),
        };
        let new = entry.count - before;
        entry.told = Some((now, entry.count));
        let text = format!("VRRP packets discarded ({reason}): {new}; `pgvrrp listen` shows who sends them");
        Some(Notice { level: Level::Warning, vip: None, text, mark: None })
    }

    /// Counts by reason.
    pub(super) fn counts(&self) -> BTreeMap<Cow<'static, str>, u64> {
        self.0.iter().map(|(reason, discarded)| (reason.clone(), discarded.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC9568: 7.1-11+ 7.1-11-
    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let mut discards = Discards::default();
        let mut take = |seconds, reason: &'static str| {
            let at = Instant::from_nanos(0) + Duration::from_secs(seconds);
            discards.take(at, reason.into(), 1).map(|notice| notice.text)
        };
        assert!(take(10, "ttl").is_some_and(|text| text.contains("(ttl): 1;")));
        assert_eq!((take(11, "ttl"), take(609, "ttl")), (None, None));
        assert!(take(610, "ttl").is_some_and(|text| text.contains("(ttl): 3;")));
        assert_eq!(take(611, "ttl"), None);
        assert!(take(612, "checksum").is_some_and(|text| text.contains("(checksum): 1;")), "another reason");
        discards.count("own_address");
        let counts = discards.counts();
        assert_eq!((counts["ttl"], counts["checksum"], counts["own_address"]), (5, 1, 1));
    }
}

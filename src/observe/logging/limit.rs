//! So many lines of a kind in a minute, and then how many more there were: nothing that others do, on the segment or by way
//! of etcd, fills the log.

use std::collections::HashMap;
use std::time::Duration;

use tracing::Level;
use tracing::callsite::Identifier;
use vrrp::time::Instant;

use super::entry::Entry;

/// For so long lines of a kind are counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// Lines of a kind that are written of each window. A VIP that moves ten times in a minute is seen to do so.
const MOST: u64 = 30;

/// Of those that say that somebody disputes a VIP: whoever does that, does it every second.
const CONFLICTS: u64 = 1;

/// What makes two lines of one kind: their place in the code, the VIP, what happened to it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    place: Identifier,
    vip: String,
    event: String,
    reason: String,
}

/// A window of one kind.
#[derive(Debug)]
struct Window {
    begun: Instant,
    written: u64,
    left_out: u64,
    /// The last one that was left out.
    last: Option<Entry>,
}

/// What was written lately.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<Kind, Window>);

impl Limits {
    /// Whether a line is to be written. `debug` and `trace` always are: somebody has asked for them.
    pub(super) fn admit(&mut self, now: Instant, entry: &Entry) -> bool {
        let Some(place) = entry.place.clone().filter(|_| entry.level <= Level::INFO) else { return true };
        let [vip, event, reason] = ["vip", "event", "reason"].map(|name| entry.field(name).to_owned());
        let most = if event == "conflict" { CONFLICTS } else { MOST };
        let fresh = Window { begun: now, written: 0, left_out: 0, last: None };
        let window = self.0.entry(Kind { place, vip, event, reason }).or_insert(fresh);
        if window.written < most {
            window.written += 1;
            return true;
        }
        window.left_out += 1;
        window.last = Some(entry.clone());
        false
    }

    /// Ends the windows that are over. Returns a line for each that something was left out of; such a kind stays in a window,
    /// in which that line is one of those that may be written.
    pub(super) fn close(&mut self, now: Instant) -> Vec<Entry> {
        let mut lines = Vec::new();
        self.0.retain(|_, window| {
            if now < window.begun + WINDOW {
                return true;
            }
            let Some(mut line) = window.last.take() else { return false };
            line.time = Entry::new(line.level, String::new()).time;
            line.message =
                format!("{} more lines like this within {} s: {}", window.left_out, WINDOW.as_secs(), line.message);
            lines.push(line);
            *window = Window { begun: now, written: 1, left_out: 0, last: None };
            true
        });
        lines
    }

    /// When to call [`close`](Self::close) next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|window| window.begun + WINDOW).min()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Callsite;
    use tracing::callsite::DefaultCallsite;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// A line from this place in the code.
    fn entry(vip: &str, event: &str) -> Entry {
        static META: tracing::Metadata<'static> = tracing::metadata! {
            name: "test", target: "pgvrrp", level: Level::WARN, fields: &[], callsite: &PLACE,
            kind: tracing::metadata::Kind::EVENT,
        };
        static PLACE: DefaultCallsite = DefaultCallsite::new(&META);
        let mut entry = Entry::new(Level::WARN, format!("{event} of {vip}"));
        entry.place = Some(PLACE.metadata().callsite());
        entry.fields = vec![("vip", vip.into()), ("event", event.into())];
        entry
    }

    #[test]
    fn of_a_flood_the_first_are_written_and_then_their_number() {
        let mut limits = Limits::default();
        let admitted = (0..1000).filter(|_| limits.admit(at(1), &entry("a", "lost"))).count();
        assert_eq!(admitted as u64, MOST);
        assert!(limits.close(at(60)).is_empty(), "not yet");
        assert_eq!(limits.due(), Some(at(61)));
        let lines = limits.close(at(61));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(line.message, "970 more lines like this within 60 s: lost of a");
        assert_eq!(line.field("vip"), "a");
        // It goes on: the number was one line of the next minute.
        let admitted = (0..1000).filter(|_| limits.admit(at(61), &entry("a", "lost"))).count();
        assert_eq!(admitted as u64, MOST - 1);
    }

    #[test]
    fn a_kind_does_not_keep_another_out() {
        let mut limits = Limits::default();
        while limits.admit(at(1), &entry("a", "lost")) {}
        assert!(limits.admit(at(1), &entry("b", "lost")) && limits.admit(at(1), &entry("a", "gained")));
    }

    #[test]
    fn of_disputes_one_a_minute() {
        let mut limits = Limits::default();
        let mut written = 0;
        for second in 0..600 {
            written += limits.close(at(second)).len();
            written += usize::from(limits.admit(at(second), &entry("a", "conflict")));
        }
        assert_eq!(written, 10);
    }

    #[test]
    fn what_is_quiet_is_forgotten() {
        let mut limits = Limits::default();
        assert!(limits.admit(at(1), &entry("a", "lost")));
        assert!(limits.close(at(61)).is_empty());
        assert!(limits.0.is_empty() && limits.due().is_none());
    }

    #[test]
    fn details_that_were_asked_for_are_not_limited() {
        let mut limits = Limits::default();
        let mut entry = entry("a", "lost");
        entry.level = Level::DEBUG;
        assert!((0..1000).all(|_| limits.admit(at(1), &entry)));
    }
}

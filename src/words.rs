//! How things are written for people: durations, times of day, and what others have written.

use std::time::{Duration, SystemTime};

/// A duration in the unit that suits it.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{:.1} ms", duration.as_secs_f64() * 1000.0),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A time of day in whole seconds, as RFC 3339 writes it, in UTC.
pub(crate) fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(writable(at)).to_string()
}

/// The same in milliseconds.
pub(crate) fn exact_time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(writable(at)).to_string()
}

/// The nearest time that RFC 3339 has digits for: a clock that was never set may be outside.
fn writable(at: SystemTime) -> SystemTime {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    at.clamp(SystemTime::UNIX_EPOCH, last)
}

/// What others wrote into etcd or answered, without what would do something to a terminal or begin a line of its own.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (duration, words) in [
            (Duration::from_micros(350), "0.3 ms"),
            (Duration::from_millis(1300), "1.3 s"),
            (Duration::from_secs(61), "1 min 1 s"),
            (Duration::from_secs(7320), "2 h 2 min"),
            (Duration::from_secs(90_000), "1 d 1 h"),
        ] {
            assert_eq!(span(duration), words);
        }
    }

    #[test]
    fn a_time_of_day_is_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        assert_eq!((time(at).as_str(), exact_time(at).as_str()), ("1970-01-01T00:00:01Z", "1970-01-01T00:00:01.500Z"));
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let after = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert_eq!((time(before).as_str(), time(after).as_str()), ("1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"));
    }

    #[test]
    fn foreign_text_stays_in_its_line() {
        assert_eq!(harmless("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
    }
}

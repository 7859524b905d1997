//! From what the code says to a line with fields.

use std::fmt::{Debug, Write};

use serde_json::Value;
use tracing::Level;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::words::harmless;

/// The longest message, and the longest value of a field, in bytes: some of it others wrote.
const LONGEST: usize = 4096;

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// In UTC, as RFC 3339 has it.
    pub(super) time: String,
    pub(super) level: Level,
    /// The place in the code.
    pub(super) place: Option<Identifier>,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// One that no place in the code has said by itself.
    pub(super) fn new(level: Level, message: String) -> Self {
        let mut time = String::new();
        // Only a formatter that fails could make this fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        Self { time, level, place: None, message, fields: Vec::new() }
    }

    /// A field that is text; empty where there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| *known == name).and_then(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

impl Entry {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::String(shown(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put(field, Value::String(shown(&text)));
    }
}

/// Without what would do something to a terminal or begin a line of its own, and no longer than a line may be.
fn shown(text: &str) -> String {
    let mut text = harmless(text);
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_on_its_line_and_is_bounded() {
        assert_eq!(shown("a\nERROR forged\u{1b}[2J"), "a\u{fffd}ERROR forged\u{fffd}[2J");
        let long = shown(&"ä".repeat(LONGEST));
        assert!(long.len() <= LONGEST + '…'.len_utf8() && long.ends_with("ä…"), "{}", long.len());
    }
}

//! A line as it is written: text, JSON, or a datagram of journald's own protocol.

use std::fmt::Write;

use serde_json::{Map, Value};
use tracing::Level;

use super::entry::Entry;

/// Forms of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For people.
    Text(Text),
    /// For programs: an object a line.
    Json,
}

/// What text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// The time in front.
    pub(super) time: bool,
    /// The level in its colour.
    pub(super) colour: bool,
}

impl Form {
    /// With its end.
    pub(super) fn line(self, entry: &Entry) -> String {
        match self {
            Self::Text(text) => text.line(entry),
            Self::Json => json(entry),
        }
    }
}

impl Text {
    fn line(self, entry: &Entry) -> String {
        let level = format!("{:>5}", entry.level.as_str());
        let time = if self.time { format!("{} ", entry.time) } else { String::new() };
        let head = if self.colour {
            let colour = match entry.level {
                Level::ERROR => 31,
                Level::WARN => 33,
                Level::INFO => 32,
                _ => 34,
            };
            // Dim, and then the colour.
            format!("\u{1b}[2m{time}\u{1b}[0m\u{1b}[{colour}m{level}\u{1b}[0m")
        } else {
            format!("{time}{level}")
        };
        format!("{head} {}\n", message(entry))
    }
}

/// The message, and the fields behind it: `name=value`, text in quotes.
fn message(entry: &Entry) -> String {
    let mut text = entry.message.clone();
    for (name, value) in &entry.fields {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = match value {
            Value::String(value) => write!(text, "{name}={value:?}"),
            value => write!(text, "{name}={value}"),
        };
    }
    text
}

fn json(entry: &Entry) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), entry.time.clone().into());
    object.insert("level".to_owned(), entry.level.as_str().to_ascii_lowercase().into());
    object.insert("message".to_owned(), entry.message.clone().into());
    object.extend(entry.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    format!("{}\n", Value::Object(object))
}

/// What journald takes: `NAME=value`, a line each. No value has a line break, which would need another form; see
/// systemd's "Native Journal Protocol". The message has the fields as well, since `journalctl` shows nothing else.
pub(super) fn datagram(entry: &Entry) -> Vec<u8> {
    let priority = match entry.level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let mut text = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER=pgvrrp\nMESSAGE={}\n", message(entry));
    for (name, value) in &entry.fields {
        let name = name.to_ascii_uppercase();
        let _ = match value {
            Value::String(value) => writeln!(text, "PGVRRP_{name}={value}"),
            value => writeln!(text, "PGVRRP_{name}={value}"),
        };
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            time: "2026-11-26T07:53:19.666381Z".to_owned(),
            level: Level::WARN,
            place: None,
            message: "it has \"left\"".to_owned(),
            fields: vec![("vip", "10.0.20.155".into()), ("mtu", 1500.into())],
        }
    }

    #[test]
    fn text_is_for_people() {
        let line = |time, colour| Form::Text(Text { time, colour }).line(&entry());
        assert_eq!(
            line(true, false),
            "2026-11-26T07:53:19.666381Z  WARN it has \"left\" vip=\"10.0.20.155\" mtu=1500\n"
        );
        assert_eq!(line(false, false), " WARN it has \"left\" vip=\"10.0.20.155\" mtu=1500\n");
        assert!(line(true, true).contains("\u{1b}[33m WARN\u{1b}[0m it"), "{:?}", line(true, true));
    }

    #[test]
    fn json_is_for_programs() {
        let line = Form::Json.line(&entry());
        let read: Value = serde_json::from_str(line.trim_end()).unwrap();
        let wanted = serde_json::json!({
            "time": "2026-11-26T07:53:19.666381Z", "level": "warn", "message": "it has \"left\"", "vip": "10.0.20.155",
            "mtu": 1500
        });
        assert_eq!((read, line.matches('\n').count()), (wanted, 1));
    }

    #[test]
    fn journald_is_given_fields() {
        let text = String::from_utf8(datagram(&entry())).unwrap();
        assert_eq!(
            text,
            "PRIORITY=4\nSYSLOG_IDENTIFIER=pgvrrp\nMESSAGE=it has \"left\" vip=\"10.0.20.155\" mtu=1500\n\
             PGVRRP_VIP=10.0.20.155\nPGVRRP_MTU=1500\n"
        );
    }
}

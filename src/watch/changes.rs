//! What has changed from one look to the next, a line each.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::observe::control;
use crate::words::harmless;

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of each VIP, by name.
    vips: BTreeMap<String, String>,
    daemon: Option<Daemon>,
}

#[derive(Debug, PartialEq, Eq)]
enum Daemon {
    Answers(control::Daemon),
    Away(String),
}

impl Changes {
    /// The daemon answers: its picture, which may be of another version than this program, and who it is.
    pub(super) fn seen(&mut self, picture: &Value, daemon: control::Daemon) -> Vec<String> {
        let mut lines = Vec::new();
        let is_back = match self.daemon.replace(Daemon::Answers(daemon)) {
            None => false,
            Some(Daemon::Answers(before)) => before != daemon,
            Some(Daemon::Away(_)) => true,
        };
        if is_back {
            lines.push(format!("the daemon answers again ({})", daemon.process));
            self.vips.clear();
        }
        let stuck = picture["age"].as_f64().is_some_and(|age| age >= 2.0);
        let mut vips = BTreeMap::new();
        for vip in picture["vips"].as_array().into_iter().flatten() {
            let word = |key: &str| harmless(vip[key].as_str().unwrap_or_default());
            let place = if vip["held"] == true { "HERE" } else { "not here" };
            let stuck = if stuck { " (the protocol thread is stuck, and this was true before)" } else { "" };
            let text = format!("{place}, {}: {}{stuck}", word("phase"), word("why"));
            let name = word("name");
            if self.vips.get(&name) != Some(&text) {
                lines.push(format!("{name}: {text}"));
            }
            vips.insert(name, text);
        }
        lines.extend(
            self.vips.keys().filter(|name| !vips.contains_key(*name)).map(|name| format!("{name}: is no more")),
        );
        self.vips = vips;
        lines
    }

    /// The daemon does not answer, and why.
    pub(super) fn gone(&mut self, why: &str) -> Vec<String> {
        let away = Daemon::Away(why.to_owned());
        if self.daemon.as_ref() == Some(&away) {
            return Vec::new();
        }
        self.daemon = Some(away);
        vec![harmless(why)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_for_each_change_and_none_without() {
        let (mut changes, numbered) = (Changes::default(), control::Daemon::numbered);
        let picture = |held: bool, age: f64| json!({"age": age, "vips": [{"name": "10.0.20.155", "held": held, "phase": "active", "why": "db\u{1b}1"}]});
        assert_eq!(changes.seen(&picture(true, 0.1), numbered(7)), ["10.0.20.155: HERE, active: db\u{fffd}1"]);
        assert_eq!(changes.seen(&picture(true, 0.9), numbered(7)), [""; 0]);
        assert_eq!(changes.seen(&picture(false, 0.1), numbered(7)), ["10.0.20.155: not here, active: db\u{fffd}1"]);
        assert_eq!(changes.gone("no answer"), ["no answer"]);
        assert_eq!(changes.gone("no answer"), [""; 0]);
        assert_eq!(changes.gone("nobody"), ["nobody"]);
        assert_eq!(
            changes.seen(&picture(false, 0.1), numbered(8)),
            ["the daemon answers again (process 8)", "10.0.20.155: not here, active: db\u{fffd}1"]
        );
        assert!(
            changes.seen(&picture(false, 2.1), numbered(8))[0]
                .ends_with("(the protocol thread is stuck, and this was true before)")
        );
        assert_eq!(changes.seen(&json!({"vips": []}), numbered(8)), ["10.0.20.155: is no more"]);
        assert_eq!(changes.seen(&Value::Null, numbered(9)), ["the daemon answers again (process 9)"]);
    }
}

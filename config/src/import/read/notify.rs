//! Scripts that Keepalived runs on transitions.

use super::Statement;
use crate::import::note::{Notes, Place};
use crate::import::tokens;

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::import) struct Notify {
    pub(in crate::import) place: Place,
    pub(in crate::import) keyword: String,
    /// The hook that takes its place.
    pub(in crate::import) hook: &'static str,
    /// The program, by its absolute path, and its arguments.
    pub(in crate::import) command: Vec<String>,
    /// Whom it names as its user, and the group.
    pub(in crate::import) user: Option<String>,
}

impl Notify {
    /// Whether Keepalived tells it in four arguments what has happened.
    pub(in crate::import) fn is_told(&self) -> bool {
        self.keyword == "notify"
    }
}

const DELETED: &str = "there is no such state: a VIP that a reload takes out is told of as BACKUP, by on_backup";
const LOWER: &str = "there is no such hook: the holder answers a lower priority by itself, and counts who else \
                     advertises (docs/METRICS.md). What has to be set anew then, as in a cloud, is not for a hook";

pub(super) fn is_notify(keyword: &str) -> bool {
    hook(keyword).is_some() || matches!(keyword, "notify_deleted" | "notify_master_rx_lower_pri")
}

/// What takes its place.
fn hook(keyword: &str) -> Option<&'static str> {
    match keyword {
        "notify" => Some("on_change"),
        "notify_master" => Some("on_active"),
        "notify_backup" => Some("on_backup"),
        "notify_fault" => Some("on_fault"),
        "notify_stop" => Some("on_stop"),
        _ => None,
    }
}

/// Reads one, behind those that its block has already. What is none, or has no hook, is said.
pub(super) fn read(statement: &Statement, before: &[Notify], notes: &mut Notes) -> Option<Notify> {
    let (place, keyword) = (statement.place, statement.keyword());
    let Some(hook) = hook(keyword) else {
        match (keyword, statement.argument()) {
            ("notify_deleted", None) => notes.not_needed(place, keyword, DELETED),
            ("notify_deleted", Some(_)) => notes.by_hand(place, keyword, DELETED),
            _ => notes.by_hand(place, keyword, LOWER),
        }
        return None;
    };
    if let Some(first) = before.iter().find(|first| first.keyword == keyword) {
        let text = format!("Keepalived takes the first one, of line {}, and not this one", first.place.line);
        notes.not_needed(place, keyword, text);
        return None;
    }
    let command = match tokens::words(statement.argument().unwrap_or_default()) {
        Ok(command) => command,
        Err(quote) => {
            let text = format!("not converted: the quote {quote} is not closed within the command: correct it");
            notes.by_hand(place, keyword, text);
            return None;
        }
    };
    match command.first() {
        None => {
            notes.by_hand(place, keyword, "not converted: it names no script; write one, or take it out");
            None
        }
        Some(program) if !program.starts_with('/') => {
            let text = format!(
                "not converted: Keepalived looks for `{program}` in its PATH, and a hook is named by its absolute \
                 path: write that here, and import it again"
            );
            notes.by_hand(place, keyword, text);
            None
        }
        Some(_) => {
            let user = statement.arguments().get(1..).filter(|words| !words.is_empty()).map(|words| words.join(":"));
            Some(Notify { place, keyword: keyword.to_owned(), hook, command, user })
        }
    }
}

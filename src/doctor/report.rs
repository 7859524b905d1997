//! What was found, and how it is printed.

use serde::Serialize;

/// How good or bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Nothing is wrong with it; good to know.
    Note,
    /// The daemon works, and something about it is worse than it could be, or could not be looked at.
    Warning,
    /// The VIP cannot come here, or not safely, or not reach PostgreSQL.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about, one word of a fixed set, for programs.
    pub area: &'static str,
    /// How good or bad that is.
    pub level: Level,
    /// What was found. One line.
    pub text: String,
    /// What to do about it; `None` where nothing has to be done. One line.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, level: Level::Ok, text: text.into(), fix: None }
    }

    pub(super) fn note(area: &'static str, text: impl Into<String>) -> Self {
        Self { area, level: Level::Note, text: text.into(), fix: None }
    }

    /// A note about something that could be better, or looked at by other means.
    pub(super) fn hint(area: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::with_fix(area, Level::Note, text, fix)
    }

    pub(super) fn warning(area: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::with_fix(area, Level::Warning, text, fix)
    }

    pub(super) fn problem(area: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::with_fix(area, Level::Problem, text, fix)
    }

    /// How bad it is depends.
    pub(super) fn with_fix(area: &'static str, level: Level, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { area, level, text: text.into(), fix: Some(fix.into()) }
    }
}

/// Everything that was found, in the order in which it was looked at. `--json` prints exactly this.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
    /// How many of them are problems.
    pub problems: usize,
    /// How many of them are warnings.
    pub warnings: usize,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
        Self { findings, problems, warnings }
    }

    /// For people: a line per finding, its fix below it, a sum at the end.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for Finding { level, text: found, fix, .. } in &self.findings {
            let level = match level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Warning => "warning",
                Level::Problem => "problem",
            };
            text += &format!("{level:<9}{}\n", printable(found));
            if let Some(fix) = fix {
                text += &format!("{:<9}fix: {}\n", "", printable(fix));
            }
        }
        text + &format!("{}, {}\n", counted(self.problems, "problem"), counted(self.warnings, "warning"))
    }

    /// For programs.
    pub fn json(&self) -> String {
        // Numbers, strings and lists: there is nothing that JSON could refuse.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

fn counted(number: usize, of: &str) -> String {
    match number {
        0 => format!("no {of}s"),
        1 => format!("1 {of}"),
        _ => format!("{number} {of}s"),
    }
}

/// Names and values come from other hosts, and must not be able to steer a terminal or to fake a line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        let report = Report::new(vec![
            Finding::ok("etcd", "etcd 10.0.20.11:2379: 3.5.28"),
            Finding::problem("patroni", "no member\ndb7\u{1b}[2J", "node = \"db1\""),
            Finding::warning("etcd", "old", "upgrade"),
            Finding::warning("etcd", "old", "upgrade"),
        ]);
        let lines = [
            "ok       etcd 10.0.20.11:2379: 3.5.28",
            "problem  no member db7 [2J",
            "         fix: node = \"db1\"",
            "warning  old",
            "         fix: upgrade",
            "warning  old",
            "         fix: upgrade",
            "1 problem, 2 warnings\n",
        ];
        assert_eq!(report.text(), lines.join("\n"));
        assert_eq!(Report::new(Vec::new()).text(), "no problems, no warnings\n");
    }

    #[test]
    fn for_programs() {
        let report =
            Report::new(vec![Finding::note("patroni", "paused"), Finding::problem("etcd", "down", "start it")]);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["problems"], 1);
        assert_eq!(json["warnings"], 0);
        let (note, problem) = (&json["findings"][0], &json["findings"][1]);
        assert_eq!((note["level"].as_str(), note["fix"].as_str()), (Some("note"), None));
        assert_eq!((problem["area"].as_str(), problem["fix"].as_str()), (Some("etcd"), Some("start it")));
    }
}

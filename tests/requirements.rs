//! RFC 9568, requirement by requirement: `tests/requirements.toml` says what each demands and where pgvrrp stands, the tests
//! say by tags which of them they are about, and `docs/RFC9568.md` shows both.

#![allow(clippy::disallowed_methods, reason = "a test bench reads the environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where tests are.
const PLACES: [&str; 5] = ["vrrp/tests", "config/tests", "src/node", "src/transport/tests", "tests"];

/// With this begins a tag, in a comment above the test.
const TAG: &str = "// RFC9568: ";

/// The page that is made.
const PAGE: &str = "docs/RFC9568.md";

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

struct Requirement {
    id: String,
    level: String,
    says: String,
    status: String,
    reason: Option<String>,
    one_sided: Option<String>,
}

fn requirements() -> Vec<Requirement> {
    let text = fs::read_to_string(root("tests/requirements.toml")).expect("the ledger is there");
    let table: toml::Table = text.parse().expect("the ledger is TOML");
    let rows = table["requirement"].as_array().expect("the ledger has rows");
    let read = |row: &toml::Value| {
        let known = ["id", "level", "says", "status", "reason", "one_sided"];
        let keys = row.as_table().expect("a row is a table").keys();
        keys.for_each(|key| assert!(known.contains(&key.as_str()), "unknown key {key}"));
        let optional = |key: &str| row.get(key).map(|value| value.as_str().expect("a text").to_owned());
        let needed = |key: &str| optional(key).unwrap_or_else(|| panic!("a row without {key}: {row}"));
        Requirement {
            id: needed("id"),
            level: needed("level"),
            says: needed("says"),
            status: needed("status"),
            reason: optional("reason"),
            one_sided: optional("one_sided"),
        }
    };
    rows.iter().map(read).collect()
}

/// The tests of a requirement: those in which it holds, and those in which its opposite is tried.
#[derive(Default)]
struct Tests {
    holds: BTreeSet<String>,
    fails: BTreeSet<String>,
}

fn tests() -> BTreeMap<String, Tests> {
    let mut tests = BTreeMap::<String, Tests>::new();
    for path in PLACES.iter().flat_map(|place| sources(&root(place))) {
        let text = fs::read_to_string(&path).expect("a source is readable");
        let mut waiting = Vec::new();
        for line in text.lines() {
            if let Some(tags) = line.trim().strip_prefix(TAG) {
                waiting.extend(tags.split_whitespace());
            } else if let Some(name) = line.trim().strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                let module = path.file_stem().unwrap_or_default().to_string_lossy();
                for tag in waiting.drain(..) {
                    let (id, side) = tag.split_at(tag.len() - 1);
                    let of = tests.entry(id.to_owned()).or_default();
                    let side = match side {
                        "+" => &mut of.holds,
                        "-" => &mut of.fails,
                        _ => panic!("{}: the tag {tag} ends with neither + nor -", path.display()),
                    };
                    side.insert(format!("{module}::{name}"));
                }
            }
        }
        assert!(waiting.is_empty(), "{}: tags without a test: {waiting:?}", path.display());
    }
    tests
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("it is readable").path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_requirement_is_met_on_both_sides_or_says_why_not() {
    let (requirements, tests) = (requirements(), tests());
    let ids: BTreeSet<&str> = requirements.iter().map(|requirement| requirement.id.as_str()).collect();
    assert_eq!(ids.len(), requirements.len(), "two rows with one id");
    for id in tests.keys() {
        assert!(ids.contains(id.as_str()), "a tag for {id}, which is no requirement");
    }
    let none = Tests::default();
    for Requirement { id, level, status, reason, one_sided, .. } in &requirements {
        let tests = tests.get(id).unwrap_or(&none);
        assert!(["MUST", "SHOULD"].contains(&level.as_str()), "{id}: level {level}");
        match status.as_str() {
            "met" => {
                assert!(!tests.holds.is_empty() || one_sided.is_some(), "{id}: no test in which it holds");
                let is_tried = !tests.fails.is_empty() || one_sided.is_some() || level == "SHOULD";
                assert!(is_tried, "{id}: no test in which its opposite is tried");
            }
            "deviation" | "other" | "open" => assert!(reason.is_some(), "{id}: {status} without a reason"),
            _ => panic!("{id}: status {status}"),
        }
    }
}

#[test]
fn the_page_is_made_from_the_ledger() {
    let (page, there) = (page(), fs::read_to_string(root(PAGE)).unwrap_or_default());
    if std::env::var_os("PGVRRP_WRITE_PAGE").is_some() {
        fs::write(root(PAGE), &page).expect("the page can be written");
    } else {
        assert!(page == there, "{PAGE} is older than the ledger: run this test with PGVRRP_WRITE_PAGE=1");
    }
}

fn page() -> String {
    let (requirements, tests) = (requirements(), tests());
    let count = |status: &str| requirements.iter().filter(|requirement| requirement.status == status).count();
    let mut page = format!(
        "# RFC 9568, requirement by requirement\n\n\
         Made from `tests/requirements.toml` and the tags in the tests by `PGVRRP_WRITE_PAGE=1 cargo test --test requirements`; the \
         words are ours. Of {} requirements {} are met, {} are deviated from on purpose, {} concern what pgvrrp is not; open: {}.\n\n\
         | section | | what | where it stands |\n|---|---|---|---|\n",
        requirements.len(),
        count("met"),
        count("deviation"),
        count("other"),
        count("open"),
    );
    for Requirement { id, level, says, status, reason, one_sided } in &requirements {
        let mut stands = match (status.as_str(), reason) {
            ("met", _) => "met".to_owned(),
            ("other", Some(reason)) => format!("not ours: {reason}"),
            (status, Some(reason)) => format!("**{status}**: {reason}"),
            (status, None) => status.to_owned(),
        };
        if let Some(of) = tests.get(id) {
            let list = |tests: &BTreeSet<String>| tests.iter().map(|t| format!("`{t}`")).collect::<Vec<_>>().join(", ");
            if !of.holds.is_empty() {
                let _ = write!(stands, "; holds in {}", list(&of.holds));
            }
            if !of.fails.is_empty() {
                let _ = write!(stands, "; its opposite in {}", list(&of.fails));
            }
        }
        if let Some(why) = one_sided {
            let _ = write!(stands, "; {why}");
        }
        let _ = writeln!(page, "| {id} | {level} | {says} | {stands} |");
    }
    page
}

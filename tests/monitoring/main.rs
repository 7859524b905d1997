//! What is shipped for Prometheus and Grafana fits together: rules, their unit tests, the dashboard, `docs/METRICS.md` (which
//! is compared with the code in `src/observe/tests`) and `docs/RUNBOOK.md`. `tests/scenarios/prometheus.rs` has a real
//! Prometheus ask real daemons.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::prerequisites::Monitoring;
use serde_json::Value;

const RULES: &str = include_str!("../../packaging/prometheus/pgvrrp.rules.yml");
const RULE_TESTS: &str = include_str!("rules.test.yml");
const DASHBOARD: &str = include_str!("../../packaging/grafana/pgvrrp.json");
const METRICS: &str = include_str!("../../docs/METRICS.md");
const RUNBOOK: &str = include_str!("../../docs/RUNBOOK.md");

/// Labels that Prometheus gives to every series, and what it calls the bound of a histogram's bucket.
const OF_PROMETHEUS: [&str; 4] = ["job", "cluster", "instance", "le"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn promtool(args: &[&str], file: &str) {
    let promtool = Monitoring::find().expect("Prometheus is there").promtool;
    let output = Command::new(promtool).args(args).arg(path(file)).output().expect("promtool runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {args:?} {file}:\n{said}");
}

#[test]
fn prometheus_takes_the_rules_and_the_scrape_configuration() {
    promtool(&["check", "rules"], "packaging/prometheus/pgvrrp.rules.yml");
    promtool(&["check", "config"], "packaging/prometheus/scrape.yml");
}

#[test]
fn alerts_fire_when_they_should_and_not_before() {
    promtool(&["test", "rules"], "tests/monitoring/rules.test.yml");
}

/// Each alert with the lines of its rule.
fn alerts() -> BTreeMap<&'static str, &'static str> {
    let rules = RULES.split("      - alert: ").skip(1);
    let alerts: BTreeMap<_, _> = rules.filter_map(|rule| rule.split_once('\n')).collect();
    assert!(alerts.len() > 30, "only {} alerts were found", alerts.len());
    alerts
}

#[test]
fn each_alert_says_how_bad_it_is_what_it_is_and_what_to_do() {
    for (alert, rule) in alerts() {
        let has = |begin: &str| rule.lines().find_map(|line| line.trim().strip_prefix(begin));
        let severity = has("severity: ").unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{alert}: severity {severity:?}");
        assert!(has("summary: ").is_some() && has("description: ").is_some(), "{alert} does not say what it is");
        let anchor = format!("#{}", alert.to_lowercase());
        assert!(has("runbook_url: ").is_some_and(|url| url.ends_with(&anchor)), "{alert} leads to another section");
    }
}

#[test]
fn each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() {
    let sections: Vec<_> = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let named: BTreeSet<_> = sections.iter().copied().collect();
    assert_eq!(named, alerts().into_keys().collect(), "sections, and alerts");
    assert_eq!(sections.len(), named.len(), "a section is there twice");
    for section in RUNBOOK.split("\n### ").skip(1) {
        let (name, text) = section.split_once('\n').unwrap();
        for part in ["**Seen:**", "**Means:**", "**Do:**", "**Over:**"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn each_alert_is_seen_to_fire_and_to_be_silent() {
    let (calm, others) = RULE_TESTS.split_once("\n\n  - name: Pgvrrp").expect("there are tests after the first");
    for alert in alerts().into_keys() {
        let is_silent = calm.matches(&format!("alertname: {alert} }}")).count();
        assert_eq!(is_silent, 2, "{alert} is to be looked at in the calm twice");
        let fires = format!("        alertname: {alert}\n        exp_alerts:\n");
        assert!(others.contains(&fires), "no test lets {alert} fire");
    }
}

/// The words that could be names of metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.contains("pgvrrp_") || word.starts_with("process_")).collect()
}

/// The names of the metrics, and of their labels, that the page has.
fn documented() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    let rows = METRICS.lines().filter(|line| line.starts_with("| `pgvrrp_") || line.starts_with("| `process_"));
    let cells: Vec<Vec<_>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    let names = cells.iter().map(|cells| cells[1].trim_matches('`')).collect();
    let labels = cells.iter().flat_map(|cells| cells[3].split(", ")).map(|label| label.trim_matches('`')).collect();
    (names, labels)
}

#[test]
fn rules_dashboard_and_runbook_ask_for_documented_metrics() {
    let (names, _) = documented();
    let recorded: BTreeSet<_> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let is_known = |name: &&str| {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        let histogram = parts.filter(|name| names.contains(name)).any(|name| name.ends_with("_seconds"));
        names.contains(name) || recorded.contains(name) || histogram
    };
    for (file, text) in [("rules", RULES), ("dashboard", DASHBOARD), ("runbook", RUNBOOK), ("rules' tests", RULE_TESTS)]
    {
        let used = metrics_in(text);
        assert!(used.len() > 10, "{file}: only {used:?} were found");
        let unknown: Vec<_> = used.into_iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?} are not in docs/METRICS.md");
    }
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    dashboard["panels"].as_array().cloned().expect("there are panels")
}

#[test]
fn panels_have_places_of_their_own() {
    let panels = panels();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    let mut taken = BTreeMap::new();
    for panel in &panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            let before = taken.insert(cell, &panel["title"]);
            assert_eq!(before, None, "{} is in the same place", panel["title"]);
        }
    }
}

#[test]
fn panels_ask_for_what_is_chosen_above_and_name_labels_that_exist() {
    let (_, labels) = documented();
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let ids: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), targets.len(), "{title}: a refId is there twice");
        for target in targets {
            let (query, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
            assert!(query.contains("cluster=~\"$cluster\""), "{title} shows other clusters too: {query}");
            let named = legend.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
            let unknown =
                named.map(|(label, _)| label).find(|label| !labels.contains(label) && !OF_PROMETHEUS.contains(label));
            assert_eq!(unknown, None, "{title}: no such label");
        }
    }
}

//! The command line, as a user meets it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = r#"
node = "db1"
interface = "eth0"
[patroni]
scope = "odoo"
[etcd]
endpoints = ["http://10.0.20.13:2379"]
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
follows = "primary"
"#;

fn pgvrrp(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pgvrrp")).args(args).output().expect("the program was built with this test")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("pgvrrp.toml");
    fs::write(&path, text).expect("a temporary directory takes files");
    path.display().to_string()
}

#[test]
fn help_and_version_are_answers() {
    for args in [&["--help"][..], &["--version"], &["run", "--help"], &["help", "status"]] {
        let (code, out, err) = said(&pgvrrp(args));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        assert!(!out.is_empty());
    }
    assert!(said(&pgvrrp(&["--version"])).1.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_64_and_says_so() {
    for args in [&[][..], &["fly"], &["run", "--fast"], &["check", "a", "b"]] {
        let (code, out, err) = said(&pgvrrp(args));
        assert_eq!((code, out.as_str()), (Some(64), ""), "{args:?}");
        assert!(err.contains("Usage"), "{err}");
    }
}

#[test]
fn a_good_file_is_ok() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = said(&pgvrrp(&["check", &file(dir.path(), GOOD)]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("OK") && out.contains("10.0.20.155/32") && out.contains("/service/odoo"), "{out}");
}

#[test]
fn a_bad_file_is_78_with_every_mistake_and_no_command_runs_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let bad = GOOD.replace("= 155", "= 0").replace("follows = \"primary\"", "follow = \"primary\"");
    let path = file(dir.path(), &bad);
    for args in [["check", path.as_str()].to_vec(), vec!["run", "--config", &path], vec!["status", "--config", &path]] {
        let (code, out, err) = said(&pgvrrp(&args));
        assert_eq!((code, out.as_str()), (Some(78), ""), "{args:?}");
        assert!(
            err.contains("pgvrrp.toml:10:") && err.contains("pgvrrp.toml:11:") && err.contains("2 errors"),
            "{err}"
        );
        assert!(err.contains("^^^") && err.ends_with('\n'), "{err}");
    }
}

#[test]
fn a_missing_file_is_78_and_named() {
    let (code, _, err) = said(&pgvrrp(&["check", "/nonexistent/pgvrrp.toml"]));
    assert_eq!(code, Some(78));
    assert!(err.contains("/nonexistent/pgvrrp.toml"), "{err}");
}

#[test]
fn status_without_a_daemon_is_69_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("runtime_dir = \"{}/run\"\n{GOOD}", dir.path().display());
    let (code, out, err) = said(&pgvrrp(&["status", "--config", &file(dir.path(), &text)]));
    assert_eq!((code, out.as_str()), (Some(69), ""));
    assert!(err.contains("control.sock") && err.contains("no pgvrrp runs here"), "{err}");
}

#[test]
fn whoever_stops_reading_has_seen_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), GOOD);
    let pipe = format!("{} check {path} | true", env!("CARGO_BIN_EXE_pgvrrp"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &pipe]).output().unwrap();
    assert!(!said(&output).2.contains("panicked"), "{}", said(&output).2);
}

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
fn a_citus_group_is_part_of_the_clusters_name() {
    let dir = tempfile::tempdir().unwrap();
    let group = GOOD.replace("\"odoo\"", "\"odoo\"\ngroup = 0");
    let (code, out, _) = said(&pgvrrp(&["check", &file(dir.path(), &group)]));
    assert_eq!(code, Some(0));
    assert!(out.contains("cluster /service/odoo/0\n"), "{out}");
}

#[test]
fn check_is_for_the_daemons_user() {
    assert!(said(&pgvrrp(&["check", "--help"])).1.contains("sudo -u pgvrrp pgvrrp check"));
}

/// What the unit names as its documentation is in the package, and after the README's commands below /usr/local.
#[test]
fn the_units_documentation_is_installed() {
    let unit = include_str!("../packaging/pgvrrp.service");
    let documentation = unit.lines().find_map(|line| line.strip_prefix("Documentation=")).unwrap();
    let path = documentation.split(' ').find_map(|word| word.strip_prefix("file:///usr/")).unwrap();
    let (directory, _) = path.rsplit_once('/').unwrap();
    let packed = format!("[\"README.md\", \"usr/{directory}/\"");
    assert!(include_str!("../Cargo.toml").contains(&packed), "{packed}");
    let by_hand = format!("install -D -m 644 -t /usr/local/{directory} README.md");
    assert!(include_str!("../README.md").contains(&by_hand), "{by_hand}");
}

#[test]
fn a_bad_file_is_78_with_every_mistake_and_no_command_runs_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let bad = GOOD.replace("= 155", "= 0").replace("follows = \"primary\"", "follow = \"primary\"");
    let path = file(dir.path(), &bad);
    for args in [["check", path.as_str()].to_vec(), vec!["run", "--config", &path], vec!["reload", "--config", &path]] {
        let (code, out, err) = said(&pgvrrp(&args));
        assert_eq!((code, out.as_str()), (Some(78), ""), "{args:?}");
        assert!(
            err.contains("pgvrrp.toml:10:") && err.contains("pgvrrp.toml:11:") && err.contains("2 errors"),
            "{err}"
        );
        assert!(err.contains("^^^") && err.ends_with('\n'), "{err}");
    }
}

/// Its daemon goes on by what the file said before, and has to be found.
#[test]
fn a_bad_file_still_says_where_its_daemon_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("runtime_dir = \"{}/run\"\n{}", dir.path().display(), GOOD.replace("= 155", "= 0"));
    let path = file(dir.path(), &text);
    for command in ["status", "history"] {
        let (code, _, err) = said(&pgvrrp(&[command, "--config", &path]));
        assert!(code == Some(69) && err.contains("run/control.sock"), "{command}: {code:?}, {err}");
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
fn history_without_a_daemon_is_69_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("runtime_dir = \"{}/run\"\n{GOOD}", dir.path().display());
    let (code, out, err) = said(&pgvrrp(&["history", "--json", "--config", &file(dir.path(), &text)]));
    assert_eq!((code, out.as_str()), (Some(69), ""));
    assert!(err.contains("control.sock") && err.contains("no pgvrrp runs here"), "{err}");
}

/// One that took the connection and says nothing, as a stopped one does.
#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let _silent = std::os::unix::net::UnixListener::bind(run.join("control.sock")).unwrap();
    let text = format!("runtime_dir = \"{}\"\n{GOOD}", run.display());
    let path = file(dir.path(), &text);
    for command in ["status", "history"] {
        let (code, out, err) = said(&pgvrrp(&[command, "--config", &path]));
        assert_eq!((code, out.as_str()), (Some(69), ""));
        assert!(err.contains("is it stopped?"), "{err}");
    }
}

#[test]
fn a_cluster_of_which_nobody_answers_is_69() {
    let dir = tempfile::tempdir().unwrap();
    let here = GOOD.replace("10.0.20.13:2379", "127.0.0.1:1");
    let text = format!("runtime_dir = \"{}/run\"\n{here}", dir.path().display());
    let path = file(dir.path(), &text);
    for args in [&["status", "--cluster", "--config", &path][..], &["status", "--cluster", "--json", "--config", &path]]
    {
        let (code, out, err) = said(&pgvrrp(args));
        assert_eq!((code, out.as_str()), (Some(69), ""));
        assert!(err.contains("control.sock") && err.contains("etcd 127.0.0.1:1: "), "{err}");
    }
}

#[test]
fn colours_are_asked_for_by_name() {
    let (code, _, err) = said(&pgvrrp(&["status", "--color", "red"]));
    assert_eq!(code, Some(64));
    assert!(err.contains("auto, always, never"), "{err}");
}

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/switchovers-db1.jsonl");

#[test]
fn a_recording_is_replayed_without_rights_and_configuration() {
    let (code, out, err) = said(&pgvrrp(&["replay", RECORDING]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.ends_with("passes replayed, every output as recorded\n"), "{out}");
    let (_, told, _) = said(&pgvrrp(&["replay", "--verbose", RECORDING]));
    assert!(told.contains("on db1, VIP 10.0.20.155, starts"), "{told}");
    assert!(told.contains("PostgreSQL: primary (accepts writes)  ->  bind for 3 s; advertise 255; "), "{told}");
    assert!(told.ends_with(&out), "{told}");
}

#[test]
fn a_torn_recording_is_replayed_and_one_that_differs_is_1() {
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(RECORDING).unwrap();
    // In the middle of a line, as a daemon that is killed leaves it.
    let whole = text.match_indices('\n').nth(40).expect("it is longer").0;
    let (code, out, _) = said(&pgvrrp(&["replay", &file(dir.path(), &text[..whole + 20])]));
    assert_eq!(code, Some(0));
    assert!(out.contains("1 line is torn"), "{out}");
    let changed =
        text.replacen("{\"advertise\":{\"vip\":0,\"priority\":255", "{\"advertise\":{\"vip\":0,\"priority\":254", 1);
    let (code, out, err) = said(&pgvrrp(&["replay", &file(dir.path(), &changed)]));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("recorded  Advertise") && err.contains("replayed  Advertise"), "{err}");
}

#[test]
fn what_is_no_recording_is_65_and_what_cannot_be_read_66() {
    let dir = tempfile::tempdir().unwrap();
    for (text, words) in [
        (GOOD, "line 1 is no line of a recording"),
        ("", "nothing is recorded in it"),
        ("{\"format\":7,\"version\":\"3.0\"}\n", "format 7, written by pgvrrp 3.0"),
    ] {
        let (code, out, err) = said(&pgvrrp(&["replay", &file(dir.path(), text)]));
        assert_eq!((code, out.as_str()), (Some(65), ""), "{err}");
        assert!(err.contains(words) && err.contains("pgvrrp.toml"), "{err}");
    }
    let (code, _, err) = said(&pgvrrp(&["replay", "/nonexistent.jsonl"]));
    assert_eq!(code, Some(66));
    assert!(err.contains("/nonexistent.jsonl"), "{err}");
}

#[test]
fn whoever_stops_reading_has_seen_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), GOOD);
    let pipe = format!("{} check {path} | true", env!("CARGO_BIN_EXE_pgvrrp"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &pipe]).output().unwrap();
    assert!(!said(&output).2.contains("panicked"), "{}", said(&output).2);
}

/// On a host without etcd, PostgreSQL and the interface there is much to say, and soon.
#[test]
fn doctor_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let here = GOOD.replace("10.0.20.13:2379", "127.0.0.1:1").replace("\"eth0\"", "\"nosuchlink\"")
        + "[postgres]\nconnection = \"host=/nonexistent user=pgvrrp\"\n";
    let path = file(dir.path(), &here);
    let (code, out, err) = said(&pgvrrp(&["doctor", "--config", &path]));
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    for words in [
        "ok       configuration ",
        "problem  interface nosuchlink: ",
        "problem  etcd 127.0.0.1:1: ",
        "\n         fix: ",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(out.lines().last().unwrap().contains(" problems, "), "{out}");
    let (code, out, err) = said(&pgvrrp(&["doctor", "--json", "--config", &path]));
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("\"problems\": "), "{out}");
}

#[test]
fn doctor_of_a_peer_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), &GOOD.replace("10.0.20.13:2379", "127.0.0.1:1").replace("\"eth0\"", "\"nosuchlink\""));
    for wrong in [&["--wait", "5"][..], &["--peer", "db2"], &["--peer", "10.0.20.12", "--wait", "0"], &["--peer", ""]] {
        let (code, out, err) = said(&pgvrrp(&[&["doctor", "--config", &path], wrong].concat()));
        assert_eq!((code, out.as_str()), (Some(64), ""), "{wrong:?}: {err}");
    }
    let (code, out, err) = said(&pgvrrp(&["doctor", "--config", &path, "--peer", "10.0.20.12"]));
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    let told =
        "problem  peer 10.0.20.12: is in no subnet of an interface that carries VIPs (there are: none)\n         fix: ";
    assert!(out.contains(told), "{out}");
}

#[test]
fn doctor_of_a_wrong_file_is_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), &GOOD.replace("= 155\n", "= 300\n"));
    let (code, out, err) = said(&pgvrrp(&["doctor", "--json", "--config", &path]));
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert_eq!(err, said(&pgvrrp(&["check", &path])).2);
    assert!(err.contains("virtual_router_id"), "{err}");
}

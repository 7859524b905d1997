//! `pgvrrp import`, as a user meets it. What it makes of keywords is tested in `config/tests/import`.

#![cfg(feature = "daemon")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

const CONF: &str = "global_defs {
    vrrp_version 3
}
vrrp_script chk_patroni {
    script \"/usr/bin/curl -f http://127.0.0.1:8008/primary\"
}
vrrp_instance pg {
    interface eth0
    virtual_router_id 155
    priority 100
    virtual_ipaddress {
        10.0.20.155
    }
    track_script {
        chk_patroni
    }
}
";

const PATRONI: &str = "scope: odoo\nname: db1\netcd3:\n  host: 10.0.20.13:2379\n";

fn pgvrrp(dir: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_pgvrrp")).args(args).current_dir(dir).output();
    let Output { status, stdout, stderr } = run.expect("the program was built with this test");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

/// A directory with both files.
fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("there is a place for temporary files");
    for (name, text) in [("keepalived.conf", CONF), ("patroni.yml", PATRONI)] {
        fs::write(dir.path().join(name), text).expect("a temporary directory takes files");
    }
    dir
}

const IMPORT: [&str; 4] = ["import", "keepalived.conf", "--patroni", "patroni.yml"];

#[test]
fn what_is_printed_passes_check() {
    let dir = dir();
    let (code, out, err) = pgvrrp(dir.path(), &IMPORT);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("keepalived.conf:10: priority: not needed: etcd decides"), "{err}");
    assert!(err.ends_with(", 0 by hand, 0 unknown\n"), "{err}");
    fs::write(dir.path().join("pgvrrp.toml"), out).unwrap();
    let (code, out, err) = pgvrrp(dir.path(), &["check", "pgvrrp.toml"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("cluster /service/odoo") && out.contains("follows the primary"), "{out}");
}

#[test]
fn a_file_is_not_overwritten_unasked() {
    let dir = dir();
    let to = |more: &[&'static str]| pgvrrp(dir.path(), &[&IMPORT[..], &["--output", "pgvrrp.toml"], more].concat());
    assert_eq!(to(&[]).0, Some(0));
    let made = fs::read_to_string(dir.path().join("pgvrrp.toml")).unwrap();
    fs::write(dir.path().join("pgvrrp.toml"), "mine").unwrap();
    let (code, out, err) = to(&[]);
    assert_eq!((code, out.as_str()), (Some(73), ""));
    assert!(err.ends_with("error: pgvrrp.toml exists: name another file, or overwrite it with --force\n"), "{err}");
    assert_eq!(fs::read_to_string(dir.path().join("pgvrrp.toml")).unwrap(), "mine");
    assert_eq!(to(&["--force"]).0, Some(0));
    assert_eq!(fs::read_to_string(dir.path().join("pgvrrp.toml")).unwrap(), made);
    let (code, ..) = pgvrrp(dir.path(), &[&IMPORT[..], &["--output", "nowhere/pgvrrp.toml"]].concat());
    assert_eq!(code, Some(73));
}

#[test]
fn what_is_left_to_do_is_1() {
    let dir = dir();
    fs::write(dir.path().join("keepalived.conf"), CONF.replace("version 3", "version 2")).unwrap();
    let (code, out, err) = pgvrrp(dir.path(), &IMPORT);
    assert_eq!(code, Some(1));
    assert!(err.contains("keepalived.conf:2: vrrp_version: BY HAND: ") && out.contains("[[vip]]"), "{err}");
}

#[test]
fn what_cannot_be_converted() {
    let dir = dir();
    for (name, text) in
        [("broken.conf", "vrrp_instance a {\n"), ("other.conf", "a: b\n"), ("ipvs.conf", "virtual_server 1 {\n}\n")]
    {
        fs::write(dir.path().join(name), text).unwrap();
        let (code, out, err) = pgvrrp(dir.path(), &["import", name]);
        assert_eq!((code, out.as_str()), (Some(65), ""), "{err}");
        assert!(err.starts_with("error: ") && err.contains(name), "{err}");
    }
    assert!(pgvrrp(dir.path(), &["import", "broken.conf"]).2.contains("broken.conf:1: "));
    for args in [&["import", "missing"][..], &["import", "keepalived.conf", "--patroni", "missing"], &["import", "."]] {
        let (code, out, err) = pgvrrp(dir.path(), args);
        assert_eq!((code, out.as_str()), (Some(66), ""), "{err}");
        assert!(err.starts_with("error: cannot read "), "{err}");
    }
    assert_eq!(pgvrrp(dir.path(), &["import", "keepalived.conf", "--force"]).0, Some(64));
}

#[test]
fn lines_for_one_host() {
    let dir = dir();
    fs::write(dir.path().join("keepalived.conf"), CONF.replace("    virtual_router_id", "@b virtual_router_id"))
        .unwrap();
    let with = |id: &'static str| pgvrrp(dir.path(), &[&IMPORT[..], &["--config-id", id]].concat());
    assert_eq!(with("b").0, Some(0));
    let (code, out, err) = with("a");
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("no virtual_router_id") && err.contains("here the id is a"), "{err}");
}

#[test]
fn notify_scripts_become_hooks_and_none_is_run() {
    let dir = dir();
    let (script, ran) = (dir.path().join("tell"), dir.path().join("ran"));
    let write = |mode| {
        fs::write(&script, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
    };
    let lines = format!("    notify_master \"{} 'a b'\"\n}}\n", script.display());
    fs::write(dir.path().join("keepalived.conf"), CONF.trim_end().trim_end_matches('}').to_owned() + &lines).unwrap();
    for (mode, line, said) in [
        (0o755, "on_active = [\"/bin/sh\", \"-c\", \"exec ", "notify_master: converted: on_active = ["),
        (0o644, "#on_active = [\"/bin/sh\", \"-c\", \"exec ", "is not executable. Mend that, and import it again"),
    ] {
        write(mode);
        let (code, out, err) = pgvrrp(dir.path(), &IMPORT);
        assert_eq!(code, Some(1), "{err}");
        assert!(out.lines().any(|written| written.starts_with(line)) && err.contains(said), "{out}{err}");
        fs::write(dir.path().join("pgvrrp.toml"), out).unwrap();
        assert_eq!(pgvrrp(dir.path(), &["check", "pgvrrp.toml"]).0, Some(0));
    }
    assert!(!ran.exists(), "a script was run");
}

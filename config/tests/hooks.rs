//! `[hooks]`, and what of it a `[[vip]]` has otherwise.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgvrrp_config::{Config, Hooks};
use tempfile::TempDir;

fn program(dir: &TempDir, name: &str, mode: u32) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn parse(hooks: &str, vip: &str) -> Result<Config, String> {
    let text = format!(
        "node = \"lb1\"\ninterface = \"eth0\"\n{hooks}\n[[vip]]\naddress = \"10.0.20.1\"\nvirtual_router_id = 1\n\
         follows = \"none\"\n{vip}\n[[vip]]\naddress = \"10.0.20.2\"\nvirtual_router_id = 2\nfollows = \"none\"\n"
    );
    Config::parse(Path::new("f"), &text, Path::new("/")).map_err(|problems| problems.to_string())
}

#[test]
fn a_vip_has_those_of_the_file_unless_it_has_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (program(&dir, "first", 0o755), program(&dir, "second", 0o700));
    let (first, second) = (first.display().to_string(), second.display().to_string());
    let top = format!("[hooks]\non_active = [{first:?}, \"loud\"]\non_change = [{first:?}]\ntimeout = \"3s\"");
    let config = parse(&top, &format!("on_change = [{second:?}]\non_active = []")).unwrap();
    assert_eq!(config.hook_timeout, Duration::from_secs(3));
    let own = Hooks { on_change: vec![second], ..Hooks::default() };
    let common = Hooks { on_active: vec![first.clone(), "loud".into()], on_change: vec![first], ..Hooks::default() };
    assert_eq!((&config.vips[0].hooks, &config.vips[1].hooks), (&own, &common));
    let none = parse("", "").unwrap();
    assert_eq!((&none.vips[0].hooks, none.hook_timeout), (&Hooks::default(), Duration::from_secs(10)));
}

#[track_caller]
fn refused(word: &str, problem: &str, help: &str) {
    let shown = parse(&format!("[hooks]\non_fault = [{word:?}]"), "").unwrap_err();
    assert!(shown.contains(&format!("error: {problem}\n --> f:4:13\n")), "{shown}");
    assert!(shown.contains(&format!("= help: {help}")) && shown.ends_with("1 error"), "{shown}");
}

#[test]
fn what_cannot_be_a_hook_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    refused("notify", "on_fault must begin with an absolute path", "write on_fault = [\"/etc/pgvrrp/notify\"]");
    let missing = at("missing");
    refused(
        &missing,
        &format!("{missing} cannot be run: No such file or directory (os error 2)"),
        "it must be a program",
    );
    let directory = dir.path().display().to_string();
    refused(&directory, &format!("{directory} is a directory"), "name the program in it");
    refused("/dev/null", "/dev/null is not a regular file", "name a program");
    let plain = program(&dir, "plain", 0o644).display().to_string();
    refused(&plain, &format!("{plain} is not executable"), &format!("chmod 755 {plain}"));
    let open = program(&dir, "open", 0o757).display().to_string();
    refused(&open, &format!("{open} can be changed by every user"), &format!("chmod o-w {open}"));
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let right = program(&dir, "right", 0o755).display().to_string();
    refused(&right, &format!("{right} is in a directory where every user can replace it"), "put it into one that");
}

#[test]
fn keepalived_has_other_words_for_it() {
    for (theirs, ours) in [("notify_master", "on_active"), ("notify", "on_change"), ("notify_stop", "on_stop")] {
        let shown = parse("", &format!("{theirs} = [\"/x\"]")).unwrap_err();
        assert!(shown.contains(&format!("write {ours} = [")), "{shown}");
    }
}

#[test]
fn an_empty_command_is_none_and_a_string_is_no_list() {
    assert_eq!(parse("[hooks]\non_stop = []", "").unwrap().vips[0].hooks, Hooks::default());
    let shown = parse("[hooks]\non_stop = \"/bin/true\"", "").unwrap_err();
    assert!(shown.contains("on_stop must be a list of strings, not a string"), "{shown}");
    let shown = parse("[hooks]\non_stop = [\"/bin/true\", \"a\\u0000b\"]", "").unwrap_err();
    assert!(shown.contains("on_stop must not hold a null character"), "{shown}");
    let shown = parse("[hooks]\ntimeout = \"1h\"", "").unwrap_err();
    assert!(shown.contains("timeout must be 100ms to 600s"), "{shown}");
}

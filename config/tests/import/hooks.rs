//! What becomes of notify scripts.

#![allow(clippy::unwrap_used, reason = "tests, and their helpers")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pgvrrp_config::Hooks;
use pgvrrp_config::import::{Imported, Verdict};
use tempfile::TempDir;

use super::{config, imported, note, says};

/// A directory with a script that writes down its arguments, one on a line.
struct Place {
    dir: TempDir,
    script: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("tell");
        fs::write(&script, "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$0.told\"\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        Self { script: script.display().to_string(), dir }
    }

    /// What the script is given by this hook, when pgvrrp runs it.
    fn told(&self, hook: &[String]) -> Vec<String> {
        let (program, arguments) = hook.split_first().expect("there is a hook");
        let four = ["INSTANCE", "the-vip", "MASTER", "255"];
        assert!(Command::new(program).args(arguments).args(four).status().unwrap().success());
        let told = fs::read_to_string(self.dir.path().join("tell.told")).unwrap();
        told.lines().map(str::to_owned).collect()
    }
}

const CHECK: &str = "vrrp_script chk {\n script \"/usr/bin/curl -f http://127.0.0.1:8008/primary\"\n}\n";

/// An instance that follows the primary, with these lines.
fn instance(name: &str, id: u8, lines: &str) -> String {
    format!(
        "vrrp_instance {name} {{\n interface eth0\n version 3\n virtual_router_id {id}\n virtual_ipaddress {{\n \
         10.0.20.{id}\n }}\n track_script {{\n chk\n }}\n{lines}\n}}\n"
    )
}

fn one(lines: &str) -> Imported {
    imported(&format!("{CHECK}{}", instance("VI_1", 155, lines)))
}

fn hooks(imported: &Imported) -> Hooks {
    config(imported).vips[0].hooks.clone()
}

#[test]
fn each_script_is_given_what_keepalived_gives_it() {
    let place = Place::new();
    let script = &place.script;
    let imported = one(&format!(
        "notify \"{script} --loud\"\nnotify_master \"{script} 'to master' it\\\\'s\"\nnotify_backup {script}\n\
         notify_fault '{script} \"\" $HOME *'\nnotify_stop \"{script} a;b\""
    ));
    let hooks = hooks(&imported);
    assert_eq!(hooks.on_change, [script, "--loud"]);
    assert_eq!(place.told(&hooks.on_change), ["--loud", "INSTANCE", "the-vip", "MASTER", "255"]);
    assert_eq!(place.told(&hooks.on_active), ["to master", "it's"]);
    assert_eq!(place.told(&hooks.on_backup), [""; 1]);
    assert_eq!(place.told(&hooks.on_fault), ["", "$HOME", "*"]);
    assert_eq!(place.told(&hooks.on_stop), ["a;b"]);
    says(&imported, "notify", Verdict::Converted, "told BACKUP, not FAULT");
    says(&imported, "notify_backup", Verdict::Converted, "on a standby, too");
    says(&imported, "notify_fault", Verdict::ByHand, "pgvrrp runs on_backup there");
    says(&imported, "notify_stop", Verdict::Converted, "on_stop = [\"/bin/sh\", \"-c\", \"exec ");
}

#[test]
fn whose_scripts_they_were_is_said() {
    let place = Place::new();
    let script = &place.script;
    let told = one(&format!("notify {script}\nnotify_stop {script}"));
    says(&told, "script_user", Verdict::ByHand, "was keepalived_script, the default");
    let told = imported(&format!(
        "global_defs {{\n script_user ops\n}}\n{CHECK}{}",
        instance("VI_1", 155, &format!("notify {script}"))
    ));
    says(&told, "script_user", Verdict::ByHand, "was ops; a hook is run by the daemon's user");
    let told = one(&format!("notify_stop \"{script} a\" ops adm"));
    let of_stop: Vec<_> = told.notes.iter().filter(|note| note.keyword == "notify_stop").collect();
    assert!(of_stop.iter().any(|note| note.verdict == Verdict::ByHand && note.text.contains("ran it as ops:adm")));
    assert_eq!(place.told(&hooks(&told).on_stop), ["a"]);
    // Nobody runs anything.
    let told = imported(&format!("global_defs {{\n script_user ops\n}}\n{CHECK}{}", instance("VI_1", 155, "")));
    says(&told, "script_user", Verdict::NotNeeded, "no check scripts");
}

#[test]
fn a_group_s_script_is_told_of_the_group() {
    let place = Place::new();
    let script = &place.script;
    let group = format!(
        "vrrp_sync_group \"VG 1\" {{\n group {{\n a\n b\n }}\n notify \"{script} x\"\n notify_master {script}\n}}\n"
    );
    let text =
        format!("{CHECK}{group}{}{}", instance("a", 1, ""), instance("b", 2, &format!("notify_master {script}")));
    let told = imported(&text);
    let vips = config(&told).vips;
    assert_eq!((vips.len(), &vips[0].hooks.on_change), (2, &vips[1].hooks.on_change));
    assert_eq!(place.told(&vips[0].hooks.on_change), ["x", "GROUP", "VG 1", "MASTER", "0"]);
    says(&told, "notify", Verdict::ByHand, "each of the 2 VIPs of the group");
    // One key, two scripts: the instance's own stays.
    assert!(vips[0].hooks.on_active.is_empty() && !vips[1].hooks.on_active.is_empty());
    let refused = told.notes.iter().find(|note| note.keyword == "notify_master" && note.verdict == Verdict::ByHand);
    assert!(refused.unwrap().text.contains("has an on_active already"), "{}", told.explanation());
}

#[test]
fn two_families_in_one_vip_keep_the_names_of_their_instances() {
    let place = Place::new();
    let script = &place.script;
    let six = instance("six", 1, &format!("notify {script}")).replace("10.0.20.1\n", "fe80::1\nfd00::1\n");
    let group = "vrrp_sync_group g {\n group {\n four\n six\n }\n}\n";
    let told = imported(&format!("{CHECK}{group}{}{six}", instance("four", 1, "")));
    let config = config(&told);
    assert_eq!((config.vips.len(), config.vips[0].name.as_str()), (1, "four"));
    assert_eq!(place.told(&config.vips[0].hooks.on_change), ["INSTANCE", "six", "MASTER", "255"]);
}

#[test]
fn what_cannot_be_a_hook_is_left_to_the_operator() {
    let place = Place::new();
    let missing = place.dir.path().join("missing").display().to_string();
    let told = one(&format!("notify_master \"{missing} x\""));
    assert_eq!(hooks(&told), Hooks::default());
    says(&told, "notify_master", Verdict::ByHand, "missing cannot be run: No such file");
    let comment =
        format!("#on_active = [\"/bin/sh\", \"-c\", \"exec {missing} x\"]    # LEFT OUT: {missing} cannot be run");
    assert!(told.toml.as_ref().unwrap().contains(&comment), "{told:?}");
    fs::set_permissions(&place.script, Permissions::from_mode(0o757)).unwrap();
    let script = &place.script;
    says(&one(&format!("notify_stop {script}")), "notify_stop", Verdict::ByHand, "can be changed by every user");
    for (line, keyword, verdict, text) in [
        ("notify", "notify", Verdict::ByHand, "names no script"),
        ("notify \"\"", "notify", Verdict::ByHand, "names no script"),
        ("notify \"/x 'y\"", "notify", Verdict::ByHand, "the quote ' is not closed"),
        ("notify tell.sh", "notify", Verdict::ByHand, "`tell.sh` in its PATH"),
        ("notify \"/x \\\\x00\"", "notify", Verdict::ByHand, "/x cannot be run"),
        ("notify \"/bin/sh \\\\x00\"", "notify", Verdict::ByHand, "must not hold a null character"),
        ("notify_master_rx_lower_pri /x", "notify_master_rx_lower_pri", Verdict::ByHand, "no such hook"),
        ("notify_deleted /x", "notify_deleted", Verdict::ByHand, "by on_backup"),
        ("notify_deleted", "notify_deleted", Verdict::NotNeeded, "by on_backup"),
    ] {
        let told = one(line);
        assert_eq!(hooks(&told), Hooks::default());
        says(&told, keyword, verdict, text);
        assert!(!told.notes.iter().any(|note| note.keyword == "script_user"), "{line}");
    }
    let told = one("notify /bin/true\nnotify /bin/false");
    let second = told.notes.iter().find(|note| note.keyword == "notify" && note.verdict == Verdict::NotNeeded);
    assert!(second.unwrap().text.contains("takes the first one, of line 14"), "{}", told.explanation());
    assert_eq!(hooks(&told).on_change, ["/bin/true"]);
}

#[test]
fn an_instance_that_is_left_out_takes_its_scripts_with_it() {
    let replica = CHECK.replace("/primary", "/replica");
    let text =
        format!("{replica}{}", instance("ro", 1, "notify /bin/true")) + &instance("rw", 2, "").replace("chk\n", "");
    let told = imported(&text);
    says(&told, "notify", Verdict::NotNeeded, "its instance is left out");
    assert!(told.toml.unwrap().contains("\n#on_change = [\"/bin/true\"]\n"));
    assert!(!told.notes.iter().any(|note| note.keyword == "script_user"));
}

#[test]
fn with_a_weight_or_without_a_check_a_standby_was_no_fault() {
    let weighted = CHECK.replace("}\n", " weight 50\n}\n");
    let told = imported(&format!("{weighted}{}", instance("VI_1", 155, "notify_fault /bin/true")));
    says(&told, "notify_fault", Verdict::Converted, "on_fault = ");
    let plain = instance("VI_1", 155, "notify \"/bin/true a\"").replace("chk\n", "");
    let told = imported(&plain);
    assert_eq!(note(&told, "notify").text, "on_change = [\"/bin/true\", \"a\"]");
}

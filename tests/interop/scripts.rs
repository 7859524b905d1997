//! Notify scripts: what Keepalived gives them, pgvrrp gives them, too, with the configuration that `pgvrrp import` makes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::keepalived::Keepalived;
use lab::plain::Plain;

use crate::stage::{SECOND, Stage, binary, is_ours, play};

/// What each of Keepalived's keywords runs here has its name as the first argument. Quotes are as its manual has them.
fn keepalived_conf(script: &Path) -> String {
    let script = script.display();
    format!(
        "global_defs {{
    vrrp_version 3
    script_user root
}}

vrrp_sync_group VG_1 {{
    group {{
        db
    }}
    notify \"{script} group_any 'of the group'\"
    notify_master \"{script} group_master\" root root
}}

vrrp_instance web {{
    state BACKUP
    interface eth0
    virtual_router_id 155
    priority 120
    advert_int 0.1
    virtual_ipaddress {{
        10.0.20.155
    }}
    notify \"{script} any\"
    notify_master \"{script} master 'two words' \\\"it's\\\" $HOME *\"
    notify_backup '{script} backup \"\"'
    notify_fault \"{script} fault a\\\\ b\"
    notify_stop \"{script} stop\"
}}

vrrp_instance db {{
    state BACKUP
    interface eth0
    virtual_router_id 156
    priority 110
    advert_int 0.1
    virtual_ipaddress {{
        10.0.20.156
    }}
}}
"
    )
}

/// What the script was told so far: by its first argument, each time all of them.
fn told(file: &Path) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        let first = line.split('|').next().unwrap_or_default();
        told.entry(first.to_owned()).or_default().push(line.to_owned());
    }
    told
}

/// Whether both virtual routers have told this state as the newest.
fn all_are(file: &Path, state: &str) -> bool {
    let told = told(file);
    let is = |who: &str| {
        let last = told.get(who).and_then(|lines| lines.last());
        last.is_some_and(|line| line.contains(&format!("|{state}|")))
    };
    is("any") && is("group_any")
}

fn wait(file: &Path, state: &str) -> Result<()> {
    for _ in 0..500 {
        if all_are(file, state) {
            // What else it runs for this, it runs now.
            thread::sleep(Duration::from_millis(300));
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    ensure!(false, "no {state} within 10 s: {:#?}", told(file));
    Ok(())
}

/// Everything that can happen to a router alone, and its end.
fn live(stage: &Stage, file: &Path, stop: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, Vec<String>>> {
    let link = |way| stage.segment.namespace(0).ip(&["link", "set", "eth0", way]);
    wait(file, "MASTER")?;
    link("down")?;
    wait(file, "FAULT")?;
    link("up")?;
    wait(file, "MASTER")?;
    stop()?;
    wait(file, "STOP")?;
    let told = told(file);
    fs::remove_file(file)?;
    Ok(told)
}

#[test]
fn imported_scripts_are_told_the_same() {
    if !is_ours() {
        return;
    }
    play(1, |stage| {
        let dir = stage.segment.dir(0);
        let (script, file) = (dir.join("tell"), dir.join("told"));
        // One call of write(2) for each: two may come at once.
        let text = format!("#!/bin/sh\nline=$(printf '%s|' \"$@\")\nprintf '%s\\n' \"$line\" >> {}\n", file.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let (namespace, program) = (stage.segment.namespace(0), &stage.segment.rivals().keepalived);
        let keepalived = Keepalived::start_in(namespace, &dir, program, &keepalived_conf(&script))?;
        let theirs = live(stage, &file, || keepalived.stop()).map_err(|error| error.context(keepalived.log()))?;
        drop(keepalived);

        let import = namespace.command(binary()).arg("import").arg(dir.join("keepalived.conf")).output()?;
        let explanation = String::from_utf8_lossy(&import.stderr);
        println!("{explanation}");
        ensure!(import.status.code() == Some(1), "{explanation}");
        ensure!(!file.exists(), "importing has run a script: {:?}", told(&file));
        let config =
            format!("runtime_dir = \"{}\"\n{}", dir.join("run").display(), String::from_utf8_lossy(&import.stdout));
        println!("{config}");
        let pgvrrp = Plain::start_with(&stage.segment, 0, &config, &binary())?;
        let check = namespace.command(binary()).arg("check").arg(pgvrrp.config_path()).output()?;
        ensure!(check.status.success(), "{check:?}");
        let ours = live(stage, &file, || pgvrrp.stop()).map_err(|error| error.context(pgvrrp.log()))?;
        println!("Keepalived: {theirs:#?}\npgvrrp: {ours:#?}");
        ensure!(theirs == ours, "Keepalived: {theirs:#?}\npgvrrp: {ours:#?}");
        ensure!(theirs.len() == 7, "not every script was run: {theirs:#?}");
        stage.recorder.wait("nobody to hold it", SECOND, |record| {
            record.holders("10.0.20.155".parse().ok()?).is_empty().then_some(())
        })
    });
}

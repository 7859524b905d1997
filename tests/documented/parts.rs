//! Every configuration on the pages passes `pgvrrp check`; what is another program's is looked at as far as that goes here.
//!
//! A `toml` block with `node` and a `[[vip]]` is a whole file. Any other is a part, as it goes into the README's.

use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use crate::host::Host;
use crate::pages::{Block, Page, pages, root};

const SHIPPED: &str = include_str!("../../packaging/pgvrrp.service");

fn blocks(language: &str) -> Vec<Block> {
    pages().iter().flat_map(Page::blocks).filter(|block| block.language == language).collect()
}

fn is_whole(table: &Table) -> bool {
    table.contains_key("node") && table.contains_key("vip")
}

/// The first whole one of the README.
fn base() -> Table {
    let parse = |block: Block| block.text.parse().ok().filter(is_whole);
    let whole = blocks("toml").into_iter().filter(|block| block.place.starts_with("README.md:")).find_map(parse);
    whole.expect("the README has a whole configuration")
}

/// Puts a part into the base: its keys in the place of those that are there.
fn put(base: &mut Table, part: Table) {
    for (key, value) in part {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(there)), Value::Table(part)) => put(there, part),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[test]
fn every_configuration_passes_check() {
    let (host, dir) = (Host::new(), tempfile::tempdir().expect("a directory can be made"));
    let all = blocks("toml");
    assert!(all.len() >= 7, "only {} were found", all.len());
    for block in all {
        let part: Table = block.text.parse().unwrap_or_else(|error| panic!("{}: no TOML: {error}", block.place));
        let text = if is_whole(&part) {
            block.text.clone()
        } else {
            let mut whole = base();
            put(&mut whole, part);
            toml::to_string(&whole).expect("it can be written")
        };
        let file = dir.path().join("pgvrrp.toml");
        fs::write(&file, host.at_home(&text)).expect("a file can be written");
        let output = Command::new(env!("CARGO_BIN_EXE_pgvrrp")).arg("check").arg(&file).output().expect("it runs");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{}: {said}", block.place);
    }
}

/// So that nothing escapes the tests by being called otherwise.
#[test]
fn every_block_says_what_it_is() {
    for block in pages().iter().flat_map(Page::blocks) {
        let known = ["console", "dockerfile", "ini", "json", "sh", "sql", "toml", ""];
        assert!(known.contains(&block.language.as_str()), "{}: what is {}?", block.place, block.language);
    }
}

/// What stands before a block, in the line above it.
fn mark(block: &Block) -> Option<String> {
    let (name, line) = block.place.split_once(':').expect("a page and a line");
    let text = fs::read_to_string(root(name)).expect("a page is readable");
    let above = text.lines().nth(line.parse::<usize>().expect("a number").checked_sub(2)?)?.to_owned();
    Some(above.strip_prefix("<!-- ")?.strip_suffix(" -->")?.to_owned())
}

/// Statements, and scripts of etcdctl's, are run by the scenario that names their mark.
#[test]
fn every_marked_block_is_run_by_a_scenario() {
    let scenarios = fs::read_dir(root("tests/scenarios")).expect("there are scenarios");
    let files = scenarios.map(|entry| entry.expect("readable").path()).filter(|path| path.is_file());
    let scenarios = files.map(|path| fs::read_to_string(path).expect("readable"));
    let scenarios: String = scenarios.collect();
    for block in blocks("sql").into_iter().chain(blocks("sh")) {
        let mark = mark(&block).unwrap_or_else(|| panic!("{}: no mark", block.place));
        assert!(scenarios.contains(&format!("\"{mark}\"")), "{}: no scenario runs {mark:?}", block.place);
    }
}

#[test]
fn json_is_json() {
    for block in blocks("json") {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        assert!(parsed.is_ok(), "{}: {parsed:?}", block.place);
    }
}

/// What goes into a unit is put into the unit that is shipped, and systemd is asked what it makes of that, or of a whole one. sysctls
/// have to exist.
#[test]
fn files_of_other_programs() {
    for block in blocks("ini") {
        let lines: Vec<_> = block.text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        match lines[0] {
            "[Service]" => unit_is_understood(&block.place, SHIPPED, &block.text),
            "[Unit]" => unit_is_understood(&block.place, &block.text, ""),
            // Of libpq: tests/scenarios/documented.rs connects by it.
            "[odoo]" => {}
            // They are put where the page says, on a system that is booted.
            "[Network]" | "[keyfile]" => {
                let read = format!("HOSTS.block_with({:?})", lines[1]);
                assert!(package_scenarios().contains(&read), "{}: no scenario has {read}", block.place);
            }
            first if first.starts_with("net.") => lines.iter().for_each(|line| sysctl_exists(&block.place, line)),
            other => panic!("{}: what is {other:?}, and who tries it?", block.place),
        }
    }
}

/// The scenarios of `cargo xtask package-test`.
fn package_scenarios() -> String {
    let files = fs::read_dir(root("tests/scenarios/package")).expect("there are scenarios");
    files.map(|file| fs::read_to_string(file.expect("readable").path()).expect("readable")).collect()
}

fn unit_is_understood(place: &str, unit: &str, dropin: &str) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().join("pgvrrp.service");
    let exists = |text: &str| {
        let text = text.replace("=/usr/bin/podman ", "=/usr/bin/true ");
        text.replace("=/usr/bin/pgvrrp ", &format!("={} ", env!("CARGO_BIN_EXE_pgvrrp")))
    };
    fs::create_dir(dir.path().join("pgvrrp.service.d")).expect("a directory can be made");
    fs::write(&path, exists(unit)).expect("a file can be written");
    fs::write(dir.path().join("pgvrrp.service.d/override.conf"), exists(dropin)).expect("a file can be written");
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["verify", "--man=no"]).arg(&path).output().expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about = said.lines().filter(|line| line.contains("pgvrrp")).collect::<Vec<_>>().join("\n");
    assert!(about.is_empty(), "{place}: {about}");
}

/// Of an interface that every host has, in the place of the VIP's.
fn sysctl_exists(place: &str, line: &str) {
    let (name, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{place}: {line}"));
    let path = format!("/proc/sys/{}", name.replace("eth0", "lo").replace('.', "/"));
    assert!(Path::new(&path).exists(), "{place}: there is no {name}");
    assert!(value.parse::<u32>().is_ok(), "{place}: {line}");
}

//! The notices of the crates that the program is made of: their licences ask for that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::output;
use crate::workspace::{ROOT_PACKAGE, metadata_of_everything};

/// How the files begin that have licences and notices in them.
const FILES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Writes the list of crates, and each text once with the names of those that it is of; beside it the same, packed.
pub(super) fn write(path: &Path) -> Result<()> {
    let metadata = metadata_of_everything(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    let needed = needed(&metadata)?;
    let mut list = String::from("pgvrrp contains these libraries, in part or as a whole:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in array(&metadata["packages"]).filter(|package| needed.contains(&package["id"].to_string())) {
        // Our own have none.
        if package["source"].is_null() {
            continue;
        }
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let home = package["repository"].as_str().unwrap_or("crates.io");
        writeln!(list, "{name} ({}), {home}", package["license"].as_str().unwrap_or("see below"))?;
        let manifest = Path::new(text(&package["manifest_path"]));
        for licence in licences(manifest.parent().context("no directory")?)? {
            texts.entry(licence).or_default().push(name.clone());
        }
    }
    for (licence, of) in texts {
        write!(list, "\n\n{}\n{}:\n\n{licence}\n", "=".repeat(80), of.join(", "))?;
    }
    fs::write(path, list)?;
    output(Command::new("gzip").args(["--best", "--no-name", "--keep", "--force"]).arg(path)).map(drop)
}

/// The identifiers of all that the root package needs to run: what it is only built or tested with has no part in the program.
fn needed(metadata: &Value) -> Result<BTreeSet<String>> {
    let nodes: BTreeMap<_, _> =
        array(&metadata["resolve"]["nodes"]).map(|node| (node["id"].to_string(), node)).collect();
    let root = array(&metadata["packages"]).find(|package| package["name"] == ROOT_PACKAGE);
    let mut open = vec![root.context("no root package")?["id"].to_string()];
    let mut needed = BTreeSet::new();
    while let Some(id) = open.pop() {
        let runs = |dep: &&Value| array(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null());
        let dependencies = nodes.get(&id).into_iter().flat_map(|node| array(&node["deps"])).filter(runs);
        if needed.insert(id.clone()) {
            open.extend(dependencies.map(|dependency| dependency["pkg"].to_string()));
        }
    }
    Ok(needed)
}

/// The texts of a crate's licences, in the order of their files' names.
fn licences(dir: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        if path.is_file() && FILES.iter().any(|file| name.starts_with(file)) {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| Ok(String::from_utf8_lossy(&fs::read(file)?).trim_end().replace('\r', ""))).collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

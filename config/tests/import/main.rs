//! `pgvrrp import`: what becomes of a keepalived.conf.

mod anything;
mod hooks;
mod keywords;
mod recipes;
mod samples;
mod syntax;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use pgvrrp_config::Config;
use pgvrrp_config::import::{Failure, Files, Imported, Note, Request, Verdict, import};

/// Files that a test has made up.
#[derive(Debug, Default)]
struct Made(BTreeMap<PathBuf, String>);

impl Made {
    fn with(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect())
    }
}

impl Files for Made {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let here = self.0.keys().filter(|path| path.parent() == Some(dir));
        here.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    }
}

/// A cluster that Patroni is configured for.
const PATRONI: &str = "scope: odoo\nname: db1\netcd3:\n  hosts: [\"10.0.20.13:2379\", \"10.0.20.14:2379\"]\n";

fn request<'a>(text: &'a str, patroni: Option<&'a str>) -> Request<'a> {
    Request {
        path: Path::new("/etc/keepalived/keepalived.conf"),
        text,
        config_id: "db1",
        host: "db1.example",
        patroni: patroni.map(|text| (Path::new("/etc/patroni/patroni.yml"), text)),
    }
}

/// Imports it. Whatever comes of it, pgvrrp takes it.
fn import_with(text: &str, patroni: Option<&str>, files: &Made) -> Result<Imported, Failure> {
    let imported = import(&request(text, patroni), files)?;
    if let Some(toml) = &imported.toml {
        parse(toml);
    }
    assert!(imported.toml.is_some() || !imported.is_complete());
    assert!(!imported.explanation().chars().any(|c| c.is_control() && c != '\n'));
    Ok(imported)
}

fn imported(text: &str) -> Imported {
    import_with(text, Some(PATRONI), &Made::default()).expect("it is a keepalived.conf")
}

fn parse(toml: &str) -> Config {
    Config::parse(Path::new("pgvrrp.toml"), toml, Path::new("/etc/pgvrrp"))
        .unwrap_or_else(|problems| panic!("{problems}\n{toml}"))
}

fn config(imported: &Imported) -> Config {
    parse(imported.toml.as_deref().unwrap_or_else(|| panic!("{}", imported.explanation())))
}

/// The note on a keyword, which has to be the only one.
fn note<'a>(imported: &'a Imported, keyword: &str) -> &'a Note {
    let found: Vec<_> = imported.notes.iter().filter(|note| note.keyword == keyword).collect();
    assert_eq!(found.len(), 1, "{keyword}: {}", imported.explanation());
    found[0]
}

#[track_caller]
fn says(imported: &Imported, keyword: &str, verdict: Verdict, text: &str) {
    let note = note(imported, keyword);
    assert!(note.verdict == verdict && note.text.contains(text), "{note:?}");
}

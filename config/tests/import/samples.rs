//! Keepalived's own samples, where its package is unpacked for the tests.

use std::fs;
use std::path::{Path, PathBuf};

use pgvrrp_config::import::{Disk, Failure, Note, Request, import};

use super::parse;

fn samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab/root/usr/share/doc/keepalived/samples");
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("keepalived.conf.")).collect();
    paths.sort();
    paths
}

/// The lines that say something: no comment, and more than braces.
fn lines(text: &str) -> Vec<usize> {
    let says = |line: &str| {
        let line = line.split(['#', '!']).next().unwrap_or_default();
        line.contains(|c: char| !c.is_whitespace() && c != '{' && c != '}')
    };
    (1..).zip(text.lines()).filter(|(_, line)| says(line)).map(|(number, _)| number).collect()
}

#[test]
fn every_line_of_every_sample_has_an_answer() {
    let samples = samples();
    if samples.is_empty() {
        eprintln!("Keepalived's package is not unpacked below target/lab: `cargo xtask test` does that");
    }
    let mut with_vips = 0;
    for path in samples {
        let text = fs::read_to_string(&path).unwrap();
        let request = Request { path: &path, text: &text, config_id: "high", host: "lb1", patroni: None };
        let imported = match import(&request, &Disk) {
            Ok(imported) => imported,
            Err(Failure::NoInstance { .. }) if !text.contains("vrrp_instance ") => continue,
            Err(failure) => panic!("{failure}"),
        };
        for number in lines(&text) {
            let covers = |note: &Note| (note.line..=note.last_line).contains(&number);
            assert!(imported.notes.iter().any(covers), "{}:{number}\n{}", path.display(), imported.explanation());
        }
        if let Some(toml) = &imported.toml {
            with_vips += parse(toml).vips.len();
        }
        println!("{}\n{}\n{}", path.display(), imported.toml.as_deref().unwrap_or_default(), imported.explanation());
    }
    println!("{with_vips} VIPs");
}

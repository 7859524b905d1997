//! Every input that the fuzz targets began with, and every one that once broke something: `docs/FUZZING.md`.

#![cfg(feature = "daemon")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[allow(unreachable_pub, reason = "a crate of its own for the fuzzer")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// What is in a directory, without the names' extensions.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries
        .map(|entry| entry.expect("it is readable").path().file_stem().unwrap_or_default().to_string_lossy().into())
        .collect()
}

fn run(target: fuzz::Target, dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.sort();
    for path in &paths {
        // Shown where the target fails.
        println!("{}", path.display());
        target(&fs::read(path).expect("it is readable"));
    }
    paths.len()
}

#[test]
fn every_target_stands_its_corpus() {
    for (name, target) in fuzz::TARGETS {
        assert!(run(target, &dir("corpus").join(name)) > 0, "{name} has no corpus");
    }
}

#[test]
fn nothing_that_was_mended_is_broken_again() {
    for (name, target) in fuzz::TARGETS {
        let dir = dir("regressions").join(name);
        if dir.exists() {
            run(target, &dir);
        }
    }
}

#[test]
fn every_target_is_known() {
    let known: BTreeSet<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&dir("fuzz_targets")), known, "fuzz/fuzz_targets");
    assert_eq!(names(&dir("corpus")), known, "fuzz/corpus");
    assert!(names(&dir("regressions")).is_subset(&known), "fuzz/regressions");
}

/// Few and small, so that they are looked at: what the fuzzer finds on its way stays below `target/`.
#[test]
fn the_corpus_is_small() {
    for (name, _) in fuzz::TARGETS {
        let entries = fs::read_dir(dir("corpus").join(name)).expect("it was read before");
        let size: u64 =
            entries.map(|entry| entry.expect("it is readable").metadata().expect("it is there").len()).sum();
        assert!(size < 100_000, "fuzz/corpus/{name} has {size} bytes");
    }
}

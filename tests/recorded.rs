//! What real daemons were told and decided in the lab, decided once more: `tests/recordings`, and how they were made, in
//! `tests/recordings/README.md`.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use pgvrrp::recording::{Failure, Step, Summary, replay};

fn recordings() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let entries = fs::read_dir(dir).expect("there are recordings").map(|entry| entry.expect("it is readable").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

fn run(path: &Path, each: impl FnMut(Step<'_>)) -> Result<Summary, Failure> {
    replay(BufReader::new(File::open(path)?), each)
}

#[test]
fn every_output_is_as_recorded() {
    let mut all = 0;
    for path in recordings() {
        let sum = run(&path, |_| {}).unwrap_or_else(|failure| {
            panic!(
                "{}: {failure}\nIf this is what the change was for, make the recordings anew: tests/recordings/README.md",
                path.display()
            )
        });
        assert!(sum.passes > 50 && !sum.overrun, "{}: {sum:?}", path.display());
        let size = fs::metadata(&path).expect("it was read").len();
        assert!(size < 300_000, "{}: {size} bytes, cut it: every prefix is a recording", path.display());
        all += sum.passes;
    }
    println!("{all} passes replayed");
    assert!(all > 1000, "there is not much in them: {all} passes");
}

/// A line read and written again is the same line: nothing is lost on the way, and nothing added.
#[test]
fn every_line_is_written_as_it_was_read() {
    for path in recordings() {
        let mut again = String::new();
        let write = |step: Step<'_>| {
            again += &match step {
                Step::Start(header) => serde_json::to_string(header),
                Step::Pass { pass, .. } => serde_json::to_string(pass),
            }
            .expect("it was read from text");
            again.push('\n');
        };
        let sum = run(&path, write).expect("it can be replayed");
        let text = fs::read_to_string(&path).expect("it was read before");
        assert_eq!(sum.torn, 0);
        assert!(again == text, "{}", path.display());
    }
}

//! The file: a line that says what it is, and a line for each move, in JSON. It is written anew as a whole when the daemon
//! starts and when it has grown; in between, lines are appended. A torn line, of a daemon that was killed, is skipped.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Kept;

/// Changes when an older program could not read it.
const FORMAT: u32 = 1;

/// No file that was written here is larger. What is, is not read.
const LARGEST: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    boot_id: String,
}

/// Where it is.
pub(super) fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("history.jsonl")
}

/// The moves of this boot, the oldest first. None, where there is no file of this boot and this format.
///
/// # Errors
/// As the file system reports them.
pub(super) fn read(path: &Path, boot_id: &str) -> io::Result<Vec<Kept>> {
    let text = match fs::metadata(path) {
        Ok(file) if file.len() > LARGEST => {
            return Err(io::Error::new(ErrorKind::FileTooLarge, "larger than ever written"));
        }
        Ok(_) => String::from_utf8_lossy(&fs::read(path)?).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines();
    let head: Option<Head> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    if head.is_none_or(|head| head.format != FORMAT || head.boot_id != boot_id) {
        return Ok(Vec::new());
    }
    Ok(lines.filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// All of it, in place of what was there. All or nothing.
///
/// # Errors
/// As the file system reports them.
pub(super) fn write<'a>(path: &Path, boot_id: &str, moves: impl Iterator<Item = &'a Kept>) -> io::Result<()> {
    let head = serde_json::to_string(&Head { format: FORMAT, boot_id: boot_id.to_owned() })?;
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
    file.write_all(format!("{head}\n{}", lines(moves)).as_bytes())?;
    fs::rename(new, path)
}

/// More of it.
///
/// # Errors
/// As the file system reports them; if somebody has removed it, too.
pub(super) fn append<'a>(path: &Path, moves: impl Iterator<Item = &'a Kept>) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(lines(moves).as_bytes())
}

fn lines<'a>(moves: impl Iterator<Item = &'a Kept>) -> String {
    // Strings and numbers: there is nothing that JSON could refuse.
    moves.filter_map(|kept| serde_json::to_string(kept).ok()).map(|line| line + "\n").collect()
}

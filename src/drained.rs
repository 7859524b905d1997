//! The VIPs that are to stay drained when the daemon starts again: a file in the runtime directory, a name a line. Others
//! are drained until the daemon ends.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the names are.
pub(crate) fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("drained")
}

/// The names.
///
/// # Errors
/// If they are there and cannot be read: which VIPs are to stay away is not known then.
pub(crate) fn read(runtime_dir: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read_to_string(path(runtime_dir)) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Adds a name, or removes it. All or nothing: what was there before stays if this fails.
///
/// # Errors
/// As the file system reports them.
pub(crate) fn note(runtime_dir: &Path, name: &str, keep: bool) -> io::Result<()> {
    let mut names = read(runtime_dir)?;
    let changed = if keep { names.insert(name.to_owned()) } else { names.remove(name) };
    if !changed {
        return Ok(());
    }
    let new = runtime_dir.join("drained.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
    names.iter().try_for_each(|name| writeln!(file, "{name}"))?;
    file.sync_all()?;
    fs::rename(new, path(runtime_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), BTreeSet::new());
        note(dir.path(), "first", false).unwrap();
        assert!(!path(dir.path()).exists(), "nothing to forget");
        note(dir.path(), "first", true).unwrap();
        note(dir.path(), "the second", true).unwrap();
        note(dir.path(), "first", true).unwrap();
        assert_eq!(read(dir.path()).unwrap().into_iter().collect::<Vec<_>>(), ["first", "the second"]);
        note(dir.path(), "first", false).unwrap();
        assert_eq!(read(dir.path()).unwrap().into_iter().collect::<Vec<_>>(), ["the second"]);
        fs::remove_file(path(dir.path())).unwrap();
        fs::create_dir(path(dir.path())).unwrap();
        assert!(read(dir.path()).is_err(), "unknown is not empty");
    }
}

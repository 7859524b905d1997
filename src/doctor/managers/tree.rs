//! Files of this host, of which some are other people's: so much of each and no more, and nothing that could be waited for.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// As much of a file as is read. Network configurations have some hundred bytes.
const LONGEST: u64 = 256 << 10;

/// As many files of a directory as are looked at.
const MOST: usize = 256;

/// A root directory: the host's, or one that a test has made.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// What this user may not read.
    denied: RefCell<Vec<String>>,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), denied: RefCell::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether there is something of that name, be it a link that leads nowhere from here.
    pub(super) fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// The text of a file, `None` if there is none.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        match read(&self.at(path)) {
            Ok(text) => text,
            Err(error) => {
                self.note(path, &error);
                None
            }
        }
    }

    /// The paths of what is in a directory and is called so, by name; [`MOST`] of them.
    pub(super) fn list(&self, dir: &str, is: impl Fn(&str) -> bool) -> Vec<String> {
        let mut paths = self.list_all(dir, is);
        paths.truncate(MOST);
        paths
    }

    /// The same without a limit.
    pub(super) fn list_all(&self, dir: &str, is: impl Fn(&str) -> bool) -> Vec<String> {
        let entries = match fs::read_dir(self.at(dir)) {
            Ok(entries) => entries,
            Err(error) => {
                self.note(dir, &error);
                return Vec::new();
            }
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is(name));
        let mut paths: Vec<_> = names.map(|name| format!("{dir}/{name}")).collect();
        paths.sort();
        paths
    }

    fn note(&self, path: &str, error: &io::Error) {
        if error.kind() == ErrorKind::PermissionDenied {
            self.denied.borrow_mut().push(path.to_owned());
        }
    }

    pub(super) fn denied(&self) -> Vec<String> {
        self.denied.borrow().clone()
    }
}

/// A FIFO of that name would never be opened, a device never end.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // /proc's files have no size, and are files.
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

//! The files that a configuration names: passwords, certificates, keys.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Why a file cannot be used. Neither text holds anything of the file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unusable {
    /// Which file, and what is wrong with it.
    pub message: String,
    /// What to do about that.
    pub help: String,
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// What the file is called in messages.
    pub(crate) name: &'static str,
    /// What is to be put into it.
    pub(crate) content: &'static str,
    /// In bytes. Keeps a mistaken path (a device, a log) from being read for ever.
    pub(crate) longest: u64,
    /// Whether only its owner and its group may have any right to it.
    pub(crate) is_secret: bool,
}

impl Kind {
    /// Reads such a file.
    pub(crate) fn read(self, path: &Path) -> Result<Vec<u8>, Unusable> {
        let Self { content, longest, .. } = self;
        let cannot = |error: io::Error| {
            let help = "it must be a file that the user who runs pgvrrp may read";
            self.refuse(path, &format!("cannot be read: {error}"), help)
        };
        let metadata = std::fs::metadata(path).map_err(cannot)?;
        if !metadata.is_file() {
            // Opening a FIFO would wait for its writer.
            return Err(self.refuse(path, "is not a regular file", format!("put {content} into a file")));
        }
        if self.is_secret && metadata.permissions().mode() & 0o007 != 0 {
            return Err(self.refuse(path, "is open to every user", format!("chmod o= {}", path.display())));
        }
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(longest + 1).read_to_end(&mut bytes)).map_err(cannot)?;
        if bytes.len() as u64 > longest {
            return Err(self.refuse(path, &format!("is longer than {longest} bytes"), self.put()));
        }
        Ok(bytes)
    }

    /// What to do about a file that holds something else.
    pub(crate) fn put(self) -> String {
        format!("put {} into it", self.content)
    }

    /// Says what is wrong with the file at `path`.
    pub(crate) fn refuse(self, path: &Path, message: &str, help: impl Into<String>) -> Unusable {
        Unusable { message: format!("{} {} {message}", self.name, path.display()), help: help.into() }
    }
}

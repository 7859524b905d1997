//! Passwords, and the files that they come from.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// No password is longer. It also keeps a mistaken path (a device, a log) from being read for ever.
const MAX_LEN: u64 = 4096;

/// A password. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The password itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a file is no password: the message and the way out. Neither holds anything of the file's content.
pub(crate) struct Unusable {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Reads the password in `path`: one line; the line break at its end is not part of it.
pub(crate) fn read(path: &Path) -> Result<Secret, Unusable> {
    let shown = path.display();
    let refuse = |message: &str, help: String| Unusable { message: format!("password file {shown} {message}"), help };
    let cannot = |error: std::io::Error| {
        refuse(
            &format!("cannot be read: {error}"),
            "it must be a file that the user who runs pgvrrp may read".to_owned(),
        )
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() {
        // Opening a FIFO would wait for its writer.
        return Err(refuse("is not a regular file", "put the password, and nothing else, into a file".to_owned()));
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(refuse("is open to every user", format!("chmod o= {shown}")));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(cannot)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(refuse("is longer than 4096 bytes", "put the password, and nothing else, into it".to_owned()));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(refuse("is not UTF-8 text", "put the password, and nothing else, into it".to_owned()));
    };
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(refuse("is empty", "put the password into it".to_owned()));
    }
    if line.contains(char::is_control) {
        return Err(refuse("has more than one line of text", "put the password, and nothing else, into it".to_owned()));
    }
    Ok(Secret(line.to_owned()))
}

//! Passwords, and the files that they come from.

use std::fmt;
use std::path::Path;

use crate::file::{Kind, Unusable};

const PASSWORD: Kind =
    Kind { name: "password file", content: "the password, and nothing else,", longest: 4096, is_secret: true };

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

/// Reads the password in `path`: one line; the line break at its end is not part of it.
pub(crate) fn read(path: &Path) -> Result<Secret, Unusable> {
    let bytes = PASSWORD.read(path)?;
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(PASSWORD.refuse(path, "is not UTF-8 text", PASSWORD.put()));
    };
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(PASSWORD.refuse(path, "is empty", "put the password into it"));
    }
    if line.contains(char::is_control) {
        return Err(PASSWORD.refuse(path, "has more than one line of text", PASSWORD.put()));
    }
    Ok(Secret(line.to_owned()))
}

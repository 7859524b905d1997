//! From the file to [`Config`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::diagnose::{Problems, Report, Source};
use crate::mask::secret_spans;
use crate::model::Config;
use crate::read;

/// No configuration is longer. Keeps a mistaken path (a log, a device) from being read for ever.
const MAX_LEN: u64 = 1 << 20;

impl Config {
    /// Reads the file at `path`, and the files with passwords, certificates and keys that it names.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong, be it that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let bytes = read_bounded(path).map_err(|error| {
            let help = "name the right file (`--config FILE`, or `pgvrrp check FILE`); the user who runs pgvrrp must be able to read it";
            whole_file(path, &format!("cannot read the configuration: {error}"), help)
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let mut report = Report::default();
            report.add(at..at + 1, "the file is not UTF-8 text", "save it as UTF-8");
            let (document, _) = DeTable::parse_recoverable(&text);
            Problems::new(&Source::new(path, &text, secret_spans(&text, document.get_ref())), report)
        })?;
        Self::parse(path, &text, path.parent().unwrap_or(path))
    }

    /// Where the daemon of this file is to be found, whatever else is wrong with the file: it goes on by what the file said
    /// before. `Err` only if there is no such file to be read.
    ///
    /// # Errors
    /// [`Problems`] with that one.
    pub fn runtime_dir(path: &Path) -> Result<PathBuf, Problems> {
        match Self::load(path) {
            Ok(config) => Ok(config.runtime_dir),
            Err(problems) => {
                let Ok(bytes) = read_bounded(path) else { return Err(problems) };
                let text = String::from_utf8_lossy(&bytes);
                let (document, _) = DeTable::parse_recoverable(&text);
                let named = document.get_ref().get("runtime_dir").and_then(|value| value.get_ref().as_str());
                let named = named.map(PathBuf::from).filter(|path| path.is_absolute());
                Ok(named.unwrap_or_else(|| PathBuf::from(read::RUNTIME_DIR)))
            }
        }
    }

    /// Takes `text` as the content of the file that messages call `path`. Relative paths in it start at `base_dir`.
    ///
    /// # Errors
    /// [`Problems`] with everything that is wrong.
    pub fn parse(path: &Path, text: &str, base_dir: &Path) -> Result<Self, Problems> {
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        let mut report = Report::default();
        let config = if syntax_errors.is_empty() {
            read::config(document.get_ref(), base_dir, &mut report).ok()
        } else {
            // What the parser makes of the rest is a guess: errors in it would be guesses too.
            for error in &syntax_errors {
                let help = if error.message().contains("must be quoted") {
                    "put text in double quotes"
                } else {
                    "mend the TOML; what the values say is looked at after that"
                };
                report.add(error.span().unwrap_or_default(), format!("TOML: {}", error.message()), help);
            }
            None
        };
        match config {
            Some(config) if report.is_empty() => Ok(config),
            _ => Err(Problems::new(&Source::new(path, text, secret_spans(text, document.get_ref())), report)),
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// A problem that has no line.
fn whole_file(path: &Path, message: &str, help: &str) -> Problems {
    let mut report = Report::default();
    report.add_without_place(message, help);
    Problems::new(&Source::new(path, "", Vec::new()), report)
}

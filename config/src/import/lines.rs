//! The lines of a keepalived.conf, with what they include, without comments, and with parameters put in: what is left
//! is for the tokenizer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{Files, matching};
use super::note::{Notes, Place};
use super::tokens::{Token, tokens, without_comment};
use super::{Failure, Request};

/// What stands in front of a file name to read that file here. The letters ask for checks of Keepalived's own.
const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];

/// How deep files include each other, and parameters hold each other. A file that includes itself goes deeper.
const DEEPEST: usize = 16;

/// More than any configuration has, with all that is put in: parameters that hold each other twice grow without end.
const MOST_LINES: usize = 50_000;
const LONGEST_LINE: usize = 64 << 10;
const LONGEST: usize = 4 << 20;

/// The keyword of what is not expanded: the braces around it have to be kept.
pub(super) const SEQUENCE: &str = "~SEQ";

/// A line with something on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Puts them together.
pub(super) fn gather(request: &Request<'_>, files: &dyn Files, notes: &mut Notes) -> Result<Vec<Line>, Failure> {
    let mut gatherer = Gatherer {
        files,
        notes,
        config_id: request.config_id,
        parameters: BTreeMap::new(),
        open: Vec::new(),
        lines: Vec::new(),
        processed: 0,
        length: 0,
    };
    gatherer.file(request.path, request.text)?;
    Ok(gatherer.lines)
}

struct Gatherer<'a> {
    files: &'a dyn Files,
    notes: &'a mut Notes,
    config_id: &'a str,
    parameters: BTreeMap<String, String>,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
    lines: Vec<Line>,
    processed: usize,
    /// Of the text of all lines.
    length: usize,
}

impl Gatherer<'_> {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let file = self.notes.file(path.to_owned());
        self.open.push(path.to_owned());
        let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
        while let Some((line, text)) = lines.next() {
            let place = Place { file, line };
            let text = without_comment(text).trim();
            let Some(first) = text.strip_suffix('\\') else {
                self.line(place, text, 0)?;
                continue;
            };
            let mut parts = vec![first.trim().to_owned()];
            for (_, next) in lines.by_ref() {
                let next = without_comment(next).trim();
                let goes_on = next.strip_suffix('\\');
                parts.push(goes_on.unwrap_or(next).trim().to_owned());
                if goes_on.is_none() {
                    break;
                }
            }
            // The lines of a parameter stay lines; of all else they are one.
            let is_definition = definition(first).is_some();
            let joined = if is_definition { parts.join("\n") } else { parts.join(" ") };
            self.line(place, joined.trim(), 0)?;
        }
        self.open.pop();
        Ok(())
    }

    fn line(&mut self, place: Place, text: &str, depth: usize) -> Result<(), Failure> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        self.processed += 1;
        self.length += text.len();
        if self.processed > MOST_LINES || text.len() > LONGEST_LINE || self.length > LONGEST {
            return Err(self.fail(place, "what is put together here has no end: look at its parameters and includes"));
        }
        if let Some(condition) = text.strip_prefix('@') {
            return self.conditional(place, condition, depth);
        }
        if text.starts_with("~SEQ") || text.starts_with("~LST") {
            self.sequence(place, text);
            return Ok(());
        }
        if let Some((name, value)) = definition(text) {
            self.parameters.insert(name.to_owned(), value.trim().to_owned());
            self.notes.converted(place, &format!("${name}"), "its value is put in where it is used");
            return Ok(());
        }
        if let Some((keyword, file)) = include(text) {
            return self.include(place, keyword, file);
        }
        let put_in = self.put_in(place, text);
        if put_in == text || depth == DEEPEST {
            if put_in != text {
                let message = "parameters hold each other too deeply: write the value where it is used";
                self.notes.by_hand(place, "$", message);
            }
            self.lines.push(Line { place, text: text.to_owned() });
            return Ok(());
        }
        put_in.split('\n').try_for_each(|line| self.line(place, line, depth + 1))
    }

    /// `@id` and `@^id`: a line for some hosts only.
    fn conditional(&mut self, place: Place, condition: &str, depth: usize) -> Result<(), Failure> {
        let (id, rest) = condition.split_once(char::is_whitespace).unwrap_or((condition, ""));
        let (name, wanted) = id.strip_prefix('^').map_or((id, true), |name| (name, false));
        if (name == self.config_id) == wanted {
            return self.line(place, rest, depth);
        }
        let text = format!("for another node: here the id is {} (see --config-id)", self.config_id);
        self.notes.not_needed(place, &format!("@{id}"), text);
        Ok(())
    }

    /// One line for many. What it would make is not known, but a block that it opens is one.
    fn sequence(&mut self, place: Place, text: &str) {
        let keyword = text.split('(').next().unwrap_or_default();
        let message = "is not expanded: write out the lines that it makes";
        self.notes.by_hand(place, keyword, message);
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let braces: String = tokens(rest)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|token| match token {
                Token::Open => Some('{'),
                Token::Close => Some('}'),
                Token::Word(_) => None,
            })
            .collect();
        self.lines.push(Line { place, text: format!("{SEQUENCE} {braces}") });
    }

    fn include(&mut self, place: Place, keyword: &str, file: &str) -> Result<(), Failure> {
        let here = self.open.last().and_then(|path| path.parent()).unwrap_or_else(|| Path::new("")).to_owned();
        let pattern = here.join(file);
        if file.contains(['{', '}']) {
            self.notes.by_hand(place, keyword, "braces in a file name are not expanded: name each file");
            return Ok(());
        }
        let paths = matching(self.files, &pattern);
        if paths.is_empty() {
            self.notes.not_needed(place, keyword, "no file matches");
        }
        for path in paths {
            if self.open.contains(&path) || self.open.len() >= DEEPEST {
                return Err(self.fail(place, "the files include each other without end"));
            }
            match self.files.read(&path) {
                Ok(text) => {
                    self.notes.converted(place, keyword, format!("{} is read", path.display()));
                    self.processed += 1;
                    if self.processed > MOST_LINES {
                        return Err(self.fail(place, "more files are included than a configuration has"));
                    }
                    self.file(&path, &text)?;
                }
                Err(error) => {
                    let message = format!("{} cannot be read: {error}; run this as a user who may", path.display());
                    self.notes.by_hand(place, keyword, message);
                }
            }
        }
        Ok(())
    }

    /// The line with what its parameters hold. One that nobody has defined stays, as in Keepalived.
    fn put_in(&mut self, place: Place, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, behind) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').unwrap_or(("", after)),
                None => {
                    let end = after.find(|c: char| !is_name(c)).unwrap_or(after.len());
                    let (name, behind) = after.split_at(end);
                    // Without braces a parameter ends at white space, and is none if it does not.
                    let ends = behind.is_empty() || behind.starts_with(char::is_whitespace);
                    (if ends { name } else { "" }, behind)
                }
            };
            if let Some(value) = self.value(place, name) {
                out.push_str(&value);
                rest = behind;
            } else {
                out.push('$');
                rest = after;
            }
            if out.len() > LONGEST_LINE {
                break;
            }
        }
        out + rest
    }

    fn value(&mut self, place: Place, name: &str) -> Option<String> {
        if let Some(value) = self.parameters.get(name) {
            return Some(value.clone());
        }
        let dir = self.open.last().and_then(|path| path.parent()).unwrap_or_else(|| Path::new(""));
        match name.split_whitespace().next()? {
            "_PWD" => Some(dir.display().to_string()),
            "_INSTANCE" => Some(self.config_id.to_owned()),
            "_HASH" => Some("#".to_owned()),
            "_BANG" => Some("!".to_owned()),
            unknown @ ("_ENV" | "_RANDOM" | "_NUM_CPU") => {
                let message = "is known to a running Keepalived only: write the value in its place";
                self.notes.by_hand(place, &format!("${{{unknown}}}"), message);
                None
            }
            _ => None,
        }
    }

    fn fail(&self, place: Place, message: &str) -> Failure {
        Failure::Syntax { path: self.notes.path(place), line: place.line, message: message.to_owned() }
    }
}

const fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `$NAME=VALUE`.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let right = !name.is_empty() && name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit());
    right.then_some((name, value))
}

/// `include FILE`.
fn include(text: &str) -> Option<(&str, &str)> {
    let (keyword, file) = text.split_once(char::is_whitespace)?;
    INCLUDES.contains(&keyword).then(|| (keyword, file.trim().trim_matches(['"', '\''])))
}

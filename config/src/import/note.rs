//! What became of each keyword, for the operator.

use std::path::PathBuf;

use super::Imported;

/// Where something stands: a file by its number, and a line of it from 1; 0 for the file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) line: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// What became of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stands in pgvrrp's configuration, or is what pgvrrp does anyway.
    Converted,
    /// It has no counterpart and needs none.
    NotNeeded,
    /// Somebody has to do or to look at something.
    ByHand,
    /// Nothing is known of it.
    Unknown,
}

impl Verdict {
    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn needs_a_hand(self) -> bool {
        matches!(self, Self::ByHand | Self::Unknown)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::NotNeeded => "not needed",
            Self::ByHand => "BY HAND",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What became of one keyword. No text holds a control character or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The last line that this is about, of a block.
    pub last_line: usize,
    /// The keyword.
    pub keyword: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Into what, why, or what to do.
    pub text: String,
}

/// Collects them.
#[derive(Debug, Default)]
pub(super) struct Notes {
    files: Vec<PathBuf>,
    list: Vec<(Place, usize, String, Verdict, String)>,
}

impl Notes {
    /// A file that is being read gets its number.
    pub(super) fn file(&mut self, path: PathBuf) -> usize {
        self.files.push(path);
        self.files.len() - 1
    }

    pub(super) fn path(&self, place: Place) -> PathBuf {
        self.files.get(place.file).cloned().unwrap_or_default()
    }

    /// The file and the line, for a comment.
    pub(super) fn shown(&self, place: Place) -> String {
        printable(&format!("{}:{}", self.path(place).display(), place.line))
    }

    pub(super) fn add(&mut self, verdict: Verdict, place: Place, keyword: &str, text: impl AsRef<str>) {
        self.add_block(verdict, place, place.line, keyword, text);
    }

    /// The same for everything up to the line `last`.
    pub(super) fn add_block(
        &mut self,
        verdict: Verdict,
        place: Place,
        last: usize,
        keyword: &str,
        text: impl AsRef<str>,
    ) {
        let last = last.max(place.line);
        self.list.push((place, last, printable(keyword), verdict, printable(text.as_ref())));
    }

    pub(super) fn converted(&mut self, place: Place, keyword: &str, text: impl AsRef<str>) {
        self.add(Verdict::Converted, place, keyword, text);
    }

    pub(super) fn not_needed(&mut self, place: Place, keyword: &str, text: impl AsRef<str>) {
        self.add(Verdict::NotNeeded, place, keyword, text);
    }

    pub(super) fn by_hand(&mut self, place: Place, keyword: &str, text: impl AsRef<str>) {
        self.add(Verdict::ByHand, place, keyword, text);
    }

    /// Takes back that it was converted: something else is to be said of it.
    pub(super) fn take_back(&mut self, place: Place, keyword: &str) {
        self.list
            .retain(|(of, _, word, verdict, _)| (*of, word.as_str(), *verdict) != (place, keyword, Verdict::Converted));
    }

    /// All of them, in the order of the files.
    pub(super) fn finish(mut self) -> Vec<Note> {
        self.list.sort_by_key(|(place, ..)| *place);
        // A parameter that is used many times on one line says the same each time.
        self.list.dedup();
        let files = self.files;
        let notes = self.list.into_iter().map(|(place, last_line, keyword, verdict, text)| Note {
            file: files.get(place.file).cloned().unwrap_or_default(),
            line: place.line,
            last_line,
            keyword,
            verdict,
            text,
        });
        notes.collect()
    }
}

/// Without what moves a cursor or ends a comment.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub(super) fn explain(imported: &Imported) -> String {
    let mut text = String::new();
    let mut count = [0_usize; 4];
    for note in &imported.notes {
        count[note.verdict as usize] += 1;
        let file = printable(&note.file.display().to_string());
        let line = match (note.line, note.last_line) {
            (0, _) => String::new(),
            (line, last) if last > line => format!(":{line}-{last}"),
            (line, _) => format!(":{line}"),
        };
        text += &format!("{file}{line}: {}: {}: {}\n", note.keyword, note.verdict.words(), note.text);
    }
    if !imported.to_fill_in.is_empty() {
        text += "\nTo be filled in. Until then the configuration passes `pgvrrp check`, and a daemon with it never binds the VIP:\n";
        for line in &imported.to_fill_in {
            text += &format!("  {line}\n");
        }
    }
    let [converted, not_needed, by_hand, unknown] = count;
    text += &format!("\n{converted} converted, {not_needed} not needed, {by_hand} by hand, {unknown} unknown");
    if !imported.to_fill_in.is_empty() {
        text += &format!("; {} to be filled in", imported.to_fill_in.len());
    }
    if imported.toml.is_none() {
        text += "; no instance could be converted, so there is no configuration";
    }
    text + "\n"
}

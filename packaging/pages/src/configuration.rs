//! pgvrrp.toml(5), made of the example file: its comments are the text, its settings what is told of.
//!
//! The file is paragraphs that an empty line ends. In each, prose comes before what it is about: a table's header, or
//! settings. `config/` tests that every setting is in it, with the right default.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

const EXAMPLE: &str = include_str!("../../pgvrrp.toml");

/// Writes `pgvrrp.toml.5`.
pub(crate) fn manual(directory: &Path) -> Result<()> {
    let path = directory.join("pgvrrp.toml.5");
    fs::write(&path, page(EXAMPLE).to_roff()).with_context(|| format!("cannot write {}", path.display()))
}

/// A line of the example.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Empty,
    Header(&'a str),
    Prose(&'a str),
    /// `key = value`, commented out or not, and what stands behind it.
    Setting {
        text: &'a str,
        note: Option<&'a str>,
        given: bool,
    },
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        match line.strip_prefix('#') {
            None if line.is_empty() => Self::Empty,
            None if line.starts_with('[') => Self::Header(line),
            None => Self::setting(line, true),
            // Prose has a space behind the `#`, or nothing.
            Some(prose) if prose.is_empty() || prose.starts_with(' ') => Self::Prose(prose.trim()),
            Some(setting) => Self::setting(setting, false),
        }
    }

    fn setting(line: &'a str, given: bool) -> Self {
        match line.split_once(" # ") {
            Some((text, note)) => Self::Setting { text: text.trim(), note: Some(note.trim()), given },
            None => Self::Setting { text: line.trim(), note: None, given },
        }
    }
}

fn page(example: &str) -> Roff {
    let mut page = Roff::new();
    let version = concat!("pgvrrp ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["pgvrrp.toml", "5", "", version, ""]);
    page.control("SH", ["NAME"]).text([roman("pgvrrp.toml - configuration of pgvrrp")]);
    page.control("SH", ["SYNOPSIS"]).text([bold("/etc/pgvrrp/pgvrrp.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut paragraph = Paragraph::default();
    for line in example.lines().map(Line::of) {
        match line {
            Line::Empty => paragraph.end(&mut page),
            Line::Header(header) => {
                page.control("SH", [header]);
                // What stands above a header is of the whole table.
                paragraph.end(&mut page);
            }
            Line::Prose(prose) => {
                if !paragraph.settings.is_empty() {
                    paragraph.end(&mut page);
                }
                if prose.is_empty() {
                    paragraph.end(&mut page);
                } else {
                    paragraph.prose.push(prose);
                }
            }
            Line::Setting { text, note, given } => paragraph.settings.push(tag(text, note, given)),
        }
    }
    paragraph.end(&mut page);
    page.control("SH", ["SEE ALSO"]).text([roman("pgvrrp(1), pgvrrp-check(1), /usr/share/doc/pgvrrp/README.md")]);
    page
}

fn tag(text: &str, note: Option<&str>, given: bool) -> Vec<Inline> {
    let mut tag = vec![bold(text)];
    tag.extend(given.then(|| italic("   to be filled in")));
    tag.extend(note.map(|note| italic(format!("   {note}"))));
    tag
}

#[derive(Default)]
struct Paragraph<'a> {
    prose: Vec<&'a str>,
    settings: Vec<Vec<Inline>>,
}

impl Paragraph<'_> {
    fn end(&mut self, page: &mut Roff) {
        let mut settings = self.settings.drain(..);
        match settings.next() {
            Some(first) => {
                page.control("TP", []).text(first);
                for further in settings {
                    page.control("TQ", []).text(further);
                }
            }
            None if self.prose.is_empty() => return,
            None => {
                page.control("PP", []);
            }
        }
        for line in self.prose.drain(..) {
            page.text([roman(line)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_paragraph_becomes() {
        let example = "# All of it.\n#\n# More.\n\n# The name.\nname = \"a\"\n\n\n# A table.\n[table]\n# Both, in\n# two lines.\n\
                       #one = 1       # no default\n#two = 2\n# Another.\n#three = 3\n";
        let page = page(example).to_roff();
        let (_, text) = page.split_once(".SH DESCRIPTION\n").unwrap();
        let expected = ".PP\nAll of it.\n.PP\nMore.\n.TP\n\\fBname = \"a\"\\fR\\fI   to be filled in\\fR\nThe name.\n\
                        .SH [table]\n.PP\nA table.\n\
                        .TP\n\\fBone = 1\\fR\\fI   no default\\fR\n.TQ\n\\fBtwo = 2\\fR\nBoth, in\ntwo lines.\n\
                        .TP\n\\fBthree = 3\\fR\nAnother.\n.SH \"SEE ALSO\"\n";
        assert!(text.starts_with(expected), "{text}");
    }

    /// No line of the example gets lost.
    #[test]
    fn the_whole_example_is_in_the_page() {
        let page = page(EXAMPLE).to_roff().replace("\\-", "-").replace("\\&", "").replace("\\\\", "\\");
        for line in EXAMPLE.lines().map(Line::of) {
            match line {
                Line::Empty | Line::Prose("") => {}
                Line::Header(text) | Line::Prose(text) | Line::Setting { text, .. } => {
                    assert!(page.contains(text), "{text} is missing");
                }
            }
        }
    }
}

//! Collects what is wrong with the file, and shows all of it at once.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A byte range of the file.
pub(crate) type Span = Range<usize>;

/// What is shown in place of a secret.
const MASK: &str = "***";

/// More than this says nothing new: the file is of another kind.
const SHOWN: usize = 100;

/// Everything that is wrong with a configuration file. `Display` is the text for the operator; it holds no secret.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Problems {
    text: String,
    brief: String,
    count: usize,
}

impl Problems {
    /// The first of them in one line, and how many others there are: for a log.
    pub fn brief(&self) -> &str {
        &self.brief
    }

    /// How many there are, at least 1.
    pub fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn new(source: &Source<'_>, report: Report) -> Self {
        let mut diagnostics = report.0;
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| span.start));
        let count = diagnostics.len();
        let mut brief = diagnostics.first().map(|first| source.brief(first)).unwrap_or_default();
        if count > 1 {
            brief.push_str(&format!(" (and {} more)", count - 1));
        }
        let mut text = String::new();
        for diagnostic in diagnostics.iter().take(SHOWN) {
            source.render(diagnostic, &mut text);
            text.push('\n');
        }
        text.push_str(&match count {
            1 => "1 error".to_owned(),
            2..=SHOWN => format!("{count} errors"),
            _ => format!("{count} errors, of which the first {SHOWN} are shown"),
        });
        Self { text, brief, count }
    }
}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Report(Vec<Diagnostic>);

/// Says that something stands in the report. Whoever fails with it has told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported(());

struct Diagnostic {
    /// `None` for what has no place in the file, such as a key that is missing from its top.
    span: Option<Span>,
    message: String,
    /// The other place that this one collides with.
    note: Option<(&'static str, Span)>,
    help: String,
}

impl Report {
    /// Notes a mistake at `span`. The message must not quote what may be a secret.
    pub(crate) fn add(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) -> Reported {
        self.push(Some(span), message.into(), None, help.into())
    }

    /// Notes a mistake that is that of no line.
    pub(crate) fn add_without_place(&mut self, message: impl Into<String>, help: impl Into<String>) -> Reported {
        self.push(None, message.into(), None, help.into())
    }

    /// Notes a mistake at `span` and the other place that it has to do with.
    pub(crate) fn add_with_note(
        &mut self,
        span: Span,
        message: impl Into<String>,
        note: (&'static str, Span),
        help: impl Into<String>,
    ) -> Reported {
        self.push(Some(span), message.into(), Some(note), help.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(
        &mut self,
        span: Option<Span>,
        message: String,
        note: Option<(&'static str, Span)>,
        help: String,
    ) -> Reported {
        self.0.push(Diagnostic { span, message, note, help });
        Reported(())
    }
}

/// The file as it is shown.
pub(crate) struct Source<'a> {
    path: PathBuf,
    text: &'a str,
    /// Never shown. Sorted, none overlapping another.
    secrets: Vec<Span>,
}

/// The line of a span.
struct Line<'a> {
    /// From 1.
    number: usize,
    /// Where it begins in the file.
    start: usize,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &Path, text: &'a str, secrets: Vec<Span>) -> Self {
        Self { path: path.to_owned(), text, secrets }
    }

    fn line_of(&self, at: usize) -> Line<'a> {
        let newline = self.text.bytes().take(at).rposition(|byte| byte == b'\n');
        let start = newline.map_or(0, |newline| newline + 1);
        let text = self.text[start..].lines().next().unwrap_or_default();
        let number = 1 + self.text[..start].matches('\n').count();
        Line { number, start, text }
    }

    fn brief(&self, diagnostic: &Diagnostic) -> String {
        let line = diagnostic.span.as_ref().map(|span| format!(":{}", self.line_of(span.start).number));
        format!("{}{}: {}", self.path.display(), line.unwrap_or_default(), diagnostic.message)
    }

    fn render(&self, diagnostic: &Diagnostic, out: &mut String) {
        // Writing to a string does not fail.
        let _ = self.write(diagnostic, out);
    }

    fn write(&self, diagnostic: &Diagnostic, out: &mut String) -> fmt::Result {
        let path = self.path.display();
        writeln!(out, "error: {}", printable(&diagnostic.message))?;
        let mut width = 1;
        if let Some(span) = &diagnostic.span {
            let line = self.line_of(span.start);
            width = line.number.to_string().len();
            let column = 1 + line.text.char_indices().take_while(|(at, _)| line.start + at < span.start).count();
            let (shown, caret) = self.show(&line, span);
            writeln!(out, "{:width$}--> {path}:{}:{column}", "", line.number)?;
            writeln!(out, "{:width$} |", "")?;
            writeln!(out, "{}", format!("{} | {shown}", line.number).trim_end())?;
            writeln!(out, "{:width$} | {}{}", "", " ".repeat(caret.start), "^".repeat(caret.len()))?;
        } else {
            writeln!(out, "{:width$}--> {path}", "")?;
        }
        if let Some((what, span)) = &diagnostic.note {
            writeln!(out, "{:width$} = note: {what} on line {}", "", self.line_of(span.start).number)?;
        }
        writeln!(out, "{:width$} = help: {}", "", printable(&diagnostic.help))
    }

    /// The line as it may be shown, and the columns of it that the caret underlines. A mask is underlined as a whole.
    fn show(&self, line: &Line<'_>, span: &Span) -> (String, Range<usize>) {
        let mut shown = String::new();
        let mut column = 0;
        let mut caret: Option<Range<usize>> = None;
        let mut masking = None;
        for (offset, character) in line.text.char_indices() {
            let at = line.start + offset;
            let secret = self.secrets.iter().position(|secret| secret.contains(&at));
            let marked = span.contains(&at) || span.start == at;
            let from = match secret {
                Some(_) if secret == masking => column - MASK.len(),
                Some(_) => {
                    shown.push_str(MASK);
                    column += MASK.len();
                    column - MASK.len()
                }
                None => {
                    shown.push(plain(character));
                    column += 1;
                    column - 1
                }
            };
            masking = secret;
            if marked {
                let start = caret.map_or(from, |caret| caret.start);
                caret = Some(start..column);
            }
        }
        // Past the end of the line: one caret behind it.
        (shown, caret.unwrap_or(column..column + 1))
    }
}

/// A character that takes one column and does nothing to a terminal.
fn plain(character: char) -> char {
    match character {
        '\t' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

/// What a key or a path is called may hold anything.
fn printable(text: &str) -> String {
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, secrets: Vec<Span>, span: Option<Span>) -> String {
        let source = Source::new(Path::new("f.toml"), text, secrets);
        let mut report = Report::default();
        let _ = match span {
            Some(span) => report.add(span, "wrong", "do it right"),
            None => report.add_without_place("wrong", "do it right"),
        };
        Problems::new(&source, report).to_string()
    }

    #[test]
    fn the_caret_underlines_the_value() {
        let text = "a = 1\nid = 300\n";
        let expected = "\
error: wrong
 --> f.toml:2:6
  |
2 | id = 300
  |      ^^^
  = help: do it right

1 error";
        assert_eq!(render(text, vec![], Some(11..14)), expected);
    }

    #[test]
    fn columns_count_characters_and_tabs_take_one() {
        let text = "\tä = \"é\"\n";
        let at = text.find('"').unwrap();
        let shown = render(text, vec![], Some(at..at + 4));
        assert!(shown.contains("f.toml:1:6\n  |\n1 |  ä = \"é\"\n  |      ^^^\n"), "{shown}");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = render("a = \u{1b}[2J", vec![], Some(4..5));
        assert!(shown.contains("1 | a = \u{fffd}[2J\n  |     ^\n"), "{shown}");
    }

    #[test]
    fn a_secret_is_masked_and_the_caret_still_fits() {
        let text = "x = { password = \"hunter2\", y = 1 }";
        let secret = text.find('"').unwrap()..text.find(',').unwrap();
        for (span, caret) in [
            (secret.clone(), "  |                  ^^^\n"),
            (secret.start + 2..secret.start + 3, "  |                  ^^^\n"),
            (text.find('y').unwrap()..text.find('y').unwrap() + 1, "  |                       ^\n"),
            (6..14, "  |       ^^^^^^^^\n"),
            (4..text.len(), "  |     ^^^^^^^^^^^^^^^^^^^^^^^^^\n"),
        ] {
            let shown = render(text, vec![secret.clone()], Some(span));
            assert!(shown.contains(&format!("1 | x = {{ password = ***, y = 1 }}\n{caret}")), "{shown}");
        }
    }

    #[test]
    fn the_end_of_a_line_and_of_the_file_can_be_pointed_at() {
        assert!(render("a = \nb = 1\n", vec![], Some(4..4)).contains("f.toml:1:5\n  |\n1 | a =\n  |     ^\n"));
        assert!(render("a = 1\n", vec![], Some(6..6)).contains("f.toml:2:1\n  |\n2 |\n  | ^\n"));
        assert!(render("", vec![], Some(0..0)).contains("f.toml:1:1\n  |\n1 |\n  | ^\n"));
        assert!(render("ä", vec![], Some(1..900)).contains("f.toml:1:"));
    }

    #[test]
    fn what_has_no_line_names_the_file() {
        assert_eq!(render("", vec![], None), "error: wrong\n --> f.toml\n  = help: do it right\n\n1 error");
    }

    #[test]
    fn many_errors_are_counted_and_the_first_are_shown() {
        let source = Source::new(Path::new("f.toml"), "a", vec![]);
        let mut report = Report::default();
        for _ in 0..SHOWN + 5 {
            let _ = report.add(0..1, "wrong", "help");
        }
        let problems = Problems::new(&source, report);
        assert_eq!(problems.count(), 105);
        assert!(problems.to_string().ends_with("105 errors, of which the first 100 are shown"));
        assert_eq!(problems.to_string().matches("error: wrong").count(), 100);
    }
}

//! Statements and their blocks.

use super::Failure;
use super::lines::Line;
use super::note::{Notes, Place};
use super::tokens::{Token, tokens};

/// No block of Keepalived's is deeper than five.
const DEEPEST: usize = 32;

/// A keyword with what stands behind it on its line, and its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    /// At least one.
    words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
    /// The last line of the block.
    pub(super) last: usize,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What stands behind the keyword.
    pub(super) fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first of them.
    pub(super) fn argument(&self) -> Option<&str> {
        self.arguments().first().map(String::as_str)
    }

    /// All words, as in a list of addresses, where none is a keyword.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Puts the blocks together.
pub(super) fn parse(lines: &[Line], notes: &Notes) -> Result<Vec<Statement>, Failure> {
    let mut parser = Parser { notes, levels: vec![Level::default()], words: Vec::new() };
    for line in lines {
        parser.line(line)?;
    }
    parser.finish()
}

#[derive(Default)]
struct Level {
    /// Whose block this is. None for the file.
    head: Option<Statement>,
    list: Vec<Statement>,
}

struct Parser<'a> {
    notes: &'a Notes,
    /// The innermost block comes last; there is always one.
    levels: Vec<Level>,
    words: Vec<String>,
}

impl Parser<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let place = line.place;
        let tokens = tokens(&line.text)
            .map_err(|quote| self.fail(place, &format!("the quote {quote} is not closed on this line")))?;
        for token in tokens {
            match token {
                Token::Word(word) => self.words.push(word),
                Token::Open => self.open(place)?,
                Token::Close => self.close(place)?,
            }
        }
        self.end_statement(place);
        Ok(())
    }

    fn end_statement(&mut self, place: Place) {
        let words = std::mem::take(&mut self.words);
        if let (false, Some(level)) = (words.is_empty(), self.levels.last_mut()) {
            level.list.push(Statement { place, words, block: None, last: place.line });
        }
    }

    /// The brace may stand on the line behind its keyword.
    fn open(&mut self, place: Place) -> Result<(), Failure> {
        self.end_statement(place);
        if self.levels.len() > DEEPEST {
            return Err(self.fail(place, "blocks are nested too deeply"));
        }
        let head = self.levels.last_mut().and_then(|level| level.list.pop_if(|last| last.block.is_none()));
        let Some(head) = head else { return Err(self.fail(place, "`{` without a keyword in front of it")) };
        self.levels.push(Level { head: Some(head), list: Vec::new() });
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), Failure> {
        self.end_statement(place);
        let level = self.levels.pop().unwrap_or_default();
        let (Some(mut head), Some(parent)) = (level.head, self.levels.last_mut()) else {
            return Err(self.fail(place, "`}` without a `{` that it closes"));
        };
        head.block = Some(level.list);
        // In an included file the numbers begin anew.
        if place.file == head.place.file {
            head.last = place.line;
        }
        parent.list.push(head);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Statement>, Failure> {
        let level = self.levels.pop().unwrap_or_default();
        match level.head {
            None => Ok(level.list),
            Some(head) => Err(self.fail(head.place, &format!("the block of `{}` is not closed", head.keyword()))),
        }
    }

    fn fail(&self, place: Place, message: &str) -> Failure {
        let message = super::note::printable(message);
        Failure::Syntax { path: self.notes.path(place), line: place.line, message }
    }
}

//! README.md and docs/*.md: their blocks, the commands in them, and what stands between backquotes.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of this repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A page that people read.
pub(crate) struct Page {
    /// `README.md`, `docs/STATUS.md`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// All of them, by name.
pub(crate) fn pages() -> Vec<Page> {
    let mut names = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root("docs")).expect("there are docs") {
        let name = entry.expect("it is readable").file_name().into_string().expect("it is UTF-8");
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let read = |name: String| Page { text: fs::read_to_string(root(&name)).expect("a page is readable"), name };
    names.into_iter().map(read).collect()
}

/// What stands between two lines of three backquotes.
pub(crate) struct Block {
    /// The page and the line of its first backquotes.
    pub(crate) place: String,
    /// What stands behind these. Empty: somebody's output, or a drawing.
    pub(crate) language: String,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut open) = (Vec::new(), None);
        for (line, number) in self.text.lines().zip(1..) {
            match (line.strip_prefix("```"), open.take()) {
                (Some(language), None) => {
                    let place = format!("{}:{number}", self.name);
                    open = Some(Block { place, language: language.to_owned(), text: String::new() });
                }
                (Some(_), Some(block)) => blocks.push(block),
                (None, None) => {}
                (None, Some(mut block)) => {
                    block.text += line;
                    block.text.push('\n');
                    open = Some(block);
                }
            }
        }
        assert!(open.is_none(), "{}: a block without an end", self.name);
        blocks
    }

    /// The text without its blocks: the paragraphs, one after the other.
    pub(crate) fn prose(&self) -> String {
        let mut inside = false;
        let is_prose = |line: &&str| {
            let fence = line.starts_with("```");
            inside ^= fence;
            !inside && !fence
        };
        self.text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
    }

    /// What stands between backquotes in the prose; in tables `\|` is `|`.
    pub(crate) fn quoted(&self) -> Vec<String> {
        quoted(&self.prose())
    }
}

/// What stands between backquotes. Nothing does that goes over the end of a paragraph.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    paragraphs.map(|code| code.replace("\\|", "|").split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// A line of a `console` or `sh` block that is typed.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) place: String,
    pub(crate) line: String,
}

/// All of them: in `console` what stands behind `# `, in `sh` every line.
pub(crate) fn typed() -> Vec<Typed> {
    let mut all = Vec::new();
    for block in pages().iter().flat_map(Page::blocks) {
        let lines = block.text.lines();
        let lines: Vec<_> = match block.language.as_str() {
            "console" => lines.filter_map(|line| line.strip_prefix("# ")).collect(),
            "sh" => lines.collect(),
            _ => continue,
        };
        assert!(!lines.is_empty(), "{}: nothing is typed here", block.place);
        all.extend(lines.into_iter().map(|line| Typed { place: block.place.clone(), line: line.to_owned() }));
    }
    all
}

/// The commands of a line: `&&` and pipes part them.
pub(crate) fn commands(line: &str) -> Vec<&str> {
    line.split(" && ").flat_map(|line| line.split(" | ")).map(str::trim).collect()
}

/// What `pgvrrp` is given by this command, if it is one of its own: as root or as its user, by name or by path.
pub(crate) fn of_pgvrrp(command: &str) -> Option<&str> {
    let command = command.strip_prefix("sudo -u pgvrrp ").unwrap_or(command);
    let command = command.strip_prefix("/usr/bin/").unwrap_or(command);
    command.strip_prefix("pgvrrp ").map(str::trim)
}

/// The rows of a table of this header: the cells of each.
pub(crate) fn rows<'a>(text: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let tables = text.split(header).skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

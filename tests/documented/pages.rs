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

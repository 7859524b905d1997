//! What `docs/OPERATE.md` says that an operator sees is what the program says.

use std::fs;
use std::path::Path;

use crate::pages::{pages, root};
use crate::table::rows;
use crate::text::{prose, quoted};

const PAGE: &str = include_str!("../../docs/OPERATE.md");

/// The text of the program's sources without their tests, in one line, without what parts a text in the source: a `\` at the
/// end of a line, and the `\"` before a quote.
fn sources(dir: &Path) -> String {
    let entries = fs::read_dir(dir).expect("there are sources");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is readable").path()).collect();
    paths.sort();
    let is_a_test = |path: &Path| path.file_stem().is_some_and(|name| name == "tests");
    let read = |path: &Path| {
        let text = fs::read_to_string(path).expect("a source is readable");
        text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().replace("\\\n", "").replace("\\\"", "\"")
    };
    let texts = paths.iter().filter(|path| !is_a_test(path)).map(|path| match path.is_dir() {
        true => sources(path),
        false if path.extension().is_some_and(|end| end == "rs") => read(path),
        false => String::new(),
    });
    squeezed(&texts.collect::<String>())
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first cells of the tables of failures. What has no backquotes is not the program's.
fn seen() -> Vec<String> {
    let rows = rows(PAGE, "| you see | it means | do |");
    assert!(rows.iter().all(|cells| cells.len() == 3), "a row has not three cells");
    let first = rows.into_iter().map(|cells| cells[0]).filter(|cell| cell.starts_with('`'));
    first.map(|cell| cell.trim_matches('`').to_owned()).collect()
}

/// A quotation between what stands for names and numbers.
fn fragments(saying: &str) -> Vec<String> {
    saying
        .split('…')
        .map(|part| part.trim().trim_matches(['(', ')', ';', ':', ',']).trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

#[test]
fn what_is_seen_is_what_the_program_says() {
    let (sources, seen) = (sources(&root("src")), seen());
    assert!(seen.len() > 40, "only {} were found", seen.len());
    for saying in seen {
        let fragments = fragments(&saying);
        let longest = fragments.iter().map(String::len).max().unwrap_or_default();
        assert!(longest >= 10, "{saying:?} could be anything");
        for fragment in fragments {
            assert!(sources.contains(&fragment), "{saying:?}: the program never says {fragment:?}");
        }
    }
}

/// The runbook has them in italics; a section's name there is another page's, and what is elsewhere has its own capitals.
#[test]
fn what_the_runbook_quotes_is_what_the_program_says() {
    let sources = sources(&root("src"));
    let runbook = pages().into_iter().find(|page| page.name == "docs/RUNBOOK.md").expect("there is a runbook");
    let text = prose(&runbook).replace("**", "");
    let paragraphs = text.split("\n\n").flat_map(|text| text.split('*').skip(1).step_by(2));
    let quoted: Vec<_> =
        paragraphs.map(squeezed).filter(|text| text.contains(' ') && text != "Status, Targets").collect();
    assert!(quoted.len() > 5, "only {} were found", quoted.len());
    for text in quoted {
        assert!(sources.contains(&text), "the program never says {text:?}");
    }
}

/// What it says of reasons in words is explained by label in `docs/STATUS.md`, which is tested in `src/gate/reason.rs`.
#[test]
fn labels_that_the_page_names_are_explained() {
    let status = fs::read_to_string(root("docs/STATUS.md")).expect("readable");
    for label in quoted(PAGE)
        .iter()
        .filter(|text| text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    {
        let configuration = include_str!("../../docs/CONFIGURATION.md");
        let is_known = [status.as_str(), configuration].iter().any(|page| page.contains(&format!("`{label}`")));
        let others = ["listen_addresses", "connect_address"].contains(&label.as_str());
        assert!(is_known || others, "{label} is neither a reason nor a key");
    }
}

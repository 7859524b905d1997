//! What a page refers to is there: files, sections, alerts.

use std::collections::BTreeSet;
use std::fs;

use crate::pages::{Page, pages, root};
use crate::text::{prose, quoted};

/// Directories of this repository, as they begin a path on a page.
const TOP: [&str; 10] =
    ["config/", "docs/", "fuzz/", "netlink/", "packaging/", "src/", "tests/", "vrrp/", "xtask/", "CHANGELOG.md"];

/// Without what is left open: `tests/*.rs`, `target/chaos/seed-N`.
fn is_a_path(text: &str) -> bool {
    TOP.iter().any(|top| text.starts_with(top)) && !text.contains(['*', ' ', '…', '<'])
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut seen = 0;
    for page in pages() {
        for text in quoted(&prose(&page)) {
            // In docs/ one page calls another by its name alone.
            let neighbour = text.ends_with(".md") && !text.contains('/') && text != "README.md";
            let path = if neighbour && text != "CHANGELOG.md" { format!("docs/{text}") } else { text.clone() };
            if is_a_path(&path) {
                seen += 1;
                assert!(root(&path).exists(), "{}: there is no `{text}`", page.name);
            }
        }
        let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let from = root(&page.name);
            let path = from.parent().expect("a page is in a directory").join(target);
            assert!(path.exists(), "{}: there is no {target}", page.name);
        }
    }
    assert!(seen > 150, "only {seen} were found");
}

/// What the README says of documents is said of all of them.
#[test]
fn every_document_is_in_the_readmes_table() {
    let readme = fs::read_to_string(root("README.md")).expect("readable");
    for page in pages().iter().filter(|page| page.name != "README.md") {
        assert!(
            readme.contains(&format!("| `{}` |", page.name)),
            "{} is not in README's table of documents",
            page.name
        );
    }
}

fn headings(page: &Page) -> BTreeSet<&str> {
    page.text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim()).collect()
}

/// Text between asterisks, with the end of what stands before it and the beginning of what comes behind.
fn slanted(text: &str) -> Vec<(String, String, String)> {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace("**", "").split("\n\n").map(one_line).collect::<Vec<_>>().join("\n");
    let parts: Vec<_> = text.split('*').collect();
    let around = parts.windows(3).step_by(2);
    around.map(|part| (part[0].to_owned(), part[1].to_owned(), part[2].to_owned())).collect()
}

/// A section is named in italics: *Upgrade* in the README; README, *Recordings*; `docs/CLIENTS.md`, *How*; *How* below.
#[test]
fn every_section_that_a_page_names_is_there() {
    let pages = pages();
    let find = |name: &str| pages.iter().find(|page| page.name == name || page.name == format!("docs/{name}"));
    let mut seen = 0;
    for page in &pages {
        for (before, section, behind) in slanted(&prose(page)) {
            let named = quoted(&before).pop().filter(|name| before.ends_with(&format!("`{name}`, ")));
            let of = if before.ends_with("README, ") || behind.starts_with(" in the README") {
                find("README.md")
            } else if let Some(of) = named.as_deref().and_then(find) {
                Some(of)
            } else if behind.starts_with(" below") && section.starts_with(char::is_uppercase) {
                Some(page)
            } else {
                None
            };
            if let Some(of) = of {
                seen += 1;
                assert!(headings(of).contains(section.as_str()), "{}: {} has no *{section}*", page.name, of.name);
            }
        }
    }
    assert!(seen > 8, "only {seen} were found");
}

/// The runbook has the alerts, which is tested beside them (`tests/monitoring`).
#[test]
fn every_alert_that_a_page_names_is_in_the_runbook() {
    let pages = pages();
    let runbook = pages.iter().find(|page| page.name == "docs/RUNBOOK.md").expect("there is a runbook");
    let alerts = headings(runbook);
    let mut seen = 0;
    for page in &pages {
        for name in quoted(&prose(page)).iter().filter(|text| text.starts_with("Pgvrrp")) {
            seen += 1;
            assert!(alerts.contains(name.as_str()), "{}: there is no alert {name}", page.name);
        }
    }
    assert!(seen > 20, "only {seen} were found");
}

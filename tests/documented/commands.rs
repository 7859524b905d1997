//! Every command of the pages exists, and every command and option that exists is on the pages.

use std::collections::BTreeSet;

use clap::error::ErrorKind;

use crate::pages::{Page, pages, root, typed};
use crate::table::rows;
use crate::text::{commands, of_pgvrrp, prose, quoted};
use crate::tried::{LINES, Tried, tried};

const UNIT: &str = include_str!("../../packaging/pgvrrp.service");
const OPERATE: &str = include_str!("../../docs/OPERATE.md");

/// What clap says of these arguments, if anything.
fn refusal(arguments: &str) -> Option<clap::Error> {
    let words = ["pgvrrp"].into_iter().chain(arguments.split_whitespace());
    pgvrrp::cli::command().try_get_matches_from(words).err().filter(clap::Error::use_stderr)
}

#[test]
fn every_typed_command_can_be_typed() {
    let typed = typed();
    let lines = typed.iter().flat_map(|typed| commands(&typed.line).into_iter().map(|command| (&typed.place, command)));
    let mut seen = 0;
    for (place, command) in lines {
        let Some(arguments) = of_pgvrrp(command) else { continue };
        seen += 1;
        if let Some(error) = refusal(arguments) {
            panic!("{place}: {command}: {error}");
        }
    }
    assert!(seen > 20, "only {seen} were found");
}

/// A word in capitals stands for what the reader puts there.
fn is_for_the_reader(word: &str) -> bool {
    word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())
}

/// In the text a command may be named without what it has to be given.
#[test]
fn every_command_in_the_text_exists() {
    let mut seen = 0;
    for page in pages() {
        for quoted in quoted(&prose(&page)).iter().filter(|quoted| !quoted.contains('[')) {
            for arguments in commands(quoted).into_iter().filter_map(of_pgvrrp) {
                seen += 1;
                let Some(error) = refusal(arguments) else { continue };
                let placeholder = arguments.split(' ').any(is_for_the_reader);
                let is_fine = match error.kind() {
                    ErrorKind::MissingRequiredArgument => true,
                    ErrorKind::InvalidValue | ErrorKind::ValueValidation => placeholder,
                    _ => false,
                };
                assert!(is_fine, "{}: `{quoted}`: {error}", page.name);
            }
        }
    }
    assert!(seen > 100, "only {seen} were found");
}

/// What units start and reload, in the shipped one and in those on the pages.
#[test]
fn every_command_of_a_unit_exists() {
    let blocks = pages().iter().flat_map(Page::blocks).filter(|block| block.language == "ini").collect::<Vec<_>>();
    let units = blocks.iter().map(|block| (block.place.as_str(), block.text.as_str()));
    let mut seen = 0;
    for (place, text) in units.chain([("packaging/pgvrrp.service", UNIT)]) {
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            let (_, command) = line.split_once('=').expect("a setting");
            let Some(arguments) = of_pgvrrp(command) else { continue };
            seen += 1;
            assert!(refusal(arguments).is_none(), "{place}: {line}");
        }
    }
    assert!(seen >= 4, "only {seen} were found");
}

/// A subcommand with its options and arguments, as the table of commands writes them.
fn synopsis(subcommand: &clap::Command) -> BTreeSet<String> {
    let arguments = subcommand.get_arguments().filter(|argument| argument.get_id() != "help");
    let words = arguments.flat_map(|argument| {
        let long = argument.get_long().map(|long| format!("--{long}"));
        let short = argument.get_short().filter(|_| long.is_none()).map(|short| format!("-{short}"));
        let takes = argument.get_action().takes_values();
        let names = argument.get_value_names().unwrap_or_default().iter().filter(|_| takes);
        long.into_iter().chain(short).chain(names.map(ToString::to_string)).collect::<Vec<_>>()
    });
    words.collect()
}

#[test]
fn every_subcommand_with_every_option_is_in_the_table() {
    let table = rows(OPERATE, "| command | what it is for |");
    let table: Vec<_> = table.iter().filter_map(|cells| of_pgvrrp(cells[0].trim_matches('`'))).collect();
    let mut command = pgvrrp::cli::command();
    command.build();
    let subcommands: Vec<_> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
    assert_eq!(table.len(), subcommands.len() + 1, "rows, and subcommands with help");
    for subcommand in subcommands {
        let name = subcommand.get_name();
        let row = table.iter().find_map(|row| row.strip_prefix(name).filter(|rest| rest.starts_with([' '])));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        let words = row.split_whitespace().map(|word| word.trim_matches(['[', ']']).to_owned());
        assert_eq!(words.collect::<BTreeSet<_>>(), synopsis(subcommand), "{name}: the table, and what there is");
    }
}

/// Where each is run, or why none of them can be.
#[test]
fn every_line_is_run_somewhere() {
    let typed = typed();
    for line in &typed {
        match tried(line) {
            None => panic!("{}: {}: nobody runs it", line.place, line.line),
            Some(Tried::By(file)) => assert!(root(file).exists(), "there is no {file}"),
            Some(_) => {}
        }
    }
    for (begin, _) in LINES {
        assert!(
            typed.iter().any(|typed| typed.line.starts_with(begin)),
            "no page has a line that begins with {begin:?}"
        );
    }
}

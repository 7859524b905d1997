//! From the definition of the command line: pgvrrp(1), a page for each subcommand, and completions.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Where the program is to be found, and what belongs to it. The definition of the command line knows nothing of that.
const FILES: [(&str, &str); 3] = [
    ("/etc/pgvrrp/pgvrrp.toml", "The configuration, see pgvrrp.toml(5)."),
    ("/run/pgvrrp", "The control socket, and what a restarted daemon has to know."),
    ("/usr/share/doc/pgvrrp", "README.md, which begins with what to do, and docs with all that it refers to."),
];

/// Writes `pgvrrp.1` and a `pgvrrp-SUBCOMMAND.1` for each.
pub(crate) fn manual(directory: &Path) -> Result<()> {
    let mut command = pgvrrp::cli::command().disable_help_subcommand(true);
    // Gives the subcommands their full names.
    command.build();
    for subcommand in command.get_subcommands() {
        page(subcommand, &see_also("pgvrrp(1), pgvrrp.toml(5)"), directory)?;
    }
    let mut end = files();
    end.extend([see_also("pgvrrp.toml(5)")]);
    page(&command, &end, directory)
}

fn page(command: &Command, end: &Roff, directory: &Path) -> Result<()> {
    let page = Man::new(command.clone()).source(concat!("pgvrrp ", env!("CARGO_PKG_VERSION")));
    let path = directory.join(page.get_filename());
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    page.render(&mut file)?;
    end.to_writer(&mut file)?;
    Ok(file.flush()?)
}

fn see_also(pages: &str) -> Roff {
    let mut end = Roff::new();
    end.control("SH", ["SEE ALSO"]).text([roman(pages)]);
    end
}

fn files() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["FILES"]);
    for (path, what) in FILES {
        page.control("TP", []).text([bold(path)]).text([roman(what)]);
    }
    page
}

/// Writes completions, each under the name by which its shell looks for it.
pub(crate) fn completions(directory: &Path) -> Result<()> {
    for (shell, name) in [(Shell::Bash, "pgvrrp.bash"), (Shell::Zsh, "_pgvrrp"), (Shell::Fish, "pgvrrp.fish")] {
        let path = directory.join(name);
        let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        clap_complete::generate(shell, &mut pgvrrp::cli::command(), "pgvrrp", &mut file);
        file.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What each subcommand and each option says of itself is in its page.
    #[test]
    fn every_subcommand_has_its_page() {
        let directory = tempfile::tempdir().unwrap();
        manual(directory.path()).unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let main = read("pgvrrp.1");
        assert!(main.contains(".SH FILES"), "{main}");
        let command = pgvrrp::cli::command();
        assert!(command.get_subcommands().count() > 5);
        for subcommand in command.get_subcommands() {
            let name = subcommand.get_name();
            assert!(main.contains(&format!("pgvrrp\\-{}(1)", name.replace('-', "\\-"))), "{name} is not in {main}");
            let page = read(&format!("pgvrrp-{name}.1"));
            for long in subcommand.get_arguments().filter_map(|argument| argument.get_long()) {
                assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{name}: no {long} in {page}");
            }
        }
    }

    #[test]
    fn every_shell_completes_every_subcommand() {
        let directory = tempfile::tempdir().unwrap();
        completions(directory.path()).unwrap();
        for name in ["pgvrrp.bash", "_pgvrrp", "pgvrrp.fish"] {
            let text = fs::read_to_string(directory.path().join(name)).unwrap();
            for subcommand in pgvrrp::cli::command().get_subcommands() {
                assert!(text.contains(subcommand.get_name()), "{name}: no {}", subcommand.get_name());
            }
        }
    }
}

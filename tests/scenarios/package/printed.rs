//! Commands and files as the documents print them: what is tried here is what an operator copies from there.

use anyhow::{Context, Result, ensure};

/// A document that the package installs.
pub(super) struct Document {
    name: &'static str,
    text: &'static str,
}

pub(super) const README: Document = Document { name: "README.md", text: include_str!("../../../README.md") };
pub(super) const HOOKS: Document = Document { name: "docs/HOOKS.md", text: include_str!("../../../docs/HOOKS.md") };
pub(super) const HOSTS: Document = Document { name: "docs/HOSTS.md", text: include_str!("../../../docs/HOSTS.md") };
pub(super) const LOGS: Document = Document { name: "docs/LOGS.md", text: include_str!("../../../docs/LOGS.md") };
pub(super) const OBSERVE: Document =
    Document { name: "docs/OBSERVE.md", text: include_str!("../../../docs/OBSERVE.md") };
pub(super) const RUNBOOK: Document =
    Document { name: "docs/RUNBOOK.md", text: include_str!("../../../docs/RUNBOOK.md") };
pub(super) const MIGRATE_KEEPALIVED: Document =
    Document { name: "docs/MIGRATE-KEEPALIVED.md", text: include_str!("../../../docs/MIGRATE-KEEPALIVED.md") };
pub(super) const VIRTUAL_MAC: Document =
    Document { name: "docs/VIRTUAL-MAC.md", text: include_str!("../../../docs/VIRTUAL-MAC.md") };

impl Document {
    /// That it prints this command: behind a root's prompt in a line of its own, or as code in a sentence or a table.
    pub(super) fn ensure_prints(&self, command: &str) -> Result<()> {
        let at_a_prompt = self.text.lines().any(|line| line.strip_prefix("# ") == Some(command));
        let as_code = self.text.replace("\\|", "|").contains(&format!("`{command}`"));
        ensure!(at_a_prompt || as_code, "{} does not print `{command}`", self.name);
        Ok(())
    }

    /// The lines of the block of code that has this line in it.
    pub(super) fn block_with(&self, line: &str) -> Result<String> {
        // Every second piece between two fences is a block, whose first line is the name of its language.
        let blocks = self.text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
        let mut found = blocks.map(|(_, lines)| lines).filter(|lines| lines.lines().any(|one| one == line));
        let block = found.next().with_context(|| format!("{} has no block with `{line}`", self.name))?;
        ensure!(found.next().is_none(), "{} has several blocks with `{line}`", self.name);
        Ok(format!("{block}\n"))
    }
}

//! What can be read off a page's text.

use super::pages::Page;

/// The page without its blocks: the paragraphs, one after the other.
pub(crate) fn prose(page: &Page) -> String {
    let mut inside = false;
    let is_prose = |line: &&str| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    };
    page.text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
}

/// What stands between backquotes, of paragraphs; nothing does that goes over the end of one. In tables `\|` is `|`.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    let paragraphs = text.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
    paragraphs.map(|code| code.replace("\\|", "|").split_whitespace().collect::<Vec<_>>().join(" ")).collect()
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

//! Connections of which only the client knows.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cluster::Lab;
use crate::network::{Node, VIP};

impl Lab {
    /// The connections to the VIP that the client's machine holds for established and that its holder does not know: by
    /// the client's port, what the client's kernel says of each. Nobody will ever speak on those unless the client does.
    ///
    /// # Errors
    /// When `ss` fails.
    pub fn forgotten_connections(&self, holder: Node) -> Result<BTreeMap<u16, String>> {
        // The client is asked before and after the holder: what begins or ends meanwhile is no finding.
        let before = connections(self.namespace(Node::Client).command("ss"), "dst", 3)?;
        let known = connections(self.namespace(holder).command("ss"), "src", 4)?;
        let mut forgotten = connections(self.namespace(Node::Client).command("ss"), "dst", 3)?;
        forgotten
            .retain(|port, line| line.starts_with("ESTAB") && before.contains_key(port) && !known.contains_key(port));
        Ok(forgotten)
    }
}

/// The connections of which the VIP is this end, by the client's port, which is in this column.
fn connections(mut ss: Command, end: &str, column: usize) -> Result<BTreeMap<u16, String>> {
    let output = ss.args(["-Htnop", "state", "connected", end, &VIP.to_string()]).output()?;
    if !output.status.success() {
        bail!("ss: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = words.get(column)?.rsplit_once(':')?.1.parse().ok()?;
        Some((port, words.join(" ")))
    };
    Ok(text.lines().filter_map(read).collect())
}

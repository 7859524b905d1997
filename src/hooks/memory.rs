//! What hooks have announced last of each VIP: a file in the runtime directory, a state and a name a line. By it the next
//! daemon knows that a VIP which it finds here is no news. A hook is noted when it has ended, so one that was cut off is run
//! again; with the machine's end all is forgotten.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::state::State;

/// The states by VIP, and where they are kept.
#[derive(Debug)]
pub(super) struct Memory {
    dir: PathBuf,
    states: RefCell<BTreeMap<String, State>>,
}

impl Memory {
    /// Reads what there is. What cannot be read is forgotten: hooks are then run once more than need be.
    pub(super) fn open(dir: &Path) -> Self {
        let text = fs::read_to_string(dir.join("hooks")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let (state, name) = line.split_once(' ')?;
            Some((name.to_owned(), State::parse(state)?))
        });
        Self { dir: dir.to_owned(), states: RefCell::new(lines.collect()) }
    }

    pub(super) fn state(&self, name: &str) -> Option<State> {
        self.states.borrow().get(name).copied()
    }

    pub(super) fn note(&self, name: &str, state: State) {
        self.states.borrow_mut().insert(name.to_owned(), state);
        if let Err(error) = self.write() {
            warn!(%error, "what hooks have announced cannot be kept: the next daemon may run one again");
        }
    }

    fn write(&self) -> io::Result<()> {
        let new = self.dir.join("hooks.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&new)?;
        self.states.borrow().iter().try_for_each(|(name, state)| writeln!(file, "{} {name}", state.as_str()))?;
        fs::rename(new, self.dir.join("hooks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_daemon_knows_what_the_last_one_announced() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::open(dir.path());
        assert_eq!(memory.state("the web"), None);
        memory.note("the web", State::Active);
        memory.note("other", State::Fault);
        memory.note("the web", State::Stop);
        let next = Memory::open(dir.path());
        assert_eq!((next.state("the web"), next.state("other")), (Some(State::Stop), Some(State::Fault)));
        fs::write(dir.path().join("hooks"), "active\nflying web\nbackup other\n").unwrap();
        let damaged = Memory::open(dir.path());
        assert_eq!((damaged.state("web"), damaged.state("other")), (None, Some(State::Backup)));
    }
}

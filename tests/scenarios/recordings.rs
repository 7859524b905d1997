//! What the daemons of a scenario were told and decided, replayed at its end: the node of the daemon that has just been seen
//! in a real cluster decides as the one that the simulator drives.

use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lab::Node;
use pgvrrp::recording::{Failure, replay};

/// The recordings of one scenario, one file for each start of a daemon.
pub(crate) struct Recordings {
    dir: PathBuf,
    files: RefCell<Vec<PathBuf>>,
}

impl Recordings {
    /// In a directory of their own, where daemons of other users may make files too.
    pub(crate) fn below(dir: &Path) -> Result<Self> {
        let dir = dir.join("recordings");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {dir:?}"))?;
        fs::set_permissions(&dir, Permissions::from_mode(0o1777))?;
        Ok(Self { dir, files: RefCell::default() })
    }

    /// The file for a daemon that is about to be started.
    pub(crate) fn next(&self, node: Node, name: &str) -> PathBuf {
        let mut files = self.files.borrow_mut();
        let path = self.dir.join(format!("{:02}-{node}-{name}.jsonl", files.len() + 1));
        files.push(path.clone());
        path
    }

    /// All that is in them.
    pub(crate) fn text(&self) -> String {
        self.files.borrow().iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }

    /// Copies them to the directory that `PGVRRP_KEEP_RECORDINGS` names, if it does.
    pub(crate) fn keep(&self, scenario: &str) -> Result<()> {
        let Some(keep) = std::env::var_os("PGVRRP_KEEP_RECORDINGS").map(PathBuf::from) else { return Ok(()) };
        let keep = keep.join(scenario.replace("::", "-"));
        for file in self.files.borrow().iter().filter(|file| file.exists()) {
            fs::create_dir_all(&keep).with_context(|| format!("cannot make {keep:?}"))?;
            let name = file.file_name().context("a recording without a name")?;
            fs::copy(file, keep.join(name)).with_context(|| format!("cannot keep {file:?}"))?;
        }
        Ok(())
    }

    /// Every decision of every daemon once more.
    pub(crate) fn replay(&self) -> Result<()> {
        let (mut passes, mut daemons) = (0, 0);
        for path in self.files.borrow().iter() {
            // A daemon that refused to start has made none, or nothing but the file.
            let Ok(file) = File::open(path) else { continue };
            match replay(BufReader::new(file), |_| {}) {
                Ok(sum) if sum.overrun => bail!("{}: the recorder fell behind", path.display()),
                Ok(sum) => (passes, daemons) = (passes + sum.passes, daemons + 1),
                Err(Failure::Empty) => {}
                Err(failure) => bail!("{}: replayed, it decides otherwise: {failure}", path.display()),
            }
        }
        println!("{passes} passes of {daemons} daemons replayed, every output as recorded");
        Ok(())
    }
}

//! Applications as people have them, as processes on the client's machine: drivers, pools and a pooler with their own
//! defaults, which say what they see.
//!
//! The [probes](crate::probe) are clients as well, but made for measuring. These are made of what applications are made
//! of, and know no more of the VIP than its address.

mod account;
mod forgotten;
mod kinds;
mod pgbouncer;
mod sight;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::clock::Time;
use crate::cluster::Lab;
use crate::network::Node;
use crate::prerequisites::Applications;
use crate::process::Process;
use pgbouncer::PgBouncer;

pub use account::{Account, table};
pub use sight::{Sight, What};

/// The programs, by name. All have the first one.
const PROGRAMS: [(&str, &str); 6] = [
    ("report.py", include_str!("report.py")),
    ("odoo_pool.py", include_str!("odoo_pool.py")),
    ("crowd.py", include_str!("crowd.py")),
    ("held.py", include_str!("held.py")),
    ("asyncpg_pool.py", include_str!("asyncpg_pool.py")),
    ("pgbench.py", include_str!("pgbench.py")),
];

/// An application that is to be started.
#[derive(Debug)]
struct Plan<'a> {
    name: &'a str,
    program: &'static str,
    settings: Value,
    clients: usize,
    works: bool,
}

/// A running application. Ended when it is dropped.
#[derive(Debug)]
pub struct Application {
    name: String,
    clients: usize,
    works: bool,
    log_path: PathBuf,
    seen: Arc<Mutex<Vec<Sight>>>,
    process: Process,
    // After the one that connects to it.
    _pooler: Option<PgBouncer>,
}

impl Application {
    /// Starts what is planned. Returns when all that it opens at the beginning is open.
    fn start(lab: &Lab, plan: Plan<'_>, pooler: Option<PgBouncer>) -> Result<Self> {
        let Plan { name, program, settings, clients, works } = plan;
        let needed = Applications::find()?;
        let dir = directory(lab, name)?;
        for (file, text) in PROGRAMS {
            fs::write(dir.join(file), text)?;
        }
        let log_path = dir.join("log");
        let (output, input) = pipe()?;
        let mut command = lab.namespace(Node::Client).command_as(&needed.python, lab.tools().account);
        lab.tools().set_environment(&mut command);
        command.arg(dir.join(program)).arg(settings.to_string()).current_dir("/");
        command.env("HOME", &dir).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdout(input).stderr(File::create(&log_path)?);
        let process = Process::spawn(name, command)?;
        let seen = Arc::default();
        let sink = Arc::clone(&seen);
        // Ends with the process, whose end of the pipe is the only one.
        thread::Builder::new().name(name.to_owned()).spawn(move || collect(output, &sink))?;
        let application = Self { name: name.to_owned(), clients, works, log_path, seen, process, _pooler: pooler };
        application.wait_ready()?;
        Ok(application)
    }

    fn wait_ready(&self) -> Result<()> {
        const LIMIT: Duration = Duration::from_secs(120);
        let start = Time::now();
        while !self.seen().iter().any(|sight| sight.what == What::Ready) {
            if !self.process.is_running() || start.elapsed() > LIMIT {
                bail!("{} does not get ready: {}", self.name, self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process's id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How many of its connections lie idle or wait, or how many workers it has.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.clients
    }

    /// Whether it works, rather than only having connections.
    #[must_use]
    pub const fn works(&self) -> bool {
        self.works
    }

    /// All that it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Sight> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }
}

/// The application's own directory on the client's machine.
fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    lab.make_dir(&format!("{}/{}", Node::Client, words.join("-"))).context("no directory for an application")
}

fn collect(output: PipeReader, seen: &Mutex<Vec<Sight>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let sight = Sight::read(&line).unwrap_or_else(|error| panic!("an application says {line:?}: {error}"));
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
    }
}

//! `pgvrrp doctor --peer` on a node, while something else goes on.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::netns::Namespace;
use crate::process::Process;

/// One that runs. Killed when dropped.
#[derive(Debug)]
pub struct Doctor {
    process: Process,
    report: PathBuf,
    progress: PathBuf,
}

/// What one has found.
#[derive(Debug)]
pub struct Found {
    /// 0 without a problem, 1 with one.
    pub code: Option<i32>,
    /// Its report.
    pub report: Value,
    /// What it said meanwhile.
    pub progress: String,
}

impl Doctor {
    /// Starts it in a namespace. What it prints goes to files in `dir`, beside `config`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(
        namespace: &Namespace,
        dir: &Path,
        binary: &Path,
        config: &Path,
        peer: IpAddr,
        wait: u32,
    ) -> Result<Self> {
        let (report, progress) = (dir.join("doctor.json"), dir.join("doctor.err"));
        let mut command = namespace.command(binary);
        command.args(["doctor", "--json", "--config"]).arg(config).arg("--peer").arg(peer.to_string());
        command.args(["--wait", &wait.to_string()]);
        command.stdout(File::create(&report)?).stderr(File::create(&progress)?);
        let process = Process::spawn(&format!("doctor in {}", namespace.name()), command)?;
        Ok(Self { process, report, progress })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within the limit, or prints no report.
    pub fn finish(&self, limit: Duration) -> Result<Found> {
        let status = self.process.wait(limit)?;
        let progress = fs::read_to_string(&self.progress)?;
        let report = fs::read_to_string(&self.report)?;
        let report = serde_json::from_str(&report).with_context(|| format!("{report:?} {progress}"))?;
        Ok(Found { code: status.code(), report, progress })
    }
}

impl Found {
    /// The findings of an area: level, text and fix.
    #[must_use]
    pub fn of(&self, area: &str) -> Vec<[&str; 3]> {
        let findings = self.report["findings"].as_array().into_iter().flatten();
        let these = findings.filter(|finding| finding["area"] == area);
        these.map(|finding| ["level", "text", "fix"].map(|key| finding[key].as_str().unwrap_or_default())).collect()
    }
}

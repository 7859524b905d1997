//! A machine on a node of a cluster, and the daemon that its systemd runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::analysis::Holding;
use lab::daemon::Config;
use lab::{Lab, Machine, Node, Time};

use super::printed::Document;
use crate::stage::Stage;

pub(super) const UNIT: &str = "pgvrrp.service";
pub(super) const CONFIG: &str = "/etc/pgvrrp/pgvrrp.toml";

/// The packages, by the names that README.md gives them, in root's home.
pub(super) const OLDER: &str = "pgvrrp_0.1.0-1_amd64.deb";
pub(super) const NEWER: &str = "pgvrrp_0.2.0-1_amd64.deb";

/// Longer than the address lives without a daemon: what was about to leave has left by then.
pub(super) const SETTLED: Duration = Duration::from_secs(4);

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) struct Installed<'a> {
    pub(super) stage: &'a Stage<'a>,
    pub(super) node: Node,
    pub(super) machine: Machine,
}

impl Installed<'_> {
    /// Runs a line of shell as root in root's home.
    pub(super) fn run(&self, line: &str) -> Result<Output> {
        self.machine.run(&["sh", "-c", &format!("cd /root && {line}")])
    }

    /// What it prints, which has to succeed.
    pub(super) fn succeed(&self, line: &str) -> Result<String> {
        said(line, &self.run(line)?, 0)
    }

    /// The same with a line that a document prints.
    pub(super) fn as_printed(&self, document: &Document, line: &str) -> Result<String> {
        document.ensure_prints(line)?;
        let said = self.succeed(line)?;
        println!("{}# {line}\n{said}", self.node);
        Ok(said)
    }

    /// What a line prints that has to end with this exit code.
    pub(super) fn ends_with(&self, line: &str, code: i32) -> Result<String> {
        let said = said(line, &self.run(line)?, code)?;
        println!("{}# {line}\n{said}({code})", self.node);
        Ok(said)
    }

    /// `dpkg --install`, which nothing that is wrong with the daemon may let fail.
    pub(super) fn install(&self, package: &str) -> Result<String> {
        let said = self.succeed(&format!("dpkg --install {package}"))?;
        print!("{said}");
        Ok(said)
    }

    pub(super) fn systemctl(&self, command: &str) -> Result<String> {
        self.machine.succeed(&["systemctl", command, UNIT])
    }

    pub(super) fn property(&self, name: &str) -> Result<String> {
        let said = self.machine.succeed(&["systemctl", "show", "--value", "--property", name, UNIT])?;
        Ok(said.trim().to_owned())
    }

    /// Its number on the machine.
    pub(super) fn daemon(&self) -> Result<u32> {
        self.property("MainPID")?.parse().context("systemd knows no daemon")
    }

    pub(super) fn journal(&self) -> String {
        let journal = self.machine.output(&["journalctl", "--no-pager", "--output=cat", "--unit", UNIT]);
        journal.unwrap_or_else(|error| error.to_string())
    }

    pub(super) fn configure(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.machine.file(CONFIG), text)?)
    }

    /// A program of the operator's, for everybody to run.
    pub(super) fn write_program(&self, path: &str, script: &str) -> Result<()> {
        let path = self.machine.file(path);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        fs::write(&path, script)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    /// `systemctl edit pgvrrp` with an editor that writes this.
    pub(super) fn edit_unit(&self, drop_in: &str) -> Result<()> {
        fs::write(self.machine.file("/root/drop-in"), drop_in)?;
        self.write_program("/root/editor", "#!/bin/sh\ncat /root/drop-in > \"$1\"\n")?;
        // It edits on a terminal alone.
        self.succeed(
            "SYSTEMD_EDITOR=/root/editor script --quiet --return --command 'systemctl edit pgvrrp' /dev/null",
        )?;
        let written = fs::read_to_string(self.machine.file("/etc/systemd/system/pgvrrp.service.d/override.conf"))?;
        ensure!(written.trim() == drop_in.trim(), "{written}");
        Ok(())
    }

    /// Takes it out again.
    pub(super) fn revert_unit(&self) -> Result<()> {
        self.succeed("systemctl revert pgvrrp && systemctl daemon-reload").map(drop)
    }

    /// The VIP as it is here now.
    pub(super) fn holding(&self) -> Result<Holding> {
        self.stage.last_holding(self.node)
    }

    /// Waits until what was done can have no more effect: the VIP has not left since.
    pub(super) fn has_kept(&self, holding: &Holding) -> Result<()> {
        self.stage.calm(SETTLED)?;
        ensure!(self.holding()?.from == holding.from, "the VIP left and came back");
        Ok(())
    }

    pub(super) fn wait_vip(&self) -> Result<()> {
        self.stage.wait_vip(self.node, 10 * SECOND)
    }

    /// Waits until `pgvrrp status` says this: what it shows is a moment old.
    pub(super) fn wait_status(&self, says: &str) -> Result<()> {
        let what = format!("`pgvrrp status` to say {says}");
        self.stage.lab.wait_until(&what, 10 * SECOND, || Ok(self.succeed("pgvrrp status")?.contains(says)))
    }

    /// Neither the VIP nor its lock is anywhere.
    pub(super) fn wait_gone(&self) -> Result<()> {
        let gone = || Ok(self.stage.holders().is_empty());
        self.stage.lab.wait_until("the VIP to leave", 5 * SECOND, gone)?;
        let key = || Ok(self.stage.lab.etcd().get("/pgvrrp/v1/service/odoo/10.0.20.155")?.is_none());
        self.stage.lab.wait_until("the lock to leave", 5 * SECOND, key)
    }

    /// With `systemctl stop`: it keeps its promise of half a second, and a bit for systemctl itself.
    pub(super) fn stop(&self) -> Result<()> {
        let begun = Time::now();
        self.systemctl("stop")?;
        self.wait_gone()?;
        let took = begun.elapsed();
        ensure!(took < 2 * SECOND, "a stop took {took:?}");
        Ok(())
    }

    pub(super) fn has_address(&self, address: &str) -> Result<bool> {
        let listing = self.stage.lab.namespace(self.node).ip(&["-oneline", "address", "show", "dev", "eth0"])?;
        Ok(listing.contains(&format!(" {address}/")))
    }

    /// Whether any process of the daemon's is left there.
    pub(super) fn runs(&self) -> bool {
        let machine = fs::metadata(self.machine.file("/usr/bin")).map(|dir| dir.dev()).ok();
        let is_its = |pid: &u32| {
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            let root = fs::metadata(format!("/proc/{pid}/root/usr/bin")).map(|dir| dir.dev()).ok();
            root == machine && program.to_string_lossy().starts_with("/usr/bin/pgvrrp")
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).any(|pid| is_its(&pid))
    }
}

/// To standard output and then to standard error.
fn said(line: &str, output: &Output, code: i32) -> Result<String> {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    ensure!(output.status.code() == Some(code), "{line}: {}\n{text}", output.status);
    Ok(text)
}

/// What README.md has, for this lab: all the rest is as it comes.
pub(super) fn configuration(lab: &Lab, node: Node) -> Config {
    let mut config = Config::reference(lab, node);
    config.remove("", "runtime_dir").remove("postgres", "connection");
    config
}

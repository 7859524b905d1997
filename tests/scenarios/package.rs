//! The Debian package on a Debian that is booted on a node, with systemd as its process 1 and nothing but the package's own
//! scripts and unit between dpkg and the daemon. Commands are those that the documents print.
//!
//! `PGVRRP_PACKAGES` names two packages, the older version first, and `PGVRRP_DEBIAN` the system: see `cargo xtask package-test`.

mod by_hand;
mod drop_ins;
mod hooked;
mod installed;
mod keepalived;
mod lifecycle;
mod manual;
mod network_manager;
mod networkd;
mod others;
mod printed;
mod removal;
mod service;
mod upgrades;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;
use lab::{Machine, Node, Options};

use crate::stage::{Stage, play_with};
use installed::{Installed, NEWER, OLDER};

struct Given {
    packages: [PathBuf; 2],
    debian: PathBuf,
}

fn given() -> Option<Given> {
    let packages: Vec<_> = env::split_paths(&env::var_os("PGVRRP_PACKAGES").unwrap_or_default()).collect();
    let (Ok(packages), Some(debian)) = (packages.try_into(), env::var_os("PGVRRP_DEBIAN")) else {
        println!("skipped: PGVRRP_PACKAGES and PGVRRP_DEBIAN name no packages and no system to install them on");
        return None;
    };
    Some(Given { packages, debian: debian.into() })
}

impl Given {
    /// A machine on a node of a cluster, with the two packages in root's home.
    fn boot<'a>(&self, stage: &'a Stage<'a>, node: Node) -> Result<Installed<'a>> {
        let machine = Machine::boot(stage.lab, node, &self.debian)?;
        for (package, name) in self.packages.iter().zip([OLDER, NEWER]) {
            fs::copy(package, machine.file("/root").join(name))?;
        }
        // apt asks before it removes something; this says yes.
        fs::write(machine.file("/etc/apt/apt.conf.d/yes"), "APT::Get::Assume-Yes \"true\";\n")?;
        Ok(Installed { stage, node, machine })
    }
}

/// A cluster, with a machine on db1 and a daemon on db2.
fn play_on_a_machine(acts: &[fn(&Installed<'_>) -> Result<()>]) {
    let Some(given) = given() else { return };
    play_with(Options::default(), |stage| {
        stage.start_daemon(Node::Db2)?;
        let here = given.boot(stage, Node::Db1)?;
        let result = acts.iter().try_for_each(|act| act(&here));
        result.map_err(|error| error.context(here.journal()))
    });
}

#[test]
fn installed_upgraded_and_removed() {
    play_on_a_machine(&[
        lifecycle::installs_without_being_configured,
        lifecycle::starts,
        upgrades::without_moving_the_vip,
        upgrades::what_hinders_one_stops_nothing,
        upgrades::again_and_back,
        upgrades::leave_the_service_as_the_operator_has_it,
        upgrades::an_elected_vip_stays_too,
        removal::with_an_elected_vip,
        removal::with_a_vip_that_follows_the_primary,
    ]);
}

#[test]
fn operated_under_its_unit() {
    play_on_a_machine(&[
        lifecycle::installs_configured_and_starts,
        manual::renders_and_completes,
        service::is_clean,
        service::tells_the_journal,
        service::reloads,
        service::is_back_after_a_kill_and_a_stop,
        service::does_not_try_a_wrong_configuration_again,
        hooked::hooks_are_in_the_sandbox,
        drop_ins::records,
        drop_ins::observes,
    ]);
}

/// As README.md has it.
#[test]
fn changed_over_from_an_installation_by_hand() {
    play_on_a_machine(&[by_hand::is_installed, by_hand::is_upgraded, by_hand::the_package_takes_over]);
}

/// As docs/MIGRATE-KEEPALIVED.md has it.
#[test]
fn changed_over_from_keepalived_and_back() {
    let Some(given) = given() else { return };
    play_with(Options::default(), |stage| {
        let [db1, db2] = [given.boot(stage, Node::Db1)?, given.boot(stage, Node::Db2)?];
        let result = keepalived::there_and_back(&db1, &db2);
        result.map_err(|error| error.context(db1.journal()).context(db2.journal()))
    });
}

/// As docs/HOSTS.md has it, and so in the next one.
#[test]
fn beside_systemd_networkd() {
    play_on_a_machine(&[
        lifecycle::installs_configured_and_starts,
        networkd::removes_the_vip_unless_it_is_told,
        networkd::static_is_not_enough,
        networkd::keeps_the_vip_as_printed,
    ]);
}

#[test]
fn beside_network_manager() {
    play_on_a_machine(&[
        lifecycle::installs_configured_and_starts,
        network_manager::removes_the_vip_with_a_connection,
        network_manager::stays_out_of_virtual_macs,
    ]);
}

/// As in a chroot, or while an image is made: no systemd runs, nothing is started, nothing fails.
#[test]
fn installed_where_no_systemd_runs() {
    let Some(given) = given() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let script = r#"
        set -ex
        mount --make-rprivate /
        mount -t tmpfs scratch "$2"
        mkdir "$2/root" "$2/upper" "$2/work"
        mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" scratch "$2/root"
        cp "$3" "$2/root/root/older.deb"
        cp "$4" "$2/root/root/newer.deb"
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C
        cd "$2/root"
        chroot . dpkg --install /root/older.deb
        chroot . getent passwd pgvrrp
        [ -L etc/systemd/system/multi-user.target.wants/pgvrrp.service ]
        cp usr/share/doc/pgvrrp/examples/pgvrrp.toml etc/pgvrrp/pgvrrp.toml
        chroot . dpkg --install /root/newer.deb
        chroot . dpkg --remove pgvrrp
        [ -e etc/pgvrrp/pgvrrp.toml ]
        chroot . dpkg --purge pgvrrp
        [ ! -e etc/pgvrrp ]
        [ ! -L etc/systemd/system/multi-user.target.wants/pgvrrp.service ]
    "#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]).arg(&given.debian);
    let output = command.arg(scratch.path()).args(&given.packages).stdin(Stdio::null()).output().expect("unshare runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {said}", output.status);
    println!("{said}");
}

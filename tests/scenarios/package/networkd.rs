//! systemd-networkd manages the VIP's interface.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::installed::{Installed, SECOND};
use super::others::{doctor_says, leaves_the_vip, nobody_notices, removes_the_vip};
use super::printed::HOSTS;

/// The node's address is as the lab has given it, which is without a broadcast address.
const NETWORK: &str = "/etc/systemd/network/10-lan.network";

/// Where networkd could write to /sys it waits for udev's word that an interface is ready, and by then it knows the addresses that
/// are there. No udev runs here. Without its word networkd would configure interfaces at its start before it has read addresses,
/// and find none to remove, unlike on a host.
const AS_WITH_UDEV: &str = "
    mkdir -p /run/sys /run/udev/data /etc/systemd/system/systemd-networkd.service.d &&
    mount -t sysfs machine /run/sys && mount -o remount,rw /run/sys &&
    for link in /sys/class/net/*/ifindex; do echo I:1 > /run/udev/data/n$(cat $link) || exit 1; done &&
    printf '[Service]\\nBindPaths=/run/sys:/sys\\n' > /etc/systemd/system/systemd-networkd.service.d/udev.conf &&
    systemctl daemon-reload";

const RESTART: &str = "systemctl restart systemd-networkd";
const RECONFIGURE: &str = "networkctl reconfigure eth0";
const RELOAD: &str = "networkctl reload";

pub(super) fn removes_the_vip_unless_it_is_told(here: &Installed<'_>) -> Result<()> {
    HOSTS.ensure_prints(RECONFIGURE)?;
    HOSTS.ensure_prints(RELOAD)?;
    println!("{}", here.succeed("networkctl --version | head -1")?);
    here.stage.probes.borrow_mut().add_hasty_client()?;
    here.succeed(AS_WITH_UDEV)?;
    let own = format!("[Address]\nAddress={}/24\nBroadcast=no\n", here.node.ip());
    let network = format!("[Match]\nName=eth0\n\n[Network]\nIPv6AcceptRA=no\n\n{own}");
    fs::write(here.machine.file(NETWORK), network)?;
    nobody_notices(here, || {
        removes_the_vip(here, RESTART)?;
        wait_configured(here)?;
        // Of IPv6 it takes a global address and leaves a link-local one, which are not ours here, so that nobody puts them back.
        let [global, link_local] = ["2001:db8::155", "fe80::155"];
        for address in [global, link_local] {
            here.succeed(&format!("ip address add {address}/128 dev eth0 valid_lft 60 preferred_lft 60"))?;
        }
        removes_the_vip(here, RECONFIGURE)?;
        wait_configured(here)?;
        ensure!(!here.has_address(global)?, "it has left {global} alone");
        ensure!(here.has_address(link_local)?, "it has removed {link_local}");
        // As long as nothing has changed.
        leaves_the_vip(here, RELOAD)
    })?;
    let said = doctor_says(here, "warning", "systemd-networkd")?;
    ensure!(said.contains("removes the VIP") && said.contains("KeepConfiguration= is not set"), "{said}");
    ensure!(said.contains("/etc/systemd/network/10-lan.network.d/pgvrrp.conf") && said.contains(RELOAD), "{said}");
    Ok(())
}

pub(super) fn static_is_not_enough(here: &Installed<'_>) -> Result<()> {
    HOSTS.ensure_prints("KeepConfiguration=static")?;
    set(here, &printed()?.replace("=yes", "=static"))?;
    nobody_notices(here, || {
        for line in [RELOAD, RECONFIGURE, RESTART] {
            removes_the_vip(here, line)?;
            wait_configured(here)?;
        }
        Ok(())
    })?;
    let said = doctor_says(here, "warning", "systemd-networkd")?;
    ensure!(said.contains("removes the VIP") && said.contains("KeepConfiguration=static"), "{said}");
    Ok(())
}

/// And with the other word that is said to do.
pub(super) fn keeps_the_vip_as_printed(here: &Installed<'_>) -> Result<()> {
    HOSTS.ensure_prints("KeepConfiguration=dhcp")?;
    for setting in [printed()?, printed()?.replace("=yes", "=dhcp")] {
        set(here, &setting)?;
        nobody_notices(here, || {
            [RELOAD, RECONFIGURE, RESTART].iter().try_for_each(|line| {
                let before = configurations(here)?;
                leaves_the_vip(here, line)?;
                wait_configured(here)?;
                ensure!(configurations(here)? > before, "`{line}` did nothing");
                Ok(())
            })
        })?;
        let said = doctor_says(here, "ok", "systemd-networkd")?;
        ensure!(said.contains("leaves the VIP alone"), "{said}");
    }
    Ok(())
}

fn printed() -> Result<String> {
    HOSTS.block_with("KeepConfiguration=yes")
}

/// Where the document says, by what networkd calls the file of this interface.
fn set(here: &Installed<'_>, setting: &str) -> Result<()> {
    let status = "networkctl status eth0";
    HOSTS.ensure_prints(status)?;
    let said = here.succeed(status)?;
    let file = said.lines().find_map(|line| line.trim().strip_prefix("Network File: ")).context("no Network File")?;
    let name = file.rsplit('/').next().unwrap_or_default();
    let template = "/etc/systemd/network/NAME.network.d/pgvrrp.conf";
    HOSTS.ensure_prints(template)?;
    let path = here.machine.file(&template.replace("NAME.network", name));
    fs::create_dir_all(path.parent().context("no directory")?)?;
    Ok(fs::write(path, setting)?)
}

/// It answers while it is still at it.
fn wait_configured(here: &Installed<'_>) -> Result<()> {
    let done = || Ok(here.run("networkctl status eth0")?.stdout.windows(12).any(|words| words == b"(configured)"));
    here.stage.lab.wait_until("networkd to have configured eth0", 5 * SECOND, done)
}

/// How often it has configured the interface.
fn configurations(here: &Installed<'_>) -> Result<usize> {
    let said = here.succeed("journalctl --no-pager --output=cat --unit systemd-networkd")?;
    Ok(said.lines().filter(|line| line.starts_with("eth0: ") && line.contains("onfiguring with")).count())
}

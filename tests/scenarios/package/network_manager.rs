//! NetworkManager manages the VIP's interface, and is told to leave those of virtual MACs alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Result, ensure};

use super::installed::{Installed, SECOND, configuration};
use super::others::{doctor_says, leaves_the_vip, nobody_notices, removes_the_vip};
use super::printed::{HOSTS, VIRTUAL_MAC};

const CONNECTION: &str = "/etc/NetworkManager/system-connections/lan.nmconnection";

/// An elected VIP at its own MAC, beside the other.
const VIRTUAL: &str = "10.0.20.156";
const ITS_INTERFACE: &str = "vrrp4-156-eth0";

/// IPv6's need more of the host, and to NetworkManager they differ in the name alone.
const ANOTHER_INTERFACE: &str = "vrrp6-157-eth0";

pub(super) fn removes_the_vip_with_a_connection(here: &Installed<'_>) -> Result<()> {
    let [up, reapply] = ["nmcli connection up NAME", "nmcli device reapply eth0"];
    HOSTS.ensure_prints(up)?;
    HOSTS.ensure_prints(reapply)?;
    println!("{}", here.succeed("NetworkManager --version")?);
    here.stage.probes.borrow_mut().add_hasty_client()?;
    let connection = format!(
        "[connection]\nid=lan\ntype=ethernet\ninterface-name=eth0\n\n\
         [ipv4]\nmethod=manual\naddress1={}/24\n\n[ipv6]\nmethod=link-local\n",
        here.node.ip()
    );
    fs::write(here.machine.file(CONNECTION), connection)?;
    fs::set_permissions(here.machine.file(CONNECTION), fs::Permissions::from_mode(0o600))?;
    nobody_notices(here, || {
        leaves_the_vip(here, "systemctl start NetworkManager")?;
        for line in [&up.replace("NAME", "lan"), &up.replace("NAME", "lan"), reapply] {
            removes_the_vip(here, line)?;
        }
        ensure!(state(here, "eth0")? == "connected", "NetworkManager does not manage it");
        leaves_the_vip(here, "systemctl restart NetworkManager")?;
        leaves_the_vip(here, "nmcli connection reload")
    })?;
    ensure!(state(here, "eth0")? == "connected", "it is not managed any more");
    let said = doctor_says(here, "note", "NetworkManager")?;
    ensure!(said.contains("leaves the VIP alone, but for a moment"), "{said}");
    Ok(())
}

pub(super) fn stays_out_of_virtual_macs(here: &Installed<'_>) -> Result<()> {
    // The machine may not set what is the kernel's.
    for line in ["net.ipv4.conf.eth0.arp_ignore = 1", "net.ipv6.conf.default.accept_ra = 0"] {
        let block = VIRTUAL_MAC.block_with(line)?;
        for setting in block.lines().filter(|line| line.starts_with("net.")) {
            let mut sysctl = here.stage.lab.namespace(here.node).command("sysctl");
            let done = sysctl.args(["-q", "-w", &setting.replace(' ', "")]).status()?;
            ensure!(done.success(), "{setting} cannot be set");
        }
    }
    let elected =
        format!("\n[[vip]]\naddress = \"{VIRTUAL}\"\nvirtual_router_id = 156\nfollows = \"none\"\nmac = \"virtual\"\n");
    here.configure(&(configuration(here.stage.lab, here.node).render() + &elected))?;
    leaves_the_vip(here, "pgvrrp reload")?;
    here.stage.lab.wait_until("the elected VIP", 10 * SECOND, || is_there(here))?;
    here.stage.lab.namespace(here.node).ip_batch(&format!(
        "link add link eth0 name {ANOTHER_INTERFACE} type macvlan mode private\nlink set {ANOTHER_INTERFACE} up\n\
         address add 2001:db8::157/128 dev {ANOTHER_INTERFACE}\n"
    ))?;
    for interface in [ITS_INTERFACE, ANOTHER_INTERFACE] {
        wait_state(here, interface, "connected (externally)")?;
    }
    let [path, reload] = ["/etc/NetworkManager/conf.d/pgvrrp.conf", "nmcli general reload"];
    HOSTS.ensure_prints(path)?;
    HOSTS.ensure_prints(reload)?;
    let setting = HOSTS.block_with("unmanaged-devices=interface-name:vrrp4-*;interface-name:vrrp6-*")?;
    fs::write(here.machine.file(path), setting)?;
    for line in [reload, "systemctl restart NetworkManager"] {
        leaves_the_vip(here, line)?;
        for interface in [ITS_INTERFACE, ANOTHER_INTERFACE] {
            wait_state(here, interface, "unmanaged")?;
        }
        ensure!(is_there(here)?, "{VIRTUAL} has left {ITS_INTERFACE}");
    }
    ensure!(state(here, "eth0")? == "connected", "the setting is about the interface below as well");
    Ok(())
}

fn is_there(here: &Installed<'_>) -> Result<bool> {
    let listing = here.stage.lab.namespace(here.node).ip(&["-oneline", "address", "show"])?;
    Ok(listing.lines().any(|line| line.contains(ITS_INTERFACE) && line.contains(&format!(" {VIRTUAL}/"))))
}

/// What NetworkManager makes of an interface.
fn state(here: &Installed<'_>, interface: &str) -> Result<String> {
    let said = here.succeed("nmcli --terse --fields DEVICE,STATE device")?;
    let state = said.lines().find_map(|line| line.strip_prefix(interface)?.strip_prefix(':'));
    Ok(state.unwrap_or("unknown").to_owned())
}

fn wait_state(here: &Installed<'_>, interface: &str, is: &str) -> Result<()> {
    let what = format!("NetworkManager to say that {interface} is {is}");
    here.stage.lab.wait_until(&what, 5 * SECOND, || Ok(state(here, interface)? == is))?;
    println!("{interface}: {is}");
    Ok(())
}

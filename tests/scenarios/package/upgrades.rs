//! One version in the place of another, beside clients at work, and what may come between.

use std::thread;

use anyhow::{Result, ensure};
use lab::Time;

use super::installed::{Installed, NEWER, OLDER, SECOND, configuration};
use super::printed::README;

/// A VIP that VRRP elects.
pub(super) const ELECTED: &str = "10.0.20.200";

pub(super) fn elected(here: &Installed<'_>) -> String {
    format!(
        "node = \"{}\"\ninterface = \"eth0\"\n\n\
         [[vip]]\naddress = \"{ELECTED}\"\nvirtual_router_id = 51\nfollows = \"none\"\n",
        here.node
    )
}

pub(super) fn without_moving_the_vip(here: &Installed<'_>) -> Result<()> {
    let sessions = {
        let mut probes = here.stage.probes.borrow_mut();
        probes.add_hasty_client()?;
        probes.open_sessions(5)?
    };
    let (start, former, holding) = (Time::now(), here.daemon()?, here.holding()?);
    let said = here.as_printed(&README, "apt install ./pgvrrp_0.2.0-1_amd64.deb")?;
    ensure!(said.contains("has handed over to") && said.contains("10.0.20.155 HERE"), "{said}");
    ensure!(here.daemon()? != former, "it is the former process");
    here.has_kept(&holding)?;
    here.stage.nobody_noticed(&holding, start, &sessions)
}

/// A configuration that is wrong, the local policy, and an etcd that does not answer: the daemon that runs goes on, and dpkg
/// says why.
pub(super) fn what_hinders_one_stops_nothing(here: &Installed<'_>) -> Result<()> {
    let (stage, former, holding) = (here.stage, here.daemon()?, here.holding()?);
    let right = configuration(stage.lab, here.node).render();
    here.configure(&format!("nonsense = 1\n{right}"))?;
    let said = here.install(NEWER)?;
    ensure!(said.contains("nonsense") && said.contains("the daemon that runs goes on"), "{said}");
    here.configure(&right)?;

    here.write_program("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
    let said = here.install(NEWER)?;
    ensure!(said.contains("policy-rc.d forbids") && said.contains("Later: pgvrrp handover"), "{said}");
    here.succeed("rm /usr/sbin/policy-rc.d")?;

    // From the daemon alone: Patroni stays primary.
    let user = here.succeed("id --user pgvrrp")?;
    let namespace = stage.lab.namespace(here.node);
    namespace.nft(&format!(
        "table inet without_etcd {{\n  chain out {{\n    type filter hook output priority -400;\n    \
         meta skuid {} tcp dport 2379 drop\n  }}\n}}\n",
        user.trim()
    ))?;
    here.wait_status("no answer within")?;
    let said = here.install(NEWER)?;
    namespace.nft("delete table inet without_etcd\n")?;
    ensure!(said.contains("etcd") && said.contains("the daemon that runs goes on"), "{said}");
    ensure!(here.daemon()? == former, "the daemon was replaced");
    here.has_kept(&holding)
}

/// The same version once more, and the older one again.
pub(super) fn again_and_back(here: &Installed<'_>) -> Result<()> {
    let holding = here.holding()?;
    let mut former = here.daemon()?;
    for package in [NEWER, OLDER, NEWER] {
        let said = here.install(package)?;
        ensure!(said.contains("has handed over to") && said.contains("10.0.20.155 HERE"), "{said}");
        let daemon = here.daemon()?;
        ensure!(daemon != former, "it is the former process");
        former = daemon;
        // A daemon that was just started has to have proved its right once before it can hand over.
        thread::sleep(SECOND);
    }
    here.has_kept(&holding)
}

pub(super) fn leave_the_service_as_the_operator_has_it(here: &Installed<'_>) -> Result<()> {
    here.stop()?;
    here.succeed("systemctl disable pgvrrp")?;
    let said = here.install(NEWER)?;
    ensure!(said.contains("does not run, and is left so"), "{said}");
    ensure!(here.property("ActiveState")? == "inactive", "it was started");
    ensure!(here.property("UnitFileState")? == "disabled", "it was enabled");
    here.succeed("systemctl enable --now pgvrrp")?;
    here.wait_vip()
}

/// It cannot be handed over, so it is for the operator to say when it may move.
pub(super) fn an_elected_vip_stays_too(here: &Installed<'_>) -> Result<()> {
    here.stop()?;
    here.configure(&elected(here))?;
    here.systemctl("start")?;
    here.stage.lab.wait_until("the elected VIP", 10 * SECOND, || here.has_address(ELECTED))?;
    let former = here.daemon()?;
    let said = here.install(NEWER)?;
    ensure!(said.contains("election begins in Backup") && said.contains("systemctl restart pgvrrp"), "{said}");
    ensure!(here.daemon()? == former && here.has_address(ELECTED)?, "the elected VIP has left");
    Ok(())
}

//! The daemon under systemd: reloads, ends of every kind, and what systemd and the journal say of them.

use std::thread;

use anyhow::{Context, Result, ensure};
use lab::Time;
use serde_json::Value;

use super::installed::{Installed, SECOND, SETTLED, configuration};
use super::printed::{LOGS, README, RUNBOOK};

/// Nothing in the unit that systemd does not understand, and little that is open.
pub(super) fn is_clean(here: &Installed<'_>) -> Result<()> {
    let complaints = here.succeed("systemd-analyze verify pgvrrp.service 2>&1")?;
    ensure!(complaints.is_empty(), "{complaints}");
    let exposure = here.succeed("systemd-analyze security --no-pager --threshold=20 pgvrrp.service")?;
    println!("{}", exposure.lines().last().unwrap_or_default());
    Ok(())
}

pub(super) fn tells_the_journal(here: &Installed<'_>) -> Result<()> {
    for command in [
        "journalctl -u pgvrrp PGVRRP_EVENT=gained PGVRRP_EVENT=lost",
        "journalctl -u pgvrrp PGVRRP_VIP=10.0.20.155 --since yesterday",
        "journalctl -u pgvrrp PGVRRP_EVENT=gained -o verbose",
    ] {
        let said = here.as_printed(&LOGS, command)?;
        ensure!(said.contains("10.0.20.155 is bound here"), "{command}: {said}");
    }
    let entries = here.succeed("journalctl -u pgvrrp PGVRRP_EVENT=gained -o json")?;
    let entry: Value = serde_json::from_str(entries.lines().next().context("no entry")?)?;
    for (field, value) in [("PGVRRP_VIP", "10.0.20.155"), ("PGVRRP_REASON", "holding"), ("PRIORITY", "6")] {
        ensure!(entry[field] == value, "{field}: {entry:#}");
    }
    ensure!(entry["PGVRRP_EVIDENCE"].as_str().is_some_and(|text| text.contains("PostgreSQL: primary")), "{entry:#}");
    let count = "journalctl -u pgvrrp PGVRRP_EVENT=lost PGVRRP_REASON=postgres_down -o cat | wc -l";
    let count = here.as_printed(&LOGS, count)?;
    ensure!(count.trim() == "0", "{count}");
    here.as_printed(&LOGS, "journalctl -u pgvrrp -p warning")?;
    Ok(())
}

/// With nothing changed, with addresses that come and go, and with a file that is wrong, beside clients at work.
pub(super) fn reloads(here: &Installed<'_>) -> Result<()> {
    let sessions = {
        let mut probes = here.stage.probes.borrow_mut();
        probes.add_hasty_client()?;
        probes.open_sessions(5)?
    };
    let (start, former, holding) = (Time::now(), here.daemon()?, here.holding()?);
    let right = configuration(here.stage.lab, here.node);
    here.as_printed(&README, "systemctl reload pgvrrp")?;

    let mut more = right.clone();
    more.remove("vip", "address").set("vip", "addresses", "[\"10.0.20.155\", \"10.0.20.156\"]");
    let elected = "\n[[vip]]\naddress = \"10.0.20.200\"\nvirtual_router_id = 51\nfollows = \"none\"\n";
    here.configure(&(more.render() + elected))?;
    let said = here.as_printed(&README, "pgvrrp reload")?;
    ensure!(
        README.block_with("# pgvrrp reload")? == format!("# pgvrrp reload\n{said}"),
        "README.md shows another answer"
    );
    here.stage.lab.wait_until("the second address", 5 * SECOND, || here.has_address("10.0.20.156"))?;
    here.configure(&right.render())?;
    here.systemctl("reload")?;
    here.stage.lab.wait_until("it to go", 5 * SECOND, || Ok(!here.has_address("10.0.20.156")?))?;

    here.configure(&format!("nonsense = 1\n{}", right.render()))?;
    let refused = here.ends_with("systemctl reload pgvrrp", 1)?;
    ensure!(refused.contains("failed"), "{refused}");
    for question in ["systemctl status pgvrrp", "pgvrrp status"] {
        let said = here.succeed(question)?;
        println!("# {question}\n{said}");
        ensure!(said.contains("nonsense"), "{question} does not say why");
    }
    ensure!(here.property("ActiveState")? == "active", "systemd takes it for failed");
    here.configure(&right.render())?;
    here.systemctl("reload")?;
    let forgotten = || Ok(!here.succeed("pgvrrp status")?.contains("nonsense"));
    here.stage.lab.wait_until("the former mistake to be forgotten", SECOND, forgotten)?;

    ensure!(here.daemon()? == former, "a reload replaced the process");
    here.has_kept(&holding)?;
    here.stage.nobody_noticed(&holding, start, &sessions)
}

/// Within the unit's bounds it is back before the address has gone. One that is stopped is killed by the watchdog first.
pub(super) fn is_back_after_a_kill_and_a_stop(here: &Installed<'_>) -> Result<()> {
    let (holding, restarts) = (here.holding()?, here.property("NRestarts")?.parse::<u32>()?);
    let former = here.daemon()?;
    here.succeed("systemctl kill --signal=KILL pgvrrp")?;
    here.has_kept(&holding)?;
    ensure!(here.daemon()? != former, "it was not killed");

    let (former, stopped) = (here.daemon()?, Time::now());
    here.succeed("systemctl kill --signal=STOP pgvrrp")?;
    let replaced = || Ok(here.property("ActiveState")? == "active" && ![0, former].contains(&here.daemon()?));
    here.stage.lab.wait_until("the watchdog", 10 * SECOND, replaced)?;
    println!("a daemon that was stopped was replaced after {:.1?}", stopped.elapsed());
    here.wait_vip()?;
    // The kernel does not wait for systemd.
    let left = here.stage.analysis().holdings().into_iter().rfind(|holding| holding.to.is_some_and(|to| to > stopped));
    match left.and_then(|holding| holding.to) {
        Some(to) => println!("the VIP had left after {:.1?}", to.since(stopped)),
        None => println!("the VIP had not left: the next daemon went on with it"),
    }
    ensure!(stopped.elapsed() < 2 * SETTLED, "it took {:?}", stopped.elapsed());
    let journal = here.as_printed(
        &RUNBOOK,
        "journalctl -u pgvrrp --since -1h | grep -i -e starting -e watchdog -e panicked -e 'code='",
    )?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    let said = here.as_printed(&RUNBOOK, "systemctl show pgvrrp -p NRestarts")?;
    ensure!(said.trim() == format!("NRestarts={}", restarts + 2), "{said}");
    Ok(())
}

/// It would find the same. systemd says so, and why.
pub(super) fn does_not_try_a_wrong_configuration_again(here: &Installed<'_>) -> Result<()> {
    let right = configuration(here.stage.lab, here.node).render();
    here.configure(&format!("nonsense = 1\n{right}"))?;
    here.ends_with("systemctl restart pgvrrp", 1)?;
    thread::sleep(SECOND);
    ensure!(here.property("ActiveState")? == "failed", "it is {}", here.property("ActiveState")?);
    let (code, restarts) = (here.property("ExecMainStatus")?, here.property("NRestarts")?);
    ensure!(code == "78" && restarts == "0", "exit code {code}, {restarts} restarts");
    RUNBOOK.ensure_prints("systemctl status pgvrrp")?;
    let said = here.ends_with("systemctl status pgvrrp", 3)?;
    ensure!(said.contains("nonsense") && said.contains("78/CONFIG"), "{said}");
    let last = here.as_printed(&RUNBOOK, "journalctl -u pgvrrp -n 50")?;
    ensure!(last.contains("nonsense"), "{last}");
    here.wait_gone()?;
    here.configure(&right)?;
    here.as_printed(&RUNBOOK, "systemctl restart pgvrrp")?;
    here.wait_vip()
}

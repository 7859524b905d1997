//! What another that manages the VIP's interface does to the VIP: by the kernel's notifications, by the daemon's count of what it had
//! to put back, and by the sessions of clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Time;
use lab::daemon::HTTP_PORT;
use lab::http::{self, Request};

use super::installed::{Installed, SECOND};

/// Documents speak of milliseconds. This machine has more to do.
const SHORT: Duration = Duration::from_millis(500);

/// How often the daemon had to put the VIP back.
fn restored(here: &Installed<'_>) -> Result<f64> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
    let namespace = here.stage.lab.namespace(here.node);
    let metrics = namespace.run(|| http::request(server, Request::get("/metrics"), SECOND))??.body;
    let name = "pgvrrp_repairs_total{vip=\"10.0.20.155\",kind=\"restored\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)).context("no count of repairs")?;
    Ok(value.trim().parse()?)
}

/// Runs a line that takes the VIP away: it is back soon, which is counted.
pub(super) fn removes_the_vip(here: &Installed<'_>, line: &str) -> Result<()> {
    let (before, count) = (here.holding()?, restored(here)?);
    here.succeed(line)?;
    let came = || Ok(here.holding()?.from > before.from && restored(here)? > count);
    here.stage.lab.wait_until(&format!("`{line}` to remove the VIP"), 5 * SECOND, came)?;
    let holdings = here.stage.analysis().holdings();
    let mut since = holdings.into_iter().skip_while(|holding| holding.from < before.from);
    let left = since.next().and_then(|holding| holding.to).context("it has not left")?;
    let away = since.next().context("it has not come")?.from.since(left);
    println!("`{line}` removed the VIP, which was away for {away:.1?}");
    ensure!(away < SHORT, "it was away for {away:?}");
    here.wait_vip()
}

/// Runs a line that does not: for a second the VIP is where it was, and nothing had to be put back.
pub(super) fn leaves_the_vip(here: &Installed<'_>, line: &str) -> Result<()> {
    let (before, count) = (here.holding()?, restored(here)?);
    here.succeed(line)?;
    here.stage.calm(SECOND)?;
    ensure!(here.holding()?.from == before.from, "`{line}` removed the VIP");
    ensure!(restored(here)? == count, "after `{line}` the VIP was put back");
    println!("`{line}` left the VIP alone");
    Ok(())
}

/// Sessions through the VIP outlive what is done, and the client in a hurry is not told no.
pub(super) fn nobody_notices(here: &Installed<'_>, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let sessions = here.stage.probes.borrow_mut().open_sessions(5)?;
    let start = Time::now();
    act()?;
    here.stage.undisturbed(start)?;
    let ended = here.stage.analysis().session_ends().filter(|(session, ..)| sessions.contains(session)).count();
    ensure!(ended == 0, "{ended} of 5 sessions have ended");
    Ok(())
}

/// What `pgvrrp doctor` says about this, and advises: a line that begins with the level, and those that belong to it.
pub(super) fn doctor_says(here: &Installed<'_>, level: &str, about: &str) -> Result<String> {
    let said = here.machine.output(&["pgvrrp", "doctor"])?;
    let mut lines = said.lines().skip_while(|line| !line.contains(about));
    let first = lines.next().with_context(|| format!("doctor says nothing about {about}:\n{said}"))?;
    let rest = lines.take_while(|line| line.starts_with(' '));
    let finding = rest.fold(first.to_owned(), |text, line| text + "\n" + line);
    println!("{finding}");
    ensure!(finding.starts_with(level), "it is no {level}: {finding}");
    Ok(finding)
}

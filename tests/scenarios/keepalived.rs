//! A real Keepalived on the same segment that competes for the same virtual router and the same VIP, from dcs.
//!
//! It is a router of another kind: what it binds on its own node is not pgvrrp's to promise. What is measured is for how
//! long both have the VIP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::history::{Frame, Observation};
use lab::keepalived::Keepalived;
use lab::{Node, Options, Time};

use crate::stage::{Stage, play, play_with};

const SECOND: Duration = Duration::from_secs(1);

/// Where Keepalived runs.
const FOREIGN: Node = Node::Dcs;

/// The highest that is not the owner's.
const PRIORITY: u8 = 254;

/// Keepalived has elected itself and has the VIP.
fn keepalived_is_active(stage: &Stage<'_>) -> Result<Keepalived> {
    let keepalived = Keepalived::start(stage.lab, FOREIGN, PRIORITY)?;
    stage.wait_vip(FOREIGN, 10 * SECOND).with_context(|| keepalived.log())?;
    Ok(keepalived)
}

/// With the form of the checksum that Keepalived understands from the first advertisement on.
fn understood(stage: &Stage<'_>, node: Node) -> Launch {
    let mut launch = Launch::reference(stage.lab, node);
    launch.config.set("vip", "checksum", "\"rfc5798\"");
    launch
}

/// Starts a standby's daemon, which has heard Keepalived when this returns.
fn standby_that_hears(stage: &Stage<'_>, launch: &Launch) -> Result<()> {
    stage.launch(Node::Db2, launch)?;
    stage.lab.wait_until("db2 to hear Keepalived", 5 * SECOND, || {
        let vip = stage.vip_status(Node::Db2)?;
        Ok(vip["peers"][0]["address"] == FOREIGN.ip().to_string() && vip["peers"][0]["priority"] == PRIORITY)
    })?;
    stage.status_says(Node::Db2, &format!("heard        {} priority {PRIORITY}", FOREIGN.ip()))
}

/// For how long Keepalived and a database node both had the VIP since then, in milliseconds.
fn both_had_it(stage: &Stage<'_>, since: Time) -> f64 {
    let overlaps = stage.analysis().overlaps();
    let recent = overlaps.iter().filter(|(_, later, _)| later.from >= since);
    recent.map(|(.., length)| *length).sum::<Duration>().as_secs_f64() * 1000.0
}

/// Moves the primary. How much later than it could be the VIP was bound, at most, and for how long both had it, in
/// milliseconds.
fn moved_to(stage: &Stage<'_>, node: Node) -> Result<(f64, f64)> {
    let begun = Time::now();
    stage.lab.switchover(node)?;
    stage.wait_vip(node, 20 * SECOND)?;
    let movement = stage.analysis().moves().pop().context("no move")?;
    let lag = movement.lag().context("no lag")?;
    let both = both_had_it(stage, begun);
    println!(
        "bound on {node} {:.1} to {:.1} ms after it could be; both had it for {both:.2} ms",
        lag.at_least, lag.at_most
    );
    Ok((lag.at_most, both))
}

#[test]
fn keepalived_yields_before_the_address_is_bound_and_takes_what_is_given_up() {
    play_with(Options::default(), |stage| {
        let keepalived = keepalived_is_active(stage)?;
        standby_that_hears(stage, &Launch::reference(stage.lab, Node::Db2))?;
        let (lag, both) = moved_to(stage, Node::Db2).with_context(|| keepalived.log())?;
        // Keepalived goes without a goodbye, so the whole tenth of a second is waited for.
        ensure!(lag < 250.0 && both == 0.0, "lag {lag}, overlap {both}");
        stage.daemon(Node::Db2, |daemon| {
            ensure!(daemon.log().contains("advertising first: a foreign VRRP router is Active"), "{}", daemon.log());
            Ok(())
        })?;
        // The goodbye of one primary is Keepalived's chance; the next primary takes the VIP from it.
        stage.start_daemon(Node::Db1)?;
        stage.lab.wait_settled(Node::Db2, 30 * SECOND)?;
        let begun = Time::now();
        let (lag, both) = moved_to(stage, Node::Db1).with_context(|| keepalived.log())?;
        ensure!(lag < 250.0 && both == 0.0, "lag {lag}, overlap {both}");
        let between = stage.last_holding(FOREIGN)?;
        ensure!(between.from > begun, "Keepalived did not take what was given up");
        stage.probes.borrow_mut().add_hasty_client()?;
        stage.wait_writes(5 * SECOND)?;
        stage.calm(5 * SECOND)
    });
}

#[test]
fn keepalived_yields_to_an_address_that_is_bound_at_once() {
    play_with(Options::default(), |stage| {
        let keepalived = keepalived_is_active(stage)?;
        let mut launch = Launch::reference(stage.lab, Node::Db2);
        launch.config.set("policy", "foreign_active", "\"bind-at-once\"");
        standby_that_hears(stage, &launch)?;
        let (lag, both) = moved_to(stage, Node::Db2).with_context(|| keepalived.log())?;
        ensure!(lag < 50.0, "{lag}");
        ensure!(both < 500.0, "{both}");
        stage.probes.borrow_mut().add_hasty_client()?;
        stage.wait_writes(5 * SECOND)?;
        stage.calm(5 * SECOND)
    });
}

/// The way from Keepalived to pgvrrp that the README describes: nobody stopped Keepalived, and the new daemon binds
/// before it has heard it.
#[test]
fn a_daemon_is_started_on_the_primary_while_keepalived_has_the_vip() {
    play_with(Options::default(), |stage| {
        let keepalived = keepalived_is_active(stage)?;
        let begun = Time::now();
        stage.launch(Node::Db1, &understood(stage, Node::Db1))?;
        stage.wait_vip(Node::Db1, 5 * SECOND).with_context(|| keepalived.log())?;
        let both = both_had_it(stage, begun);
        println!("both had the VIP for {both:.2} ms");
        ensure!(both < 500.0, "{both}");
        stage.probes.borrow_mut().add_hasty_client()?;
        stage.wait_writes(5 * SECOND)?;
        stage.calm(5 * SECOND)
    });
}

#[test]
fn a_keepalived_that_understands_the_holder_never_gets_the_vip() {
    play_with(Options::default(), |stage| {
        stage.launch(Node::Db1, &understood(stage, Node::Db1))?;
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        let begun = Time::now();
        let keepalived = Keepalived::start(stage.lab, FOREIGN, PRIORITY)?;
        stage.calm(8 * SECOND).with_context(|| keepalived.log())?;
        ensure!(keepalived.log().contains("Entering BACKUP STATE"), "{}", keepalived.log());
        ensure!(stage.last_holding(FOREIGN).is_err(), "Keepalived had the VIP");
        let heard = adverts_of(stage, FOREIGN);
        ensure!(heard == 0, "Keepalived has sent {heard} advertisements");
        stage.undisturbed(begun)
    });
}

/// Nothing is known of it while it is Backup and silent: `checksum = "auto"` speaks in the form that it understands as well.
#[test]
fn a_keepalived_that_comes_later_hears_the_holder_and_stays_backup() {
    play(Options::default(), |stage| {
        let begun = Time::now();
        let keepalived = Keepalived::start(stage.lab, FOREIGN, PRIORITY)?;
        stage.calm(8 * SECOND).with_context(|| keepalived.log())?;
        ensure!(stage.last_holding(FOREIGN).is_err() && adverts_of(stage, FOREIGN) == 0, "{}", keepalived.log());
        // Half of what it hears is not in its form, and it says so.
        ensure!(keepalived.log().contains("Invalid VRRPv3 checksum"), "{}", keepalived.log());
        stage.undisturbed(begun)?;
        // It leaves no process behind, not even its child.
        drop(keepalived);
        stage.lab.wait_until("Keepalived to be gone", SECOND, || Ok(keepalived_pids(stage)?.is_empty()))
    });
}

fn keepalived_pids(stage: &Stage<'_>) -> Result<Vec<u32>> {
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let pids = stage.lab.namespace(FOREIGN).pids()?.into_iter();
    Ok(pids.filter(|pid| name(pid).starts_with("keepalived") && lab::process::is_alive(*pid)).collect())
}

/// How many advertisements a node has sent.
fn adverts_of(stage: &Stage<'_>, sender: Node) -> usize {
    let analysis = stage.analysis();
    let is_advert =
        |what: &Observation| matches!(what, Observation::Frame { node, frame: Frame::Vrrp { .. } } if *node == sender);
    analysis.events().iter().filter(|event| is_advert(&event.what)).count()
}

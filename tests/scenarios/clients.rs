//! What applications see of a move: drivers, pools and a pooler as people have them, with no settings but where to connect.
//!
//! Every event ends with a table, in Markdown, of what each of them was told and when it worked again.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::analysis::Distribution;
use lab::application::{Account, table};
use lab::daemon::Daemon;
use lab::history::Observation;
use lab::{Application, Direction, Node, Options, Time, Traffic};
use nix::sys::signal::Signal;

use crate::stage::{Stage, play, times};

const SECOND: Duration = Duration::from_secs(1);

/// How long after the old primary or its address has gone its clients may still wait for word of it, when it can speak.
const TOLD: Duration = Duration::from_millis(500);

/// How long after the VIP is on the successor the clients of one that could not speak may wait. It is to be a second;
/// more than this only a broken program needs.
const TOLD_BY_SUCCESSOR: Duration = Duration::from_secs(3);

/// How long an event is watched after the VIP is somewhere again: those who are not told by then are not told.
const WATCHED: Duration = Duration::from_secs(16);

const WORKERS: usize = 8;

/// Connections that an Odoo-like pool has beyond those that it uses.
const POOLED: usize = 20;

/// PostgreSQL takes these connections and what else there is: probes, pools, replication.
fn options(crowd: usize) -> Options {
    Options { max_connections: u32::try_from(crowd).unwrap_or(u32::MAX) + 150, ..Options::default() }
}

/// All kinds of application at once.
struct Cast(Vec<Application>);

impl Cast {
    /// With `idle` connections that do nothing and `waiting` that wait for a long query, half of them without keepalive.
    fn assemble(stage: &Stage<'_>, idle: usize, waiting: usize) -> Result<Self> {
        let lab = stage.lab;
        let begun = Time::now();
        let mut cast = Vec::new();
        for keepalives in [true, false] {
            cast.push(Application::crowd(lab, idle / 2, 0, keepalives)?);
            cast.push(Application::crowd(lab, 0, waiting / 2, keepalives)?);
        }
        println!("{} connections open after {:.1?}", idle + waiting, begun.elapsed());
        cast.push(Application::odoo_like_pool(lab, WORKERS, POOLED)?);
        cast.push(Application::held(lab, WORKERS, true)?);
        cast.push(Application::held(lab, WORKERS, false)?);
        cast.push(Application::asyncpg_pool(lab, WORKERS)?);
        cast.push(Application::through_pgbouncer(lab, WORKERS)?);
        cast.push(Application::pgbench(lab, WORKERS, false)?);
        // Of several, those who can go on do so without the one that cannot, which then never comes back.
        cast.push(Application::pgbench(lab, 1, true)?);
        let cast = Self(cast);
        let at = Time::now();
        stage.lab.wait_until("every worker's first request", 20 * SECOND, || {
            let accounts = cast.accounts(at, at);
            Ok(accounts.iter().all(|account| !account.works || account.all_served().is_some()))
        })?;
        Ok(cast)
    }

    fn accounts(&self, event: Time, gone: Time) -> Vec<Account> {
        self.0.iter().map(|application| Account::of(application, event, gone)).collect()
    }
}

/// How many connections of the crowd were told by then, of how many.
fn told_by(accounts: &[Account], limit: Time) -> (usize, usize) {
    let crowd = || accounts.iter().filter(|account| !account.works);
    (crowd().map(|account| account.told_by(limit)).sum(), crowd().map(|account| account.clients).sum())
}

/// Prints the table and when the crowd was told.
fn report(title: &str, accounts: &[Account], origin: Time, of: &str) {
    println!("\n### {title}\n\n{}", table(accounts, origin, of));
    let told = accounts.iter().filter(|account| !account.works).flat_map(|account| account.told.values());
    let told = Distribution::of(told.map(|(at, _)| at.millis_after(origin)));
    let told = told.map_or_else(|| "nobody".to_owned(), |told| format!("{told}  p99 {:.2}", told.percentile(99.0)));
    println!("Idle and waiting connections told, ms after {of}: {told}");
    for account in accounts.iter().filter(|account| !account.dropped.is_empty()) {
        let after = Distribution::of(account.dropped.iter().map(|(at, _)| at.millis_after(origin)));
        let (_, how) = &account.dropped[0];
        println!(
            "{}: idle connections found dead, ms after {of}: {}; {how}",
            account.name,
            after.map_or_else(String::new, |a| a.to_string())
        );
    }
}

/// Prints the connections that only the clients know of, and says how many there are.
fn report_forgotten(stage: &Stage<'_>, cast: &Cast, holder: Node) -> Result<usize> {
    let forgotten = stage.lab.forgotten_connections(holder)?;
    println!("connections that the clients believe in and no server knows: {}", forgotten.len());
    for connection in forgotten.values().take(5) {
        let owner = cast.0.iter().find(|application| connection.contains(&format!("pid={},", application.pid())));
        println!("  {}: {connection}", owner.map_or("another", Application::name));
    }
    Ok(forgotten.len())
}

/// Everybody who can still be told has been: or a while has passed.
fn watch(stage: &Stage<'_>, cast: &Cast, event: Time, gone: Time) {
    // That it is not so in time is for the figures to show.
    let _ = stage.lab.wait_until("all to know and to work", WATCHED, || {
        let is_done = |account: &Account| match account.works {
            true => account.all_served().is_some(),
            false => account.told.len() >= account.clients,
        };
        Ok(cast.accounts(event, gone).iter().all(is_done))
    });
}

/// Of all connections that did nothing but exist, this share was told by then.
fn ensure_told(accounts: &[Account], limit: Time, percent: usize) -> Result<()> {
    let (told, all) = told_by(accounts, limit);
    ensure!(told * 100 >= all * percent, "{told} of {all} idle and waiting connections were told in time");
    Ok(())
}

fn ensure_pool_serves(accounts: &[Account], limit: Time) -> Result<()> {
    let pool = accounts.iter().find(|account| account.name.starts_with("Odoo")).context("no pool")?;
    let served = pool.first_served().context("the pool never served again")?;
    ensure!(served <= limit, "the pool served {:.0} ms too late", served.millis_after(limit));
    Ok(())
}

/// The failures of the patient client in a move, each with its place in time.
fn patient_failures(stage: &Stage<'_>, from: Time, marks: &[(&str, Option<Time>)]) -> Vec<String> {
    let events = stage.probes.borrow().history().between(from, Time::from_nanos(u64::MAX));
    let failures = events.iter().filter_map(|event| match &event.what {
        Observation::Patient(attempt) => Some((event.at, attempt.started, attempt.error.as_deref()?)),
        _ => None,
    });
    let told = |(at, started, error): (Time, Time, &str)| {
        let mut text = format!("{error}:");
        for (what, moment) in marks.iter().filter_map(|(what, moment)| Some((what, (*moment)?))) {
            text +=
                &format!(" {:+.1} to {:+.1} ms from {what};", started.millis_after(moment), at.millis_after(moment));
        }
        text
    };
    failures.map(told).collect()
}

#[test]
fn clients_in_planned_moves() {
    let (idle, waiting) = (100, 10);
    play(options(idle + waiting), |stage| {
        stage.probes.borrow_mut().add_patient_client()?;
        let moves = times(2, 10);
        let mut failed = 0;
        let mut holder = Node::Db1;
        for turn in 0..moves {
            let target = holder.other();
            let cast = Cast::assemble(stage, idle, waiting)?;
            let from = Time::now();
            let moved = stage.lab.switchover(target)?;
            stage.wait_vip(target, 20 * SECOND)?;
            let gone = stage.last_holding(holder)?.to.context("it has not left")?;
            watch(stage, &cast, moved.asked, gone);
            // Attempts that met no holder wait for their SYN's second or third try.
            thread::sleep(4 * SECOND);
            let movement = stage.analysis().moves().pop().context("the leader key did not move")?;
            let bound = movement.vip_bound.context("the VIP was not bound")?;
            // The role probe's own session may be the last one that PostgreSQL ends.
            let first_told = cast.accounts(from, gone).iter().filter_map(Account::first_told).min();
            let leaves = [movement.old_down, first_told].into_iter().flatten().fold(gone, Time::min);
            print!("{}", movement.timeline(moved.asked));
            let accounts = cast.accounts(from, gone);
            report(&format!("Planned move {}", turn + 1), &accounts, leaves, "the primary or its VIP began to go");
            let marks = [
                ("the key's going", movement.key_gone),
                ("PostgreSQL's end", movement.old_down),
                ("the VIP's going", movement.vip_gone),
            ];
            let failures = patient_failures(stage, from, &marks);
            failed += failures.len();
            println!("patient client, failures: {}", failures.len());
            failures.iter().for_each(|failure| println!("  {failure}"));
            let forgotten = report_forgotten(stage, &cast, target)?;
            ensure!(forgotten == 0, "{forgotten} connections were never told of the move");
            ensure_told(&accounts, leaves.plus(TOLD), 100)?;
            ensure_pool_serves(&accounts, bound.plus(TOLD_BY_SUCCESSOR))?;
            stage.lab.wait_settled(target, 60 * SECOND)?;
            holder = target;
        }
        println!("patient client: {failed} failures in {moves} moves");
        // It is to be one at most; more than one in each move only a broken program has.
        ensure!(failed <= moves, "{failed} failures of the patient client in {moves} moves");
        Ok(())
    });
}

/// The primary's machine is dead: what the clients know, they know from the successor.
fn after_the_loss(stage: &Stage<'_>, cast: &Cast, off: Time, title: &str) -> Result<()> {
    stage.wait_vip(Node::Db2, 60 * SECOND)?;
    let bound = stage.last_holding(Node::Db2)?.from;
    watch(stage, cast, off, off);
    println!("the VIP was on the successor {:.0} ms after the power had gone", bound.millis_after(off));
    let accounts = cast.accounts(off, off);
    report(title, &accounts, bound, "the VIP was bound on the successor");
    report_forgotten(stage, cast, Node::Db2)?;
    let (told, all) = told_by(&accounts, bound.plus(SECOND));
    println!("told within 1 s: {told} of {all} idle and waiting connections");
    ensure_told(&accounts, bound.plus(TOLD_BY_SUCCESSOR), 99)?;
    ensure_pool_serves(&accounts, bound.plus(TOLD_BY_SUCCESSOR))
}

#[test]
fn clients_when_the_primary_loses_its_power() {
    let (idle, waiting) = (times(180, 900), times(20, 100));
    play(options(idle + waiting), |stage| {
        let cast = Cast::assemble(stage, idle, waiting)?;
        let off = stage.lab.power_off(Node::Db1)?;
        after_the_loss(stage, &cast, off, "Power loss of the primary")
    });
}

#[test]
fn clients_when_the_daemon_is_killed_and_then_the_power_is_lost() {
    let (idle, waiting) = (180, 20);
    play(options(idle + waiting), |stage| {
        let cast = Cast::assemble(stage, idle, waiting)?;
        stage.daemon(Node::Db1, |daemon| Ok(daemon.kill()))?;
        thread::sleep(SECOND);
        let off = stage.lab.power_off(Node::Db1)?;
        after_the_loss(stage, &cast, off, "Daemon killed, then power loss of the primary")
    });
}

/// The address leaves a node that can still speak: it says goodbye.
fn after_the_release(
    stage: &Stage<'_>,
    cast: &Cast,
    title: &str,
    event: Time,
    back: impl FnOnce() -> Result<()>,
) -> Result<()> {
    stage.lab.wait_until("the VIP to leave", 30 * SECOND, || Ok(!stage.holders().contains(&Node::Db1)))?;
    let gone = stage.last_holding(Node::Db1)?.to.context("still there")?;
    println!("the VIP left after {:.0} ms", gone.millis_after(event));
    // So long nobody has it: who is told only by the next holder shows.
    thread::sleep(SECOND);
    back()?;
    watch(stage, cast, event, gone);
    let accounts = cast.accounts(event, gone);
    report(title, &accounts, gone, "the VIP was gone");
    let holder = *stage.holders().first().context("nobody has the VIP")?;
    let forgotten = report_forgotten(stage, cast, holder)?;
    ensure!(forgotten == 0, "{forgotten} connections were never told that the VIP had left");
    ensure_told(&accounts, gone.plus(TOLD), 100)
}

/// Runs one such event with all that there is of clients.
fn released(title: &str, act: impl FnOnce(&Stage<'_>) -> Result<()>, back: impl FnOnce(&Stage<'_>) -> Result<()>) {
    let (idle, waiting) = (180, 20);
    play(options(idle + waiting), |stage| {
        let cast = Cast::assemble(stage, idle, waiting)?;
        let event = Time::now();
        act(stage)?;
        after_the_release(stage, &cast, title, event, || back(stage))
    });
}

/// Its Patroni hangs, so that it is the deadline that makes the VIP leave a primary that still works.
#[test]
fn clients_when_etcd_is_cut_off_from_the_primary() {
    released(
        "etcd cut off from the primary",
        |stage| {
            stage.lab.database(Node::Db1).signal_patroni(Signal::SIGSTOP)?;
            stage.lab.cut(Node::Db1, Traffic::Etcd, Direction::Both)
        },
        |stage| stage.wait_vip(Node::Db2, 60 * SECOND),
    );
}

/// `pgvrrp drain` or `undrain` on db1.
pub(crate) fn by_hand(stage: &Stage<'_>, word: &str) -> Result<()> {
    stage.daemon(Node::Db1, |daemon| {
        let output = daemon.command(&[
            word.as_ref(),
            "10.0.20.155".as_ref(),
            "--config".as_ref(),
            daemon.config_path().as_ref(),
        ])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    })
}

#[test]
fn clients_when_the_vip_is_drained_by_hand() {
    released(
        "Drained by hand",
        |stage| by_hand(stage, "drain"),
        |stage| {
            by_hand(stage, "undrain")?;
            stage.wait_vip(Node::Db1, 10 * SECOND)
        },
    );
}

#[test]
fn clients_when_the_daemon_is_stopped() {
    released(
        "Daemon stopped (SIGTERM) and started",
        |stage| stage.daemon(Node::Db1, Daemon::terminate).map(drop),
        |stage| {
            stage.start_daemon(Node::Db1)?;
            stage.wait_vip(Node::Db1, 20 * SECOND)
        },
    );
}

//! Planned moves, and the death of a primary.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::analysis::Distribution;
use lab::cluster::Switchover;
use lab::patroni::Timing;
use lab::{Node, Options, Time};

use crate::stage::{Stage, play, times};

/// A lag that only a broken program has; what it really is, is reported.
const BROKEN_LAG: f64 = 500.0;

/// Patient clients' attempts that may fail in one planned move.
const MOST_FAILURES: usize = 5;

fn switch(stage: &Stage<'_>, target: Node) -> Result<Switchover> {
    let switchover = stage.lab.switchover(target)?;
    stage.wait_vip(target, Duration::from_secs(20))?;
    stage.wait_writes(Duration::from_secs(10))?;
    stage.lab.wait_settled(target, Duration::from_secs(60))?;
    Ok(switchover)
}

/// Several moves to and fro, each with everything that a client may have.
fn switchovers(stage: &Stage<'_>, count: usize) -> Result<()> {
    stage.probes.borrow_mut().add_patient_client()?;
    let (mut lags, mut told, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    let mut holder = Node::Db1;
    for _ in 0..count {
        let target = holder.other();
        let sessions = stage.probes.borrow_mut().open_sessions(10)?;
        let moved = switch(stage, target)?;
        // Attempts that met no holder wait for their SYN's second or third try.
        thread::sleep(Duration::from_secs(4));
        let analysis = stage.analysis();
        let movement = analysis.moves().pop().context("the leader key did not move")?;
        let lag = movement.lag().context("the VIP did not follow")?;
        ensure!(lag.at_least < BROKEN_LAG, "VIP lag {lag:?}\n{}", movement.timeline(moved.asked));
        lags.push(lag.at_most);
        let gone = movement.vip_gone.context("the VIP did not leave")?;
        for session in sessions {
            let end = analysis.session_ends().find(|(index, ..)| *index == session);
            let (_, at, _) = end.with_context(|| format!("session {session} was not told"))?;
            let after = at.millis_after(gone);
            ensure!(after < 1000.0, "session {session} was told {after} ms after the VIP had left");
            told.push(after);
        }
        let patient = analysis.patient(moved.asked, Time::now());
        ensure!(patient.failed() <= MOST_FAILURES, "patient client: {patient}");
        failures.push(patient.failed());
        holder = target;
    }
    let lag = Distribution::of(lags).context("no lag")?;
    let told = Distribution::of(told).context("no session")?;
    println!("VIP lag (ms, upper bound): {lag}");
    println!("sessions told, after the VIP had left (ms): {told}");
    println!("patient client's failures per move: {failures:?}");
    Ok(())
}

#[test]
fn planned_switchovers_with_patronis_shortest_times() {
    play(Options { timing: Timing::FAST, ..Options::default() }, |stage| switchovers(stage, times(3, 10)));
}

#[test]
fn planned_switchovers_with_patronis_default_times() {
    play(Options { timing: Timing::DEFAULT, ..Options::default() }, |stage| switchovers(stage, times(2, 10)));
}

#[test]
fn planned_switchovers_with_protocol_112_dropped_everywhere() {
    play(Options::default(), |stage| {
        stage.lab.cut_vrrp_everywhere()?;
        switchovers(stage, 2)
    });
}

#[test]
fn the_primary_dies() {
    play(Options::default(), |stage| {
        let mut holder = Node::Db1;
        for _ in 0..times(1, 5) {
            let killed = stage.lab.database(holder).kill_all()?;
            stage
                .lab
                .wait_until("the VIP to leave", Duration::from_secs(5), || Ok(!stage.holders().contains(&holder)))?;
            let left = stage.last_holding(holder)?.to.context("it is still there")?.millis_after(killed);
            ensure!(left < 200.0, "the VIP left {left} ms after PostgreSQL was killed");
            stage.wait_reason(holder, "postgres_down", Duration::from_secs(3))?;
            stage.wait_vip(holder.other(), Duration::from_secs(40))?;
            let movement = stage.analysis().moves().pop().context("the leader key did not move")?;
            let lag = movement.lag().context("the VIP did not follow")?;
            println!(
                "VIP left after {left:.1} ms; on the new primary {:.1} to {:.1} ms after it could",
                lag.at_least, lag.at_most
            );
            ensure!(lag.at_least < BROKEN_LAG, "VIP lag {lag:?}\n{}", movement.timeline(killed));
            stage.wait_writes(Duration::from_secs(10))?;
            stage.lab.database(holder).start()?;
            holder = holder.other();
            stage.lab.wait_settled(holder, Duration::from_secs(60))?;
        }
        Ok(())
    });
}

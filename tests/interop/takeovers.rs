//! Two routers of two makes and the table: whoever has the higher priority is Active, the other one waits in silence,
//! and takes over when it is told to or hears nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Time;
use lab::router::Make;

use crate::cells::{self, Cell, Family};
use crate::stage::{SECOND, Stage, ours, play};

/// Until the slowest cell has elected, with a process that has to start.
const ELECTION: Duration = Duration::from_secs(8);

/// How much earlier or later than RFC 9568 says a Backup may act. FRR drops fractions of 10 ms from its times; these
/// tests have two processors with all that runs beside them.
const EARLY: f64 = 12.0;
const LATE: f64 = 250.0;

/// All ways for the Active role to move, from `active` in place 0 to `backup` in place 1 and back.
fn both_ways(cells: &[Cell], active: Make, backup: Make) {
    play(2, |stage| {
        stage.start(0, active, &cells::with_priority(cells, 200))?;
        stage.wait_holder(cells, 0, ELECTION)?;
        stage.start(1, backup, &cells::with_priority(cells, 100))?;
        stage.calm(cells, 0)?;

        // Told to.
        stage.stop(0)?;
        stage.wait_holder(cells, 1, 4 * SECOND)?;
        check_times(stage, cells, Why::Goodbye)?;

        // By preemption: the lower one gives way without a word.
        let begun = Time::now();
        stage.start(0, active, &cells::with_priority(cells, 200))?;
        stage.wait_holder(cells, 0, ELECTION)?;
        for cell in cells {
            let word = stage.last_word(cell, 1, Time::now())?;
            ensure!(word.1 == 100, "{cell}: it said goodbye when it was preempted");
            let both = stage.ask(|record| record.longest_overlap(cell.addresses[0], &[0, 1], begun));
            // FRR sends the first advertisement over IPv6 one interval after it has the address.
            let silent = if active == Make::Frr && cell.family == Family::V6 { cell.interval } else { Duration::ZERO };
            println!("{cell}, preemption: both had it for {:.2} ms", both.as_secs_f64() * 1000.0);
            ensure!(both < silent + Duration::from_millis(250), "{cell}: both had it for {both:?}");
        }
        stage.calm(cells, 0)?;
        stage.nobody_complains()?;

        // After a crash.
        stage.kill(0)?;
        stage.wait_holder(cells, 1, ELECTION)?;
        check_times(stage, cells, Why::Crash)?;
        stage.nobody_complains()
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Goodbye,
    Crash,
}

/// The Backup got every address when it should.
fn check_times(stage: &Stage, cells: &[Cell], why: Why) -> Result<()> {
    for cell in cells {
        let got = stage.got(cell, 1)?;
        let (said, priority) = stage.last_word(cell, 0, got)?;
        ensure!((priority == 0) == (why == Why::Goodbye), "{cell}: the last word has priority {priority}");
        let router = cell.with_priority(100);
        let due = if why == Why::Goodbye { router.skew() } else { router.down_interval() };
        let off = got.millis_after(said) - due.as_secs_f64() * 1000.0;
        println!("{cell}, {why:?}: {off:+.2} ms");
        ensure!(off > -EARLY && off < LATE, "{cell}: after a {why:?} it took over {off:+.2} ms off");
    }
    Ok(())
}

#[test]
fn keepalived_is_active_and_we_are_backup() {
    both_ways(&cells::usual(), Make::Keepalived, ours());
}

#[test]
fn we_are_active_and_keepalived_is_backup() {
    both_ways(&cells::usual(), ours(), Make::Keepalived);
}

#[test]
fn frr_is_active_and_we_are_backup() {
    both_ways(&cells::usual(), Make::Frr, ours());
}

#[test]
fn we_are_active_and_frr_is_backup() {
    both_ways(&cells::usual(), ours(), Make::Frr);
}

#[test]
fn keepalived_is_active_and_we_are_backup_every_10_ms() {
    both_ways(&cells::fastest(), Make::Keepalived, ours());
}

#[test]
fn we_are_active_and_keepalived_is_backup_every_10_ms() {
    both_ways(&cells::fastest(), ours(), Make::Keepalived);
}

#[test]
fn frr_is_active_and_we_are_backup_every_10_ms() {
    both_ways(&cells::fastest(), Make::Frr, ours());
}

#[test]
fn we_are_active_and_frr_is_backup_every_10_ms() {
    both_ways(&cells::fastest(), ours(), Make::Frr);
}

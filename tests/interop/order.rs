//! Priorities that differ by one order an election: Skew_Time differs by 3.9 ms at 1 s, and by 0.39 ms at 100 ms.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use lab::recorder::Record;
use lab::router::Make;
use lab::segment::Cut;
use lab::{Direction, Time};

use crate::cells::{self, Cell, Family};
use crate::stage::{SECOND, Stage, is_ours, play};

/// Virtual routers that are without their Active at the same moment.
const AT_ONCE: u8 = 5;

/// Three routers, of which the first falls silent up to `tries` times, until the second has taken over `enough` times without a
/// word of the third's.
///
/// Not each time: all are on one machine, which now and then lets a process wait for longer than they differ. Of routers that
/// all wait for the same time, some of [`AT_ONCE`] virtual routers are always taken by the third first.
fn neighbours_in_priority(stage: &Stage, interval: Duration, enough: usize, tries: usize) -> Result<()> {
    let cells: Vec<_> = (1..=AT_ONCE).map(|id| Cell::new(100 + id, Family::V4, interval)).collect();
    for (place, priority) in [102, 101, 100].into_iter().enumerate() {
        stage.start(place, Make::Pgvrrp, &cells::with_priority(&cells, priority))?;
    }
    let mut in_order = 0;
    for tried in 1..=tries {
        stage.wait_holder(&cells, 0, 10 * SECOND)?;
        thread::sleep(5 * interval);
        // Silenced rather than killed: all places are of one kernel here, which keeps its lock on addresses for milliseconds
        // when a process with multicast sockets ends.
        let silenced = Time::now();
        stage.segment.cut(0, Cut::Vrrp, Direction::Out)?;
        let took = |record: &Record, cell: &Cell| {
            record.holdings(cell.addresses[0]).iter().any(|holding| holding.place == 1 && holding.from > silenced)
        };
        let all = |record: &Record| cells.iter().all(|cell| took(record, cell)).then_some(());
        stage.recorder.wait("the second to take over", 10 * SECOND, all)?;
        thread::sleep(interval);
        let spoke =
            |record: &Record, cell: &Cell| record.adverts(cell.id).any(|(at, from, _)| from == 2 && at > silenced);
        in_order += usize::from(!stage.ask(|record| cells.iter().any(|cell| spoke(record, cell))));
        if in_order == enough {
            println!("{in_order} of {tried} in order, every {interval:?}");
            return Ok(());
        }
        stage.segment.heal(0)?;
    }
    bail!("the last in priority spoke first in all but {in_order} of {tries} elections, every {interval:?}")
}

#[test]
fn by_one_every_second() {
    if is_ours() {
        play(3, |stage| neighbours_in_priority(stage, SECOND, 3, 6));
    }
}

#[test]
fn by_one_every_100_ms() {
    if is_ours() {
        play(3, |stage| neighbours_in_priority(stage, SECOND / 10, 5, 30));
    }
}

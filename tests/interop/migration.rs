//! The way from a pair of Keepalived to a pair of ours, one node at a time, and back.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Time;
use lab::router::Make;

use crate::cells::{self, Cell};
use crate::stage::{SECOND, Stage, ours, play};

/// Keepalived says goodbye before it removes the address, and advertises before it has it: with a tenth of a second the
/// other one waits longer than either takes. Nothing may last longer than a machine with much else to do is late.
const BOTH: Duration = Duration::from_millis(50);

/// Every node in turn, the standby first, as one would.
fn move_over(stage: &Stage, cells: &[Cell], to: Make) -> Result<()> {
    let begun = Time::now();
    stage.stop(1)?;
    stage.start(1, to, &cells::with_priority(cells, 100))?;
    stage.calm(cells, 0)?;
    stage.stop(0)?;
    stage.wait_holder(cells, 1, 2 * SECOND)?;
    stage.start(0, to, &cells::with_priority(cells, 200))?;
    stage.wait_holder(cells, 0, 5 * SECOND)?;
    stage.calm(cells, 0)?;
    stage.nobody_complains()?;
    for cell in cells {
        for address in &cell.addresses {
            let both = stage.ask(|record| record.longest_overlap(*address, &[0, 1], begun));
            println!("to {}: two had {address} for {both:?}", to.name());
            ensure!(both < BOTH, "{cell}: two had {address} for {both:?}");
        }
    }
    Ok(())
}

#[test]
fn from_keepalived_and_back() {
    play(2, |stage| {
        let cells = cells::both_families();
        for (place, priority) in [(0, 200), (1, 100)] {
            stage.start(place, Make::Keepalived, &cells::with_priority(&cells, priority))?;
        }
        stage.wait_holder(&cells, 0, 5 * SECOND)?;
        move_over(stage, &cells, ours())?;
        move_over(stage, &cells, Make::Keepalived)
    });
}

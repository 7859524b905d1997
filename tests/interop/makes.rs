//! Three routers of three makes.

use anyhow::Result;
use lab::router::Make;

use crate::cells;
use crate::stage::{SECOND, Stage, ours, play};

/// Who dies leaves it to the next in priority, down to the last.
fn one_after_the_other(stage: &Stage, makes: [Make; 3]) -> Result<()> {
    let cells = cells::both_families();
    for (place, (make, priority)) in makes.into_iter().zip([200, 150, 100]).enumerate() {
        stage.start(place, make, &cells::with_priority(&cells, priority))?;
    }
    stage.wait_holder(&cells, 0, 5 * SECOND)?;
    stage.calm(&cells, 0)?;
    stage.kill(0)?;
    stage.wait_holder(&cells, 1, 3 * SECOND)?;
    stage.calm(&cells, 1)?;
    stage.nobody_complains()?;
    stage.stop(1)?;
    stage.wait_holder(&cells, 2, 3 * SECOND)?;
    stage.start(1, makes[1], &cells::with_priority(&cells, 150))?;
    stage.wait_holder(&cells, 1, 5 * SECOND)?;
    stage.calm(&cells, 1)?;
    stage.nobody_complains()
}

#[test]
fn we_are_first() {
    play(3, |stage| one_after_the_other(stage, [ours(), Make::Keepalived, Make::Frr]));
}

#[test]
fn we_are_second() {
    play(3, |stage| one_after_the_other(stage, [Make::Frr, ours(), Make::Keepalived]));
}

#[test]
fn we_are_last() {
    play(3, |stage| one_after_the_other(stage, [Make::Keepalived, Make::Frr, ours()]));
}

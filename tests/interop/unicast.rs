//! Advertisements to named neighbours instead of the group. FRR cannot do that.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use lab::Segment;
use lab::router::{Make, VirtualRouter};

use crate::cells::{self, Cell};
use crate::stage::{SECOND, Stage, ours, play};

/// A router's part, with the others' addresses of both families.
fn with_peers(cells: &[Cell], priority: u8, peers: &[usize]) -> Vec<VirtualRouter> {
    let mut routers = cells::with_priority(cells, priority);
    for router in &mut routers {
        let is_v6 = router.addresses[0].is_ipv6();
        let own = |place: &usize| -> IpAddr {
            if is_v6 { Segment::link_local(*place).into() } else { Segment::ip(*place).into() }
        };
        router.unicast_peers = peers.iter().map(own).collect();
    }
    routers
}

fn takes_turns(stage: &Stage, active: Make, backup: Make) -> Result<()> {
    let cells = cells::both_families();
    stage.start(0, active, &with_peers(&cells, 200, &[1]))?;
    stage.start(1, backup, &with_peers(&cells, 100, &[0]))?;
    stage.wait_holder(&cells, 0, 5 * SECOND)?;
    stage.calm(&cells, 0)?;
    stage.nobody_complains()?;
    stage.ask(|record| {
        let groups =
            cells.iter().flat_map(|cell| record.adverts(cell.id)).filter(|(.., a)| a.destination.is_multicast());
        ensure!(groups.count() == 0, "advertisements went to the group");
        Ok(())
    })?;
    stage.stop(0)?;
    stage.wait_holder(&cells, 1, 2 * SECOND)?;
    stage.start(0, active, &with_peers(&cells, 200, &[1]))?;
    stage.wait_holder(&cells, 0, 5 * SECOND)?;
    stage.calm(&cells, 0)?;
    stage.kill(0)?;
    stage.wait_holder(&cells, 1, 2 * SECOND)?;
    stage.nobody_complains()
}

#[test]
fn to_a_keepalived_that_is_active() {
    play(2, |stage| takes_turns(stage, Make::Keepalived, ours()));
}

#[test]
fn to_a_keepalived_that_is_backup() {
    play(2, |stage| takes_turns(stage, ours(), Make::Keepalived));
}

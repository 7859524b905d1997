//! Neighbours whose configuration differs from ours, or whose version does.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::Time;
use lab::keepalived::Keepalived;
use lab::router::{Make, VirtualRouter};

use crate::cells::{self, Cell, Family};
use crate::stage::{CALM, SECOND, Stage, is_ours, play};

const INTERVAL: Duration = Duration::from_millis(100);

/// The one that both list.
fn common() -> Cell {
    Cell::new(151, Family::V4, INTERVAL)
}

/// With one address more than the other has.
fn with_more(priority: u8) -> Vec<VirtualRouter> {
    let mut router = common().with_priority(priority);
    router.addresses.push(IpAddr::from([10, 0, 20, 199]));
    vec![router]
}

/// RFC 9568, section 7.1: a different list is to be told of, and not a reason to be deaf. A second holder would be worse.
fn they_list_less(make: Make) {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, make, &cells::with_priority(&[common()], 200))?;
        stage.wait_holder(&[common()], 0, 5 * SECOND)?;
        stage.start(1, Make::Pgvrrp, &with_more(100))?;
        stage.calm(&[common()], 0)?;
        let more = stage.ask(|record| record.holdings(IpAddr::from([10, 0, 20, 199])));
        ensure!(more.is_empty(), "a Backup holds what the Active router does not list");
        stage.kill(0)?;
        stage.wait_holder(&[common()], 1, 2 * SECOND)
    });
}

#[test]
fn a_keepalived_that_is_active_lists_less() {
    they_list_less(Make::Keepalived);
}

#[test]
fn an_frr_that_is_active_lists_less() {
    they_list_less(Make::Frr);
}

/// Keepalived 2.2 is deaf to a list that differs and takes the address as well, whatever we do. Ours stays where it is.
#[test]
fn a_keepalived_that_is_backup_lists_less() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(1, Make::Pgvrrp, &with_more(200))?;
        stage.wait_holder(&[common()], 1, 3 * SECOND)?;
        stage.start(0, Make::Keepalived, &cells::with_priority(&[common()], 100))?;
        stage.recorder.wait("Keepalived to take it as well", 5 * SECOND, |record| {
            (record.holders(common().addresses[0]).len() == 2).then_some(())
        })?;
        stays(stage, 1)
    });
}

/// Version 2 of another router with the same number: not understood, not obeyed, and told of.
#[test]
fn somebody_speaks_version_2() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(1, Make::Pgvrrp, &cells::with_priority(&[common()], 100))?;
        stage.wait_holder(&[common()], 1, 3 * SECOND)?;
        let config = "vrrp_instance old {\n    version 2\n    interface eth0\n    virtual_router_id 151\n    \
                      priority 200\n    advert_int 1\n    virtual_ipaddress {\n        10.0.20.250/32\n    }\n}\n";
        let (namespace, dir) = (stage.segment.namespace(0), stage.segment.dir(0));
        let old = Keepalived::start_in(namespace, &dir, &stage.segment.rivals().keepalived, config)?;
        stage.recorder.wait("version 2", 8 * SECOND, |record| {
            record.adverts(151).any(|(_, place, advert)| place == 0 && advert.version == 2).then_some(())
        })?;
        stays(stage, 1)?;
        let complaints = stage.complaints(1)?;
        ensure!(complaints.iter().any(|line| line.contains("version")), "{complaints:?}\n{}", old.log());
        Ok(())
    });
}

/// For a while the router keeps the address and advertises it in time.
fn stays(stage: &Stage, place: usize) -> Result<()> {
    let since = Time::now();
    std::thread::sleep(CALM);
    stage.ask(|record| {
        let address = common().addresses[0];
        let mut holdings = record.holdings(address).into_iter().filter(|holding| holding.place == place);
        ensure!(holdings.any(|holding| holding.from < since && holding.to.is_none()), "it has given {address} up");
        let sent = record.adverts(common().id).filter(|(at, from, _)| *at > since && *from == place).count();
        ensure!(sent as f64 > 0.7 * CALM.as_secs_f64() / INTERVAL.as_secs_f64(), "only {sent} advertisements");
        Ok(())
    })
}

//! Two doctors (`pgvrrp doctor --peer`) on a segment: each says of both directions what became of them, and no router of any
//! make, Active or Backup, does anything because of what they send.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::doctor::{Doctor, Found};
use lab::plain::config_of;
use lab::router::{Make, VirtualRouter};
use lab::segment::Cut;
use lab::{Direction, Segment};

use crate::cells;
use crate::stage::{SECOND, Stage, binary, is_ours, play};

/// From the first word on they talk for 5 s; that, and what else the doctor looks at.
const TEST: Duration = Duration::from_secs(20);

/// How long each waits for the other where both are there.
const WAIT: u32 = 10;

/// Starts the doctors of the first two places, each for the other's address, with these virtual routers in their configuration.
fn start(segment: &Segment, routers: [&[VirtualRouter]; 2], wait: u32) -> Result<[Doctor; 2]> {
    let one = |place: usize| {
        let dir = segment.dir(place);
        let config = dir.join("doctor.toml");
        fs::write(&config, config_of(&format!("r{}", place + 1), &dir.join("run"), routers[place]))?;
        Doctor::start(segment.namespace(place), &dir, &binary(), &config, Segment::ip(1 - place).into(), wait)
    };
    Ok([one(0)?, one(1)?])
}

fn finish(doctors: &[Doctor; 2]) -> Result<[Found; 2]> {
    Ok([doctors[0].finish(TEST)?, doctors[1].finish(TEST)?])
}

/// What both have found about the way, `level: text`.
fn way(found: &Found) -> Vec<String> {
    found.of("peer").iter().map(|[level, text, _]| format!("{level}: {text}")).collect()
}

fn says(found: &Found, level: &str, text: &str, fix: &str) -> Result<()> {
    let is = |[a, b, c]: &[&str; 3]| *a == level && b.contains(text) && c.contains(fix);
    ensure!(found.of("peer").iter().any(is), "no {level} with {text:?} and the fix {fix:?}: {:#?}", found.of("peer"));
    Ok(())
}

/// Every way of these, in both directions.
fn all_is_well(found: &[Found; 2], ways: &[&str]) -> Result<()> {
    for (place, found) in found.iter().enumerate() {
        let other = Segment::ip(1 - place);
        let expected: Vec<_> = ways
            .iter()
            .map(|way| format!("ok: protocol 112, {way}: arrives here from {other}, and there from here"))
            .collect();
        let seen: Vec<_> = way(found).into_iter().filter(|line| line.contains(", and there")).collect();
        ensure!(seen == expected, "place {place}: {:#?}", found.of("peer"));
        ensure!(found.code == Some(0), "place {place}: {:#}", found.report);
        ensure!(found.progress.contains(&format!("run `pgvrrp doctor --peer {}` there", Segment::ip(place))));
        ensure!(found.progress.contains(&format!("peer {other}: is there")), "{}", found.progress);
    }
    Ok(())
}

/// With routers of all three makes, of which this one is Active.
fn moves_nobody(stage: &Stage, makes: [Make; 3]) -> Result<()> {
    let cells = cells::both_families();
    for (place, priority) in [(0, 200), (1, 100), (2, 50)] {
        stage.start(place, makes[place], &cells::with_priority(&cells, priority))?;
    }
    stage.wait_holder(&cells, 0, 8 * SECOND)?;
    stage.calm(&cells, 0)?;
    let routers = cells::with_priority(&cells, 100);
    let doctors = start(&stage.segment, [&routers, &routers], WAIT)?;
    // Longer than they talk.
    for _ in 0..3 {
        stage.calm(&cells, 0)?;
    }
    all_is_well(&finish(&doctors)?, &["IPv4 multicast", "IPv6 multicast"])?;
    stage.calm(&cells, 0)?;
    // They were there, and were discarded: Keepalived says nothing of virtual routers that it does not have.
    for (place, make) in makes.iter().enumerate() {
        let complaints = stage.complaints(place)?;
        println!("{make:?}: {complaints:?}");
        match make {
            Make::Pgvrrp => ensure!(complaints.iter().any(|line| line.contains("\"version\"")), "{complaints:?}"),
            Make::Keepalived => ensure!(complaints.is_empty(), "{complaints:?}"),
            Make::Frr => {}
        }
    }
    Ok(())
}

#[test]
fn moves_no_router_beside_ours() {
    if is_ours() {
        play(3, |stage| moves_nobody(stage, [Make::Pgvrrp, Make::Keepalived, Make::Frr]));
    }
}

#[test]
fn moves_no_router_beside_a_keepalived() {
    if is_ours() {
        play(3, |stage| moves_nobody(stage, [Make::Keepalived, Make::Frr, Make::Pgvrrp]));
    }
}

#[test]
fn moves_no_router_beside_a_frr() {
    if is_ours() {
        play(3, |stage| moves_nobody(stage, [Make::Frr, Make::Pgvrrp, Make::Keepalived]));
    }
}

/// One test after the other, with something in the way.
#[test]
fn says_where_it_is_lost() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        let segment = &stage.segment;
        let routers = cells::with_priority(&cells::both_families(), 100);
        let test = || finish(&start(segment, [&routers, &routers], WAIT)?);
        all_is_well(&test()?, &["IPv4 multicast", "IPv6 multicast"])?;

        // At the second one's own door, in and then out.
        let (here, there) = ("10.0.20.11", "10.0.20.12");
        segment.cut(1, Cut::Vrrp, Direction::In)?;
        let [a, b] = test()?;
        for version in ["IPv4", "IPv6"] {
            let to = format!(
                "{version} multicast, from this host to {there}: arrives at the interface, and {there} itself drops it"
            );
            says(&a, "problem", &to, "on 10.0.20.12, let IP protocol 112 in")?;
            says(&a, "ok", &format!("{version} multicast, from {there} to this host: arrives"), "")?;
            let from = format!(
                "{version} multicast, from {here} to this host: arrives at the interface, and this host itself"
            );
            says(&b, "problem", &from, "-I INPUT -p 112 -j ACCEPT")?;
        }
        ensure!((a.code, b.code) == (Some(1), Some(1)));
        segment.heal(1)?;
        segment.cut(1, Cut::Vrrp, Direction::Out)?;
        let [a, b] = test()?;
        says(
            &a,
            "problem",
            &format!("IPv4 multicast, from {there} to this host: {there} itself refuses to send it"),
            "let IP protocol 112 out",
        )?;
        says(
            &b,
            "problem",
            &format!("IPv6 multicast, from this host to {here}: this host itself refuses"),
            "ip6tables -I OUTPUT",
        )?;
        segment.heal(1)?;

        // Between them: one direction of IPv4; then all multicast; then all but ARP, one way.
        let between = |rule: &str| {
            segment.lan().nft(&format!(
                "table bridge t; delete table bridge t; table bridge t {{ chain f {{ type filter hook forward priority 0; {rule}; }}; }}"
            ))
        };
        between("iifname \"r1-0\" ip protocol 112 drop")?;
        let [a, b] = test()?;
        for (found, from, to) in [(&a, "this host", there), (&b, here, "this host")] {
            says(
                found,
                "problem",
                &format!("IPv4 multicast, from {from} to {to}: is lost between them"),
                "IGMP snooping",
            )?;
            ensure!(way(found).iter().any(|line| line.starts_with("ok: protocol 112, IPv6 multicast: arrives here")));
        }
        between("meta l4proto 112 ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 drop")?;
        let [a, _] = test()?;
        says(&a, "problem", &format!("IPv6 multicast, from {there} to this host: is lost"), "`unicast_peers`")?;
        says(&a, "problem", &format!("IPv4 multicast, from this host to {there}: is lost"), "`unicast_peers`")?;
        // What was recommended.
        let unicast = |place: usize| {
            let peer: [IpAddr; 2] = [Segment::ip(1 - place).into(), Segment::link_local(1 - place).into()];
            let of = |router: &VirtualRouter| {
                let peers = peer.iter().copied().filter(|peer| peer.is_ipv4() == router.addresses[0].is_ipv4());
                VirtualRouter { unicast_peers: peers.collect(), ..router.clone() }
            };
            routers.iter().map(of).collect::<Vec<_>>()
        };
        let found = finish(&start(segment, [&unicast(0), &unicast(1)], WAIT)?)?;
        all_is_well(&found, &["IPv4 unicast", "IPv6 unicast"])?;
        let [a, _] = finish(&start(segment, [&unicast(0), &routers], WAIT)?)?;
        says(
            &a,
            "warning",
            "the VIPs here send by IPv4 unicast, and 10.0.20.12 does not",
            "of the same kind on both nodes",
        )?;

        between("iifname \"r1-0\" ether type != arp drop")?;
        let [a, b] = finish(&start(segment, [&routers, &routers], 4)?)?;
        says(&a, "ok", &format!("IPv4 multicast, from {there} to this host: arrives"), "")?;
        says(&a, "problem", &format!("IPv4 multicast, from this host to {there}: is lost between them"), "")?;
        says(&a, "warning", "says nothing of having heard this host", "pgvrrp doctor --peer 10.0.20.11")?;
        says(
            &b,
            "warning",
            "nothing was heard within 4 s, neither by protocol 112 nor by UDP",
            "pgvrrp doctor --peer 10.0.20.12",
        )
    });
}

/// Nobody is there; and what is not the peer's address.
#[test]
fn says_that_nobody_is_there() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        let segment = &stage.segment;
        let routers = cells::with_priority(&cells::both_families(), 100);
        let dir = segment.dir(0);
        let config = dir.join("doctor.toml");
        fs::write(&config, config_of("r1", &dir.join("run"), &routers))?;
        let alone = |peer: IpAddr| Doctor::start(segment.namespace(0), &dir, &binary(), &config, peer, 2)?.finish(TEST);
        says(
            &alone(Segment::ip(1).into())?,
            "warning",
            "no doctor was there within 2 s, as that host says",
            "at the same time",
        )?;
        says(&alone([10, 0, 20, 99].into())?, "warning", "nothing was heard within 2 s", "UDP port 9156")?;
        says(&alone([10, 0, 20, 151].into())?, "problem", "is a VIP", "own address")?;
        says(&alone(Segment::ip(0).into())?, "problem", "is this host's own address", "the other node's")?;
        says(
            &alone([192, 0, 2, 1].into())?,
            "problem",
            "is in no subnet of an interface that carries VIPs (there are: 10.0.20.0/24",
            "own address",
        )
    });
}

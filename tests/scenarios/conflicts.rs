//! Neighbours that claim what is not theirs.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Direction, Node, Options, Time, Traffic};
use pgvrrp::transport::Announcer;
use pgvrrp::transport::v4::AdvertSender;
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use crate::stage::play;

pub(crate) fn rival(priority: u8) -> Advert<Ipv4Addr> {
    Advert {
        source: Node::Client.ip(),
        destination: [224, 0, 0, 18].into(),
        vrid: Vrid::new(155).expect("155 is a virtual router's number"),
        priority,
        interval: Interval::DEFAULT,
        addresses: vec![lab::VIP],
        checksum: ChecksumForm::Rfc9568,
    }
}

#[test]
fn a_rivals_adverts_and_arp_do_not_move_the_vip() {
    play(Options::default(), |stage| {
        let client = stage.lab.namespace(Node::Client);
        client.run(|| -> Result<()> {
            let sender = AdvertSender::open("eth0")?;
            for priority in [255, 254, 100, 0] {
                sender.send(&rival(priority))?;
            }
            // Version 2 is seen, and not obeyed.
            let socket = std::process::Command::new("ip").args(["-json", "link", "show", "eth0"]).output()?;
            let link: serde_json::Value = serde_json::from_slice(&socket.stdout)?;
            let index = u32::try_from(link[0]["ifindex"].as_u64().unwrap_or(0))?;
            Announcer::open()?.announce(index, [2, 0, 0, 0, 0, 0x77], lab::VIP.into())?;
            Ok(())
        })??;
        stage.calm(Duration::from_secs(3))?;
        stage.daemon(Node::Db1, |daemon| {
            let conflicts =
                |kind: &str| daemon.metric(&format!("pgvrrp_conflicts_total{{vip=\"10.0.20.155\",kind=\"{kind}\"}}"));
            let (adverts, arp) = (conflicts("advert")?, conflicts("arp")?);
            ensure!(adverts == Some(3.0), "advert conflicts: {adverts:?}");
            ensure!(arp.is_some_and(|count| count >= 1.0), "ARP conflicts: {arp:?}");
            Ok(())
        })?;
        stage.status_says(Node::Db1, "advert conflicts 3")?;
        stage.status_says(Node::Db1, "10.0.20.100 priority 0")?;
        stage.wait_writes(Duration::from_secs(5))
    });
}

/// As Keepalived does that has just elected itself: its announcements come milliseconds after its advertisement, and so
/// after the answer to that.
#[test]
fn a_rival_announces_the_vip_after_its_advert_was_answered() {
    play(Options::default(), |stage| {
        thread::sleep(Duration::from_secs(7));
        let begun = Time::now();
        let dcs = stage.lab.namespace(Node::Dcs);
        dcs.run(|| -> Result<()> {
            let link = std::process::Command::new("ip").args(["-json", "link", "show", "eth0"]).output()?;
            let link: serde_json::Value = serde_json::from_slice(&link.stdout)?;
            let index = u32::try_from(link[0]["ifindex"].as_u64().unwrap_or(0))?;
            AdvertSender::open("eth0")?.send(&Advert { source: Node::Dcs.ip(), ..rival(254) })?;
            for _ in 0..4 {
                thread::sleep(Duration::from_millis(5));
                Announcer::open()?.announce(index, Node::Dcs.mac(), lab::VIP.into())?;
            }
            Ok(())
        })??;
        stage.calm(Duration::from_secs(4))?;
        let failed = stage.analysis().writes().filter(|(at, write)| *at > begun && write.error.is_some()).count();
        stage.wait_writes(Duration::from_secs(40))?;
        let (_, gap) = stage.analysis().longest_write_gap(begun).context("no writes")?;
        println!("{failed} writes failed, none succeeded for {gap:?}");
        ensure!(gap < Duration::from_secs(2), "{gap:?}");
        Ok(())
    });
}

#[test]
fn the_standby_hears_a_rival_and_stays_where_it_is() {
    play(Options::default(), |stage| {
        stage.lab.namespace(Node::Client).run(|| AdvertSender::open("eth0")?.send(&rival(0)))??;
        stage.calm(Duration::from_secs(4))?;
        // The holder's adverts are lost as well: a plain VRRP router would take over now.
        stage.lab.cut(Node::Db2, Traffic::Vrrp, Direction::Both)?;
        stage.calm(Duration::from_secs(5))
    });
}

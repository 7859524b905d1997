//! Neighbours that claim what is not theirs.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Direction, Node, Options, Traffic};
use pgvrrp::transport::{AdvertSender, ArpSender};
use vrrp::types::{Interval, Vrid};
use vrrp::wire::advert::{Advert, ChecksumForm};

use crate::stage::play;

pub(crate) fn rival(priority: u8) -> Advert {
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
            ArpSender::open()?.announce(index, [2, 0, 0, 0, 0, 0x77], lab::VIP)?;
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

//! Interfaces that are missing, go, come back, and change.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::plain::Plain;
use lab::router::VirtualRouter;
use lab::{Segment, Time};
use serde_json::Value;

use crate::stage::{SECOND, binary, is_ours};

const VIP: [u8; 4] = [10, 0, 20, 155];
const INTERVAL: Duration = Duration::from_millis(100);

/// One router on two wires, whose VIP is on the first. It is alone, and so Active where nothing keeps it from that.
struct Alone {
    segment: Segment,
    plain: Plain,
}

impl Alone {
    fn start(before: impl FnOnce(&Segment) -> Result<()>) -> Result<Self> {
        Self::start_with(&[VIP.into()], before)
    }

    fn start_with(addresses: &[IpAddr], before: impl FnOnce(&Segment) -> Result<()>) -> Result<Self> {
        let segment = Segment::start_with_two_wires(1)?;
        before(&segment)?;
        let mut router = VirtualRouter::new(155, 100, INTERVAL, addresses);
        router.track = vec!["eth1"];
        let plain = Plain::start(&segment, 0, &[router], &binary())?;
        Ok(Self { segment, plain })
    }

    fn ip(&self, words: &str) -> Result<String> {
        self.segment.namespace(0).ip(&words.split(' ').collect::<Vec<_>>())
    }

    fn status(&self) -> Result<Value> {
        let mut command = self.segment.namespace(0).command(binary());
        let output = command.args(["status", "--json", "--config"]).arg(self.plain.config_path()).output()?;
        serde_json::from_slice(&output.stdout).context("no status")
    }

    /// Waits until the status gives this reason, and the address is there if and only if it should be.
    fn wait(&self, reason: &str) -> Result<()> {
        let (start, here) = (Time::now(), reason == "active");
        loop {
            let said = self.status().map(|status| status["vips"][0]["reason"].clone()).unwrap_or_default();
            let listing = self.ip("-brief address show")?;
            if said == reason && listing.contains("10.0.20.155/") == here {
                return Ok(());
            }
            ensure!(start.elapsed() < 5 * SECOND, "{said} instead of {reason}: {listing}\n{}", self.plain.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn announcements(&self) -> Result<f64> {
        self.plain.metric("pgvrrp_announcements_total{vip=\"10.0.20.155\"}")
    }
}

#[test]
fn missing_at_the_start_and_coming_and_going() -> Result<()> {
    if !is_ours() {
        return Ok(());
    }
    // Under another name it is as good as missing.
    let alone = Alone::start(|segment| {
        let namespace = segment.namespace(0);
        namespace.ip_batch("link set eth0 down\nlink set eth0 name away\nlink set away up\n")
    })?;
    alone.wait("no_interface")?;
    alone.segment.namespace(0).ip_batch("link set away down\nlink set away name eth0\n")?;
    alone.wait("interface_down")?;
    alone.ip("link set eth0 up")?;
    alone.wait("active")?;
    // The address goes along with the interface, to where it has no business.
    alone.segment.namespace(0).ip_batch("link set eth0 down\nlink set eth0 name away\nlink set away up\n")?;
    alone.wait("no_interface")?;
    alone.segment.namespace(0).ip_batch("link set away down\nlink set away name eth0\nlink set eth0 up\n")?;
    alone.wait("active")?;
    // Another one under the same name.
    alone.ip("link delete eth0")?;
    alone.wait("no_interface")?;
    alone.segment.namespace(0).ip_batch(
        "link add eth0 type veth peer name far\nlink set far up\nlink set eth0 up\naddress add 10.0.20.11/24 dev eth0\n",
    )?;
    alone.wait("active")?;
    ensure!(alone.status()?["interfaces"][0]["up"] == true);
    Ok(())
}

#[test]
fn down_without_carrier_without_address_and_tracked() -> Result<()> {
    if !is_ours() {
        return Ok(());
    }
    let alone = Alone::start(|_| Ok(()))?;
    alone.wait("active")?;
    alone.ip("link set eth0 down")?;
    alone.wait("interface_down")?;
    alone.ip("link set eth0 up")?;
    alone.wait("active")?;
    alone.segment.pull_cable(0)?;
    alone.wait("interface_down")?;
    alone.segment.plug_cable(0)?;
    alone.wait("active")?;
    alone.ip("link set eth1 down")?;
    alone.wait("tracked_down")?;
    alone.ip("link set eth1 up")?;
    alone.wait("active")?;
    alone.ip("address delete 10.0.20.11/24 dev eth0")?;
    alone.wait("no_source")?;
    alone.ip("address add 10.0.20.21/24 dev eth0")?;
    alone.wait("active")?;
    let sources = alone.status()?["interfaces"][0]["sources"].to_string();
    ensure!(sources.contains("10.0.20.21") && !sources.contains("10.0.20.155"), "{sources}");
    Ok(())
}

#[test]
fn another_mac_is_announced_at_once() -> Result<()> {
    if !is_ours() {
        return Ok(());
    }
    let alone = Alone::start(|_| Ok(()))?;
    alone.wait("active")?;
    // The burst after the bind: the last one 5.1 s after it.
    thread::sleep(6 * SECOND);
    let before = alone.announcements()?;
    alone.ip("link set eth0 address 02:00:00:00:00:42")?;
    thread::sleep(Duration::from_millis(500));
    ensure!(alone.announcements()? > before, "it has not been announced");
    ensure!(alone.status()?["vips"][0]["held"] == true, "it has left");
    alone.ip("link set eth0 mtu 1400")?;
    thread::sleep(Duration::from_millis(300));
    alone.wait("active")?;
    ensure!(
        alone.plain.metric("pgvrrp_transitions_total{vip=\"10.0.20.155\",direction=\"gained\"}")? == 1.0,
        "it has moved"
    );
    Ok(())
}

/// Who cannot hear the others in one of its families does not elect itself.
#[test]
fn an_interface_that_cannot_be_listened_on() -> Result<()> {
    if !is_ours() {
        return Ok(());
    }
    let addresses = [VIP.into(), "fe80::155".parse()?];
    // Below 1280 bytes there is no IPv6.
    let alone = Alone::start_with(&addresses, |segment| {
        segment.namespace(0).ip(&["link", "set", "eth0", "mtu", "1200"]).map(drop)
    })?;
    alone.wait("interface_down")?;
    thread::sleep(SECOND);
    alone.wait("interface_down")?;
    alone.ip("link set eth0 mtu 1500")?;
    alone.wait("active")
}

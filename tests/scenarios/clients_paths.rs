//! Clients that are not next to the database: behind routers, firewalls and IPv6. All of them are told when the primary's
//! host is gone.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::Launch;
use lab::netns::Namespace;
use lab::{Lab, Node, Options};

use crate::stage::play_with;

/// A service beside PostgreSQL: the VIP takes every connection along, whatever it is for.
const PORT: u16 = 7000;

/// Connections of each kind.
const EACH: usize = 100;

const LIST: &str = "[\"10.0.20.155\", \"fe80::200:5eff:fe00:29b\", \"fd00:20::155/64\"]";

/// Machines on a subnet behind the client's, which is their router.
struct Far(Namespace);

impl Far {
    /// On 10.0.`subnet`.0/24.
    fn build(lab: &Lab, subnet: u8) -> Result<Self> {
        let router = lab.namespace(Node::Client);
        let far = Self(Namespace::create(&format!("{}-far{subnet}", router.name()))?);
        router.ip_batch(&format!(
            "link add far{subnet} type veth peer name eth0 netns {}\n\
             addr add 10.0.{subnet}.1/24 dev far{subnet}\n\
             link set far{subnet} up\n",
            far.0.name()
        ))?;
        far.0.ip_batch(&format!(
            "addr add 10.0.{subnet}.2/24 dev eth0\nlink set eth0 up\nroute add default via 10.0.{subnet}.1\n"
        ))?;
        let mut forward = router.command("sysctl");
        ensure!(forward.args(["-q", "-w", "net.ipv4.ip_forward=1"]).status()?.success(), "no forwarding");
        for node in Node::DATABASES {
            let via = Node::Client.ip().to_string();
            lab.namespace(node).ip(&["route", "add", &format!("10.0.{subnet}.0/24"), "via", &via])?;
        }
        Ok(far)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "delete", self.0.name()]).status();
    }
}

/// Accepts whoever comes, and keeps them.
fn serve(namespace: &Namespace) -> Result<()> {
    let listener = namespace.run(|| TcpListener::bind(("::", PORT)))??;
    thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            kept.push(stream);
        }
    });
    Ok(())
}

fn connect(from: &Namespace, to: &str) -> Result<Vec<TcpStream>> {
    let target: SocketAddr = format!("{to}:{PORT}").parse()?;
    from.run(|| {
        (0..EACH)
            .map(|_| {
                let stream = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            })
            .collect::<std::io::Result<Vec<_>>>()
    })?
    .with_context(|| format!("cannot connect to {target}"))
}

/// How many know that they are dead.
fn told(streams: &[TcpStream]) -> usize {
    let is_told = |mut stream: &TcpStream| {
        stream.read(&mut [0]).is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionReset))
    };
    streams.iter().filter(|stream| is_told(stream)).count()
}

#[test]
fn clients_behind_routers_and_firewalls_and_ipv6_when_the_primary_loses_its_power() {
    play_with(Options::default(), |stage| {
        for node in Node::DATABASES {
            let mut launch = Launch::reference(stage.lab, node);
            launch.config.remove("vip", "address").set("vip", "addresses", LIST);
            stage.launch(node, &launch)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        let client = stage.lab.namespace(Node::Client);
        client.ip(&["address", "add", "fd00:20::99/64", "dev", "eth0", "nodad"])?;
        let (routed, guarded, hidden) =
            (Far::build(stage.lab, 21)?, Far::build(stage.lab, 22)?, Far::build(stage.lab, 23)?);
        guarded.0.nft(
            "table inet guard {\n\
             chain input {\n\
             type filter hook input priority 0; policy drop;\n\
             ct state established,related accept\n\
             ct state invalid drop\n\
             }\n}\n",
        )?;
        client.nft(
            "table ip hide {\n\
             chain out {\n\
             type nat hook postrouting priority 100;\n\
             ip saddr 10.0.23.0/24 masquerade\n\
             }\n}\n",
        )?;
        serve(stage.lab.namespace(Node::Db1))?;
        let groups = [
            ("next to it", connect(client, "10.0.20.155")?),
            ("over IPv6", connect(client, "[fd00:20::155]")?),
            ("behind a router", connect(&routed.0, "10.0.20.155")?),
            ("whose own firewall drops what it finds invalid", connect(&guarded.0, "10.0.20.155")?),
            ("behind a router that masquerades", connect(&hidden.0, "10.0.20.155")?),
        ];
        let listed = "pgvrrp_listed_clients{vip=\"10.0.20.155\"}";
        stage.lab.wait_until("the list to be on db2", Duration::from_secs(5), || {
            let known = stage.daemon(Node::Db2, |daemon| daemon.metric(listed))?;
            Ok(known.is_some_and(|known| known >= (groups.len() * EACH) as f64))
        })?;
        stage.lab.power_off(Node::Db1)?;
        stage.wait_vip(Node::Db2, Duration::from_secs(60))?;
        // Twice, a second apart.
        thread::sleep(Duration::from_millis(2500));
        let told = groups.map(|(who, streams)| (who, told(&streams)));
        for (who, count) in told {
            println!("clients {who}: {count} of {EACH} told");
        }
        let least = told.iter().map(|(_, count)| *count).min().unwrap_or(0);
        ensure!(least * 100 >= EACH * 99, "{told:?}");
        Ok(())
    });
}

//! The sockets of the conversation: those that a daemon would have, one that sees the interface before firewall and routes do,
//! and UDP, which may get through where protocol 112 does not.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use pgvrrp_netlink::{Kernel, Link};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, sleep};
use vrrp::wire::heard::Heard;
use vrrp::wire::probe;

use super::hello::{Hello, LENGTH};
use super::plan::Plan;
use super::talk::{Ear, Talk};
use super::ways::Way;
use crate::async_fd::readable;
use crate::clock;
use crate::listen::ears::Ears;
use crate::transport::{v4, v6};

/// Where the doctors talk by UDP, from and to the same port: to a firewall that knows connections, each one's datagrams are
/// the answers to the other's.
pub(super) const PORT: u16 = 9156;

/// Between two packets of each way. Slow enough not to set off an alert on discarded packets, which daemons count.
const PACE: Duration = Duration::from_millis(500);

/// Something received: from whom, where, and what.
type Received = (IpAddr, Ear, Hello);

struct Sockets {
    v4: Option<(v4::AdvertReceiver, v4::AdvertSender, Ipv4Addr)>,
    v6: Option<(v6::AdvertReceiver, v6::AdvertSender, Ipv6Addr)>,
    interface: AsyncFd<Ears>,
    /// None where another doctor has the port.
    udp: Option<UdpSocket>,
}

/// Talks until it is over. `begun` is called when the peer is heard first.
///
/// # Errors
/// Without CAP_NET_RAW, or if the interface is not there.
pub(super) async fn converse(plan: &Plan, mut talk: Talk, begun: impl Fn()) -> io::Result<Talk> {
    let sockets = Sockets::open(plan)?;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let left = talk.until().since(clock::now());
        if left.is_zero() {
            return Ok(talk);
        }
        let received = tokio::select! {
            () = sleep(left) => continue,
            _ = pace.tick() => {
                sockets.say(plan, &mut talk).await;
                continue;
            }
            received = sockets.hear_v4() => received?,
            received = sockets.hear_v6() => received?,
            received = sockets.see() => received?,
            received = sockets.hear_udp(plan.peer) => match received {
                Ok(received) => received,
                Err(error) => {
                    if error.kind() == ErrorKind::ConnectionRefused {
                        talk.closed();
                    }
                    continue;
                }
            },
        };
        for (from, ear, hello) in received {
            if talk.take(clock::now(), from, ear, hello) {
                begun();
            }
        }
    }
}

impl Sockets {
    fn open(plan: &Plan) -> io::Result<Self> {
        let (name, index) = (plan.interface.as_str(), plan.index);
        let has = |is_ipv4| plan.destinations.keys().any(|way| way.is_ipv4() == is_ipv4);
        let v4 = plan.source_v4.filter(|_| has(true));
        let v4 = v4.map(|source| {
            Ok::<_, io::Error>((v4::AdvertReceiver::open(name, index)?, v4::AdvertSender::open(name)?, source))
        });
        let v6 = plan.source_v6.filter(|_| has(false));
        let v6 = v6.map(|source| {
            Ok::<_, io::Error>((v6::AdvertReceiver::open(name, index)?, v6::AdvertSender::open(name, index)?, source))
        });
        let link: Option<Link> = Kernel::open().and_then(|mut kernel| kernel.link(name)).map_err(io::Error::other)?;
        let ears = Ears::open(Some(index), link.as_slice())?;
        ears.never_wait()?;
        Ok(Self { v4: v4.transpose()?, v6: v6.transpose()?, interface: readable(ears)?, udp: udp(plan).ok() })
    }

    /// One packet of each way. What does not go out now is known to `talk`, or goes out the next time.
    async fn say(&self, plan: &Plan, talk: &mut Talk) {
        let hello = talk.hello().emit();
        for (way, destinations) in &plan.destinations {
            for destination in destinations {
                let sent = match (destination, &self.v4, &self.v6) {
                    (IpAddr::V4(to), Some((_, sender, from)), _) => {
                        sender.send_message(*from, *to, &probe::message(*from, *to, &hello))
                    }
                    (IpAddr::V6(to), _, Some((_, sender, from))) => {
                        sender.send_message(*from, *to, &probe::message(*from, *to, &hello))
                    }
                    // Not in the plan without an address to send from.
                    _ => continue,
                };
                if sent.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
                    talk.refused(*way);
                }
            }
        }
        if let Some(udp) = &self.udp {
            match udp.send(&hello).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => talk.closed(),
                _ => {}
            }
        }
    }

    async fn hear_v4(&self) -> io::Result<Vec<Received>> {
        let Some((receiver, ..)) = &self.v4 else { return std::future::pending().await };
        let heard = receiver.receive_as(|packet| {
            let (source, destination, ttl, payload) = probe::of_packet(packet)?;
            Some((source.into(), Ear::Daemon(Way::to(destination.into()), ttl), Hello::read(payload)?))
        });
        Ok(heard.await?.into_iter().flatten().collect())
    }

    async fn hear_v6(&self) -> io::Result<Vec<Received>> {
        let Some((receiver, ..)) = &self.v6 else { return std::future::pending().await };
        let heard = receiver.receive_as(|source, destination, hop_limit, message| {
            let hello = Hello::read(probe::payload(source, destination, message)?)?;
            Some((source.into(), Ear::Daemon(Way::to(destination.into()), hop_limit), hello))
        });
        Ok(heard.await?.into_iter().flatten().collect())
    }

    async fn see(&self) -> io::Result<Vec<Received>> {
        let mut ready = self.interface.readable().await?;
        let Ok(frame) = ready.try_io(|ears| ears.get_ref().hear()) else { return Ok(Vec::new()) };
        let frame = frame?;
        let heard = Heard::read(&frame.bytes).filter(|_| !frame.ours);
        let received = heard.and_then(|heard| {
            let hello = Hello::read(heard.probe.as_deref()?)?;
            Some((heard.source, Ear::Interface(Way::to(heard.destination)), hello))
        });
        Ok(received.into_iter().collect())
    }

    /// An error is the peer's word that nobody listens, or of no consequence.
    async fn hear_udp(&self, peer: IpAddr) -> io::Result<Vec<Received>> {
        let Some(udp) = &self.udp else { return std::future::pending().await };
        // A byte more than is needed: what is longer is none.
        let mut buffer = [0; LENGTH + 1];
        let length = udp.recv(&mut buffer).await?;
        // The kernel has compared the sender: the socket is connected.
        Ok(Hello::read(&buffer[..length]).map(|hello| (peer, Ear::Udp, hello)).into_iter().collect())
    }
}

/// Hears nobody but the peer.
fn udp(plan: &Plan) -> io::Result<UdpSocket> {
    let (any, to): (IpAddr, SocketAddr) = match plan.peer {
        IpAddr::V4(peer) => (Ipv4Addr::UNSPECIFIED.into(), (peer, PORT).into()),
        IpAddr::V6(peer) => (Ipv6Addr::UNSPECIFIED.into(), SocketAddrV6::new(peer, PORT, 0, plan.index).into()),
    };
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(plan.interface.as_bytes()))?;
    socket.bind(&SocketAddr::new(any, PORT).into())?;
    socket.connect(&to.into())?;
    UdpSocket::from_std(socket.into())
}

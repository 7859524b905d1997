//! Tells the other members of the clients here, and hears of theirs. On a thread of its own: reading thousands of
//! connections takes milliseconds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgvrrp_netlink::SockDiag;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{info, warn};
use vrrp::time::Instant;

use super::message::{self, Header, LONGEST, Refusal};
use super::{Book, Client, MOST, canonical};
use crate::clock;
use crate::evidence::etcd::Peer;
use crate::evidence::etcd::keyring::{Keyring, LockSecret};
use crate::node::io::{ClientsReport, VipClients};
use crate::node::status::Status;

/// The pause between two lists of clients: whoever connected since is not known to anybody. Longer where they would take more
/// than one [`SHARE`]th of a processor; some 5 ms for 5,000 clients.
const PERIOD: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(10);
const SHARE: u32 = 200;

/// The longest that listing the clients of one address may take.
const LIST: Duration = Duration::from_secs(1);

/// Datagrams sent in one go, and the pause before the next ones: what a receiver's buffer takes in.
const BURST: usize = 32;
const PAUSE: Duration = Duration::from_millis(2);

/// Pause before a port that could not be had is tried again.
const REOPEN: Duration = Duration::from_secs(10);

/// Pause between two reports of what only goes up and down.
const REPORT: Duration = Duration::from_secs(1);

/// Bytes of a receiver's buffer: a whole list at its longest.
const BUFFER: usize = 512 * 1024;

/// What has to be known.
#[derive(Debug)]
pub(crate) struct Settings {
    /// This node's member name.
    pub(crate) member: String,
    /// The UDP port on which every node listens; `None`: nothing is given away or taken.
    pub(crate) port: Option<u16>,
    /// TCP ports on the VIPs; empty: all.
    pub(crate) services: Vec<u16>,
    /// Lists are signed with a lock's secret, and there are locks.
    pub(crate) has_locks: bool,
}

/// The lines to and from the others.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) keyring: watch::Receiver<Keyring>,
    pub(crate) peers: watch::Receiver<Vec<Peer>>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) reports: mpsc::Sender<ClientsReport>,
    pub(crate) book: Arc<Mutex<Book>>,
    /// Which addresses of each VIP are listed.
    pub(crate) vips: watch::Receiver<Vec<Vec<IpAddr>>>,
}

/// Serves until nobody listens any more. Has to be run within a runtime, on the thread whose network namespace it is about.
pub(crate) async fn run(settings: Settings, lines: Lines) {
    let sockets = match SockDiag::open() {
        Ok(sockets) => sockets,
        Err(error) => return warn!(%error, "clients cannot be listed"),
    };
    let (report, told) = (ClientsReport::default(), ClientsReport::default());
    let mut share = Share { settings, lines, sockets, report, told, reported: Instant::ZERO, number: 0 };
    while !share.lines.reports.is_closed() {
        let socket = share.open();
        share.serve(socket).await;
    }
}

struct Share {
    settings: Settings,
    lines: Lines,
    sockets: SockDiag,
    report: ClientsReport,
    /// What was reported last.
    told: ClientsReport,
    reported: Instant,
    /// Of the last list; grows as long as this process lives, and V does not outlive that unchanged.
    number: u64,
}

impl Share {
    fn open(&mut self) -> Option<UdpSocket> {
        let trouble = if !self.settings.has_locks {
            "fence = \"leader-key\": there is no lock to sign lists of clients with".to_owned()
        } else if let Some(port) = self.settings.port {
            match listen(port) {
                Ok(socket) => {
                    if self.report.trouble.take().is_some() {
                        info!(port, "lists of clients are given and taken again");
                    }
                    return Some(socket);
                }
                Err(error) => format!("UDP port {port} cannot be had: {error}"),
            }
        } else {
            "switched off ([clients] tell = false)".to_owned()
        };
        if self.report.trouble.as_ref() != Some(&trouble) && self.settings.has_locks && self.settings.port.is_some() {
            warn!(trouble, "no lists of clients are given to other nodes, or taken from them");
        }
        self.report.trouble = Some(trouble);
        None
    }

    /// Gives and takes lists until the socket fails. Without one, clients are only counted, until it is time to try again.
    async fn serve(&mut self, socket: Option<UdpSocket>) {
        let again = clock::now() + REOPEN;
        let mut due = clock::now();
        let mut buffer = [0; LONGEST + 1];
        loop {
            let now = clock::now();
            if (socket.is_none() && now >= again) || self.lines.reports.is_closed() {
                return;
            }
            if now >= due {
                // By what it uses, not by how long it takes: a busy host's clients are listed as often as others.
                let before = clock::used();
                self.give(socket.as_ref()).await;
                due = clock::now() + pause(clock::used().saturating_sub(before));
                self.tell().await;
            }
            let Some(socket) = &socket else {
                sleep(due.since(clock::now())).await;
                continue;
            };
            tokio::select! {
                heard = socket.recv_from(&mut buffer) => match heard {
                    Ok((length, source)) => self.take(&buffer[..length], canonical(source)),
                    // What an earlier datagram met on its way is told here.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => {
                        warn!(%error, "the socket for lists of clients has failed");
                        sleep(REPORT).await;
                        return;
                    }
                },
                () = sleep(due.since(clock::now())) => {}
            }
        }
    }

    /// Counts the clients of each VIP that is here, and tells the peers of them.
    async fn give(&mut self, socket: Option<&UdpSocket>) {
        let status = self.lines.status.borrow().clone();
        self.number += 1;
        let vips = self.lines.vips.borrow().clone();
        self.report.vips.resize_with(vips.len(), VipClients::default);
        for (vip, addresses) in vips.iter().enumerate() {
            let held = status.vips.iter().any(|known| known.id.0 == vip && known.held) && !addresses.is_empty();
            let clients = if held { self.clients(addresses) } else { None };
            if let Some(entry) = self.report.vips.get_mut(vip) {
                entry.connected = clients.as_ref().map(|clients| clients.len() as u64);
            }
            let (Some(socket), Some(mut clients)) = (socket, clients) else { continue };
            let Some(datagrams) = self.list(vip, addresses, &mut clients) else { continue };
            let sent = self.send(socket, &datagrams).await;
            if let Some(entry) = self.report.vips.get_mut(vip) {
                entry.sent += sent;
            }
        }
    }

    /// The clients of a VIP that is here; `None` if the kernel did not say.
    fn clients(&mut self, addresses: &[IpAddr]) -> Option<Vec<Client>> {
        let mut clients = Vec::new();
        for address in addresses {
            let listed = self.sockets.clients(*address, &self.settings.services, LIST, &mut |client| {
                if clients.len() < MOST {
                    clients.push(Client { local: client.local, remote: client.remote });
                }
            });
            if let Err(error) = listed {
                warn!(%address, %error, "clients could not be listed");
                return None;
            }
        }
        Some(clients)
    }

    /// The datagrams that tell of them, and of those that this node itself has still to tell: should it die before that, the
    /// next one does it. `None` unless V is this node's, as of the last read.
    fn list(&self, vip: usize, addresses: &[IpAddr], clients: &mut Vec<Client>) -> Option<Vec<Vec<u8>>> {
        let keyring = self.lines.keyring.borrow();
        let LockSecret { member, mod_revision: revision, secret } = keyring.get(vip)?.as_ref()?;
        if *member != self.settings.member {
            return None;
        }
        let heirloom = self.lines.book.lock().unwrap_or_else(PoisonError::into_inner).heirloom(vip);
        clients.extend(heirloom.iter().take(MOST.saturating_sub(clients.len())));
        let header = Header { revision: *revision, number: self.number };
        let address = *addresses.first()?;
        Some(message::write(header, address, secret, clients))
    }

    /// Sends to every other member; returns to how many.
    async fn send(&self, socket: &UdpSocket, datagrams: &[Vec<u8>]) -> u64 {
        let Some(port) = self.settings.port else { return 0 };
        let peers = self.lines.peers.borrow().clone();
        let others = peers.iter().filter(|peer| peer.name != self.settings.member);
        let mut reached = 0;
        for address in others.filter_map(|peer| peer.addresses.first()) {
            let target = target(socket, *address, port);
            let mut whole = true;
            for (index, datagram) in datagrams.iter().enumerate() {
                if index > 0 && index % BURST == 0 {
                    sleep(PAUSE).await;
                }
                // A peer that cannot be reached now is told by the next list.
                whole &= socket.send_to(datagram, target).await.is_ok();
            }
            reached += u64::from(whole);
        }
        reached
    }

    fn take(&mut self, datagram: &[u8], source: SocketAddr) {
        if let Err(refusal) = self.accept(datagram, source) {
            *self.report.refused.entry(refusal.label().into()).or_default() += 1;
        }
    }

    fn accept(&self, datagram: &[u8], source: SocketAddr) -> Result<(), Refusal> {
        let keyring = self.lines.keyring.borrow().clone();
        let mut whose = None;
        let part = message::read(datagram, |header| {
            let is = |lock: &Option<LockSecret>| {
                lock.as_ref()
                    .is_some_and(|lock| lock.mod_revision == header.revision && lock.member != self.settings.member)
            };
            let vip = keyring.iter().position(is).ok_or(Refusal::OtherLock)?;
            let lock = keyring[vip].as_ref().ok_or(Refusal::OtherLock)?;
            let peers = self.lines.peers.borrow();
            let holder = peers.iter().find(|peer| peer.name == lock.member).ok_or(Refusal::Stranger)?;
            if !holder.addresses.contains(&source.ip()) {
                return Err(Refusal::Stranger);
            }
            whose = Some((vip, lock.member.as_str()));
            Ok(lock.secret.clone())
        })?;
        let (vip, from) = whose.ok_or(Refusal::OtherLock)?;
        self.lines.book.lock().unwrap_or_else(PoisonError::into_inner).take(vip, from, part, clock::now())
    }

    /// Says what is known, if that is something new.
    async fn tell(&mut self) {
        {
            let book = self.lines.book.lock().unwrap_or_else(PoisonError::into_inner);
            for (vip, entry) in self.report.vips.iter_mut().enumerate() {
                (entry.received, entry.list) = book.received(vip);
            }
        }
        let first = |report: &ClientsReport| report.vips.iter().any(|vip| vip.connected.is_some_and(|count| count > 0));
        let due = clock::now() >= self.reported + REPORT || first(&self.report) != first(&self.told);
        if due && self.report != self.told {
            self.reported = clock::now();
            self.told = self.report.clone();
            let _ = self.lines.reports.send(self.report.clone()).await;
        }
    }
}

/// After a list that took so much of a processor.
fn pause(used: Duration) -> Duration {
    (used * SHARE).clamp(PERIOD, SLOWEST)
}

/// A socket for both families; for IPv4 alone where there is no other.
fn listen(port: u16) -> io::Result<UdpSocket> {
    let bind = |domain, address: IpAddr| {
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind(&SocketAddr::new(address, port).into())?;
        UdpSocket::from_std(socket.into())
    };
    match bind(Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        bound => bound,
    }
}

/// An address as this socket's family has it.
fn target(socket: &UdpSocket, address: IpAddr, port: u16) -> SocketAddr {
    match (address, socket.local_addr()) {
        (IpAddr::V4(address), Ok(SocketAddr::V6(_))) => SocketAddr::new(address.to_ipv6_mapped().into(), port),
        (address, _) => SocketAddr::new(address, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_made_as_often_as_they_cost_little() {
        let of = |micros| pause(Duration::from_micros(micros));
        assert_eq!(of(100), PERIOD);
        assert_eq!(of(2000), Duration::from_millis(400));
        assert_eq!(of(1_000_000), SLOWEST);
    }
}

//! Carries out what the node decided, in order, and says what came of it.
//!
//! A process can be stopped between a decision and its system call. So whatever binds, renews, advertises or announces
//! carries `not_after`; the clock is read just before the call, and after a bind again: past it, the address goes.

mod doorkeeper;

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgvrrp_netlink::{Error, Kernel, SockDiag};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};
use vrrp::time::Instant;
use vrrp::wire::address::Address;
use vrrp::wire::advert::{Advert, ChecksumForm};

use crate::clients::{Book, Client};
use crate::clock;
use crate::gate::evidence::{EtcdRequest, VipId};
use crate::node::io::{Outcome, Output};
use crate::node::{InterfaceId, Settings, VipSettings, is_link_local};
use crate::segment::Voices;
use crate::transport::{Announcer, Tickler, v4, v6};
pub use doorkeeper::Doorkeeper;

/// How long resetting the connections of an address may take that the VIP does not have any more.
const RESET_FORMER: Duration = Duration::from_millis(10);

/// How long counting connections may take.
const COUNT: Duration = Duration::from_millis(5);

/// How long it may take to find out who is connected already, before the clients of a former holder are told.
const SERVED: Duration = Duration::from_millis(20);

/// How long dropping new connections may hold up what follows. With the resets before and after the unbind it is 50 ms at most that
/// an address stays for its connections' sake.
const DROP: Duration = Duration::from_millis(10);

/// The ends of the lines to the askers.
#[derive(Debug)]
pub struct Askers {
    /// To etcd's. What can be queued is bounded by the node: one round, and per VIP one other request.
    pub etcd: mpsc::UnboundedSender<EtcdRequest>,
    /// To PostgreSQL's.
    pub cadence: watch::Sender<Duration>,
    /// To Patroni's: whom to ask, if anybody.
    pub patroni: watch::Sender<Option<String>>,
}

/// What reaches the clients of a VIP.
#[derive(Debug)]
pub struct Reach {
    /// Their connections to this host.
    pub sockets: SockDiag,
    /// Their new ones; `None` where the kernel cannot drop them.
    pub newcomers: Option<Doorkeeper>,
    /// Those of a former holder.
    pub tickler: Tickler,
    /// Who these are.
    pub book: Arc<Mutex<Book>>,
}

/// The clients of a former holder that are being told.
#[derive(Debug)]
struct Telling {
    vip: VipId,
    clients: Arc<[Client]>,
    /// Those that are connected here.
    served: HashSet<Client>,
}

/// The hands of the daemon.
#[derive(Debug)]
pub struct Actuator {
    kernel: Kernel,
    reach: Reach,
    /// One for each VIP at most.
    telling: Vec<Telling>,
    /// By [`InterfaceId`].
    interfaces: Vec<Interface>,
    announcer: Announcer,
    vips: Vec<VipSettings>,
    askers: Askers,
    cannot_reset_told: bool,
    cannot_drop_told: bool,
    /// Since when, and for which VIP first, connections have been reset in this pass.
    resetting: Option<(Instant, VipId)>,
}

/// What is said on one interface, and by what.
#[derive(Debug)]
struct Interface {
    name: String,
    voices: Option<Voices>,
}

impl Actuator {
    /// Takes over the sockets, which belong to the network namespace of the thread that opened them.
    pub fn new(kernel: Kernel, reach: Reach, announcer: Announcer, settings: &Settings, askers: Askers) -> Self {
        let interfaces =
            settings.interfaces.iter().map(|name| Interface { name: name.clone(), voices: None }).collect();
        let vips = settings.vips.clone();
        Self {
            kernel,
            reach,
            telling: Vec::new(),
            interfaces,
            announcer,
            vips,
            askers,
            cannot_reset_told: false,
            cannot_drop_told: false,
            resetting: None,
        }
    }

    /// The operator says something else.
    pub(crate) fn reconfigure(&mut self, settings: &Settings) {
        let new = settings.interfaces.iter().skip(self.interfaces.len());
        self.interfaces.extend(new.map(|name| Interface { name: name.clone(), voices: None }));
        self.vips = settings.vips.clone();
    }

    /// The socket for requests to the kernel, for those who only want to know.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// An interface has come, or gone.
    pub(crate) fn use_voices(&mut self, interface: InterfaceId, voices: Option<Voices>) {
        if let Some(interface) = self.interfaces.get_mut(interface.0) {
            interface.voices = voices;
        }
    }

    /// Carries out `outputs` in order. After a bind or an unbind that failed, the rest of that VIP's is skipped: nothing
    /// is announced that is not bound, and the lock's lease outlives an address that will not go.
    pub fn carry_out(&mut self, outputs: Vec<Output>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut failed: Vec<VipId> = Vec::new();
        self.resetting = None;
        for output in outputs {
            if output.vip().is_some_and(|vip| failed.contains(&vip)) {
                continue;
            }
            let Some(outcome) = self.carry_out_one(output) else { continue };
            if matches!(outcome, Outcome::BindRefused { .. } | Outcome::Late { .. } | Outcome::UnbindFailed { .. }) {
                failed.push(outcome.vip());
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    fn carry_out_one(&mut self, output: Output) -> Option<Outcome> {
        match output {
            Output::Bind { vip, link, lifetime, not_after } => self.bind(vip, link, lifetime, not_after),
            Output::Unbind { vip } => self.unbind(vip),
            Output::UnbindStrays { vip, keep } => self.unbind_strays(vip, keep),
            Output::Reset { vip, budget } => self.reset(vip, budget),
            Output::CountConnections { vip } => self.count(vip),
            Output::DropSyns { vip, lifetime } => self.drop_syns(vip, lifetime),
            Output::AcceptSyns { vip } => self.accept_syns(vip),
            Output::Tickle { vip, first, count, last, not_after } => self.tickle(vip, first, count, last, not_after),
            Output::Advertise { vip, priority, source, checksum, not_after } => {
                self.advertise(vip, priority, source, checksum, not_after)
            }
            Output::Announce { vip, link, first, count, not_after } => {
                self.announce(vip, link, first..first + count, not_after)
            }
            Output::Etcd(request) => {
                // A closed line: the daemon is ending, and what is in etcd expires by itself.
                let _ = self.askers.etcd.send(request);
                None
            }
            Output::AskPostgres { every } => {
                self.askers.cadence.send_replace(every);
                None
            }
            Output::AskPatroni { url } => {
                self.askers.patroni.send_replace(url);
                None
            }
            // The loop does, with the evidence.
            Output::Tell(_) => None,
        }
    }

    fn bind(&mut self, vip: VipId, link: u32, lifetime: NonZeroU32, not_after: Instant) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        let mut bound = 0;
        for net in &settings.addresses {
            // Before each of them: what is certain of one call that comes late is not of many.
            if clock::now() > not_after {
                break;
            }
            if let Err(error) = self.kernel.bind(link, net.addr(), net.prefix_len(), lifetime) {
                return Some(Outcome::BindRefused { vip, error: error.to_string() });
            }
            bound += 1;
        }
        if bound == 0 {
            return Some(Outcome::Late { vip, removed: false });
        }
        let at = clock::now();
        if bound == settings.addresses.len() && at <= not_after {
            return Some(Outcome::Bound { vip, at });
        }
        // The lifetime was counted from the decision; from a call that came late it may reach beyond D.
        Some(match self.remove(vip, |_| None)? {
            Ok(_) => Outcome::Late { vip, removed: true },
            // It has to be proved absent before the lock is given up, as after any bind that went wrong.
            Err(error) => {
                Outcome::BindRefused { vip, error: format!("bound too late, and it could not be removed: {error}") }
            }
        })
    }

    fn unbind(&mut self, vip: VipId) -> Option<Outcome> {
        Some(match self.remove(vip, |_| None)? {
            Ok(removed) => Outcome::Unbound { vip, removed, at: clock::now() },
            Err(error) => Outcome::UnbindFailed { vip, error: error.to_string() },
        })
    }

    fn unbind_strays(&mut self, vip: VipId, keep: u32) -> Option<Outcome> {
        // Of what the VIP does not have any more the clients are told before it goes, as of the VIP itself.
        let former = self.vips.get(vip.0)?.former.clone();
        for address in former.iter().map(ipnet::IpNet::addr).filter(|address| !is_link_local(*address)) {
            if let Err(error) = self.reach.sockets.destroy(address, RESET_FORMER) {
                warn!(%address, %error, "connections could not be reset");
            }
        }
        match self.remove(vip, |prefix_len| Some((keep, prefix_len)))? {
            Ok(removed) => Some(Outcome::StraysRemoved { vip, removed }),
            Err(error) => {
                warn!(%error, "an address is where it does not belong, and cannot be removed there");
                None
            }
        }
    }

    /// Removes a VIP's addresses, all that can be removed, and says how many there were. `keep`: where the one with this
    /// prefix length stays.
    ///
    /// A link-local address is another one on each link, so which links are the VIP's has to be known before it is said to be
    /// absent.
    fn remove(&mut self, vip: VipId, keep: impl Fn(u8) -> Option<(u32, u8)>) -> Option<Result<usize, Error>> {
        let settings = self.vips.get(vip.0)?;
        let mut links = Vec::new();
        if settings.present_and_former().any(|net| is_link_local(net.addr())) {
            for InterfaceId(id) in [settings.interface, settings.carrier()] {
                match self.kernel.link(&self.interfaces.get(id)?.name) {
                    Ok(link) => links.extend(link.map(|link| link.index)),
                    Err(error) => return Some(Err(error)),
                }
            }
        }
        let mut sum = Ok(0);
        let present = settings.addresses.iter().map(|net| (net, keep(net.prefix_len())));
        for (net, keep) in present.chain(settings.former.iter().map(|net| (net, None))) {
            let only = is_link_local(net.addr()).then_some(links.as_slice());
            let removed = self.kernel.unbind_from(only, net.addr(), keep);
            sum = sum.and_then(|sum| removed.map(|removed| sum + removed));
        }
        Some(sum)
    }

    fn reset(&mut self, vip: VipId, budget: Duration) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        let now = clock::now();
        let until = match *self.resetting.get_or_insert((now, vip)) {
            (_, first) if first == vip => now + budget,
            // Many VIPs that leave at once have one budget: the last of them would wait for all the others.
            (since, _) => since + budget,
        };
        if until <= now {
            return None;
        }
        let (mut destroyed, mut answered) = (0, false);
        for address in tcp_addresses(settings) {
            match self.reach.sockets.destroy(address, until.since(clock::now())) {
                Ok(reset) => {
                    if !reset.supported && !self.cannot_reset_told {
                        self.cannot_reset_told = true;
                        warn!(
                            "this kernel cannot reset connections (CONFIG_INET_DIAG_DESTROY): clients learn of a move by their own timeouts"
                        );
                    }
                    if reset.left > 0 {
                        warn!(%address, left = reset.left, "connections left after the time for resetting them was over");
                    }
                    (destroyed, answered) = (destroyed + reset.destroyed, true);
                }
                Err(error) => warn!(%address, %error, "connections could not be reset"),
            }
        }
        answered.then_some(Outcome::Reset { vip, destroyed })
    }

    fn count(&mut self, vip: VipId) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        let until = clock::now() + COUNT;
        let counts = tcp_addresses(settings)
            .map(|address| self.reach.sockets.established(address, until.since(clock::now())).ok());
        Some(Outcome::Connections { vip, count: counts.sum() })
    }

    fn drop_syns(&mut self, vip: VipId, lifetime: Duration) -> Option<Outcome> {
        let addresses: Vec<_> = tcp_addresses(self.vips.get(vip.0)?).collect();
        let works = match &mut self.reach.newcomers {
            Some(newcomers) => newcomers.shut(addresses, lifetime, DROP),
            None => false,
        };
        if self.reach.newcomers.is_none() && !self.cannot_drop_told {
            self.cannot_drop_told = true;
            warn!(
                "this kernel cannot drop new connections (it lacks nf_tables with owned tables, Linux 5.12): while \
                 PostgreSQL shuts down, some are refused"
            );
        }
        Some(Outcome::SynsDropped { vip, works })
    }

    fn accept_syns(&mut self, vip: VipId) -> Option<Outcome> {
        let addresses: Vec<_> = tcp_addresses(self.vips.get(vip.0)?).collect();
        if let Some(newcomers) = &mut self.reach.newcomers {
            newcomers.open(addresses);
        }
        None
    }

    /// Only while the node holds the VIP does it say so, and not later than it says.
    fn tickle(&mut self, vip: VipId, first: usize, count: usize, last: bool, not_after: Instant) -> Option<Outcome> {
        if first == 0 {
            self.telling.retain(|telling| telling.vip != vip);
            match self.whom_to_tell(vip) {
                Ok(telling) => self.telling.push(telling),
                // Who is served here is not known, so nobody is told now.
                Err(error) => return Some(Outcome::SendFailed { vip, error: format!("telling clients: {error}") }),
            }
        }
        let Telling { clients, served, .. } = self.telling.iter().find(|telling| telling.vip == vip)?;
        if clock::now() > not_after {
            return None;
        }
        let (mut sent, mut failed, total) = (0, 0, clients.len());
        for client in clients.iter().skip(first).take(count).filter(|client| !served.contains(client)) {
            match self.reach.tickler.send(client.local, client.remote) {
                Ok(()) => sent += 1,
                // Counted, since there may be thousands.
                Err(error) => {
                    failed += 1;
                    debug!(client = %client.remote, %error, "a client of the former holder could not be told");
                }
            }
        }
        if last && first + count >= total {
            self.reach.book.lock().unwrap_or_else(PoisonError::into_inner).told(vip.0);
            self.telling.retain(|telling| telling.vip != vip);
        }
        Some(Outcome::Tickled { vip, sent, failed, total })
    }

    fn whom_to_tell(&mut self, vip: VipId) -> Result<Telling, Error> {
        let clients = self.reach.book.lock().unwrap_or_else(PoisonError::into_inner).heirloom(vip.0);
        let mut served = HashSet::new();
        let addresses: BTreeSet<_> = clients.iter().map(|client| client.local.ip()).collect();
        let until = clock::now() + SERVED;
        for address in addresses {
            self.reach.sockets.clients(address, &[], until.since(clock::now()), &mut |client| {
                served.insert(Client { local: client.local, remote: client.remote });
            })?;
        }
        Ok(Telling { vip, clients, served })
    }

    fn advertise(
        &mut self,
        vip: VipId,
        priority: u8,
        source: IpAddr,
        checksum: ChecksumForm,
        not_after: Instant,
    ) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        if clock::now() > not_after {
            return None;
        }
        let voices = self.interfaces.get(settings.carrier().0)?.voices.as_ref()?;
        let sent = match source {
            IpAddr::V4(source) => {
                let advert = message(settings, source, v4::GROUP, priority, checksum);
                say(settings, advert, |advert| voices.v4.as_ref().map_or(Ok(()), |v4| v4.send(advert)))
            }
            IpAddr::V6(source) => {
                let advert = message(settings, source, v6::GROUP, priority, checksum);
                say(settings, advert, |advert| voices.v6.as_ref().map_or(Ok(()), |v6| v6.send(advert)))
            }
        };
        Some(match sent {
            Ok(()) => Outcome::Advertised { vip },
            Err(error) => Outcome::SendFailed { vip, error: format!("advertisement: {error}") },
        })
    }

    fn announce(&mut self, vip: VipId, link: u32, which: Range<usize>, not_after: Instant) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        // The MAC is asked for each time: it can be changed at run time.
        let mac = match self.kernel.link(&self.interfaces.get(settings.carrier().0)?.name) {
            Ok(found) => found.and_then(|found| found.mac),
            Err(error) => return Some(Outcome::SendFailed { vip, error: format!("announcement: {error}") }),
        };
        let Some(mac) = mac else {
            return Some(Outcome::SendFailed { vip, error: "announcement: the interface has no MAC".to_owned() });
        };
        if clock::now() > not_after {
            return None;
        }
        let mut addresses = settings.addresses.iter().map(ipnet::IpNet::addr).skip(which.start).take(which.len());
        Some(match addresses.try_for_each(|address| self.announcer.announce(link, mac, address)) {
            Ok(()) => Outcome::Announced { vip },
            Err(error) => Outcome::SendFailed { vip, error: format!("announcement: {error}") },
        })
    }
}

/// Those that clients connect to. A link-local one may be another host's on another link, and is nobody's choice for that.
fn tcp_addresses(vip: &VipSettings) -> impl Iterator<Item = IpAddr> {
    vip.present_and_former().map(ipnet::IpNet::addr).filter(|address| !is_link_local(*address))
}

/// The advertisement of a VIP's addresses of one family, to the group.
fn message<A: Address>(vip: &VipSettings, source: A, group: A, priority: u8, checksum: ChecksumForm) -> Advert<A> {
    Advert {
        source,
        destination: group,
        vrid: vip.virtual_router_id,
        priority,
        interval: vip.interval,
        addresses: vip.addresses.iter().filter_map(|net| A::of(net.addr())).collect(),
        checksum,
    }
}

/// Sends it to the group or to each unicast peer of the family. A peer that cannot be reached does not keep it from the others.
fn say<A: Address>(
    vip: &VipSettings,
    advert: Advert<A>,
    send: impl Fn(&Advert<A>) -> io::Result<()>,
) -> io::Result<()> {
    if vip.unicast_peers.is_empty() {
        return send(&advert);
    }
    let peers = vip.unicast_peers.iter().filter_map(|peer| A::of(*peer));
    let sent: Vec<_> = peers.map(|destination| send(&Advert { destination, ..advert.clone() })).collect();
    sent.into_iter().collect()
}

#[cfg(test)]
mod tests;

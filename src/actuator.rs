//! Carries out what the node decided, in order, and says what came of it.
//!
//! A process can be stopped between a decision and its system call. So whatever binds, renews, advertises or announces
//! carries `not_after`; the clock is read just before the call, and after a bind again: past it, the address goes.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use pgvrrp_netlink::{Kernel, SockDiag};
use tokio::sync::{mpsc, watch};
use tracing::warn;
use vrrp::time::Instant;
use vrrp::wire::advert::{Advert, ChecksumForm};

use crate::clock;
use crate::gate::evidence::{EtcdRequest, VipId};
use crate::node::VipSettings;
use crate::node::io::{Outcome, Output};
use crate::observe::logging;
use crate::transport::{AdvertSender, ArpSender};

/// Where VRRP advertisements go (RFC 9568 section 5.1.1.2).
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// How long counting connections may take.
const COUNT: Duration = Duration::from_millis(5);

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

/// The hands of the daemon.
#[derive(Debug)]
pub struct Actuator {
    kernel: Kernel,
    sockets: SockDiag,
    adverts: Option<AdvertSender>,
    arp: ArpSender,
    interface: String,
    vips: Vec<VipSettings>,
    askers: Askers,
    cannot_reset_told: bool,
}

impl Actuator {
    /// Takes over the sockets, which belong to the network namespace of the thread that opened them.
    pub fn new(
        kernel: Kernel,
        sockets: SockDiag,
        arp: ArpSender,
        interface: String,
        vips: Vec<VipSettings>,
        askers: Askers,
    ) -> Self {
        Self { kernel, sockets, adverts: None, arp, interface, vips, askers, cannot_reset_told: false }
    }

    /// The socket for requests to the kernel, for those who only want to know.
    pub fn kernel(&mut self) -> &mut Kernel {
        &mut self.kernel
    }

    /// The interface has come, or gone.
    pub fn use_sender(&mut self, sender: Option<AdvertSender>) {
        self.adverts = sender;
    }

    /// Carries out `outputs` in order. After a bind or an unbind that failed, the rest of that VIP's is skipped: nothing
    /// is announced that is not bound, and the lock's lease outlives an address that will not go.
    pub fn carry_out(&mut self, outputs: Vec<Output>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut failed: Vec<VipId> = Vec::new();
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
            Output::Advertise { vip, priority, source, checksum, not_after } => {
                self.advertise(vip, priority, source, checksum, not_after)
            }
            Output::Announce { vip, link, not_after } => self.announce(vip, link, not_after),
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
            Output::Tell(notice) => {
                let name = notice.vip.and_then(|vip| self.vips.get(vip.0)).map(|vip| vip.name.as_str());
                logging::tell(&notice, name);
                None
            }
        }
    }

    fn bind(&mut self, vip: VipId, link: u32, lifetime: NonZeroU32, not_after: Instant) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        let address = IpAddr::V4(settings.address);
        if clock::now() > not_after {
            return Some(Outcome::Late { vip, removed: false });
        }
        if let Err(error) = self.kernel.bind(link, address, settings.prefix_len, lifetime) {
            return Some(Outcome::BindRefused { vip, error: error.to_string() });
        }
        let at = clock::now();
        if at <= not_after {
            return Some(Outcome::Bound { vip, at });
        }
        // The lifetime was counted from the decision; from a call that came late it may reach beyond D.
        Some(match self.kernel.unbind(address, None) {
            Ok(_) => Outcome::Late { vip, removed: true },
            // It has to be proved absent before the lock is given up, as after any bind that went wrong.
            Err(error) => {
                Outcome::BindRefused { vip, error: format!("bound too late, and it could not be removed: {error}") }
            }
        })
    }

    fn unbind(&mut self, vip: VipId) -> Option<Outcome> {
        let address = self.vips.get(vip.0)?.address;
        Some(match self.kernel.unbind(address.into(), None) {
            Ok(removed) => Outcome::Unbound { vip, removed, at: clock::now() },
            Err(error) => Outcome::UnbindFailed { vip, error: error.to_string() },
        })
    }

    fn unbind_strays(&mut self, vip: VipId, keep: u32) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        let keep = Some((keep, settings.prefix_len));
        match self.kernel.unbind(settings.address.into(), keep) {
            Ok(removed) => Some(Outcome::StraysRemoved { vip, removed }),
            Err(error) => {
                warn!(address = %settings.address, %error, "the address is where it does not belong, and cannot be removed there");
                None
            }
        }
    }

    fn reset(&mut self, vip: VipId, budget: Duration) -> Option<Outcome> {
        let address = self.vips.get(vip.0)?.address;
        match self.sockets.destroy(address, budget) {
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
                Some(Outcome::Reset { vip, destroyed: reset.destroyed })
            }
            Err(error) => {
                warn!(%address, %error, "connections could not be reset");
                None
            }
        }
    }

    fn count(&mut self, vip: VipId) -> Option<Outcome> {
        let address = self.vips.get(vip.0)?.address;
        Some(Outcome::Connections { vip, count: self.sockets.established(address, COUNT).ok() })
    }

    fn advertise(
        &mut self,
        vip: VipId,
        priority: u8,
        source: Ipv4Addr,
        checksum: ChecksumForm,
        not_after: Instant,
    ) -> Option<Outcome> {
        let settings = self.vips.get(vip.0)?;
        if clock::now() > not_after {
            return None;
        }
        let advert = Advert {
            source,
            destination: GROUP,
            vrid: settings.virtual_router_id,
            priority,
            interval: settings.interval,
            addresses: vec![settings.address],
            checksum,
        };
        let sender = self.adverts.as_ref()?;
        Some(match sender.send(&advert) {
            Ok(()) => Outcome::Advertised { vip },
            Err(error) => Outcome::SendFailed { vip, error: format!("advertisement: {error}") },
        })
    }

    fn announce(&mut self, vip: VipId, link: u32, not_after: Instant) -> Option<Outcome> {
        let address = self.vips.get(vip.0)?.address;
        // The MAC is asked for each time: it can be changed at run time.
        let mac = match self.kernel.link(&self.interface) {
            Ok(found) => found.and_then(|found| found.mac),
            Err(error) => return Some(Outcome::SendFailed { vip, error: format!("announcement: {error}") }),
        };
        let Some(mac) = mac else {
            return Some(Outcome::SendFailed { vip, error: "announcement: the interface has no MAC".to_owned() });
        };
        if clock::now() > not_after {
            return None;
        }
        Some(match self.arp.announce(link, mac, address) {
            Ok(()) => Outcome::Announced { vip },
            Err(error) => Outcome::SendFailed { vip, error: format!("announcement: {error}") },
        })
    }
}

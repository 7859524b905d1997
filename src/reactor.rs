//! The one loop, on a thread of its own: packets, kernel events, evidence and time come in here as inputs of the node.
//!
//! One pass: read the clock, let what is due happen first, take one input, carry out the outputs in order, arm the
//! timer. What came of each output returns as an input at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgvrrp_netlink::{Event, Monitor};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};
use vrrp::time::Instant;
use vrrp::wire::advert::Advert;
use vrrp::wire::arp::Claim;
use vrrp::wire::ipv4::Discard;

use crate::actuator::Actuator;
use crate::clock;
use crate::gate::evidence::{EtcdReport, PatroniReport, RoleReport};
use crate::node::Node;
use crate::node::io::{Address, Discarded, Input, Link, Output, Version2};
use crate::node::status::Status;
use crate::recording::recorder::Recorder;
use crate::timer::Timer;
use crate::transport::{AdvertReceiver, AdvertSender, ArpReceiver};

/// A picture is published for each change, and at least this often while anything happens at all.
const PUBLISH: Duration = Duration::from_millis(200);

/// After the addresses are gone, the locks' leases may take this much longer to be revoked; they expire anyway.
const UNLOCK: Duration = Duration::from_millis(300);

/// An address that will not go is given up after this; by then its lifetime has ended it.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Outcomes that one input may lead to, by way of the outputs that they lead to. A decision that does not change the world
/// it is about would otherwise be taken for ever, and nothing else be heard.
const MOST_STEPS: usize = 1000;

/// Pause before sockets that could not be opened are tried again.
const REOPEN: Duration = Duration::from_secs(1);

/// The ends of the lines from the askers, and to the observers.
#[derive(Debug)]
pub struct Lines {
    /// From etcd's asker.
    pub etcd: mpsc::UnboundedReceiver<EtcdReport>,
    /// From PostgreSQL's.
    pub postgres: mpsc::Receiver<RoleReport>,
    /// From Patroni's.
    pub patroni: mpsc::Receiver<PatroniReport>,
    /// From whoever asks for a handover on the control socket.
    pub handovers: mpsc::Receiver<()>,
    /// To everybody who looks.
    pub status: watch::Sender<Arc<Status>>,
}

/// The sockets that hear what the segment says.
#[derive(Debug)]
struct Ears {
    index: u32,
    adverts: AdvertReceiver,
    arp: ArpReceiver,
}

/// The loop.
#[derive(Debug)]
pub struct Reactor {
    node: Node,
    /// Of everything that the node is told and answers, if that is wanted.
    recorder: Option<Recorder>,
    actuator: Actuator,
    monitor: Monitor,
    lines: Lines,
    interface: String,
    vips: Vec<std::net::Ipv4Addr>,
    timer: Timer,
    signals: Signals,
    link: Option<Link>,
    mac: Option<[u8; 6]>,
    /// The state of the interface that was last logged.
    told: Option<Option<Link>>,
    /// Why listening failed, as last logged.
    deaf_told: Option<String>,
    ears: Option<Ears>,
    /// Something that could not be read or opened is tried again then.
    reopen: Option<Instant>,
    /// The addresses could not be read.
    unread: bool,
    published: Instant,
    stop: Option<Instant>,
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What woke the loop.
enum Wake {
    Input(Input),
    Kernel(Vec<Event>),
    Adverts(io::Result<Vec<Result<Advert, Discard>>>),
    Claims(io::Result<Vec<Claim>>),
    Stop(&'static str),
    HandOver,
    HangUp,
}

impl Reactor {
    /// Has to be called within the protocol thread's runtime.
    ///
    /// # Errors
    /// If the kernel refuses a timer or signal handlers.
    pub fn new(
        node: Node,
        recorder: Option<Recorder>,
        actuator: Actuator,
        monitor: Monitor,
        lines: Lines,
        interface: String,
        vips: Vec<std::net::Ipv4Addr>,
    ) -> io::Result<Self> {
        Ok(Self {
            node,
            recorder,
            actuator,
            monitor,
            lines,
            interface,
            vips,
            timer: Timer::new()?,
            signals: Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up: signal(SignalKind::hangup())?,
            },
            link: None,
            mac: None,
            told: None,
            deaf_told: None,
            ears: None,
            reopen: None,
            unread: false,
            published: Instant::ZERO,
            stop: None,
        })
    }

    /// Runs until a signal ends it and everything is released, or until everything is left for the next process.
    ///
    /// # Errors
    /// If the kernel's notifications end, or an address would not go at the end.
    pub async fn run(mut self) -> io::Result<()> {
        self.find_link();
        self.dump();
        loop {
            if let Some(since) = self.stop
                && let Some(result) = self.is_over(since)
            {
                self.publish();
                return result;
            }
            if self.node.is_handed_over() {
                info!("handed over: what is bound stays so for its lifetime");
                return Ok(());
            }
            self.arm()?;
            match self.wake().await? {
                Wake::Input(input) => self.pass(input),
                Wake::Kernel(events) => self.take_events(events),
                Wake::Adverts(Ok(packets)) => packets.into_iter().for_each(|packet| self.pass(advert_input(packet))),
                Wake::Claims(Ok(claims)) => claims.into_iter().for_each(|claim| self.take_claim(claim)),
                Wake::Adverts(Err(error)) | Wake::Claims(Err(error)) => self.deaf(&error),
                Wake::Stop(name) => {
                    info!("{name}: releasing");
                    self.stop.get_or_insert_with(clock::now);
                    self.pass(Input::Stop);
                }
                Wake::HandOver => {
                    info!("handing over to the next process");
                    self.pass(Input::HandOver);
                }
                Wake::HangUp => info!("SIGHUP ignored: the configuration is read at start only"),
            }
        }
    }

    /// Waits for whatever comes first. What is due is done before anything else in each pass, so the timer need not be
    /// first here; evidence and the kernel's words go before strangers' packets.
    async fn wake(&mut self) -> io::Result<Wake> {
        let stopping = self.stop.is_some();
        let ears = self.ears.as_ref();
        tokio::select! {
            biased;
            _ = self.signals.terminate.recv(), if !stopping => Ok(Wake::Stop("SIGTERM")),
            _ = self.signals.interrupt.recv(), if !stopping => Ok(Wake::Stop("SIGINT")),
            Some(report) = self.lines.postgres.recv() => Ok(Wake::Input(Input::Postgres(report))),
            Some(report) = self.lines.etcd.recv() => Ok(Wake::Input(Input::Etcd(report))),
            Some(report) = self.lines.patroni.recv() => Ok(Wake::Input(Input::Patroni(report))),
            events = self.monitor.next() => Ok(Wake::Kernel(events.map_err(io::Error::other)?)),
            fired = self.timer.fired() => fired.map(|()| Wake::Input(Input::Timer)),
            packets = adverts(ears) => Ok(Wake::Adverts(packets)),
            claims = claims(ears) => Ok(Wake::Claims(claims)),
            Some(()) = self.lines.handovers.recv() => Ok(Wake::HandOver),
            _ = self.signals.hang_up.recv() => Ok(Wake::HangUp),
        }
    }

    /// One input. What is due is done before it is looked at.
    fn pass(&mut self, input: Input) {
        if !matches!(input, Input::Timer) && self.node.deadline() <= clock::now() {
            self.step(Input::Timer);
        }
        self.step(input);
        let now = clock::now();
        if self.reopen.is_some_and(|at| at <= now) {
            self.reopen = None;
            self.find_link();
            if self.unread {
                self.dump();
            }
        }
    }

    fn step(&mut self, input: Input) {
        let mut next = Some(input);
        let mut notable = false;
        let mut steps = 0;
        while let Some(input) = next.take() {
            steps += 1;
            if steps > MOST_STEPS {
                error!(?input, "what came of one input had no end: going on with the next; please report this");
                break;
            }
            let now = clock::now();
            let outputs = match &mut self.recorder {
                Some(recorder) => recorder.handle(&mut self.node, now, input),
                None => self.node.handle(now, input),
            };
            notable |= outputs.iter().any(|output| matches!(output, Output::Unbind { .. } | Output::Tell(_)));
            next = Some(self.actuator.carry_out(outputs)).filter(|done| !done.is_empty()).map(Input::Done);
        }
        if notable || clock::now().since(self.published) >= PUBLISH {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.published = clock::now();
        self.lines.status.send_replace(Arc::new(self.node.status(self.published)));
    }

    fn arm(&mut self) -> io::Result<()> {
        self.timer.set(self.reopen.into_iter().fold(self.node.deadline(), Instant::min))
    }

    /// Whether the end has come, and how.
    fn is_over(&self, since: Instant) -> Option<io::Result<()>> {
        let waited = clock::now().since(since);
        if self.node.is_gone() || (self.node.is_unbound() && waited >= UNLOCK) {
            return Some(Ok(()));
        }
        (waited >= GIVE_UP).then(|| Err(io::Error::other("an address could not be removed; its lifetime ends it")))
    }

    // ---- The kernel ---------------------------------------------------------------------------------------------

    fn take_events(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::AddressAdded(address) => self.pass(Input::AddressAdded(node_address(&address))),
                Event::AddressRemoved(address) => self.pass(Input::AddressRemoved(node_address(&address))),
                Event::LinkChanged(link) => {
                    let ours = self.link.is_some_and(|known| known.index == link.index);
                    if ours || link.name == self.interface {
                        self.find_link();
                    }
                }
                Event::LinkRemoved(index) => {
                    if self.link.is_some_and(|known| known.index == index) {
                        self.find_link();
                    }
                }
                Event::Lost => {
                    warn!("the kernel's notifications overran: reading everything anew");
                    self.dump();
                    self.find_link();
                }
            }
        }
    }

    fn dump(&mut self) {
        self.unread = false;
        match self.actuator.kernel().addresses() {
            Ok(addresses) => self.pass(Input::Addresses(addresses.iter().map(node_address).collect())),
            Err(error) => {
                warn!(%error, "the host's addresses could not be read, trying again");
                self.unread = true;
                self.reopen = Some(clock::now() + REOPEN);
            }
        }
    }

    /// Looks the interface up by its name: whatever events said, this is how it is now.
    fn find_link(&mut self) {
        let found = match self.actuator.kernel().link(&self.interface) {
            Ok(found) => found,
            Err(error) => {
                warn!(interface = self.interface, %error, "the interface could not be looked up");
                self.reopen = Some(clock::now() + REOPEN);
                return;
            }
        };
        self.mac = found.as_ref().and_then(|found| found.mac);
        let link = found.map(|found| Link { index: found.index, up: found.up });
        if self.told != Some(link) {
            self.told = Some(link);
            match link {
                Some(link) => info!(interface = self.interface, index = link.index, up = link.up, "interface"),
                None => warn!(interface = self.interface, "there is no such interface"),
            }
        }
        self.link = link;
        self.listen();
        self.pass(Input::Link(link));
    }

    /// Opens the sockets that belong to the interface, if it is another than before.
    fn listen(&mut self) {
        let Some(link) = self.link else {
            self.ears = None;
            self.actuator.use_sender(None);
            return;
        };
        if self.ears.as_ref().is_some_and(|ears| ears.index == link.index) {
            return;
        }
        match self.open(link.index) {
            Ok((ears, sender)) => {
                self.deaf_told = None;
                self.ears = Some(ears);
                self.actuator.use_sender(Some(sender));
            }
            Err(error) => {
                let reason = error.to_string();
                if self.deaf_told.as_ref() != Some(&reason) {
                    warn!(
                        interface = self.interface,
                        reason, "cannot listen for VRRP and ARP, trying again; etcd decides meanwhile"
                    );
                    self.deaf_told = Some(reason);
                }
                self.reopen = Some(clock::now() + REOPEN);
            }
        }
    }

    fn open(&self, index: u32) -> io::Result<(Ears, AdvertSender)> {
        let adverts = AdvertReceiver::open(&self.interface, index)?;
        let arp = ArpReceiver::open(index, &self.vips)?;
        Ok((Ears { index, adverts, arp }, AdvertSender::open(&self.interface)?))
    }

    /// An error on a listening socket: "network is down" comes once when the interface goes down, and is over when it is
    /// up again. Anything else is answered by new sockets.
    fn deaf(&mut self, error: &io::Error) {
        if error.raw_os_error() != Some(libc::ENETDOWN) {
            warn!(%error, "listening failed, opening the sockets anew");
            self.ears = None;
            self.reopen = Some(clock::now() + REOPEN);
        }
    }

    fn take_claim(&mut self, claim: Claim) {
        // The kernel hands packet sockets what this host itself sends, our announcements included.
        if self.mac != Some(claim.mac) {
            self.pass(Input::ArpClaim { address: claim.address, mac: claim.mac });
        }
    }
}

/// Without an interface there is nothing to be heard.
async fn adverts(ears: Option<&Ears>) -> io::Result<Vec<Result<Advert, Discard>>> {
    match ears {
        Some(ears) => ears.adverts.receive().await,
        None => std::future::pending().await,
    }
}

async fn claims(ears: Option<&Ears>) -> io::Result<Vec<Claim>> {
    match ears {
        Some(ears) => ears.arp.receive().await,
        None => std::future::pending().await,
    }
}

fn advert_input(packet: Result<Advert, Discard>) -> Input {
    match packet {
        Ok(advert) => Input::Advert(advert),
        Err(discard) => Input::Discarded(Discarded {
            reason: discard.label().into(),
            version2: match discard {
                Discard::Version2 { source, vrid, priority } => {
                    Some(Version2 { source, virtual_router_id: vrid, priority })
                }
                _ => None,
            },
        }),
    }
}

fn node_address(address: &pgvrrp_netlink::Address) -> Address {
    Address { link: address.link, address: address.address, prefix_len: address.prefix_len, lifetime: address.lifetime }
}

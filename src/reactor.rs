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
use vrrp::wire::ipv4::Discard;

use crate::actuator::Actuator;
use crate::clock;
use crate::evidence::postgres;
use crate::gate::evidence::VipId;
use crate::gate::evidence::{EtcdReport, PatroniReport};
use crate::node::io::{Address, ClientsReport, Discarded, Input, Link, Notice, Output, Version2};
use crate::node::status::Status;
use crate::node::{InterfaceId, Node, Settings};
use crate::observe::logging;
use crate::recording::recorder::Recorder;
use crate::rehearsal::Rehearsal;
use crate::segment::{self, Heard, Segment};
use crate::timer::Timer;
use crate::transport::Rejected;

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

/// How often what was heard is read before a Backup takes over: a thousand packets in all, some milliseconds of a flood.
const CATCH_UP: usize = 32;

/// The ends of the lines from the askers, and to the observers.
#[derive(Debug)]
pub struct Lines {
    /// From etcd's asker.
    pub etcd: mpsc::UnboundedReceiver<EtcdReport>,
    /// From PostgreSQL's.
    pub postgres: mpsc::Receiver<postgres::Report>,
    /// From Patroni's.
    pub patroni: mpsc::Receiver<PatroniReport>,
    /// About the VIPs' clients.
    pub clients: mpsc::Receiver<ClientsReport>,
    /// From whoever asks for something on the control socket.
    pub commands: mpsc::Receiver<Command>,
    /// To everybody who looks.
    pub status: watch::Sender<Arc<Status>>,
}

/// What can be asked of a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make room for the next process.
    HandOver,
    /// Keep a VIP away from this node, or no longer.
    Drain(VipId, bool),
    /// Go on by these settings.
    Reload(Box<Settings>),
    /// Others were refused, for this reason.
    ReloadRefused(String),
}

/// The loop.
#[derive(Debug)]
pub struct Reactor {
    node: Node,
    /// Of everything that the node is told and answers, if that is wanted.
    recorder: Option<Recorder>,
    /// What is decided is not done, but compared with what is.
    rehearsal: Option<Rehearsal>,
    actuator: Actuator,
    monitor: Monitor,
    lines: Lines,
    /// By [`InterfaceId`].
    segments: Vec<Segment>,
    /// The mark on the interfaces that are made for virtual MACs.
    owner: String,
    /// Interfaces may be left that were made for what is configured no more.
    untidy: bool,
    timer: Timer,
    signals: Signals,
    /// Something that could not be read or opened is tried again then.
    reopen: Option<Instant>,
    /// When listening last failed.
    deafened: Option<Instant>,
    /// The addresses could not be read.
    unread: bool,
    published: Instant,
    stop: Option<Instant>,
}

#[derive(Debug)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What woke the loop.
enum Wake {
    Input(Input),
    Timer,
    Kernel(Vec<Event>),
    Heard(InterfaceId, io::Result<Heard>),
    Stop(&'static str),
    Command(Command),
}

impl Reactor {
    /// Has to be called within the protocol thread's runtime.
    ///
    /// # Errors
    /// If the kernel refuses a timer or signal handlers.
    pub(crate) fn new(
        node: Node,
        recorder: Option<Recorder>,
        actuator: Actuator,
        monitor: Monitor,
        lines: Lines,
        segments: Vec<Segment>,
        owner: String,
    ) -> io::Result<Self> {
        Ok(Self {
            node,
            recorder,
            rehearsal: None,
            actuator,
            monitor,
            lines,
            segments,
            owner,
            untidy: false,
            timer: Timer::new()?,
            signals: Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            reopen: None,
            deafened: None,
            unread: false,
            published: Instant::ZERO,
            stop: None,
        })
    }

    /// The same, of a daemon that only observes if there is a rehearsal.
    pub(crate) fn rehearsing(mut self, rehearsal: Option<Rehearsal>) -> Self {
        self.rehearsal = rehearsal;
        self
    }

    /// Runs until a signal ends it and everything is released, or until everything is left for the next process. The
    /// interfaces that were made for virtual MACs go with the former and stay with the latter.
    ///
    /// # Errors
    /// If the kernel's notifications end, or an address would not go at the end.
    pub async fn run(mut self) -> io::Result<()> {
        let result = self.run_until_the_end().await;
        if self.stop.is_some() && self.rehearsal.is_none() {
            let deleted = self.actuator.kernel().delete_macvlans(&self.owner, &[]);
            let _ = deleted.inspect_err(|error| warn!(%error, "a virtual MAC's interface is left"));
        }
        result
    }

    async fn run_until_the_end(&mut self) -> io::Result<()> {
        self.find_links();
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
            let wake = self.wake().await?;
            if !matches!(wake, Wake::Heard(..)) {
                self.listen_before_the_time_is_up().await;
            }
            match wake {
                Wake::Input(input) => self.pass(input),
                Wake::Timer => self.pass(Input::Timer),
                Wake::Kernel(events) => self.take_events(events),
                Wake::Heard(interface, heard) => {
                    self.take_heard(interface, heard);
                    // A flood is always there to be read: timer and kernel get their turn, too.
                    tokio::task::yield_now().await;
                    if self.node.deadline() <= clock::now() {
                        self.listen_before_the_time_is_up().await;
                        self.pass(Input::Timer);
                    }
                }
                Wake::Stop(name) => {
                    info!("{name}: releasing");
                    self.stop.get_or_insert_with(clock::now);
                    self.pass(Input::Stop);
                }
                Wake::Command(Command::HandOver) => {
                    info!("handing over to the next process");
                    self.pass(Input::HandOver);
                }
                Wake::Command(Command::Drain(vip, drained)) => {
                    self.pass(Input::Drain { vip, drained });
                    self.publish();
                }
                Wake::Command(Command::Reload(settings)) => self.reload(settings),
                Wake::Command(Command::ReloadRefused(why)) => {
                    self.pass(Input::ReloadRefused(why));
                    self.publish();
                }
            }
        }
    }

    /// Waits for whatever comes first. What is due is done before anything else in each pass, so the timer need not be
    /// first here; evidence and the kernel's words go before strangers' packets.
    async fn wake(&mut self) -> io::Result<Wake> {
        let stopping = self.stop.is_some();
        let segments = self.segments.as_slice();
        tokio::select! {
            biased;
            _ = self.signals.terminate.recv(), if !stopping => Ok(Wake::Stop("SIGTERM")),
            _ = self.signals.interrupt.recv(), if !stopping => Ok(Wake::Stop("SIGINT")),
            Some(report) = self.lines.postgres.recv() => Ok(Wake::Input(match report {
                postgres::Report::Parted => Input::PostgresParted,
                postgres::Report::Role(report) => Input::Postgres(report),
            })),
            Some(report) = self.lines.etcd.recv() => Ok(Wake::Input(Input::Etcd(report))),
            Some(report) = self.lines.patroni.recv() => Ok(Wake::Input(Input::Patroni(report))),
            events = self.monitor.next() => Ok(Wake::Kernel(events.map_err(io::Error::other)?)),
            fired = self.timer.fired() => fired.map(|()| Wake::Timer),
            Some(command) = self.lines.commands.recv() => Ok(Wake::Command(command)),
            Some(report) = self.lines.clients.recv() => Ok(Wake::Input(Input::Clients(report))),
            (interface, heard) = segment::hear(segments) => Ok(Wake::Heard(interface, heard)),
        }
    }

    /// One input. What is due is done before it is looked at; but for what is heard: the next advert may be what was waited for.
    fn pass(&mut self, input: Input) {
        let heard = matches!(input, Input::Advert { .. } | Input::Discarded(_) | Input::Claim { .. });
        if !matches!(input, Input::Timer) && !heard && self.node.deadline() <= clock::now() {
            self.step(Input::Timer);
        }
        self.step(input);
        let now = clock::now();
        if self.reopen.is_some_and(|at| at <= now) {
            self.reopen = None;
            self.find_links();
            if self.unread {
                self.dump();
            }
        }
        if self.untidy && !self.node.is_retiring() {
            self.tidy_up();
        }
    }

    /// Everybody who has to know of it learns of it between two passes.
    fn reload(&mut self, settings: Box<Settings>) {
        self.actuator.reconfigure(&settings);
        let mut wanted = Segment::all(&settings, &self.owner).into_iter();
        for segment in &mut self.segments {
            wanted.by_ref().take(1).for_each(|wanted| segment.reconfigure(wanted));
        }
        self.segments.extend(wanted);
        self.pass(Input::Reload(settings));
        self.untidy = true;
        self.find_links();
        self.publish();
    }

    /// Away with the interfaces of the daemon's own that nothing is on any more.
    fn tidy_up(&mut self) {
        self.untidy = false;
        let own = self.segments.iter().filter(|segment| segment.below().is_some());
        let wanted: Vec<_> = own.map(|segment| segment.name.as_str()).collect();
        if let Err(error) = self.actuator.kernel().delete_macvlans(&self.owner, &wanted) {
            warn!(%error, "a virtual MAC's interface is left");
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
            let notices: Vec<_> = outputs.iter().filter_map(Output::notice).cloned().collect();
            let done = match &mut self.rehearsal {
                Some(rehearsal) => rehearsal.carry_out(&mut self.actuator, outputs),
                None => self.actuator.carry_out(outputs),
            };
            next = Some(done).filter(|done| !done.is_empty()).map(Input::Done);
            notices.iter().for_each(|notice| self.tell(notice, now));
        }
        if notable || clock::now().since(self.published) >= PUBLISH {
            self.publish();
        }
    }

    /// After what was decided is done: what is said of it delays nothing.
    fn tell(&self, notice: &Notice, now: Instant) {
        let picture = notice.vip.map(|vip| self.node.status_of(now, vip));
        match &picture {
            Some(_) if self.rehearsal.is_some() => {
                let text = format!("would be: {}", notice.text);
                logging::tell(&Notice { text, ..notice.clone() }, picture.as_ref());
            }
            _ => logging::tell(notice, picture.as_ref()),
        }
    }

    fn publish(&mut self) {
        self.published = clock::now();
        let mut picture = self.node.status(self.published);
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.correct(&mut picture, self.published);
        }
        self.lines.status.send_replace(Arc::new(picture));
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
                Event::AddressAdded(address) => self.address_event(node_address(&address), true),
                Event::AddressRemoved(address) => self.address_event(node_address(&address), false),
                Event::LinkChanged(link) => self.link_event(link.index, Some(&link.name)),
                Event::LinkRemoved(index) => self.link_event(index, None),
                Event::Lost => {
                    warn!("the kernel's notifications overran: reading everything anew");
                    self.dump();
                    self.find_links();
                }
            }
        }
    }

    fn address_event(&mut self, address: Address, added: bool) {
        if self.rehearsal.as_mut().is_some_and(|rehearsal| rehearsal.sees(&address, added)) {
            return;
        }
        self.pass(if added { Input::AddressAdded(address) } else { Input::AddressRemoved(address) });
    }

    fn dump(&mut self) {
        self.unread = false;
        match self.actuator.kernel().addresses() {
            Ok(addresses) => {
                let mut addresses: Vec<_> = addresses.iter().map(node_address).collect();
                if let Some(rehearsal) = &mut self.rehearsal {
                    addresses = rehearsal.sees_all(addresses);
                }
                self.pass(Input::Addresses(addresses));
            }
            Err(error) => {
                warn!(%error, "the host's addresses could not be read, trying again");
                self.unread = true;
                self.reopen = Some(clock::now() + REOPEN);
            }
        }
    }

    fn link_event(&mut self, index: u32, name: Option<&str>) {
        let is = |segment: &Segment| {
            // What happens to an interface is felt by those that are made on top of it.
            let below = segment.below().and_then(|below| self.segments.get(below.0));
            segment.is(index, name) || below.is_some_and(|below| below.is(index, name))
        };
        let found = self.segments.iter().enumerate().filter(|(_, segment)| is(segment)).map(|(at, _)| InterfaceId(at));
        found.collect::<Vec<_>>().into_iter().for_each(|interface| self.find_link(interface));
    }

    /// Those that are made come after the ones that they are made on.
    fn find_links(&mut self) {
        (0..self.segments.len()).for_each(|interface| self.find_link(InterfaceId(interface)));
    }

    fn find_link(&mut self, interface: InterfaceId) {
        if segment::make(&mut self.segments, interface, self.actuator.kernel()).is_err() {
            self.reopen = Some(clock::now() + REOPEN);
        }
        let Some(segment) = self.segments.get_mut(interface.0) else { return };
        if let Err(error) = segment.look_up(self.actuator.kernel()) {
            warn!(interface = segment.name, %error, "the interface could not be looked up");
            self.reopen = Some(clock::now() + REOPEN);
            return;
        }
        let mut link = segment.link;
        match segment.open() {
            Ok(Some(voices)) => self.actuator.use_voices(interface, voices),
            Ok(None) => {}
            Err(()) => {
                self.reopen = Some(clock::now() + REOPEN);
                // Who can hear nobody would elect itself. (A VIP that follows the primary does not ask whether it is up.)
                link = link.map(|link| Link { up: false, ..link });
            }
        }
        self.pass(Input::Link { interface, link });
    }

    // ---- The segments -------------------------------------------------------------------------------------------

    /// An Active is not overdue as long as what it said is still waiting to be read: after a pause of this process, say.
    async fn listen_before_the_time_is_up(&mut self) {
        if !self.node.misses_an_active(clock::now()) {
            return;
        }
        // Lets the runtime see what the sockets have.
        tokio::task::yield_now().await;
        for _ in 0..CATCH_UP {
            let heard = tokio::select! {
                biased;
                heard = segment::hear(&self.segments) => heard,
                () = std::future::ready(()) => return,
            };
            self.take_heard(heard.0, heard.1);
        }
    }

    /// At once, since who hears nobody would elect itself; but not over and over.
    fn listen_again(&mut self, interface: InterfaceId) {
        let now = clock::now();
        if self.deafened.replace(now).is_none_or(|last| now.since(last) >= REOPEN) {
            return self.find_link(interface);
        }
        self.reopen = Some(now + REOPEN);
        let link = self.segments.get(interface.0).and_then(|segment| segment.link);
        let link = link.map(|link| Link { up: false, ..link });
        self.pass(Input::Link { interface, link });
    }

    /// Of the holder of a VIP that this node would only hold.
    fn is_of_the_present(&mut self, interface: InterfaceId, advert: &Advert) -> bool {
        self.rehearsal.as_mut().is_some_and(|rehearsal| rehearsal.hears(interface, advert))
    }

    fn take_heard(&mut self, interface: InterfaceId, heard: io::Result<Heard>) {
        match heard {
            Ok(Heard::Packets(packets)) => {
                let mut discarded = Vec::new();
                for packet in packets {
                    match packet {
                        Ok(advert) if self.is_of_the_present(interface, &advert) => {}
                        Ok(advert) => self.pass(Input::Advert { interface, advert }),
                        Err(rejected) => add(&mut discarded, interface, &rejected),
                    }
                }
                discarded.into_iter().for_each(|packets| self.pass(Input::Discarded(packets)));
            }
            Ok(Heard::Claims(claims)) => {
                for claim in claims {
                    if self.rehearsal.as_ref().is_some_and(|it| it.is_claimed(interface, claim.address)) {
                        continue;
                    }
                    if !self.segments.get(interface.0).is_none_or(|segment| segment.is_own(&claim)) {
                        self.pass(Input::Claim { interface, address: claim.address, mac: claim.mac });
                    }
                }
            }
            Err(error) => {
                let segment = self.segments.get_mut(interface.0);
                if segment.is_some_and(|segment| segment.deafened(&error)) {
                    self.listen_again(interface);
                }
            }
        }
    }
}

/// Packets that are of no use are told of together: a flood of them costs little more than reading them.
fn add(discarded: &mut Vec<Discarded>, interface: InterfaceId, rejected: &Rejected) {
    let reason = rejected.reason.label();
    let version2 = match rejected.reason {
        Discard::Version2 { source, priority, .. } => Some(Version2 { source, priority }),
        _ => None,
    };
    let same = |known: &&mut Discarded| {
        let source = |version2: Option<Version2>| version2.map(|version2| version2.source);
        known.reason == reason && known.virtual_router_id == rejected.vrid && source(known.version2) == source(version2)
    };
    match discarded.iter_mut().find(same) {
        Some(known) => (known.count, known.version2) = (known.count + 1, version2),
        None => discarded.push(Discarded {
            interface,
            reason: reason.into(),
            count: 1,
            virtual_router_id: rejected.vrid,
            version2,
        }),
    }
}

fn node_address(address: &pgvrrp_netlink::Address) -> Address {
    Address {
        link: address.link,
        address: address.address,
        prefix_len: address.prefix_len,
        lifetime: address.lifetime,
        tentative: address.tentative,
    }
}

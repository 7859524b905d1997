//! The daemon's process: the real `Node`, driven as `src/reactor.rs` and `src/actuator.rs` drive it, one instruction at a
//! time, so that it can be stopped between any two of them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use pgvrrp::gate::evidence::{EtcdReport, PatroniReport, RoleReport, VipId};
use pgvrrp::node::io::{Address, ClientsReport, Input, Link, Outcome, Output, VipClients};
use pgvrrp::node::{InterfaceId, Node, Settings, VipSettings, lock_address};
use vrrp::time::Instant;
use vrrp::wire::advert::Advert;

use super::checks::Reads;
use super::clock::{MS, Nanos, S};
use super::kernel::{ETH0, ETH1, VIP};
use super::sabotage::{Model, removed};
use super::world::World;

/// What waits to be read by the process.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) stop: bool,
    pub(crate) hand_over: bool,
    /// PostgreSQL has ended the session.
    pub(crate) parted: bool,
    pub(crate) postgres: VecDeque<RoleReport>,
    pub(crate) etcd: VecDeque<EtcdReport>,
    pub(crate) patroni: VecDeque<PatroniReport>,
    pub(crate) kernel: VecDeque<Told>,
    /// Other configurations.
    pub(crate) reloads: VecDeque<Rc<Settings>>,
    pub(crate) adverts: VecDeque<(InterfaceId, Advert)>,
    pub(crate) claims: VecDeque<(InterfaceId, IpAddr, [u8; 6])>,
    /// Somebody has connected to the VIP.
    pub(crate) client: bool,
}

/// A notification of the kernel's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    Added(Address),
    Removed(Address),
    Link,
    Lost,
}

/// How far an output has got.
#[derive(Clone, Debug)]
enum Stage {
    /// Nothing is done yet; the clock has not been read.
    Begin(Output),
    /// The clock was read at that moment, master time.
    Call(Output, Nanos),
    /// The kernel has done it; the process does not know yet.
    Return(Output, Outcome),
    /// It was a bind, and the second reading of the clock said "too late".
    Undo(VipId),
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) node: Node,
    /// Of the current input and what came of it.
    pending: VecDeque<Input>,
    outputs: VecDeque<Output>,
    stage: Option<Stage>,
    outcomes: Vec<Outcome>,
    /// VIPs of which the rest of the outputs is skipped.
    failed: Vec<VipId>,
    steps: u32,
    stopping: Option<Instant>,
    over: bool,
    /// The timer that is armed.
    pub(crate) armed: Option<Instant>,
}

impl World {
    /// The service is started.
    pub(crate) fn start(&mut self, h: usize) {
        let (now, idle) = (self.local(h), self.idle(h));
        let host = &mut self.hosts[h];
        if !host.up || host.process.is_some() {
            return;
        }
        if self.now < host.suspended_until {
            let until = host.suspended_until;
            return self.at(until, move |w| w.start(h));
        }
        host.life += 1;
        host.inbox = Inbox::default();
        host.reads = Reads::default();
        host.late_answers.clear();
        host.usual_lease = None;
        host.preferred = h % self.plan.members;
        let settings = host.file.settings(host.identity(), &self.plan);
        host.adopt(settings.clone());
        if host.in_force.policy != host.settings.policy {
            host.told_since = (self.now, idle);
        }
        host.in_force = host.settings.clone();
        host.process = Some(Process {
            node: Node::new(settings, now),
            pending: VecDeque::new(),
            outputs: VecDeque::new(),
            stage: None,
            outcomes: Vec::new(),
            failed: Vec::new(),
            steps: 0,
            stopping: None,
            over: false,
            armed: None,
        });
        host.inbox.kernel.push_back(Told::Lost);
        (host.stopped_until, host.wakes) = (self.now, None);
        let life = host.life;
        self.running(h, true);
        self.who(h, || format!("daemon starts, life {life}"));
        self.ask_role_now(h);
        self.keep_by_itself(h, life);
        self.watch_again(h);
        self.wake(h);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, h: usize) -> bool {
        let host = &mut self.hosts[h];
        host.life += 1;
        // There is no next instruction; the lifetime ends it.
        host.bound_late = None;
        let was = host.process.take().is_some();
        if was {
            self.running(h, false);
            self.who(h, || "daemon is gone".to_owned());
        }
        was
    }

    /// The process has something to do.
    pub(crate) fn wake(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let at = host.stopped_until.max(self.now);
        if host.process.is_none() || host.wakes.is_some_and(|wakes| wakes <= at) {
            return;
        }
        host.wakes = Some(at);
        self.at(at, move |w| {
            if w.hosts[h].wakes == Some(at) {
                w.hosts[h].wakes = None;
                w.run(h);
            }
        });
    }

    /// The process does not run for so long. `whole`: the askers do not either.
    pub(crate) fn stop_for(&mut self, h: usize, span: Nanos, whole: bool) -> bool {
        if self.now + span <= self.hosts[h].stopped_until {
            return false;
        }
        self.hosts[h].stopped_whole = whole;
        self.busy_for(h, span);
        if span > 20 * MS {
            self.who(h, || format!("process does not run for {} ms", span / MS));
        }
        self.running(h, false);
        self.hosts[h].life_is_running()
    }

    /// The protocol thread is in a call for so long: it runs, and takes no further instruction.
    fn busy_for(&mut self, h: usize, span: Nanos) {
        let until = self.now + span;
        let host = &mut self.hosts[h];
        host.stopped_until = host.stopped_until.max(until);
        let life = host.life;
        self.at(until, move |w| {
            if w.hosts[h].life == life && w.hosts[h].stopped_until <= w.now && w.hosts[h].process.is_some() {
                w.running(h, true);
                w.wake(h);
            }
        });
    }

    fn run(&mut self, h: usize) {
        if self.hosts[h].stopped_until > self.now {
            return self.wake(h);
        }
        let Some(mut process) = self.hosts[h].process.take() else { return };
        let mut steps = 0;
        while self.hosts[h].stopped_until <= self.now && self.broken.is_none() && self.step(h, &mut process) {
            steps += 1;
            if steps > 5_000 {
                let due = process.node.deadline();
                let why = format!("the loop spins, the node's deadline is {due}, now {}", self.local(h));
                self.fail(h, "S5", &why);
            }
        }
        if process.over {
            self.hosts[h].life += 1;
            self.running(h, false);
            return self.who(h, || "daemon has ended".to_owned());
        }
        let due = process.node.deadline();
        if process.armed != Some(due) {
            process.armed = Some(due);
            self.arm(h, due);
        }
        self.hosts[h].process = Some(process);
    }

    /// The timer goes off when this host's clock shows that time.
    fn arm(&mut self, h: usize, due: Instant) {
        let life = self.hosts[h].life;
        let at = self.hosts[h].clock.when(due).max(self.now + 1);
        self.at(at, move |w| {
            if w.hosts[h].life == life && w.hosts[h].process.as_ref().is_some_and(|p| p.armed == Some(due)) {
                w.wake(h);
            }
        });
    }

    /// The clock has been changed under an armed timer.
    pub(crate) fn arm_again(&mut self, h: usize) {
        if let Some(due) = self.hosts[h].process.as_ref().and_then(|process| process.armed) {
            self.arm(h, due);
        }
    }

    /// One instruction; `false` if there is nothing to do.
    fn step(&mut self, h: usize, p: &mut Process) -> bool {
        if let Some(stage) = p.stage.take() {
            self.proceed(h, p, stage);
            return true;
        }
        while let Some(output) = p.outputs.pop_front() {
            if !output.vip().is_some_and(|vip| p.failed.contains(&vip)) {
                p.stage = Some(Stage::Begin(output));
                self.maybe_pause(h);
                return true;
            }
        }
        if !p.outcomes.is_empty() {
            p.pending.push_front(Input::Done(std::mem::take(&mut p.outcomes)));
        }
        if let Some(input) = p.pending.pop_front() {
            self.handle(h, p, input);
            return true;
        }
        p.steps = 0;
        self.end_excuse_of_sleep(h);
        let now = self.local(h);
        if let Some(since) = p.stopping {
            let waited = now.since(since).as_nanos() as Nanos;
            if p.node.is_gone() || (p.node.is_unbound() && waited >= 300 * MS) || waited >= 5 * S {
                p.over = true;
                return false;
            }
        }
        if p.node.is_handed_over() {
            self.count("handed over");
            p.over = true;
            return false;
        }
        let Some(input) = self.next_input(h, p, now) else { return false };
        p.pending.push_back(input);
        true
    }

    /// The order of `select!` in the reactor.
    fn next_input(&mut self, h: usize, p: &mut Process, now: Instant) -> Option<Input> {
        let inbox = &mut self.hosts[h].inbox;
        if std::mem::take(&mut inbox.stop) && p.stopping.is_none() {
            p.stopping = Some(now);
            return Some(Input::Stop);
        }
        if p.node.deadline() <= now {
            return Some(Input::Timer);
        }
        if std::mem::take(&mut inbox.parted) {
            return Some(Input::PostgresParted);
        }
        if let Some(report) = inbox.postgres.pop_front() {
            return Some(Input::Postgres(report));
        }
        if let Some(report) = inbox.etcd.pop_front() {
            return Some(Input::Etcd(report));
        }
        if let Some(report) = inbox.patroni.pop_front() {
            return Some(Input::Patroni(report));
        }
        if let Some(told) = inbox.kernel.pop_front() {
            let link = self.hosts[h].kernel.link.then_some(Link { index: ETH0, up: true, mtu: 1500, mac: None });
            let has_second = self.hosts[h].in_force.interfaces.len() > 1;
            return Some(match told {
                Told::Added(address) => Input::AddressAdded(address),
                Told::Removed(address) => Input::AddressRemoved(address),
                Told::Link => Input::Link { interface: InterfaceId(0), link },
                Told::Lost => {
                    p.pending.push_back(Input::Link { interface: InterfaceId(0), link });
                    if has_second {
                        let link = Some(Link { index: ETH1, up: true, mtu: 1500, mac: None });
                        p.pending.push_back(Input::Link { interface: InterfaceId(1), link });
                    }
                    let host = &self.hosts[h];
                    Input::Addresses(host.kernel.dump(self.now, &host.clock))
                }
            });
        }
        if let Some(settings) = inbox.reloads.pop_front() {
            return Some(Input::Reload(Box::new(Settings::clone(&settings))));
        }
        if let Some((interface, advert)) = inbox.adverts.pop_front() {
            return Some(Input::Advert { interface, advert });
        }
        if let Some((interface, address, mac)) = inbox.claims.pop_front() {
            return Some(Input::Claim { interface, address, mac });
        }
        if std::mem::take(&mut inbox.client) {
            let client = VipClients { connected: Some(1), ..VipClients::default() };
            let vips = vec![client; self.hosts[h].in_force.vips.len()];
            return Some(Input::Clients(ClientsReport { vips, ..ClientsReport::default() }));
        }
        std::mem::take(&mut inbox.hand_over).then_some(Input::HandOver)
    }

    fn handle(&mut self, h: usize, p: &mut Process, input: Input) {
        p.steps += 1;
        let vips = self.hosts[h].in_force.vips.iter().filter(|vip| !vip.retired).count().max(1);
        if p.steps > 30 * vips as u32 {
            return self.fail(h, "S5", "no end of what one input leads to");
        }
        self.passes += 1;
        self.check_late_bind(h);
        self.hosts[h].slept = self.hosts[h].slept.map(|(life, _)| (life, true));
        self.who(h, || format!("< {}", brief(&input)));
        if let Some(told) = &mut self.told {
            told.push((h, input.clone()));
        }
        self.note_read(h, &input);
        let now = self.local(h);
        let before = gates(&p.node);
        self.note_claim(h, &input, &before);
        let former = self.hosts[h].in_force.clone();
        let reloads = matches!(input, Input::Reload(_));
        self.note_reload(h, &input, before.first().map_or("", |(_, phase, _)| *phase));
        let outputs = p.node.handle(now, input);
        let after = gates(&p.node);
        let known = before.len().max(after.len());
        for (vip, phase, why) in after {
            let Some((_, before, before_why)) = before.iter().find(|(id, ..)| *id == vip) else { continue };
            if why != *before_why && why == "lock_lost" {
                self.check_lost(h, vip, &p.node);
            }
            if (phase, why) != (*before, *before_why) {
                *self.ways.entry((*before, why, phase)).or_default() += 1;
            }
        }
        self.check_outputs(h, known, &outputs);
        if reloads {
            let settings = self.hosts[h].in_force.clone();
            self.check_reload(h, &former, &settings, &outputs);
        }
        p.failed.clear();
        p.outputs = outputs.into();
    }

    fn maybe_pause(&mut self, h: usize) {
        match &mut self.hosts[h].pause_in {
            Some((0, span)) => {
                let span = *span;
                self.hosts[h].pause_in = None;
                self.stop_for(h, span, true);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if self.dice.chance(self.plan.pause) {
            let span = self.dice.stretch(MS, self.plan.longest_pause);
            let span = span.min(self.left());
            let whole = self.dice.chance(700_000);
            self.count("pause between instructions");
            self.stop_for(h, span, whole);
        }
    }

    /// A system call may take its time.
    fn maybe_slow(&mut self, h: usize) {
        if self.dice.chance(self.plan.slow_call) {
            let span = self.dice.below(150 * MS);
            self.count("slow call");
            self.stop_for(h, span, false);
        }
    }

    fn proceed(&mut self, h: usize, p: &mut Process, stage: Stage) {
        match stage {
            Stage::Begin(output) => match output {
                Output::Etcd(request) => {
                    self.who(h, || format!("> {request:?}"));
                    self.check_request(h, &request);
                    self.ask_etcd(h, request);
                }
                Output::AskPostgres { every } => self.set_cadence(h, every),
                Output::AskPatroni { url } => self.ask_patroni(h, url.is_some()),
                Output::Tell(notice) => self.who(h, || format!("! {}", notice.text)),
                output => {
                    if let Some(not_after) = not_after(&output)
                        && !removed(Model::NotAfter)
                        && !removed(Model::NotAfterFirst)
                        && self.local(h) > not_after
                    {
                        if let Output::Bind { vip, .. } = output {
                            self.who(h, || "bind comes too late".to_owned());
                            p.failed.push(vip);
                            p.outcomes.push(Outcome::Late { vip, removed: false });
                        }
                        return;
                    }
                    p.stage = Some(Stage::Call(output, self.now));
                    let bind = matches!(p.stage, Some(Stage::Call(Output::Bind { .. }, _)));
                    self.maybe_pause(h);
                    self.maybe_slow(h);
                    if let Some((_, takes)) = self.dies_in_bind.filter(|(from, _)| bind && self.now >= *from) {
                        self.stop_for(h, takes, false);
                    } else if bind && self.dice.chance(self.plan.rtnl) {
                        let span = self.dice.between(50 * MS, 990 * MS);
                        self.stop_for(h, span, false);
                    }
                }
            },
            Stage::Call(output, read) => {
                if let Some(outcome) = self.system_call(h, &output, read) {
                    p.stage = Some(Stage::Return(output, outcome));
                    self.maybe_slow(h);
                    self.maybe_pause(h);
                }
            }
            Stage::Return(output, outcome) => {
                let late = matches!(&output, Output::Bind { not_after, .. } if self.local(h) > *not_after);
                let outcome = match outcome {
                    Outcome::Bound { vip, .. }
                        if late && !removed(Model::NotAfter) && !removed(Model::NotAfterAgain) =>
                    {
                        p.stage = Some(Stage::Undo(vip));
                        self.maybe_pause(h);
                        self.maybe_slow(h);
                        return;
                    }
                    Outcome::Bound { vip, .. } => Outcome::Bound { vip, at: self.local(h) },
                    Outcome::Unbound { vip, removed, .. } => Outcome::Unbound { vip, removed, at: self.local(h) },
                    outcome => outcome,
                };
                let failed = matches!(outcome, Outcome::BindRefused { .. } | Outcome::UnbindFailed { .. })
                    || matches!(outcome, Outcome::Late { .. });
                let goes_on = match output {
                    Output::Unbind { .. } => removed(Model::ReleaseOrder),
                    _ => removed(Model::BindOrder),
                };
                if failed && !goes_on {
                    p.failed.push(outcome.vip());
                }
                p.outcomes.push(outcome);
            }
            Stage::Undo(vip) => {
                let undone = self.undo(h, vip);
                p.failed.push(vip);
                p.outcomes.push(if undone || removed(Model::ProvedAbsent) {
                    Outcome::Late { vip, removed: undone }
                } else {
                    Outcome::BindRefused { vip, error: "bound too late, and not to be removed".to_owned() }
                });
            }
        }
    }

    /// Removes what was bound too late; `false` if the kernel refuses that.
    fn undo(&mut self, h: usize, vip: VipId) -> bool {
        if self.unbind_is_refused(h) {
            self.count("late bind not undone");
            self.who(h, || "bound too late, and not to be removed".to_owned());
            // That it stays is the kernel's doing; its lifetime ends it.
            self.hosts[h].bound_late = None;
            return false;
        }
        self.who(h, || "bound too late: removed".to_owned());
        self.unbind(h, vip, None);
        true
    }

    /// Resets what is connected; for that the daemon works for up to `budget`.
    fn reset(&mut self, h: usize, budget: Duration) -> usize {
        let destroyed = self.connected(h);
        self.hosts[h].clients.clear();
        if self.dice.chance(self.plan.slow_reset) {
            self.count("slow reset");
            let span = self.hosts[h].clock.span(budget.as_nanos() as Nanos);
            // The askers go on.
            self.hosts[h].stopped_whole = false;
            self.busy_for(h, span);
        }
        destroyed
    }

    fn unbind_is_refused(&mut self, h: usize) -> bool {
        let refused = self.dice.chance(self.plan.unbind_refused);
        if refused {
            self.count("unbind refused");
            self.hosts[h].unbind_refused = Some(self.now);
        }
        refused
    }

    /// What the kernel does. The clock was read for it at `read`.
    fn system_call(&mut self, h: usize, output: &Output, read: Nanos) -> Option<Outcome> {
        // Design section 5: a process that is stopped right between the reading and the call is out of reach. Up to a
        // second, which is what RTNL may take, everything has to hold.
        let timely = self.now - read <= self.hosts[h].clock.span(S);
        let in_force = self.hosts[h].in_force.clone();
        let settings = in_force.vips.get(output.vip()?.0)?;
        let link = self.hosts[h].kernel.link || settings.interface != InterfaceId(0);
        match *output {
            Output::Bind { vip, lifetime, link: place, .. } => {
                if !link || self.dice.chance(self.plan.bind_refused) {
                    self.count("bind refused");
                    return Some(Outcome::BindRefused { vip, error: "refused".to_owned() });
                }
                self.put_vip(h, settings, place, lifetime, timely);
                Some(Outcome::Bound { vip, at: Instant::ZERO })
            }
            Output::Unbind { vip } => {
                if self.unbind_is_refused(h) {
                    return Some(Outcome::UnbindFailed { vip, error: "refused".to_owned() });
                }
                let removed = self.unbind(h, vip, None);
                Some(Outcome::Unbound { vip, removed, at: Instant::ZERO })
            }
            // The actuator only logs that.
            Output::UnbindStrays { .. } if self.unbind_is_refused(h) => None,
            Output::UnbindStrays { vip, keep } => {
                Some(Outcome::StraysRemoved { vip, removed: self.unbind(h, vip, Some(keep)) })
            }
            Output::Reset { vip, budget } => Some(Outcome::Reset { vip, destroyed: self.reset(h, budget) }),
            Output::CountConnections { vip } => {
                let known = !self.dice.chance(self.plan.uncounted);
                let count = known.then(|| self.connected(h));
                match count {
                    Some(0) => {}
                    Some(_) => self.count("drain with clients"),
                    None => self.count("clients not counted"),
                }
                Some(Outcome::Connections { vip, count })
            }
            Output::Advertise { vip, priority, source, checksum, .. } => {
                if !link {
                    return Some(Outcome::SendFailed { vip, error: "no link".to_owned() });
                }
                self.check_advert(h, settings, priority, timely);
                self.send_advert(h, settings, priority, source, checksum);
                Some(Outcome::Advertised { vip })
            }
            Output::DropSyns { vip, .. } => Some(Outcome::SynsDropped { vip, works: h == 0 }),
            // As with an announcement: only who holds the VIP speaks for it.
            Output::Tickle { vip, .. } => {
                self.check_announcement(h, settings, timely);
                Some(Outcome::Tickled { vip, sent: 64, failed: 0, total: 100 })
            }
            Output::Announce { vip, .. } => {
                if !link {
                    return Some(Outcome::SendFailed { vip, error: "no link".to_owned() });
                }
                self.check_announcement(h, settings, timely);
                self.send_claim(h, settings);
                Some(Outcome::Announced { vip })
            }
            _ => None,
        }
    }

    fn unbind(&mut self, h: usize, vip: VipId, keep: Option<u32>) -> usize {
        let in_force = self.hosts[h].in_force.clone();
        in_force.vips.get(vip.0).map_or(0, |vip| self.remove_vip(h, vip, keep))
    }

    fn put_vip(&mut self, h: usize, vip: &VipSettings, link: u32, lifetime: NonZeroU32, timely: bool) {
        let lifetime = (!removed(Model::Lifetime)).then_some(lifetime.get());
        let lock = lock_address(&vip.addresses).unwrap_or_else(|| VIP.into());
        self.check_right(h, vip);
        let host = &mut self.hosts[h];
        if !host.has_bound_by(lock) {
            host.served.entry(lock).or_default().held_since = self.now;
        }
        host.bound_in = host.life;
        let bound = host.kernel.bind((self.now, &host.clock, host.life), (vip, link), lifetime, timely);
        let new = bound.iter().any(|(_, new)| *new);
        if new && timely {
            self.check_bind(h);
        }
        if new || !timely {
            self.who(h, || format!("= {} bound for {lifetime:?} s{}", vip.name, if timely { "" } else { ", excused" }));
        }
        if new {
            self.binds += 1;
            let life = self.hosts[h].life;
            self.after(500 * MS, move |w| {
                if w.hosts[h].life == life && w.hosts[h].process.is_some() {
                    w.hosts[h].inbox.client = true;
                    w.wake(h);
                }
            });
        }
        if !timely {
            self.hosts[h].bound_late = Some(lock);
        }
        for (bound, _) in bound {
            self.address_added(h, bound);
        }
        if self.dies_in_bind.is_some_and(|(from, _)| self.now >= from) {
            // What happens to a process in the kernel happens when it leaves it.
            self.stop_for(h, S, true);
            self.after(1, move |w| {
                w.kill(h);
            });
        }
    }
}

/// A VIP, where it is in its life, and why.
pub(crate) type Gate = (VipId, &'static str, &'static str);

fn gates(node: &Node) -> Vec<Gate> {
    node.gates().map(|(vip, phase, why)| (vip, phase.as_str(), why.label())).collect()
}

fn not_after(output: &Output) -> Option<Instant> {
    match output {
        Output::Bind { not_after, .. }
        | Output::Advertise { not_after, .. }
        | Output::Announce { not_after, .. }
        | Output::Tickle { not_after, .. } => Some(*not_after),
        _ => None,
    }
}

fn brief(input: &Input) -> String {
    let text = format!("{input:?}");
    text.chars().take(220).collect()
}

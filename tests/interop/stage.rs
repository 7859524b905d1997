//! What every test begins and ends with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use lab::recorder::{Form, Holding, Record};
use lab::router::{Make, Router, VirtualRouter};
use lab::{Recorder, Segment, Time};

use crate::cells::Cell;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// For so long nothing may happen once all has settled, or for 30 intervals if that is shorter.
pub(crate) const CALM: Duration = Duration::from_secs(3);

/// A test that takes longer than this has hung.
const LONGEST: Duration = Duration::from_secs(180);

/// How often a test is played on a machine that stands still too often.
const ATTEMPTS: usize = 3;

/// Whoever advertises every 10 ms is given up after 30 ms and a bit, of which it may have used 10.
const DISTURBING: Duration = Duration::from_millis(15);

/// The daemon under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("PGVRRP_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_pgvrrp").into(), PathBuf::from)
}

/// This daemon, or whoever takes its part.
pub(crate) fn ours() -> Make {
    let name = std::env::var("PGVRRP_INTEROP_AS").ok();
    name.and_then(|name| Make::from_name(&name)).unwrap_or(Make::Pgvrrp)
}

/// Whether a test that asks for what only this daemon can do is to be run.
pub(crate) fn is_ours() -> bool {
    let is = ours() == Make::Pgvrrp;
    if !is {
        println!("not run: only pgvrrp can do that");
    }
    is
}

/// A segment with a recorder, and routers in some of its places.
pub(crate) struct Stage {
    routers: RefCell<BTreeMap<usize, Router>>,
    pub(crate) recorder: Recorder,
    pub(crate) segment: Segment,
}

/// Plays a test on a segment of its own. Fails if the test does, or if the recorder missed something. It gets another chance
/// if the machine stood still for long enough to make an election right that should not have been.
pub(crate) fn play(places: usize, act: impl Fn(&Stage) -> Result<()>) {
    let (done, is_done) = sync_channel::<()>(0);
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let of = name.clone();
    thread::spawn(move || {
        if is_done.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{of} has hung for {LONGEST:?}");
            lab::clean_up_all();
            std::process::exit(1);
        }
    });
    let mut result = Ok(());
    for _ in 0..ATTEMPTS {
        let (failed, stall) = match perform(places, &act) {
            Ok(()) => return,
            Err((error, stall)) => (error, stall),
        };
        result = Err(failed);
        if stall < DISTURBING {
            break;
        }
        println!("{name} failed, and the machine stood still for {stall:.1?} meanwhile");
    }
    drop(done);
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

/// The second part of a failure is for how long the machine stood still meanwhile.
fn perform(places: usize, act: impl FnOnce(&Stage) -> Result<()>) -> Result<(), (Error, Duration)> {
    let unplayed = |error| (error, Duration::ZERO);
    let segment = Segment::start(places).map_err(unplayed)?;
    let recorder = Recorder::start(&segment).map_err(unplayed)?;
    let stage = Stage { routers: RefCell::default(), recorder, segment };
    let result = act(&stage).and_then(|()| {
        ensure!(!stage.ask(Record::is_blind), "the recorder missed something");
        Ok(())
    });
    result.map_err(|error| {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        let routers = stage.routers.borrow();
        let logs = routers.iter().map(|(place, router)| format!("--- place {place}\n{}\n", tail(router.log())));
        let story = format!("{}\n{}", stage.ask(|record| record.tail(80)), logs.collect::<String>());
        (error.context(story), stage.ask(|record| record.longest_stall(Time::from_nanos(0), Time::now())))
    })
}

impl Stage {
    /// Starts a router in a place, instead of the one that was there. It may need longer to begin than priorities differ: what is
    /// to be Active from the first has to be so before the next one starts.
    pub(crate) fn start(&self, place: usize, make: Make, routers: &[VirtualRouter]) -> Result<()> {
        // The former one first: two cannot have the same files.
        self.routers.borrow_mut().remove(&place);
        let router = Router::start(make, &self.segment, place, routers, &binary())?;
        router.explain()?;
        self.routers.borrow_mut().insert(place, router);
        Ok(())
    }

    pub(crate) fn router<T>(&self, place: usize, act: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
        act(self.routers.borrow().get(&place).with_context(|| format!("nobody is in place {place}"))?)
    }

    /// SIGTERM, and what follows of it. Its place is empty afterwards.
    pub(crate) fn stop(&self, place: usize) -> Result<()> {
        self.router(place, Router::stop)?;
        self.routers.borrow_mut().remove(&place);
        Ok(())
    }

    /// SIGKILL. What it has bound stays, and counts for nothing from now on.
    pub(crate) fn kill(&self, place: usize) -> Result<()> {
        self.router(place, |router| {
            router.kill();
            Ok(())
        })?;
        self.routers.borrow_mut().remove(&place);
        Ok(())
    }

    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Record) -> T) -> T {
        self.recorder.ask(question)
    }

    /// Who has an address now, of those that live.
    pub(crate) fn holders(&self, record: &Record, address: std::net::IpAddr) -> Vec<usize> {
        let mut holders = record.holders(address);
        holders.retain(|place| self.routers.borrow().contains_key(place));
        holders
    }

    /// Waits until one router has all addresses of these cells and had the last word in each, and nobody else has any.
    pub(crate) fn wait_holder(&self, cells: &[Cell], place: usize, limit: Duration) -> Result<()> {
        let holds = |record: &Record| cells.iter().all(|cell| self.rules(record, cell, place)).then_some(());
        let result = self.recorder.wait(&format!("place {place} to hold everything"), limit, holds);
        result.with_context(|| self.ask(|record| self.scene(record, cells)))
    }

    fn rules(&self, record: &Record, cell: &Cell, place: usize) -> bool {
        let Some(from) = record.holdings(cell.addresses[0]).last().map(|holding| holding.from) else { return false };
        // Keepalived advertises just before it binds.
        let heard = record
            .adverts(cell.id)
            .next_back()
            .is_some_and(|(at, sender, _)| sender == place && at.plus(Duration::from_millis(100)) > from);
        heard && cell.addresses.iter().all(|address| self.holders(record, *address) == [place])
    }

    fn scene(&self, record: &Record, cells: &[Cell]) -> String {
        let line = |cell: &Cell| {
            let holders: Vec<_> = cell.addresses.iter().map(|address| self.holders(record, *address)).collect();
            format!("{cell}: held by {holders:?}\n")
        };
        cells.iter().map(line).collect()
    }

    /// From now on, for a while, one router holds everything and advertises it in time, and nobody else says a word.
    /// Looks again if the machine stood still meanwhile, for what happened then was right.
    pub(crate) fn calm(&self, cells: &[Cell], place: usize) -> Result<()> {
        let shortest = cells.iter().map(|cell| cell.interval).min().unwrap_or_default();
        let longest = cells.iter().map(|cell| cell.interval).max().unwrap_or_default();
        let span = CALM.min(30 * longest);
        for _ in 0..8 {
            let since = Time::now();
            thread::sleep(span);
            let calm =
                |record: &Record| cells.iter().try_for_each(|cell| self.was_calm(record, cell, place, since, span));
            let (result, stall) = self.ask(|record| (calm(record), record.longest_stall(since, Time::now())));
            if result.is_ok() || stall < shortest / 2 {
                return result;
            }
            println!("the machine stood still for {stall:.1?}: looking again");
            self.wait_holder(cells, place, 2 * CALM)?;
        }
        bail!("the machine stands still too often")
    }

    fn was_calm(&self, record: &Record, cell: &Cell, place: usize, since: Time, span: Duration) -> Result<()> {
        let living = |holding: &Holding| self.routers.borrow().contains_key(&holding.place);
        let changed = |holding: &Holding| holding.from > since || holding.to.is_some_and(|to| to > since);
        for address in &cell.addresses {
            ensure!(self.holders(record, *address) == [place], "{cell}: {address} is not where it was");
            let moved = record.holdings(*address).iter().any(|holding| living(holding) && changed(holding));
            ensure!(!moved, "{cell}: {address} moved when nothing should");
        }
        let mut heard: BTreeMap<Form, usize> = BTreeMap::new();
        for (at, from, advert) in record.adverts(cell.id).filter(|(at, ..)| *at > since) {
            ensure!(from == place, "{cell}: place {from} advertises at {at}, too: {advert:?}");
            *heard.entry(advert.checksum).or_default() += 1;
        }
        // Whoever sends both forms sends each as often.
        let heard = heard.values().max().copied().unwrap_or_default() as f64;
        let due = span.as_secs_f64() / cell.interval.as_secs_f64();
        ensure!(heard >= 0.7 * due - 1.0 && heard <= 1.1 * due + 1.0, "{cell}: {heard} adverts where {due} were due");
        Ok(())
    }

    /// What a router has said of advertisements that it did not take.
    pub(crate) fn complaints(&self, place: usize) -> Result<Vec<String>> {
        self.router(place, Router::complaints)
    }

    /// Everybody has taken every advertisement.
    pub(crate) fn nobody_complains(&self) -> Result<()> {
        let places: Vec<usize> = self.routers.borrow().keys().copied().collect();
        for place in places {
            let complaints = self.complaints(place)?;
            ensure!(
                complaints.is_empty(),
                "place {place} has not taken all: {:?}",
                &complaints[..complaints.len().min(3)]
            );
        }
        Ok(())
    }

    /// When a router last got the first address of a cell.
    pub(crate) fn got(&self, cell: &Cell, place: usize) -> Result<Time> {
        let holdings = self.ask(|record| record.holdings(cell.addresses[0]));
        let last = holdings.into_iter().rfind(|holding| holding.place == place);
        last.map(|holding| holding.from).with_context(|| format!("{cell}: place {place} never had it"))
    }

    /// The last advertisement of a router before a moment: when, and with what priority.
    pub(crate) fn last_word(&self, cell: &Cell, place: usize, before: Time) -> Result<(Time, u8)> {
        let word = self.ask(|record| {
            let mut words = record.adverts(cell.id).filter(|(at, from, _)| *from == place && *at < before);
            words.next_back().map(|(at, _, advert)| (at, advert.priority))
        });
        word.with_context(|| format!("{cell}: place {place} has said nothing"))
    }
}

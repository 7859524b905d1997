//! Two routers of one make, the Active one killed or stopped, again and again.
//!
//! The makes take turns within every round, and each has two places of its own: what one leaves behind is not in another's
//! way, and a slow minute of the machine meets all of them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail, ensure};
use lab::analysis::Distribution;
use lab::recorder::{Record, bind_for_calibration};
use lab::router::{Make, Router, VirtualRouter};
use lab::{Recorder, Segment, Time};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));
const ID: u8 = 51;
const ACTIVE: u8 = 200;
const BACKUP: u8 = 100;

/// What any daemon needs until it listens, and more.
const START: Duration = Duration::from_millis(1200);

/// So long may the machine stand still at the Active's last word, or between the moment at which the Backup is due and that
/// at which it is there. That it does is nobody's fault: it is measured again.
const UNDISTURBED: Duration = Duration::from_millis(2);

/// And so long before and after.
const MARGIN: Duration = Duration::from_millis(5);

/// As often as that at most; then the run has failed.
const ATTEMPTS: usize = 6;

/// Beyond what the protocol itself takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) runs: Vec<Run>,
    /// How many runs do not count, because the machine stood still.
    pub(super) disturbed: usize,
    /// Microseconds from the end of a system call that binds an address to the recorder's stamp.
    pub(super) accuracy: Distribution,
}

/// One make with one interval, once.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) make: Make,
    pub(super) interval: Duration,
    pub(super) result: Result<Takeovers>,
}

/// The two ways to lose an Active router. All times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takeovers {
    pub(super) crash: Takeover,
    pub(super) goodbye: Takeover,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Takeover {
    /// From the Active's last word to the address on the Backup.
    pub(super) took: f64,
    /// That, without what RFC 9568 makes the Backup wait.
    pub(super) late: f64,
    /// The same without what a router of this make waits by its own reckoning.
    pub(super) late_by_own: f64,
    /// From the address to its announcement to the neighbours. The stamp of the address may be the later one.
    pub(super) announced: Option<f64>,
    /// For how long nobody had the address; negative if both did. Nothing is taken away in a crash.
    pub(super) gap: Option<f64>,
}

/// Measures, with a line on standard error for each make and interval.
pub(super) fn measure(runs: usize, makes: &[Make], intervals: &[Duration], binary: &Path) -> Result<Measured> {
    let segment = Segment::start(2 * makes.len() + 1)?;
    let recorder = Recorder::start(&segment)?;
    let accuracy = accuracy(&segment, &recorder)?;
    eprintln!("microseconds from the end of a call that binds to the recorder's stamp: {accuracy}");
    let mut measured = Measured { runs: Vec::new(), disturbed: 0, accuracy };
    for round in 0..runs {
        for interval in intervals {
            // Nobody is always the first.
            for turn in 0..makes.len() {
                let number = (round + turn) % makes.len();
                let pair = Pair { segment: &segment, recorder: &recorder, make: makes[number], first: 2 * number };
                let (result, disturbed) = pair.undisturbed(*interval, binary);
                measured.disturbed += disturbed;
                let said = match &result {
                    Ok(both) => format!("crash {:+.3} ms, goodbye {:+.3} ms", both.crash.late, both.goodbye.late),
                    Err(error) => format!("{error:#}"),
                };
                eprintln!("{:>3}/{runs} {:<10} {interval:>6?}: {said}", round + 1, pair.make.name());
                measured.runs.push(Run { make: pair.make, interval: *interval, result });
            }
        }
    }
    Ok(measured)
}

fn accuracy(segment: &Segment, recorder: &Recorder) -> Result<Distribution> {
    let place = segment.places() - 1;
    let mut late = Vec::new();
    for _ in 0..50 {
        recorder.forget();
        let (_, bound) = segment.namespace(place).run(|| bind_for_calibration("eth0", [10, 0, 20, 250]))??;
        let address = IpAddr::from([10, 0, 20, 250]);
        let seen = |record: &Record| record.holdings(address).into_iter().find(|holding| holding.to.is_some());
        let from = recorder.wait("the recorder", PATIENCE, seen)?.from;
        late.push(from.millis_after(bound) * 1000.0);
    }
    Distribution::of(late).context("nothing was measured")
}

fn before(moment: Time, by: Duration) -> Time {
    Time::from_nanos(moment.as_nanos().saturating_sub(by.as_nanos() as u64))
}

/// What was measured says nothing of the routers.
#[derive(Debug)]
struct StoodStill;

impl std::fmt::Display for StoodStill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the machine stood still, again and again")
    }
}

impl std::error::Error for StoodStill {}

/// The places of one make.
struct Pair<'a> {
    segment: &'a Segment,
    recorder: &'a Recorder,
    make: Make,
    first: usize,
}

impl Pair<'_> {
    /// Tries until the machine did not stand still. Returns how often it did.
    fn undisturbed(&self, interval: Duration, binary: &Path) -> (Result<Takeovers>, usize) {
        for attempt in 0..ATTEMPTS {
            let result = self.try_out(interval, binary);
            self.clean_up();
            let stood_still = result.as_ref().is_err_and(Error::is::<StoodStill>);
            if !stood_still {
                return (result, attempt);
            }
        }
        (Err(StoodStill.into()), ATTEMPTS)
    }

    fn try_out(&self, interval: Duration, binary: &Path) -> Result<Takeovers> {
        self.recorder.forget();
        let active = self.start(0, ACTIVE, interval, binary)?;
        let backup = self.start(1, BACKUP, interval, binary)?;
        thread::sleep(START);
        let told = |result: Result<Takeovers>| {
            // The type of that one is asked for.
            result.map_err(|error| {
                if error.is::<StoodStill>() {
                    return error;
                }
                error.context(format!("{}\n{}", self.recorder.ask(|record| record.tail(25)), backup.log()))
            })
        };
        told(self.crash_and_goodbye(active, interval, binary))
    }

    fn crash_and_goodbye(&self, active: Router, interval: Duration, binary: &Path) -> Result<Takeovers> {
        self.settle(interval)?;
        let begun = Time::now();
        thread::scope(|scope| -> Result<()> {
            // It may take a second to end, long after its goodbye.
            let stopped = scope.spawn(|| active.stop());
            self.wait_for_backup(begun, interval)?;
            stopped.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })?;
        let goodbye = self.takeover(begun, interval, true)?;
        drop(active);

        let active = self.start(0, ACTIVE, interval, binary)?;
        self.settle(interval)?;
        let begun = Time::now();
        active.kill();
        self.wait_for_backup(begun, interval)?;
        let crash = self.takeover(begun, interval, false)?;
        Ok(Takeovers { crash, goodbye })
    }

    fn start(&self, place: usize, priority: u8, interval: Duration, binary: &Path) -> Result<Router> {
        let router = VirtualRouter::new(ID, priority, interval, &[ADDRESS]);
        Router::start(self.make, self.segment, self.first + place, &[router], binary)
    }

    /// Waits until the first one alone has the address and has advertised a while, and then for any part of an interval.
    fn settle(&self, interval: Duration) -> Result<()> {
        let since = Time::now();
        let settled = |record: &Record| {
            let adverts = record.adverts(ID).filter(|(at, place, _)| *at > since && *place == self.first).count();
            (self.holders(record) == [self.first] && adverts >= 4).then_some(())
        };
        self.recorder.wait("the Active router", PATIENCE + 8 * interval, settled)?;
        thread::sleep(interval.mul_f64(fastrand::f64()));
        let holders = self.recorder.ask(|record| self.holders(record));
        ensure!(holders == [self.first], "the Active router did not stay it: {holders:?}");
        Ok(())
    }

    fn holders(&self, record: &Record) -> Vec<usize> {
        let mut holders = record.holders(ADDRESS);
        holders.retain(|holder| (self.first..self.first + 2).contains(holder));
        holders
    }

    fn wait_for_backup(&self, since: Time, interval: Duration) -> Result<()> {
        let took = |record: &Record| self.bound(record, since).map(drop);
        self.recorder.wait("the Backup to take over", PATIENCE + 4 * interval, took)?;
        // Its announcement follows.
        thread::sleep(Duration::from_millis(30));
        Ok(())
    }

    fn bound(&self, record: &Record, since: Time) -> Option<Time> {
        let holdings = record.holdings(ADDRESS);
        holdings.iter().find(|holding| holding.place == self.first + 1 && holding.from > since).map(|h| h.from)
    }

    fn takeover(&self, since: Time, interval: Duration, goodbye: bool) -> Result<Takeover> {
        let backup = VirtualRouter::new(ID, BACKUP, interval, &[ADDRESS]);
        self.recorder.ask(|record| {
            ensure!(!record.is_blind(), "the recorder missed something");
            let bound = self.bound(record, since).context("the Backup did not take over")?;
            let mut said = record.adverts(ID).filter(|(at, place, _)| *place == self.first && *at < bound);
            let (said, waits) = if goodbye {
                let word = said.find(|(at, _, advert)| *at > since && advert.priority == 0);
                (word.context("no goodbye")?, backup.skew())
            } else {
                (said.next_back().context("no advertisement")?, backup.down_interval())
            };
            if !goodbye && said.2.priority == 0 {
                bail!("it said goodbye in a crash");
            }
            let due = said.0.plus(waits);
            // What happens in between is nobody's concern: the one is dead or silent, and the other one waits.
            let moments = [(said.0, said.0), (due.min(bound), due.max(bound))];
            let around = |(from, to): (Time, Time)| record.longest_stall(before(from, MARGIN), to.plus(MARGIN));
            if moments.into_iter().map(around).any(|stall| stall > UNDISTURBED) {
                return Err(StoodStill.into());
            }
            let took = bound.millis_after(said.0);
            let announced = record.announcements(ADDRESS).find(|(at, place)| *place == self.first + 1 && *at > said.0);
            let released =
                record.holdings(ADDRESS).into_iter().rfind(|holding| holding.place == self.first).and_then(|h| h.to);
            Ok(Takeover {
                took,
                late: took - waits.as_secs_f64() * 1000.0,
                late_by_own: took - self.own(waits, &backup).as_secs_f64() * 1000.0,
                announced: announced.map(|(at, _)| at.millis_after(bound)),
                gap: released.filter(|_| goodbye).map(|released| bound.millis_after(released)),
            })
        })
    }

    /// FRR has `Skew_Time` in whole hundredths of a second and drops the rest.
    fn own(&self, waits: Duration, backup: &VirtualRouter) -> Duration {
        let skew = backup.skew();
        let lost = if self.make == Make::Frr { skew.as_nanos() as u64 % 10_000_000 } else { 0 };
        waits.saturating_sub(Duration::from_nanos(lost))
    }

    fn clean_up(&self) {
        for place in [self.first, self.first + 1] {
            self.segment.take_away(place, &[ADDRESS]);
        }
    }
}

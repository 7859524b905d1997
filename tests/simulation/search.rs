//! Many histories, on every core, and what they amount to.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Verdict, explain, history};
use super::sum::Sum;

/// The search is of this world, not of the simulated one.
#[allow(clippy::disallowed_methods, reason = "how long a search takes is told by any clock")]
fn clock() -> Instant {
    Instant::now()
}

/// What to search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) first: u64,
    /// How many at most.
    pub(crate) seeds: u64,
    /// No new history is begun after this time.
    pub(crate) limit: Option<Duration>,
    pub(crate) jobs: usize,
    /// Report every broken promise instead of stopping at the first.
    pub(crate) go_on: bool,
}

/// Pause between two lines about how far the search has got.
const PROGRESS: Duration = Duration::from_secs(10);

impl Search {
    /// Runs them. `Err` tells how to replay the first seed that broke a promise, the end of whose history was printed.
    pub(crate) fn run(&self) -> Result<Sum, String> {
        let start = clock();
        let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (sum, broken) = (Mutex::new(Sum::default()), Mutex::new(None::<(u64, String)>));
        let work = || {
            loop {
                let late = self.limit.is_some_and(|limit| start.elapsed() >= limit);
                let index = next.fetch_add(1, Ordering::Relaxed);
                if late || over.load(Ordering::Relaxed) || index >= self.seeds {
                    return;
                }
                let seed = self.first + index;
                let done = history(seed, false);
                sum.lock().expect("no history panics while it is counted").add(seed, &done);
                if let Verdict::Broken(how) = done.verdict {
                    println!("seed {seed}: {how}");
                    if !self.go_on {
                        over.store(true, Ordering::Relaxed);
                        broken.lock().expect("as above").get_or_insert((seed, how));
                    }
                }
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs.max(1)).map(|_| scope.spawn(work)).collect();
            let mut told = start;
            while workers.iter().any(|worker| !worker.is_finished()) {
                thread::sleep(Duration::from_millis(20));
                if told.elapsed() >= PROGRESS {
                    told = clock();
                    let sum = sum.lock().expect("as above");
                    let per_second = sum.seeds() as f64 / start.elapsed().as_secs_f64();
                    println!("{} histories, {} broken, {per_second:.0} per second", sum.seeds(), sum.broken());
                }
            }
        });
        match broken.into_inner().expect("as above") {
            None => Ok(sum.into_inner().expect("as above")),
            Some((seed, how)) => {
                explain(seed, 150);
                Err(format!("seed {seed}: {how}\nevery event of it: cargo xtask simulate --seed {seed}"))
            }
        }
    }
}

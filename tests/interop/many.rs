//! As many virtual routers as one interface can have, while the machine has more to do than it can.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::router::{Checksum, Make, VirtualRouter};

use crate::stage::{SECOND, Stage, is_ours, play};

const MANY: u8 = 250;
const INTERVAL: Duration = Duration::from_millis(100);

/// How much later than theory the last one may be.
const LATE: Duration = Duration::from_millis(50);

/// Nothing happens for so long, usually and when things are done as thoroughly as the requirements say.
fn calm() -> Duration {
    if std::env::var_os("PGVRRP_FULL").is_some() { 60 * SECOND } else { 15 * SECOND }
}

fn address(id: u8) -> IpAddr {
    IpAddr::from([10, 0, 21, id])
}

fn routers(priority: u8) -> Vec<VirtualRouter> {
    let router = |id| {
        let mut router = VirtualRouter::new(id, priority, INTERVAL, &[address(id)]);
        router.checksum = Checksum::Rfc9568;
        router
    };
    (1..=MANY).map(router).collect()
}

/// Keeps every processor busy until it is dropped.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn holdings(stage: &Stage, place: usize) -> usize {
    stage.ask(|record| {
        let held = |id: &u8| {
            record.holdings(address(*id)).iter().any(|holding| holding.place == place && holding.to.is_none())
        };
        (1..=MANY).filter(held).count()
    })
}

#[test]
fn of_250_none_moves_without_a_reason_and_all_move_with_one() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, Make::Pgvrrp, &routers(200))?;
        wait_all(stage, 0, 10 * SECOND)?;
        stage.start(1, Make::Pgvrrp, &routers(100))?;
        let busy = Busy::begin();
        thread::sleep(calm());
        let moved = stage.ask(|record| {
            (1..=MANY).map(|id| record.holdings(address(id)).len()).filter(|holdings| *holdings != 1).count()
        });
        ensure!(moved == 0, "{moved} of {MANY} moved when nothing should");
        // From the last word of the Active for each.
        let killed = lab::Time::now();
        stage.kill(0)?;
        wait_all(stage, 1, 5 * SECOND)?;
        drop(busy);
        let theory = routers(100)[0].down_interval();
        let late: Result<Vec<_>> = (1..=MANY)
            .map(|id| {
                stage.ask(|record| {
                    let mut heard =
                        record.adverts(id).filter(|(at, from, _)| *from == 0 && at.millis_after(killed) < 1e3);
                    let heard = heard.next_back().map(|(at, ..)| at).context("never heard")?;
                    let holdings = record.holdings(address(id));
                    let got = holdings.iter().find(|holding| holding.place == 1).context("never bound")?.from;
                    Ok(got.millis_after(heard) - theory.as_secs_f64() * 1e3)
                })
            })
            .collect();
        let mut late = late?;
        late.sort_by(f64::total_cmp);
        let (median, worst) = (late[late.len() / 2], late[late.len() - 1]);
        println!("{MANY} addresses after their Active_Down_Interval: median {median:.2} ms, last {worst:.2} ms");
        ensure!(worst < LATE.as_secs_f64() * 1e3, "{worst:.1} ms late");
        Ok(())
    });
}

fn wait_all(stage: &Stage, place: usize, limit: Duration) -> Result<()> {
    let start = lab::Time::now();
    while holdings(stage, place) < usize::from(MANY) {
        ensure!(start.elapsed() < limit, "place {place} has {} of {MANY}", holdings(stage, place));
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

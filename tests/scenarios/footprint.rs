//! What the daemon costs.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use lab::{Node, Options};

use crate::stage::{play, times};

#[test]
fn memory_and_cpu_of_an_idle_daemon() {
    play(Options::default(), |stage| {
        let span = Duration::from_secs(times(20, 60) as u64);
        for node in Node::DATABASES {
            stage.daemon(node, |daemon| {
                let before = daemon.process().cpu_time()?;
                thread::sleep(span);
                let cpu = (daemon.process().cpu_time()? - before).as_secs_f64() / span.as_secs_f64() * 100.0;
                let memory = daemon.process().resident_bytes()? as f64 / f64::from(1 << 20);
                println!("{node}: {memory:.1} MiB resident, {cpu:.2} % of one core over {span:?}");
                ensure!(memory <= 15.0, "{memory} MiB");
                // The requirement is 0.5 %, on a machine that does nothing else.
                ensure!(cpu <= 2.0, "{cpu} %");
                Ok(())
            })?;
        }
        Ok(())
    });
}

//! What the daemon costs.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use lab::{Node, Options};

use crate::stage::{binary, play_with, times};

#[test]
fn memory_and_cpu_of_an_idle_daemon() {
    play_with(Options::default(), |stage| {
        stage.unrecorded();
        for node in Node::DATABASES {
            stage.start_daemon(node)?;
        }
        stage.wait_vip(Node::Db1, Duration::from_secs(10))?;
        stage.probes.borrow_mut().add_hasty_client()?;
        let span = Duration::from_secs(times(8, 60) as u64);
        let is_shipped = binary().components().any(|part| part.as_os_str() == "release");
        for node in Node::DATABASES {
            stage.daemon(node, |daemon| {
                let before = daemon.process().cpu_time()?;
                thread::sleep(span);
                let cpu = (daemon.process().cpu_time()? - before).as_secs_f64() / span.as_secs_f64() * 100.0;
                let memory = daemon.process().resident_bytes()? as f64 / f64::from(1 << 20);
                println!("{node}: {memory:.1} MiB resident, {cpu:.2} % of one core over {span:?}");
                // What is shipped; a build for debugging is about three times as large.
                ensure!(memory <= if is_shipped { 15.0 } else { 30.0 }, "{memory} MiB");
                // The requirement is 0.5 %, on a machine that does nothing else.
                ensure!(cpu <= 2.0, "{cpu} %");
                Ok(())
            })?;
        }
        Ok(())
    });
}

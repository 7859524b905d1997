//! The daemon's host is in a bad way: nobody reads the log, the disk is full, notices of the kernel's are lost.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::daemon::{Daemon, Launch};
use lab::{Node, Options, VIP};

use crate::refusals::refuses;
use crate::stage::{Stage, play, play_with};

const SECOND: Duration = Duration::from_secs(1);

/// More notices than a monitor has room for.
const STORM: usize = 3000;

/// The node's daemon misses everything that happens after a storm of notices: it is stopped, and has no room for more.
fn missed(stage: &Stage<'_>, node: Node, happens: impl FnOnce() -> Result<()>) -> Result<()> {
    let resyncs = || stage.daemon(node, |daemon| daemon.metric("pgvrrp_kernel_resyncs_total"));
    let before = resyncs()?;
    stage.daemon(node, |daemon| daemon.freeze().map(drop))?;
    // Of links: the probes that watch addresses do not see them.
    let storm: String = (0..STORM).map(|i| format!("link set lo mtu {}\n", 65_000 + i % 2)).collect();
    stage.lab.namespace(node).ip_batch(&storm)?;
    happens()?;
    stage.daemon(node, Daemon::thaw)?;
    stage.lab.wait_until("the loss to be noticed", SECOND, || Ok(resyncs()? > before))
}

#[test]
fn the_kernels_notices_are_lost() {
    play(Options::default(), |stage| {
        // The holder does not see that its address goes ...
        let address = format!("{VIP}/32");
        missed(stage, Node::Db1, || {
            stage.lab.namespace(Node::Db1).ip(&["address", "del", &address, "dev", "eth0"]).map(drop)
        })?;
        stage.wait_vip(Node::Db1, SECOND)?;
        // ... and the other one not that it comes.
        stage.forgive();
        let copies = || stage.lab.namespace(Node::Db2).ip(&["-oneline", "address", "show", "to", &address]);
        missed(stage, Node::Db2, || {
            stage.lab.namespace(Node::Db2).ip(&["address", "add", &address, "dev", "lo"])?;
            ensure!(!copies()?.is_empty(), "it is not there");
            Ok(())
        })?;
        stage.lab.wait_until("the copy to be expelled", SECOND, || Ok(copies()?.is_empty()))?;
        stage.calm(2 * SECOND)?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)
    });
}

/// Starts through a shell, which does this first and sends what the daemon says to this file.
fn by_shell(stage: &Stage<'_>, node: Node, first: &str, output: &Path) -> Launch {
    let mut launch = Launch::reference(stage.lab, node);
    let script = format!("{first} exec \"$0\" \"$@\" >>{} 2>&1", output.display());
    launch.wrapper = vec!["sh".to_owned(), "-c".to_owned(), script];
    launch
}

/// The same with a file system of its own, which nobody else sees and which goes with the daemon.
fn with_file_system(stage: &Stage<'_>, node: Node, at: &Path, options: &str, then: &str, output: &Path) -> Launch {
    let first = format!("mount -t tmpfs -o {options} none {} && {then}", at.display());
    let mut launch = by_shell(stage, node, &first, output);
    let private = ["unshare", "--mount", "--propagation", "private"].map(str::to_owned);
    launch.wrapper.splice(0..0, private);
    launch
}

fn to_and_fro(stage: &Stage<'_>) -> Result<()> {
    for target in [Node::Db2, Node::Db1] {
        stage.lab.switchover(target)?;
        stage.wait_vip(target, 20 * SECOND)?;
        stage.lab.wait_settled(target, 60 * SECOND)?;
        let lag = stage.analysis().moves().pop().and_then(|moved| moved.lag()).context("no lag")?;
        println!("VIP lag: {lag:?}");
        ensure!(lag.at_least < 500.0, "{lag:?}");
    }
    Ok(())
}

/// A pipe that is full, such as that of a log collector that hangs.
#[test]
fn nobody_reads_the_log() {
    play_with(Options::default(), |stage| {
        let pipe = stage.lab.dir().join("db1/stuck");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
        let mut end = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&pipe)?;
        let full = loop {
            if let Err(error) = end.write(&[b'x'; 4096]) {
                break error;
            }
        };
        ensure!(full.kind() == ErrorKind::WouldBlock, "{full}");
        let launch = by_shell(stage, Node::Db1, "", &pipe);
        stage.launch(Node::Db1, &launch)?;
        stage.start_daemon(Node::Db2)?;
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        to_and_fro(stage)?;
        // The lines are there for whoever takes them at last.
        let read = RefCell::new(String::new());
        stage.lab.wait_until("the log", 5 * SECOND, || {
            let mut bytes = [0; 65_536];
            while let Ok(length) = (&end).read(&mut bytes) {
                read.borrow_mut().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
            let told = |what: &str| read.borrow().contains(what);
            Ok(told("starting") && told("db2 holds Patroni's leader key"))
        })?;
        // Full once more: the end does not wait for anybody either.
        while end.write(&[b'x'; 512]).is_ok() {}
        let took = stage.daemon(Node::Db1, Daemon::terminate)?;
        println!("SIGTERM to the end: {took:?}");
        ensure!(took < 2 * SECOND, "{took:?}");
        stage.lab.wait_until("the VIP to be gone", SECOND, || Ok(stage.holders().is_empty()))
    });
}

/// Log and recording are on it.
#[test]
fn the_disk_is_full() {
    play_with(Options::default(), |stage| {
        stage.unrecorded();
        let disk = stage.lab.dir().join("db1/disk");
        fs::create_dir(&disk)?;
        let mut launch = with_file_system(stage, Node::Db1, &disk, "size=64k", "", &disk.join("log"));
        launch.record = Some(disk.join("recording"));
        stage.launch(Node::Db1, &launch)?;
        stage.start_daemon(Node::Db2)?;
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        stage.probes.borrow_mut().add_hasty_client()?;
        let seen = PathBuf::from(format!("/proc/{}/root", stage.daemon(Node::Db1, |d| Ok(d.process().pid()))?));
        let seen = seen.join(disk.strip_prefix("/")?);
        // What is left after the last line that fits.
        let is_full = || Ok(nix::sys::statvfs::statvfs(&seen)?.blocks_free() == 0);
        stage.lab.wait_until("the disk to be full", 60 * SECOND, is_full)?;
        fs::write(seen.join("rest"), "x").err().context("it is not full")?;
        to_and_fro(stage)?;
        stage.status_says(Node::Db1, ": HERE")?;
        // With room again there are lines again.
        fs::remove_file(seen.join("recording"))?;
        fs::write(seen.join("log"), "")?;
        stage.lab.wait_until("room", 5 * SECOND, || Ok(!is_full()?)).context("the recording is still open")?;
        stage.lab.switchover(Node::Db2)?;
        stage.wait_vip(Node::Db2, 20 * SECOND)?;
        stage.lab.wait_until("lines in the log", 5 * SECOND, || Ok(!fs::read_to_string(seen.join("log"))?.is_empty()))
    });
}

/// The daemon cannot keep what it would know itself by after a restart: it serves all the same.
#[test]
fn the_runtime_directory_is_full() {
    play_with(Options::default(), |stage| {
        let run = stage.lab.dir().join("db1/run");
        fs::create_dir(&run)?;
        let log = stage.lab.dir().join("db1/full.log");
        let fill = format!("head -c 8192 /dev/zero >{}/rest 2>/dev/null;", run.display());
        let launch = with_file_system(stage, Node::Db1, &run, "size=4k", &fill, &log);
        stage.launch(Node::Db1, &launch)?;
        stage.wait_vip(Node::Db1, 10 * SECOND)?;
        let text = fs::read_to_string(&log)?;
        ensure!(text.contains("incarnation") && text.contains("No space left on device"), "{text}");
        // The next process takes the lock of its predecessor for another's and lets it run out.
        stage.daemon(Node::Db1, |daemon| {
            daemon.kill();
            Ok(())
        })?;
        stage.launch(Node::Db1, &launch)?;
        thread::sleep(4 * SECOND);
        ensure!(stage.holders().is_empty(), "bound over a lock that it cannot know to be its own");
        stage.wait_vip(Node::Db1, 30 * SECOND)?;
        stage.daemon(Node::Db1, Daemon::terminate)?;
        // Without room for a file there is no lock, by which a second daemon would be kept out. It can be tried again.
        let launch = with_file_system(stage, Node::Db1, &run, "nr_inodes=1", "", Path::new("/dev/stderr"));
        refuses(stage, &launch, 71, &["run/lock", "No space left on device"])
    });
}

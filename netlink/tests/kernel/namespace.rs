//! A network namespace that lives as long as the test's thread.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;
use pgvrrp_netlink::{Address, Kernel, Link};

/// No test takes longer than this unless something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test on a thread in a new network namespace that has `lo` up and a veth pair `eth0`, `eth1` up.
///
/// The namespace and all that is in it go with the thread, however the test ends.
pub(crate) fn in_namespace(test: impl FnOnce() + Send + 'static) {
    assert!(geteuid().is_root(), "needs root: this test makes a network namespace and changes addresses in it");
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _done = done;
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs CAP_SYS_ADMIN)");
        ip("link set lo up");
        ip("link add eth0 type veth peer name eth1");
        ip("link set eth0 up");
        ip("link set eth1 up");
        test();
    });
    match ended.recv_timeout(LIMIT) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test did not end within {LIMIT:?}"),
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                resume_unwind(panic);
            }
        }
    }
}

/// Another namespace, which goes with this and with the sockets in it.
pub(crate) struct Elsewhere(File);

impl Elsewhere {
    /// A new one with `lo` up, to which this interface of the namespace of the calling thread is moved, and gets an address.
    pub(crate) fn with(interface: &str, addresses: &[&str]) -> Self {
        let made = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            Self(File::open("/proc/thread-self/ns/net").unwrap())
        });
        let elsewhere = made.join().unwrap();
        ip(&format!("link set {interface} netns /proc/{}/fd/{}", std::process::id(), elsewhere.0.as_raw_fd()));
        elsewhere.run(|| {
            ip(&format!("link set {interface} up"));
            for address in addresses {
                ip(&format!(
                    "address add {address} dev {interface} {}",
                    if address.contains(':') { "nodad" } else { "" }
                ));
            }
        });
        elsewhere
    }

    /// Does something in it; what is opened there stays there.
    pub(crate) fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let done = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                act()
            });
            done.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }
}

/// The `ip` command in the namespace of this thread: sets the stage, and is the second opinion about what is there.
pub(crate) fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("run ip (iproute2)");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `ip` says is bound to an interface, in its order.
pub(crate) fn bound(interface: &str) -> Vec<String> {
    let interfaces: serde_json::Value = serde_json::from_str(&ip(&format!("-j address show dev {interface}"))).unwrap();
    let addresses = interfaces[0]["addr_info"].as_array().unwrap();
    addresses
        .iter()
        .filter(|address| address["scope"] != "link")
        .map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]))
        .collect()
}

pub(crate) fn link(kernel: &mut Kernel, name: &str) -> Link {
    kernel.link(name).unwrap().unwrap_or_else(|| panic!("no interface {name}"))
}

/// The rows about one address in our own listing.
pub(crate) fn listed(kernel: &mut Kernel, address: IpAddr) -> Vec<Address> {
    kernel.addresses().unwrap().into_iter().filter(|row| row.address == address).collect()
}

/// Tries again until it is true; the time it took.
pub(crate) fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[allow(clippy::disallowed_methods, reason = "a test has to measure how long the kernel takes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Sets a sysctl below `net.ipv4.conf` of the namespace of this thread.
pub(crate) fn sysctl(key: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{key}"), value).unwrap();
}

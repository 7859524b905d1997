//! Two hosts with an `eth0` each, on one segment, that live as long as the test's thread.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::process::{Command, id};
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};

/// Nothing takes as long unless it does not come at all.
const LIMIT: Duration = Duration::from_secs(10);

/// Nothing that is sent takes as long to arrive.
const QUIET: Duration = Duration::from_millis(200);

/// The two hosts. The thread is in the first one's namespace unless it is sent to the other.
pub(super) struct Segment {
    namespaces: [File; 2],
}

/// Where the hosts are: their addresses, MACs and interface.
pub(super) const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 20, 11), Ipv4Addr::new(10, 0, 20, 12)];
pub(super) const V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12)];
pub(super) const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 0x12]];
pub(super) const ETH0: &str = "eth0";

/// Runs a test on a thread of its own, in a runtime like that of the protocol thread.
pub(super) fn on_a_segment(test: impl AsyncFnOnce(Segment) + Send + 'static) {
    let thread = thread::spawn(move || {
        let namespaces = [(); 2].map(|()| {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        let segment = Segment { namespaces };
        let second = format!("/proc/{}/fd/{}", id(), segment.namespaces[1].as_raw_fd());
        segment.on(0, || ip(&format!("link add eth0 type veth peer name eth0 netns {second}")));
        for host in [1, 0] {
            segment.on(host, || {
                ip(&format!("link set eth0 address {} up", MACS[host].map(|byte| format!("{byte:02x}")).join(":")));
                ip(&format!("address add {}/24 dev eth0", V4[host]));
                ip(&format!("address add {}/64 dev eth0 nodad", V6[host]));
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            segment.wait_until_in_service().await;
            tokio::time::timeout(LIMIT, test(segment)).await.expect("what was sent arrives");
        });
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

impl Segment {
    /// Does something on a host. The sockets that it opens are that host's for ever.
    pub(super) fn on<T>(&self, host: usize, work: impl FnOnce() -> T) -> T {
        let enter = |host: usize| setns(&self.namespaces[host], CloneFlags::CLONE_NEWNET).unwrap();
        enter(host);
        let done = work();
        enter(0);
        done
    }

    /// A host's `eth0`.
    pub(super) fn index(&self, host: usize) -> u32 {
        self.on(host, || if_nametoindex(ETH0).unwrap())
    }

    /// The kernel puts IPv6 addresses into service by a work queue of its own.
    async fn wait_until_in_service(&self) {
        for (host, address) in V6.into_iter().enumerate() {
            let address = SocketAddrV6::new(address, 0, 0, self.index(host));
            while self.on(host, || UdpSocket::bind(address)).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// That nothing comes.
pub(super) async fn is_quiet(what: impl Future) -> bool {
    tokio::time::timeout(QUIET, what).await.is_err()
}

/// As many addresses of each family as an advertisement can name, none like another.
pub(super) fn many() -> [Vec<IpAddr>; 2] {
    let v4 = |host: u8| Ipv4Addr::new(192, host.wrapping_mul(7), 1, host).into();
    let v6 = |host: u8| Ipv6Addr::new(0xfd00, host.into(), 0, 0, 0, 0, u16::from(host) * 251, host.into()).into();
    [(1..=255).map(v4).collect(), (1..=255).map(v6).collect()]
}

pub(super) fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("run ip (iproute2)");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

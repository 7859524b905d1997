//! Two routers and a client on a bridge.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) const ROUTERS: [&str; 2] = ["lb1", "lb2"];
/// The hosts: the routers, then these.
pub(crate) const CLIENT: usize = 2;
const LAN: usize = 3;
pub(crate) const VIP4: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
pub(crate) const VIP6_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x155);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155);
pub(crate) const MAC4: &str = "00:00:5e:00:01:9b";
pub(crate) const MAC6: &str = "00:00:5e:00:02:9b";
pub(crate) const PORT: u16 = 5432;

/// Three intervals of 100 ms, and Skew_Time; and what a slow machine takes.
pub(crate) const ACTIVE_IS_DEAD: Duration = Duration::from_secs(3);

/// The hosts. All of it goes with the last file and process.
pub(crate) struct Stage {
    hosts: Vec<File>,
    dir: TempDir,
}

/// A daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self { hosts: (0..=LAN).map(|_| namespace()).collect(), dir: tempfile::tempdir().unwrap() };
        stage.ip(LAN, "link add br0 type bridge mcast_snooping 0");
        stage.ip(LAN, "link set br0 up");
        for host in 0..LAN {
            stage.ip(host, "link set lo up");
            stage.plug_in(host);
        }
        for (router, name) in ROUTERS.into_iter().enumerate() {
            for everywhere in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
                let server = stage.on(router, || listen(everywhere));
                thread::spawn(move || {
                    server.incoming().for_each(|client| drop(client.unwrap().write_all(name.as_bytes())));
                });
            }
        }
        stage
    }

    /// Gives a host its eth0, with the settings that a router needs.
    pub(crate) fn plug_in(&self, host: usize) {
        let lan = format!("/proc/{}/fd/{}", id(), self.hosts[LAN].as_raw_fd());
        self.ip(
            host,
            &format!("link add eth0 address 02:00:00:00:00:1{host} type veth peer name port{host} netns {lan}"),
        );
        self.ip(LAN, &format!("link set port{host} master br0 up"));
        self.set(host, "eth0/arp_ignore", "1");
        self.set(host, "eth0/arp_announce", "2");
        self.ip(host, "link set eth0 addrgenmode none");
        self.ip(host, "link set eth0 up");
        self.ip(host, &format!("address add 10.0.20.1{host}/24 dev eth0"));
        self.ip(host, &format!("address add fe80::1{host}/64 dev eth0 nodad"));
        self.ip(host, &format!("address add fd00:20::1{host}/64 dev eth0 nodad"));
    }

    /// Its eth0 goes, as with a card that is pulled out.
    pub(crate) fn unplug(&self, host: usize) {
        self.ip(host, "link delete eth0");
    }

    pub(crate) fn start(&self, router: usize, priority: u8) -> Daemon {
        let dir = self.dir.path();
        let (config, log) = (dir.join(format!("{router}.toml")), dir.join(format!("{router}.log")));
        let vip = |addresses: &str| {
            format!(
                "[[vip]]\naddresses = [{addresses}]\nvirtual_router_id = 155\nfollows = \"none\"\nmac = \"virtual\"\n\
                 priority = {priority}\nadvertisement_interval = \"100ms\"\n"
            )
        };
        let text = format!(
            "node = \"{}\"\ninterface = \"eth0\"\nruntime_dir = \"{}\"\n[http]\nlisten = \"off\"\n{}{}",
            ROUTERS[router],
            dir.join(format!("run{router}")).display(),
            vip(&format!("\"{VIP4}\"")),
            vip(&format!("\"{VIP6_LOCAL}\", \"{VIP6}\"")),
        );
        fs::write(&config, text).unwrap();
        let child = self.on(router, || {
            let file = File::create(&log).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_pgvrrp"));
            command.args(["run", "--config"]).arg(&config).stdout(Stdio::null()).stderr(file).spawn().unwrap()
        });
        Daemon { child, log }
    }

    /// What `pgvrrp doctor` says with the configuration of the daemon that was started last.
    pub(crate) fn doctor(&self, router: usize) -> String {
        let config = self.dir.path().join(format!("{router}.toml"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgvrrp"));
        let output = self.on(router, || command.args(["doctor", "--config"]).arg(&config).output().unwrap());
        // Lines are wrapped for people.
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Who answers there, for the client; nobody within a second.
    pub(crate) fn connect(&self, to: IpAddr) -> Option<String> {
        let scope = self.on(CLIENT, || nix::net::if_::if_nametoindex("eth0").unwrap());
        self.connect_from(
            CLIENT,
            match to {
                IpAddr::V4(to) => (to, PORT).into(),
                IpAddr::V6(to) => {
                    SocketAddrV6::new(to, PORT, 0, if to.is_unicast_link_local() { scope } else { 0 }).into()
                }
            },
        )
    }

    pub(crate) fn connect_from(&self, host: usize, to: SocketAddr) -> Option<String> {
        self.on(host, || {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
            let mut said = String::new();
            stream.read_to_string(&mut said).ok().map(|_| said)
        })
    }

    /// Sends something in the VIP's name to the client and to nobody.
    pub(crate) fn speak_as(&self, router: usize, vip: IpAddr) {
        let others = match vip {
            IpAddr::V4(_) => ["10.0.20.12", "10.0.20.77"],
            IpAddr::V6(_) => ["fd00:20::12", "fd00:20::77"],
        };
        self.on(router, || {
            let socket = UdpSocket::bind((vip, 0)).unwrap();
            for other in others {
                socket.send_to(b"x", (other.parse::<IpAddr>().unwrap(), 9)).unwrap();
            }
        });
    }

    /// The MAC of an address, by the client's table.
    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<String> {
        let shown = self.ip(CLIENT, &format!("neigh show {address} dev eth0"));
        let mut words = shown.split_whitespace();
        words.find(|word| *word == "lladdr")?;
        words.next().map(ToOwned::to_owned)
    }

    pub(crate) fn holds(&self, host: usize, address: IpAddr) -> bool {
        self.ip(host, "-o address show").contains(&format!(" {address}/"))
    }

    /// The interfaces of a host with the name of one for a virtual MAC.
    pub(crate) fn virtual_interfaces(&self, host: usize) -> Vec<String> {
        let shown = self.ip(host, "-br link show");
        let names = shown.lines().filter_map(|line| line.split(['@', ' ']).next());
        names.filter(|name| name.starts_with("vrrp")).map(ToOwned::to_owned).collect()
    }

    /// How many frames have left by an interface.
    pub(crate) fn sent(&self, host: usize, interface: &str) -> u64 {
        let table = self.on(host, || fs::read_to_string("/proc/thread-self/net/dev").unwrap());
        let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("{interface}:"))).unwrap();
        // Eight columns of what was received come first, then bytes.
        line.split_whitespace().nth(9).unwrap().parse().unwrap()
    }

    /// Sets what is below net.ipv4.conf; returns what it was.
    pub(crate) fn set(&self, host: usize, key: &str, value: &str) -> String {
        let path = format!("/proc/sys/net/ipv4/conf/{key}");
        self.on(host, || {
            let before = fs::read_to_string(&path).unwrap();
            fs::write(&path, value).unwrap();
            before.trim().to_owned()
        })
    }

    pub(crate) fn ip(&self, host: usize, arguments: &str) -> String {
        let output = self.on(host, || Command::new("ip").args(arguments.split_whitespace()).output().expect("run ip"));
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does something on a host: in its namespace, on a thread of its own.
    pub(crate) fn on<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                setns(&self.hosts[host], CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Daemon {
    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// For one that ends by itself: with which code, and what it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        wait_until(Duration::from_secs(5), "it ends by itself", || !self.is_running());
        (self.child.wait().unwrap().code(), self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn namespace() -> File {
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
        File::open("/proc/thread-self/ns/net").unwrap()
    });
    thread.join().unwrap()
}

/// Of IPv6 only where it is IPv6, so that the one for IPv4 has its place.
fn listen(address: IpAddr) -> TcpListener {
    let domain = if address.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.bind(&SocketAddr::from((address, PORT)).into()).unwrap();
    socket.listen(16).unwrap();
    socket.into()
}

#[allow(clippy::disallowed_methods, reason = "a test has to measure how long it waits")]
pub(crate) fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

//! Connections are counted and reset, listeners and other addresses left alone.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Barrier;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use pgvrrp_netlink::{Client, Error, Reset, SockDiag};
use socket2::{Domain, Socket, Type};

use crate::namespace::{Elsewhere, in_namespace, ip, now, wait_until};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 155);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 11);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 20, 99);
const AMPLE: Duration = Duration::from_secs(5);
const DONE: Reset = Reset { destroyed: 0, left: 0, supported: true };

/// As `in_namespace`, with the VIP, an address of the node, and one that clients connect from.
fn with_addresses(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        for address in [VIP, OTHER, CLIENT] {
            ip(&format!("address add {address}/32 dev eth0"));
        }
        test();
    });
}

/// Connects from the client's address, so that only the server's end has the VIP as its own address.
fn connect(address: Ipv4Addr, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((address, port)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(AMPLE)).unwrap();
    stream
}

/// Both ends of a connection: the client's and the server's.
fn pair(listener: &TcpListener, address: Ipv4Addr) -> (TcpStream, TcpStream) {
    let client = connect(address, listener.local_addr().unwrap().port());
    let server = listener.accept().unwrap().0;
    (client, server)
}

fn is_alive((client, server): &mut (TcpStream, TcpStream)) -> bool {
    let mut byte = [0];
    client.write_all(b"?").is_ok()
        && server.read_exact(&mut byte).is_ok()
        && server.write_all(b"!").is_ok()
        && client.read_exact(&mut byte).is_ok()
}

fn is_reset(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn clients_of_the_address_are_reset_and_nobody_else() {
    with_addresses(|| {
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let on_vip = TcpListener::bind((VIP, 0)).unwrap();
        let mut mine = [pair(&everywhere, VIP), pair(&on_vip, VIP), pair(&everywhere, VIP)];
        let mut others = [pair(&everywhere, OTHER), pair(&everywhere, Ipv4Addr::LOCALHOST)];
        let mut diag = SockDiag::open().unwrap();
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 3);
        assert_eq!(diag.established(OTHER, AMPLE).unwrap(), 1);
        assert!(mine.iter_mut().chain(&mut others).all(is_alive));

        assert_eq!(diag.destroy(VIP, AMPLE).unwrap(), Reset { destroyed: 3, ..DONE });
        assert!(mine.iter_mut().all(|(client, _)| is_reset(client)), "each client is told at once");
        assert!(others.iter_mut().all(is_alive));
        assert!(is_alive(&mut pair(&everywhere, VIP)), "a listener on all addresses goes on");
        assert!(is_alive(&mut pair(&on_vip, VIP)), "a listener on the VIP goes on");
        wait_until(AMPLE, "the last two have ended", || diag.established(VIP, AMPLE).unwrap() == 0);
        assert_eq!(diag.destroy(VIP, AMPLE).unwrap(), DONE);
    });
}

/// The clients that are reported: their ends, in the order of the ports.
fn clients(address: impl Into<IpAddr>, ports: &[u16]) -> Vec<(SocketAddr, SocketAddr)> {
    let mut seen = Vec::new();
    let mut each = |Client { local, remote }| seen.push((local, remote));
    SockDiag::open().unwrap().clients(address, ports, AMPLE, &mut each).unwrap();
    seen.sort();
    seen
}

/// The same as the sockets themselves tell it.
fn expected<'a>(pairs: impl IntoIterator<Item = &'a (TcpStream, TcpStream)>) -> Vec<(SocketAddr, SocketAddr)> {
    let mut ends: Vec<_> =
        pairs.into_iter().map(|(client, _)| (client.peer_addr().unwrap(), client.local_addr().unwrap())).collect();
    ends.sort();
    ends
}

#[test]
fn clients_are_told_by_address_and_port() {
    with_addresses(|| {
        let v4 = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
        let on_vip = TcpListener::bind((VIP, 0)).unwrap();
        let v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        assert_eq!(clients(VIP, &[]), [], "a listener is no client");
        let mine = [&v4[0], &v4[0], &v4[1], &on_vip, &v6, &v6].map(|listener| pair(listener, VIP));
        let others = [&v4[0], &v4[1], &v6].map(|listener| pair(listener, OTHER));

        assert_eq!(clients(VIP, &[]), expected(&mine), "those of an IPv6 socket are shown as IPv4");
        assert_eq!(clients(OTHER, &[]), expected(&others));
        assert_eq!(clients(VIP, &[port(&v4[0])]), expected(&mine[..2]));
        assert_eq!(clients(VIP, &[port(&v4[1]), port(&on_vip)]), expected(&mine[2..4]));
        assert_eq!(clients(VIP, &[port(&v6), port(&v4[1]), 1]), expected([&mine[2], &mine[4], &mine[5]]));
        assert_eq!(clients(VIP, &[1]), []);
        let all_ports: Vec<u16> = (0..=u16::MAX).collect();
        assert_eq!(clients(VIP, &all_ports), expected(&mine), "more than the kernel is asked about");
        assert_eq!(clients(Ipv4Addr::new(10, 0, 20, 200), &[]), []);
    });
}

#[test]
fn half_open_clients_are_told_by_port_too() {
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        defer_accept(&listener);
        let client = connect(VIP, port);
        assert!(ip_states().contains("SYN-RECV"), "{}", ip_states());
        let ends = [(client.peer_addr().unwrap(), client.local_addr().unwrap())];
        assert_eq!(clients(VIP, &[]), ends);
        assert_eq!(clients(VIP, &[port]), ends);
        assert_eq!(clients(VIP, &[1]), []);
    });
}

#[test]
fn whether_it_can_be_done_is_found_out_without_doing_it() {
    with_addresses(|| {
        let everywhere = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let on_vip = TcpListener::bind((VIP, 0)).unwrap();
        let mut all = [pair(&everywhere, VIP), pair(&on_vip, VIP), pair(&everywhere, Ipv4Addr::LOCALHOST)];
        let mut diag = SockDiag::open().unwrap();
        assert!(diag.can_destroy(AMPLE).unwrap());
        assert!(all.iter_mut().all(is_alive), "no connection is touched");
        assert!(is_alive(&mut pair(&everywhere, OTHER)) && is_alive(&mut pair(&on_vip, VIP)), "no listener either");
    });
}

#[test]
fn ipv6_sockets_that_serve_ipv4_are_found() {
    with_addresses(|| {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let (mut mine, mut other) = (pair(&listener, VIP), pair(&listener, OTHER));
        let mut diag = SockDiag::open().unwrap();
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 1);
        assert_eq!(diag.destroy(VIP, AMPLE).unwrap(), Reset { destroyed: 1, ..DONE });
        assert!(is_reset(&mut mine.0));
        assert!(is_alive(&mut other));
        assert!(is_alive(&mut pair(&listener, VIP)));
    });
}

#[test]
fn an_ipv6_address_is_served_too() {
    const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155);
    with_addresses(|| {
        ip(&format!("address add {VIP6}/128 dev lo nodad"));
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        // The kernel puts an IPv6 address into service a moment after it has acknowledged it, by a work queue of its own.
        let mut connected = None;
        wait_until(AMPLE, "the address to be in service", || {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into()).unwrap();
            connected = socket.connect(&SocketAddr::from((VIP6, port)).into()).is_ok().then_some(socket);
            connected.is_some()
        });
        let socket = connected.unwrap();
        let (mut mine, mut other) = ((TcpStream::from(socket), listener.accept().unwrap().0), pair(&listener, VIP));
        assert!(is_alive(&mut mine));
        let mut diag = SockDiag::open().unwrap();
        assert_eq!(diag.established(VIP6, AMPLE).unwrap(), 1);
        assert_eq!(clients(VIP6, &[port]), expected([&mine]));
        assert_eq!(clients(VIP6, &[1]), []);
        assert_eq!(clients(Ipv6Addr::LOCALHOST, &[port]), [], "the client's end is none of these");
        assert_eq!(diag.destroy(VIP6, AMPLE).unwrap(), Reset { destroyed: 1, ..DONE });
        assert!(is_reset(&mut mine.0));
        assert!(is_alive(&mut other));
    });
}

#[test]
fn a_connection_counts_while_its_client_has_something_to_learn() {
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        let mut diag = SockDiag::open().unwrap();
        let mut count = || diag.established(VIP, AMPLE).unwrap();
        let (client, server) = pair(&listener, VIP);
        assert_eq!(count(), 1);
        // The client has finished sending: CLOSE_WAIT, it still waits for the answer.
        client.shutdown(std::net::Shutdown::Write).unwrap();
        wait_until(AMPLE, "CLOSE_WAIT", || ip_states().contains("CLOSE-WAIT"));
        assert_eq!(count(), 1);
        drop(server);
        wait_until(AMPLE, "closed in both directions", || count() == 0);

        // The server has said goodbye and the client's kernel has taken note: FIN_WAIT2, nothing left to tell.
        let (client, server) = pair(&listener, VIP);
        drop(server);
        wait_until(AMPLE, "FIN_WAIT2", || ip_states().contains("FIN-WAIT-2"));
        assert_eq!(count(), 0);
        drop(client);

        // One that waits to be accepted counts; its client believes to be connected.
        let waiting = connect(VIP, listener.local_addr().unwrap().port());
        wait_until(AMPLE, "in the backlog", || count() == 1);
        drop(waiting);
    });
}

/// The states that `ss` shows for the VIP.
fn ip_states() -> String {
    let output = std::process::Command::new("ss").args(["-tan", "src", &VIP.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn half_open_connections_count_and_are_dropped() {
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        defer_accept(&listener);
        let _client = connect(VIP, listener.local_addr().unwrap().port());
        let mut diag = SockDiag::open().unwrap();
        assert!(ip_states().contains("SYN-RECV"), "{}", ip_states());
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 1);
        assert_eq!(diag.destroy(VIP, AMPLE).unwrap(), Reset { destroyed: 1, ..DONE });
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 0);
        let mut client = connect(VIP, listener.local_addr().unwrap().port());
        client.write_all(b"?").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.read_exact(&mut [0]).unwrap();
    });
}

/// With this option the kernel leaves a connection in SYN_RECV until the client has sent something.
#[allow(unsafe_code, reason = "no safe wrapper for TCP_DEFER_ACCEPT")]
fn defer_accept(listener: &TcpListener) {
    let seconds: libc::c_int = 30;
    let size = libc::socklen_t::try_from(size_of_val(&seconds)).unwrap();
    // SAFETY: the pointer and the size are those of `seconds`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn the_budget_is_kept_and_the_rest_follows_in_the_next_slices() {
    const CONNECTIONS: usize = 400;
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        let mut pairs: Vec<_> = (0..CONNECTIONS).map(|_| pair(&listener, VIP)).collect();
        let mut diag = SockDiag::open().unwrap();

        let start = now();
        let nothing = diag.destroy(VIP, Duration::ZERO).unwrap();
        assert_eq!(nothing.destroyed, 0);
        assert!(nothing.left > 0 && nothing.supported, "{nothing:?}");
        assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());

        let (mut destroyed, mut slices, mut budget) = (0, 0, Duration::from_millis(1));
        loop {
            let start = now();
            let slice = diag.destroy(VIP, budget).unwrap();
            assert!(start.elapsed() < budget + Duration::from_millis(100), "{:?} of {budget:?}", start.elapsed());
            if slice.destroyed == 0 {
                // The kernel's table is that of the whole machine: reading as far as the last ones may take longer.
                budget *= 2;
            }
            destroyed += slice.destroyed;
            slices += 1;
            if slice.left == 0 {
                break;
            }
            assert!(slices < 1000, "no progress: {slice:?}");
        }
        assert!(slices > 1, "the budget was no limit: the test shows nothing");
        assert_eq!(destroyed, CONNECTIONS);
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 0);
        assert!(pairs.iter_mut().all(|(client, _)| is_reset(client)));
    });
}

#[test]
fn counting_gives_up_in_time() {
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        let _pairs: Vec<_> = (0..400).map(|_| pair(&listener, VIP)).collect();
        let mut diag = SockDiag::open().unwrap();
        assert!(matches!(diag.established(VIP, Duration::ZERO), Err(Error::Timeout { .. })));
        // What was left unread does not disturb the next question.
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 400);
    });
}

#[test]
fn without_the_capability_it_says_which_one() {
    with_addresses(|| {
        let listener = TcpListener::bind((VIP, 0)).unwrap();
        let mut pair = pair(&listener, VIP);
        crate::errors::become_nobody();
        let error = SockDiag::open().unwrap().destroy(VIP, AMPLE).unwrap_err();
        assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
        assert!(is_alive(&mut pair));
    });
}

/// The right ones, and soon. Figures: `cargo test --release -p pgvrrp-netlink --test kernel -- --nocapture among_thousands`.
#[test]
fn listing_finds_its_own_among_thousands() {
    for (to_vip, to_other) in [(0, 0), (100, 0), (5_000, 0), (100, 20_000)] {
        with_addresses(move || {
            // The clients are elsewhere, as they use to be.
            ip("address add 10.0.20.1/24 dev eth0");
            let elsewhere = &Elsewhere::with("eth1", &["10.0.20.90/24"]);
            let listener = &TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let shares = [(VIP, to_vip)].into_iter().chain([(OTHER, to_other / 5); 5]);
            let measured = &Barrier::new(7);
            std::thread::scope(|scope| {
                // One after the other, so that each accepts what it has connected.
                for (address, count) in shares {
                    let (connected, ready) = std::sync::mpsc::channel();
                    let hold = move || {
                        // More than a process may have open: this thread has a table of its own.
                        unshare(CloneFlags::CLONE_FILES).unwrap();
                        let connect = |_| (TcpStream::connect((address, port)).unwrap(), listener.accept().unwrap());
                        let _open: Vec<_> = (0..count).map(connect).collect();
                        connected.send(()).unwrap();
                        measured.wait();
                    };
                    scope.spawn(move || elsewhere.run(hold));
                    ready.recv().unwrap();
                }
                measure(port, to_vip, to_other);
                measured.wait();
            });
        });
    }
}

fn measure(port: u16, to_vip: usize, to_other: usize) {
    let mut diag = SockDiag::open().unwrap();
    let mut measure = |what: &str, list: &mut dyn FnMut(&mut SockDiag) -> usize| {
        let time = |_| {
            let start = (cpu_time(), now());
            assert_eq!(list(&mut diag), to_vip);
            (cpu_time() - start.0, start.1.elapsed())
        };
        let mut times: Vec<_> = (0..50).map(time).collect();
        times.sort();
        let (median, worst) = (times[25], times[49]);
        println!("{to_vip} and {to_other} others: {what}: median {median:?}, worst {worst:?} (CPU, elapsed)");
        // 5 ms are usual for 20,000.
        assert!(median.0 < Duration::from_millis(200), "{what}: {median:?}");
    };
    measure("established", &mut |diag| diag.established(VIP, AMPLE).unwrap());
    for ports in [&[][..], &[port], &[1, 2, port]] {
        measure(&format!("clients, {} ports", ports.len()), &mut |diag| {
            let mut count = 0;
            diag.clients(VIP, ports, AMPLE, &mut |_| count += 1).unwrap();
            count
        });
    }
}

/// What this thread has used.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

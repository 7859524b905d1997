//! New connections are dropped for a while, and nothing else is; and nothing is left of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use pgvrrp_netlink::{Error, SynDrop};

use crate::namespace::{Elsewhere, in_namespace, ip, now, wait_until};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));
const SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 156));
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 11));
const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155));
const OTHER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x11));
const AMPLE: Duration = Duration::from_secs(5);
/// Longer than a connection on one machine takes, shorter than it takes the client's kernel to repeat its SYN.
const SHORT: Duration = Duration::from_millis(300);

/// A node with its addresses, and a client at the other end of the wire.
fn with_client(test: impl FnOnce(&Elsewhere, &TcpListener) + Send + 'static) {
    in_namespace(|| {
        for address in [VIP, SECOND, OTHER] {
            ip(&format!("address add {address}/24 dev eth0"));
        }
        for address in [VIP6, OTHER6] {
            ip(&format!("address add {address}/64 dev eth0 nodad"));
        }
        let client = Elsewhere::with("eth1", &["10.0.20.99/24", "fd00:20::99/64"]);
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let first = client.run(|| try_connect(OTHER6, port(&listener), AMPLE));
        assert!(first.is_ok(), "the wire is not in service: {first:?}");
        test(&client, &listener);
    });
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

fn try_connect(address: IpAddr, port: u16, limit: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), limit)?;
    stream.set_read_timeout(Some(AMPLE))?;
    Ok(stream)
}

fn is_accepted(address: IpAddr, port: u16) -> bool {
    match try_connect(address, port, SHORT) {
        Ok(_) => true,
        // Neither accepted nor refused.
        Err(error) if error.kind() == ErrorKind::TimedOut => false,
        Err(error) => panic!("{address}: {error}"),
    }
}

fn nft(arguments: &str) -> String {
    let output = Command::new("nft").args(arguments.split_whitespace()).output().expect("run nft (nftables)");
    assert!(output.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn new_connections_are_dropped_until_the_end_and_nothing_else_is() {
    with_client(|client, listener| {
        let port = port(listener);
        let accepted = |address| client.run(|| is_accepted(address, port));
        let mut drop = SynDrop::open().unwrap();
        assert_eq!(nft("list ruleset"), "", "opening installs nothing");
        for (vip, other) in [(VIP, OTHER), (VIP6, OTHER6)] {
            assert!(accepted(vip) && accepted(other) && is_accepted(vip, port));
            let established = client.run(|| try_connect(vip, port, AMPLE).unwrap());
            let mut established = (established, last_of(listener));

            drop.begin(&[vip], AMPLE, AMPLE).unwrap();
            assert!(!accepted(vip), "{vip} from outside");
            assert!(!is_accepted(vip, port), "{vip} from this host, over the loopback interface");
            assert!(accepted(other) && is_accepted(other, port), "{other}, another address");
            assert!(is_alive(&mut established), "one that is established");

            drop.end(&[vip], AMPLE).unwrap();
            assert!(accepted(vip) && is_accepted(vip, port));
            assert!(is_alive(&mut established));
            assert_eq!(nft("list ruleset"), "", "the table went");
        }
    });
}

/// The server's end of the connection that was made last; those before are closed.
fn last_of(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut last = None;
    while let Ok((stream, _)) = listener.accept() {
        last = Some(stream);
    }
    let last = last.unwrap();
    last.set_nonblocking(false).unwrap();
    last.set_read_timeout(Some(AMPLE)).unwrap();
    last
}

fn is_alive((client, server): &mut (TcpStream, TcpStream)) -> bool {
    let mut byte = [0];
    client.write_all(b"?").is_ok()
        && server.read_exact(&mut byte).is_ok()
        && server.write_all(b"!").is_ok()
        && client.read_exact(&mut byte).is_ok()
}

#[test]
fn the_repeated_syn_meets_the_next_holder() {
    with_client(|client, listener| {
        let port = port(listener);
        let mut drop = SynDrop::open().unwrap();
        drop.begin(&[VIP], AMPLE, AMPLE).unwrap();
        let start = now();
        let waited = thread::scope(|scope| {
            let connecting = scope.spawn(|| client.run(|| try_connect(VIP, port, AMPLE)));
            thread::sleep(SHORT);
            drop.end(&[VIP], AMPLE).unwrap();
            assert!(!connecting.is_finished());
            connecting.join().unwrap().unwrap();
            start.elapsed()
        });
        assert!((900..2500).contains(&waited.as_millis()), "a second is when the SYN is repeated: {waited:?}");
    });
}

#[test]
fn it_ends_by_itself() {
    with_client(|client, listener| {
        const LIFETIME: Duration = Duration::from_millis(700);
        let port = port(listener);
        let mut drop = SynDrop::open().unwrap();
        for vip in [VIP, VIP6] {
            let start = now();
            drop.begin(&[vip], LIFETIME, AMPLE).unwrap();
            assert!(!client.run(|| is_accepted(vip, port)));
            assert!(start.elapsed() < LIFETIME, "the machine is too slow for this test");
            let ended = || client.run(|| try_connect(vip, port, Duration::from_millis(50))).is_ok();
            wait_until(AMPLE, "its end", ended);
            let waited = start.elapsed();
            // The kernel counts in ticks, and begins when it has been asked.
            assert!(waited >= LIFETIME - Duration::from_millis(15) && waited < LIFETIME + SHORT, "{waited:?}");
            // And again, over what is left of it.
            drop.begin(&[vip], AMPLE, AMPLE).unwrap();
            assert!(!client.run(|| is_accepted(vip, port)));
            drop.end(&[vip], AMPLE).unwrap();
            assert!(client.run(|| is_accepted(vip, port)));
        }
    });
}

#[test]
fn a_lifetime_of_nothing_is_not_for_ever() {
    with_client(|client, listener| {
        let port = port(listener);
        let mut drop = SynDrop::open().unwrap();
        drop.begin(&[VIP], Duration::ZERO, AMPLE).unwrap();
        let ended = || client.run(|| try_connect(VIP, port, Duration::from_millis(50))).is_ok();
        assert!(wait_until(AMPLE, "its end", ended) < SHORT);
        drop.begin(&[VIP], Duration::MAX, AMPLE).unwrap();
        assert!(nft("list ruleset").contains("10.0.20.155 timeout 59s99"), "{}", nft("list ruleset"));
    });
}

#[test]
fn beginning_again_extends_it_and_ending_again_does_nothing() {
    with_client(|client, listener| {
        let port = port(listener);
        let accepted = |address| client.run(|| is_accepted(address, port));
        let mut drop = SynDrop::open().unwrap();
        drop.end(&[VIP], AMPLE).unwrap();
        drop.end(&[], AMPLE).unwrap();
        drop.begin(&[], AMPLE, AMPLE).unwrap();
        assert_eq!(nft("list ruleset"), "");

        drop.begin(&[VIP], Duration::from_millis(600), AMPLE).unwrap();
        drop.begin(&[VIP, VIP], AMPLE, AMPLE).unwrap();
        thread::sleep(Duration::from_millis(700));
        assert!(!accepted(VIP), "it was extended");
        // It can be shortened, too: the lifetime begins anew.
        drop.begin(&[VIP], Duration::from_millis(10), AMPLE).unwrap();
        wait_until(SHORT, "its end", || client.run(|| try_connect(VIP, port, Duration::from_millis(50))).is_ok());

        drop.begin(&[VIP], AMPLE, AMPLE).unwrap();
        drop.begin(&[VIP], AMPLE, AMPLE).unwrap();
        drop.end(&[VIP], AMPLE).unwrap();
        drop.end(&[VIP], AMPLE).unwrap();
        assert!(accepted(VIP));
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn several_addresses_end_one_by_one() {
    with_client(|client, listener| {
        let port = port(listener);
        let accepted = || [VIP, SECOND, VIP6].map(|address| client.run(|| is_accepted(address, port)));
        let mut drop = SynDrop::open().unwrap();
        drop.begin(&[VIP], AMPLE, AMPLE).unwrap();
        // An IPv4 address in IPv6 clothes is the IPv4 address.
        let IpAddr::V4(second) = SECOND else { unreachable!() };
        drop.begin(&[second.to_ipv6_mapped().into(), VIP6], AMPLE, AMPLE).unwrap();
        assert_eq!(accepted(), [false, false, false]);
        drop.end(&[VIP], AMPLE).unwrap();
        assert_eq!(accepted(), [true, false, false]);
        drop.end(&[OTHER], AMPLE).unwrap();
        drop.end(&[VIP6], AMPLE).unwrap();
        assert_eq!(accepted(), [true, false, true]);
        drop.end(&[SECOND], AMPLE).unwrap();
        assert_eq!(accepted(), [true, true, true]);
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn what_begins_later_does_not_prolong_what_began_before() {
    with_client(|client, listener| {
        let port = port(listener);
        let mut drop = SynDrop::open().unwrap();
        drop.begin(&[VIP], Duration::from_millis(500), AMPLE).unwrap();
        thread::sleep(Duration::from_millis(100));
        drop.begin(&[SECOND], AMPLE, AMPLE).unwrap();
        thread::sleep(Duration::from_millis(450));
        assert!(client.run(|| is_accepted(VIP, port)));
        assert!(!client.run(|| is_accepted(SECOND, port)));
    });
}

#[test]
fn the_table_is_as_it_is_meant_and_goes_with_its_socket() {
    in_namespace(|| {
        nft("add table inet of_another");
        nft("add chain inet of_another input { type filter hook prerouting priority -300 ; policy accept ; }");
        nft("add rule inet of_another input tcp dport 5432 counter accept");
        let before = nft("list ruleset");
        let mut drop = SynDrop::open().unwrap();
        assert!(drop.supported(AMPLE).unwrap());
        assert_eq!(nft("list ruleset"), before, "the question leaves nothing");
        drop.begin(&[VIP, VIP6], Duration::from_secs(30), AMPLE).unwrap();
        assert!(drop.supported(AMPLE).unwrap());

        let name = format!("pgvrrp-{}", std::process::id());
        let table = nft(&format!("list table inet {name}"));
        for line in [
            "flags owner",
            "type filter hook prerouting priority raw; policy accept;",
            "ip daddr @ipv4 tcp flags syn / fin,syn,rst,ack drop",
            "ip6 daddr @ipv6 tcp flags syn / fin,syn,rst,ack drop",
            "elements = { 10.0.20.155 timeout 29s99",
            "elements = { fd00:20::155 timeout 29s99",
        ] {
            assert!(table.contains(line), "{line} is not in\n{table}");
        }
        assert!(nft("list ruleset").contains(before.trim_end()));

        // A second one in the same process gets along with it.
        let mut second = SynDrop::open().unwrap();
        second.begin(&[VIP], AMPLE, AMPLE).unwrap();
        assert_eq!(nft("list tables").matches("pgvrrp-").count(), 2);
        std::mem::drop(second);
        assert!(nft("list tables").contains(&name));

        // What empties the firewall of everybody else does not disturb it.
        nft("flush ruleset");
        assert_eq!(nft("list tables"), format!("table inet {name}\n"));
        drop.begin(&[SECOND], AMPLE, AMPLE).unwrap();
        drop.end(&[VIP, VIP6], AMPLE).unwrap();
        assert!(nft("list ruleset").contains("10.0.20.156") && !nft("list ruleset").contains("10.0.20.155"));
        std::mem::drop(drop);
        assert_eq!(nft("list ruleset"), "", "gone with its socket, without an end");
    });
}

#[test]
fn hundreds_of_addresses_are_all_in_it() {
    in_namespace(|| {
        let all: Vec<IpAddr> = (0..1500_u16).map(|i| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, i])).collect();
        let mut drop = SynDrop::open().unwrap();
        for _ in 0..2 {
            drop.begin(&all, AMPLE, AMPLE).unwrap();
            assert_eq!(nft("list ruleset").matches(" expires ").count(), all.len());
        }
        drop.end(&all, AMPLE).unwrap();
        assert_eq!(nft("list ruleset"), "");
    });
}

#[test]
fn without_the_capability_it_says_which_one() {
    in_namespace(|| {
        crate::errors::become_nobody();
        let mut drop = SynDrop::open().unwrap();
        let error = drop.begin(&[VIP], AMPLE, AMPLE).unwrap_err();
        assert!(matches!(error, Error::NotPermitted { .. }), "{error:?}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        assert!(matches!(drop.supported(AMPLE), Err(Error::NotPermitted { .. })));
        drop.end(&[VIP], AMPLE).unwrap();
    });
}

/// It succeeds each time, and soon. Figures: `cargo test --release -p pgvrrp-netlink --test kernel -- --nocapture others_who_change`.
#[test]
fn dropping_works_beside_others_who_change_rules() {
    in_namespace(|| {
        let mut drop = SynDrop::open().unwrap();
        let report = |what: &str, times: &mut Vec<Duration>| {
            times.sort();
            println!(
                "{what}: median {:?}, worst {:?} of {}",
                times[times.len() / 2],
                times[times.len() - 1],
                times.len()
            );
            // 20 ms are usual beside an nft that never rests.
            assert!(times[times.len() / 2] < Duration::from_millis(500), "{what}");
        };
        let [mut first, mut at_once, mut again, mut one, mut end, mut question, mut close] = [const { Vec::new() }; 7];
        let time = |times: &mut Vec<Duration>, act: &mut dyn FnMut()| {
            let start = now();
            act();
            times.push(start.elapsed());
        };
        for _ in 0..50 {
            time(&mut first, &mut || drop.begin(&[VIP, VIP6], AMPLE, AMPLE).unwrap());
            time(&mut again, &mut || drop.begin(&[VIP, VIP6], AMPLE, AMPLE).unwrap());
            time(&mut one, &mut || drop.end(&[VIP6], AMPLE).unwrap());
            time(&mut end, &mut || drop.end(&[VIP], AMPLE).unwrap());
            time(&mut at_once, &mut || drop.begin(&[VIP, VIP6], AMPLE, AMPLE).unwrap());
            drop.end(&[VIP, VIP6], AMPLE).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        for _ in 0..50 {
            time(&mut question, &mut || assert!(drop.supported(AMPLE).unwrap()));
            let mut other = Some(SynDrop::open().unwrap());
            other.as_mut().unwrap().begin(&[VIP], AMPLE, AMPLE).unwrap();
            time(&mut close, &mut || std::mem::drop(other.take()));
        }
        // Others who change the rules of the same namespace: by a tool, and by questions, which keep them all waiting.
        let enough = AtomicBool::new(false);
        let mut among = [const { Vec::new() }; 2];
        for (times, questions) in among.iter_mut().zip([false, true]) {
            enough.store(false, Relaxed);
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut other = SynDrop::open().unwrap();
                    while !enough.load(Relaxed) {
                        if questions {
                            assert!(other.supported(AMPLE).unwrap());
                        } else {
                            nft("add table inet of_another ; delete table inet of_another");
                        }
                    }
                });
                for _ in 0..50 {
                    time(times, &mut || drop.begin(&[VIP, VIP6], AMPLE, AMPLE).unwrap());
                    drop.end(&[VIP, VIP6], AMPLE).unwrap();
                    thread::sleep(Duration::from_millis(7));
                }
                enough.store(true, Relaxed);
            });
        }
        report("begin, making the table", &mut first);
        report("the same while nft keeps changing a table", &mut among[0]);
        report("the same while somebody keeps asking", &mut among[1]);
        report("begin right after an end", &mut at_once);
        report("begin again", &mut again);
        report("end of one of two", &mut one);
        report("end, removing the table", &mut end);
        report("supported", &mut question);
        report("closing the socket with a table", &mut close);
    });
}

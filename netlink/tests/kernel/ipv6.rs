//! What is different about an IPv6 address: it is deprecated from the beginning, so that the node never speaks in its name
//! by itself, and it is in service without duplicate address detection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::time::Duration;

use pgvrrp_netlink::{Kernel, Reset, SockDiag};

use crate::namespace::{bound, in_namespace, ip, link, listed, now, wait_until};

const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x155);
const OWN: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x11);
/// One bit from the VIP: of all addresses of the node, that is the one which is most like it.
const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x154);
const AMPLE: Duration = Duration::from_secs(5);

/// The node's own address beside which the VIP comes and goes.
fn stage() -> (Kernel, u32) {
    ip(&format!("address add {OWN}/64 dev eth0 nodad"));
    let mut kernel = Kernel::open().unwrap();
    let eth0 = link(&mut kernel, "eth0").index;
    wait_until(AMPLE, "the own address is in service", || UdpSocket::bind((OWN, 0)).is_ok());
    (kernel, eth0)
}

fn bind(kernel: &mut Kernel, link: u32, prefix_len: u8, seconds: u32) {
    kernel.bind(link, VIP.into(), prefix_len, NonZeroU32::new(seconds).unwrap()).unwrap();
}

/// The address that the kernel would speak from.
fn source(to: Ipv6Addr) -> IpAddr {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect((to, 9)).unwrap();
    socket.local_addr().unwrap().ip()
}

/// What `ip` says of the VIP on eth0.
fn shown() -> serde_json::Value {
    let interfaces: serde_json::Value = serde_json::from_str(&ip("-j -6 address show dev eth0")).unwrap();
    let rows = interfaces[0]["addr_info"].as_array().unwrap();
    rows.iter().find(|row| row["local"] == VIP.to_string()).unwrap().clone()
}

#[test]
fn it_is_in_service_at_once_and_deprecated() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        let start = now();
        bind(&mut kernel, eth0, 128, 20);
        let rows = listed(&mut kernel, VIP.into());
        assert!(matches!(&rows[..], [row] if !row.tentative && row.ours), "{rows:?}");
        // Duplicate address detection would take more than a second.
        wait_until(Duration::from_millis(500), "somebody listens on it", || TcpListener::bind((VIP, 0)).is_ok());
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        let row = shown();
        assert_eq!((&row["deprecated"], &row["preferred_life_time"]), (&true.into(), &0.into()), "{row}");
        assert_eq!((&row["nodad"], &row["tentative"]), (&true.into(), &serde_json::Value::Null), "{row}");
        assert!((15..=20).contains(&row["valid_life_time"].as_u64().unwrap()), "{row}");
    });
}

#[test]
fn renewing_and_expiring_leave_it_deprecated_until_it_is_gone() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        // Somebody else's, for ever and preferred: it is neither from then on.
        ip(&format!("address add {VIP}/128 dev eth0 nodad"));
        assert_eq!(shown()["deprecated"], serde_json::Value::Null);
        let start = now();
        while start.elapsed() < Duration::from_millis(3500) {
            bind(&mut kernel, eth0, 128, 2);
            assert_eq!(shown()["deprecated"], true);
            assert!(TcpListener::bind((VIP, 0)).is_ok(), "in service");
            std::thread::sleep(Duration::from_millis(300));
        }
        let renewed = now();
        bind(&mut kernel, eth0, 128, 2);
        wait_until(Duration::from_secs(4), "it expires", || listed(&mut kernel, VIP.into()).is_empty());
        assert!(renewed.elapsed() >= Duration::from_millis(1950), "too early: {:?}", renewed.elapsed());
        assert_eq!(bound("eth0"), [format!("{OWN}/64")]);
    });
}

/// Connections of the node's own, PostgreSQL's replication among them, would break when the VIP moves on.
#[test]
fn it_is_no_source_that_the_kernel_chooses() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        assert_eq!(source(NEIGHBOUR), OWN);
        ip(&format!("address add {VIP}/128 dev eth0 nodad"));
        wait_until(AMPLE, "were it preferred, it would be chosen", || source(NEIGHBOUR) == VIP);
        for prefix_len in [128, 64] {
            assert_eq!(kernel.unbind(VIP.into(), None).unwrap(), 1);
            bind(&mut kernel, eth0, prefix_len, 20);
            wait_until(AMPLE, "in service", || TcpListener::bind((VIP, 0)).is_ok());
            assert_eq!(source(NEIGHBOUR), OWN);
            bind(&mut kernel, eth0, prefix_len, 20);
            assert_eq!(source(NEIGHBOUR), OWN, "renewed");
        }
        // Whoever asks for it by name may have it.
        let socket = UdpSocket::bind((VIP, 0)).unwrap();
        socket.connect((NEIGHBOUR, 9)).unwrap();
        assert_eq!(socket.local_addr().unwrap().ip(), VIP);
    });
}

#[test]
fn unbinding_finds_it_everywhere_and_spares_the_one_to_keep() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        let eth1 = link(&mut kernel, "eth1").index;
        ip(&format!("address add {VIP}/64 dev eth1 nodad"));
        ip(&format!("address add {VIP}/128 dev lo nodad"));
        bind(&mut kernel, eth0, 128, 20);
        assert_eq!(kernel.unbind(VIP.into(), Some((eth0, 128))).unwrap(), 2);
        assert_eq!(bound("eth0"), [format!("{VIP}/128"), format!("{OWN}/64")]);
        assert_eq!((bound("eth1"), bound("lo")), (vec![], vec!["127.0.0.1/8".into(), "::1/128".into()]));
        assert_eq!(kernel.unbind(VIP.into(), Some((eth0, 128))).unwrap(), 0);
        assert_eq!(kernel.unbind(VIP.into(), Some((eth1, 128))).unwrap(), 1);
        assert_eq!(bound("eth0"), [format!("{OWN}/64")]);
        assert_eq!(source(NEIGHBOUR), OWN, "the subnet's route is still there");
    });
}

/// With the subnet's prefix it shares the subnet's route with the node's own address.
#[test]
fn a_vip_with_the_subnets_prefix_takes_nothing_with_it() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        ip("-6 route add default via fd00:20::1 dev eth0");
        for expires in [false, true] {
            bind(&mut kernel, eth0, 64, 1);
            if expires {
                wait_until(AMPLE, "it expires", || listed(&mut kernel, VIP.into()).is_empty());
            } else {
                assert_eq!(kernel.unbind(VIP.into(), None).unwrap(), 1);
            }
            assert_eq!(bound("eth0"), [format!("{OWN}/64")]);
            let routes = ip("-6 route show dev eth0");
            assert!(routes.contains("fd00:20::/64") && routes.contains("default via fd00:20::1"), "{routes}");
        }
    });
}

#[test]
fn its_clients_are_reset_and_nobody_else() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        bind(&mut kernel, eth0, 128, 60);
        wait_until(AMPLE, "in service", || TcpListener::bind((VIP, 0)).is_ok());
        let (on_vip, everywhere) = (TcpListener::bind((VIP, 0)).unwrap(), TcpListener::bind("[::]:0").unwrap());
        let pair = |listener: &TcpListener, to: Ipv6Addr| {
            let port = listener.local_addr().unwrap().port();
            // From an address that is not the VIP, as a client on another host is. Until the kernel has the way to the VIP,
            // a moment after the address itself, it is looked for on the segment, in vain.
            let start = now();
            let client = loop {
                let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
                socket.bind(&SocketAddr::from((OWN, 0)).into()).unwrap();
                let to = SocketAddr::from((to, port)).into();
                if socket.connect_timeout(&to, Duration::from_millis(100)).is_ok() {
                    break TcpStream::from(socket);
                }
                assert!(now().duration_since(start) < AMPLE, "not in service");
            };
            (client, listener.accept().unwrap().0)
        };
        let mine = [pair(&on_vip, VIP), pair(&everywhere, VIP)];
        let other = pair(&everywhere, OWN);
        let mut diag = SockDiag::open().unwrap();
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 2);
        let reset = diag.destroy(VIP, AMPLE).unwrap();
        assert_eq!(reset, Reset { destroyed: 2, left: 0, supported: true });
        assert!(mine.iter().all(|(client, _)| client.take_error().unwrap().is_some()), "each client is told at once");
        assert!(other.0.take_error().unwrap().is_none());
        // Listeners go on.
        let (_again, _still) = (pair(&on_vip, VIP), pair(&everywhere, VIP));
        assert_eq!(diag.established(VIP, AMPLE).unwrap(), 2);
    });
}

/// A link-local address is another one on each link: what stays for ever elsewhere is somebody else's.
#[test]
fn a_link_local_address_of_another_link_is_left_alone() {
    in_namespace(|| {
        let (mut kernel, eth0) = stage();
        let vip: IpAddr = "fe80::155".parse().unwrap();
        ip("link add other type veth peer name far");
        ip("link set other up");
        ip("address add fe80::155/64 dev other nodad");
        let other = link(&mut kernel, "other").index;
        let short = NonZeroU32::new(60).unwrap();
        kernel.bind(eth0, vip, 128, short).unwrap();
        assert_eq!(kernel.unbind_from(Some(&[eth0]), vip, None).unwrap(), 1);
        assert!(matches!(&listed(&mut kernel, vip)[..], [row] if row.link == other));
        // With a lifetime it is what somebody like us has bound.
        let bound: IpAddr = "fe80::156".parse().unwrap();
        kernel.bind(other, bound, 128, short).unwrap();
        assert_eq!(kernel.unbind_from(Some(&[eth0]), bound, None).unwrap(), 1);
    });
}

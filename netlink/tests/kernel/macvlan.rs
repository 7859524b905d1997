//! The interface of a virtual router's own MAC.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use pgvrrp_netlink::{Error, Kernel, Macvlan};

use crate::namespace::{bound, in_namespace, ip, link, sysctl, wait_until};

const NAME: &str = "vrrp4-155-eth0";
const OWNER: &str = "pgvrrp /run/pgvrrp";
const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 155];
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));

fn stage() -> (Kernel, Macvlan) {
    let mut kernel = Kernel::open().unwrap();
    let parent = link(&mut kernel, "eth0").index;
    (kernel, Macvlan { name: NAME.into(), parent, mac: MAC, owner: OWNER.into(), ipv4: true })
}

/// What `ip` says of an interface.
fn shown(name: &str) -> serde_json::Value {
    let shown: serde_json::Value = serde_json::from_str(&ip(&format!("-d -j link show dev {name}"))).unwrap();
    shown[0].clone()
}

fn conf(family: &str, key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{family}/conf/{NAME}/{key}")).unwrap().trim().to_owned()
}

fn exists(name: &str) -> bool {
    fs::exists(format!("/proc/sys/net/ipv4/conf/{name}")).unwrap()
}

// RFC9568: 6.4.2-4+ 7.4-1+
#[test]
fn it_is_made_with_its_mac_and_its_settings() {
    in_namespace(|| {
        // What a forwarding host hands down to new interfaces.
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        sysctl("default/rp_filter", "1");
        let (mut kernel, wanted) = stage();
        let index = kernel.keep_macvlan(&wanted, None).unwrap();
        let found = link(&mut kernel, NAME);
        assert_eq!((found.index, found.up, found.mac), (index, true, Some(MAC)));
        let shown = shown(NAME);
        assert_eq!((&shown["link"], &shown["ifalias"]), (&"eth0".into(), &OWNER.into()), "{shown}");
        assert_eq!(shown["linkinfo"]["info_data"]["mode"], "vepa", "{shown}");
        let settings =
            ["arp_ignore", "arp_announce", "rp_filter", "forwarding", "proxy_arp"].map(|key| conf("ipv4", key));
        assert_eq!(settings, ["1", "2", "2", "0", "0"]);
        assert_eq!(["accept_ra", "forwarding", "addr_gen_mode"].map(|key| conf("ipv6", key)), ["0", "0", "1"]);
        let own: Vec<_> = kernel.addresses().unwrap().into_iter().filter(|address| address.link == index).collect();
        assert_eq!(own, [], "not even a link-local one");
        let ipv6 = Macvlan { name: "vrrp6-155-eth0".into(), mac: [0, 0, 0x5e, 0, 2, 155], ipv4: false, ..wanted };
        kernel.keep_macvlan(&ipv6, None).unwrap();
        let ignore = fs::read_to_string("/proc/sys/net/ipv4/conf/vrrp6-155-eth0/arp_ignore").unwrap();
        assert_eq!(ignore.trim(), "8", "it has nothing to answer ARP for");
    });
}

#[test]
fn what_a_predecessor_left_is_used_with_its_addresses() {
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        let index = kernel.keep_macvlan(&wanted, None).unwrap();
        kernel.bind(index, VIP, 32, NonZeroU32::new(60).unwrap()).unwrap();
        sysctl(&format!("{NAME}/arp_ignore"), "0");
        assert_eq!(Kernel::open().unwrap().keep_macvlan(&wanted, None).unwrap(), index);
        assert_eq!((bound(NAME), conf("ipv4", "arp_ignore")), (vec!["10.0.20.155/32".into()], "1".into()));
        // For the process that has it, nothing is written: each writing is an event, which is answered by looking again.
        sysctl(&format!("{NAME}/arp_ignore"), "0");
        assert_eq!(kernel.keep_macvlan(&wanted, Some(index)).unwrap(), index);
        assert_eq!(conf("ipv4", "arp_ignore"), "0");
        // Unless it is down.
        ip(&format!("link set {NAME} down"));
        assert_eq!(kernel.keep_macvlan(&wanted, Some(index)).unwrap(), index);
        assert!(link(&mut kernel, NAME).up);
        // One that was deleted is made anew, whatever is known.
        ip(&format!("link delete {NAME}"));
        let again = kernel.keep_macvlan(&wanted, Some(index)).unwrap();
        assert_ne!(again, index);
        assert_eq!(conf("ipv4", "arp_ignore"), "1");
    });
}

#[test]
fn one_on_another_interface_or_with_another_mac_or_mode_is_replaced() {
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        let private = kernel.keep_macvlan(&wanted, None).unwrap();
        ip(&format!("link set {NAME} type macvlan mode private"));
        let index = kernel.keep_macvlan(&wanted, None).unwrap();
        assert_ne!(index, private);
        let elsewhere = Macvlan { parent: link(&mut kernel, "eth1").index, ..wanted.clone() };
        let moved = kernel.keep_macvlan(&elsewhere, Some(index)).unwrap();
        assert_ne!(moved, index);
        assert_eq!(shown(NAME)["link"], "eth1");
        let other = Macvlan { mac: [0, 0, 0x5e, 0, 1, 7], ..elsewhere };
        assert_ne!(kernel.keep_macvlan(&other, Some(moved)).unwrap(), moved);
        assert_eq!(link(&mut kernel, NAME).mac, Some(other.mac));
    });
}

#[test]
fn an_interface_of_somebody_else_is_never_touched() {
    let foreign = [
        "type veth peer name other",
        // Of the right kind, and of no owner that is known, but in use.
        "link eth0 address 00:00:5e:00:01:9b up type macvlan mode vepa",
        "link eth0 address 00:00:5e:00:01:07 type macvlan mode vepa",
    ];
    for foreign in foreign {
        in_namespace(move || {
            let (mut kernel, wanted) = stage();
            ip(&format!("link add {NAME} {foreign}"));
            let before = shown(NAME);
            let refused = kernel.keep_macvlan(&wanted, None).unwrap_err();
            assert!(matches!(&refused, Error::NameTaken { name } if name == NAME), "{refused}");
            assert!(refused.to_string().contains("ip link delete vrrp4-155-eth0"), "{refused}");
            assert_eq!(kernel.delete_macvlans(OWNER, &[]).unwrap(), 0);
            assert_eq!(shown(NAME), before);
        });
    }
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        let other = Macvlan { owner: "pgvrrp /run/other".into(), ..wanted.clone() };
        kernel.keep_macvlan(&other, None).unwrap();
        assert!(matches!(kernel.keep_macvlan(&wanted, None), Err(Error::NameTaken { .. })), "another daemon's");
        // An interface that has it as an alternative name.
        kernel.delete_macvlans("pgvrrp /run/other", &[]).unwrap();
        ip(&format!("link property add dev eth1 altname {NAME}"));
        assert!(matches!(kernel.keep_macvlan(&wanted, None), Err(Error::NameTaken { .. })));
        // The mark alone makes nothing ours to delete.
        ip(&format!("link property del dev eth1 altname {NAME}"));
        Command::new("ip").args(["link", "set", "eth1", "alias", OWNER]).status().unwrap();
        assert_eq!(kernel.delete_macvlans(OWNER, &[]).unwrap(), 0);
        assert!(exists("eth1"));
    });
}

/// Killed between the creation and the mark.
#[test]
fn one_that_was_left_half_made_is_finished() {
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        ip(&format!("link add {NAME} link eth0 address 00:00:5e:00:01:9b type macvlan mode vepa"));
        let before = link(&mut kernel, NAME).index;
        assert_eq!(kernel.keep_macvlan(&wanted, None).unwrap(), before);
        assert_eq!(shown(NAME)["ifalias"], OWNER);
        assert!(link(&mut kernel, NAME).up);
    });
}

#[test]
fn those_of_an_owner_go_but_for_those_that_are_named() {
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        let mut make = |name: &str, last: u8, owner: &str| {
            let mac = [0, 0, 0x5e, 0, 1, last];
            let macvlan = Macvlan { name: name.into(), mac, owner: owner.into(), ..wanted.clone() };
            kernel.keep_macvlan(&macvlan, None).unwrap();
        };
        make("vrrp4-1-eth0", 1, OWNER);
        make("vrrp4-2-eth0", 2, OWNER);
        make("vrrp4-3-eth0", 3, "pgvrrp /run/other");
        assert_eq!(kernel.delete_macvlans(OWNER, &["vrrp4-2-eth0"]).unwrap(), 1);
        assert_eq!(["vrrp4-1-eth0", "vrrp4-2-eth0", "vrrp4-3-eth0"].map(exists), [false, true, true]);
        assert_eq!(kernel.delete_macvlans(OWNER, &[]).unwrap(), 1);
        assert_eq!(kernel.delete_macvlans(OWNER, &[]).unwrap(), 0);
        assert!(exists("vrrp4-3-eth0"));
    });
}

#[test]
fn it_follows_the_interface_below() {
    in_namespace(|| {
        let (mut kernel, wanted) = stage();
        ip("link set eth0 down");
        let index = kernel.keep_macvlan(&wanted, None).unwrap();
        assert!(!link(&mut kernel, NAME).up);
        ip("link set eth0 up");
        assert_eq!(kernel.keep_macvlan(&wanted, Some(index)).unwrap(), index);
        wait_until(Duration::from_secs(5), "it is up", || link(&mut kernel, NAME).up);
        // The other end of the cable.
        ip("link set eth1 down");
        wait_until(Duration::from_secs(5), "it has no carrier", || !link(&mut kernel, NAME).up);
        ip("link delete eth0");
        assert_eq!(kernel.link(NAME).unwrap(), None);
        assert!(matches!(kernel.keep_macvlan(&wanted, Some(index)), Err(Error::NoSuchInterface { .. })));
    });
}

/// As under systemd's `ProtectKernelTunables=`.
#[test]
fn where_sysctls_cannot_be_written_they_have_to_be_right() {
    in_namespace(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let mount = |arguments: &[&str]| assert!(Command::new("mount").args(arguments).status().unwrap().success());
        mount(&["--make-rprivate", "/"]);
        mount(&["--bind", "/proc/sys", "/proc/sys"]);
        mount(&["-o", "remount,bind,ro", "/proc/sys"]);
        let (mut kernel, wanted) = stage();
        let refused = kernel.keep_macvlan(&wanted, None).unwrap_err();
        assert!(matches!(refused, Error::Setting { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("net.ipv6.conf.vrrp4-155-eth0.accept_ra = 0"), "{text}");
        assert!(text.contains("ProtectKernelTunables=no"), "{text}");
        assert!(!link(&mut kernel, NAME).up, "it never speaks");
        assert_eq!(conf("ipv4", "arp_ignore"), "1", "that needs no /proc");
        mount(&["-o", "remount,bind,rw", "/proc/sys"]);
        fs::write(format!("/proc/sys/net/ipv6/conf/{NAME}/accept_ra"), "0").unwrap();
        mount(&["-o", "remount,bind,ro", "/proc/sys"]);
        kernel.keep_macvlan(&wanted, None).unwrap();
        assert!(link(&mut kernel, NAME).up);
    });
}

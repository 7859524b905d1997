//! Removing an address loses no other one, nor a route.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use pgvrrp_netlink::{Kernel, dependents};

use crate::namespace::{bound, in_namespace, ip, link, sysctl};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 20, 155));

/// The VIP as the primary of a subnet in which the node has its own addresses.
fn stage(promote: &str) {
    sysctl("all/promote_secondaries", "0");
    sysctl("eth0/promote_secondaries", promote);
    ip("address add 10.0.20.155/24 dev eth0");
    ip("address add 10.0.20.11/24 broadcast 10.0.20.255 dev eth0 label eth0:own metric 77");
    ip("address add 10.0.20.12/24 dev eth0 valid_lft 500 preferred_lft 400 noprefixroute");
    ip("address add 10.0.20.13/24 dev eth0");
}

/// All that `ip` shows of the addresses of an interface but the counters of time and the order-dependent flag.
fn details(interface: &str) -> Vec<serde_json::Value> {
    let shown: serde_json::Value =
        serde_json::from_str(&ip(&format!("-j -d -4 address show dev {interface}"))).unwrap();
    let mut addresses = shown[0]["addr_info"].as_array().unwrap().clone();
    for address in &mut addresses {
        let address = address.as_object_mut().unwrap();
        address.remove("secondary");
        for time in ["valid_life_time", "preferred_life_time"] {
            // Rounded so that a second more or less makes no difference; forever stays what it is.
            let left = address[time].as_u64().unwrap();
            address.insert(time.into(), (left.div_ceil(50)).into());
        }
    }
    addresses
}

#[test]
fn without_promotion_the_kernel_takes_the_secondaries_with_it() {
    // What the following tests guard against does happen.
    in_namespace(|| {
        stage("0");
        ip("address del 10.0.20.155/24 dev eth0");
        assert_eq!(bound("eth0"), [""; 0]);
    });
}

#[test]
fn removing_a_primary_puts_its_secondaries_back_as_they_were() {
    in_namespace(|| {
        stage("0");
        let before = details("eth0");
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.unbind(VIP, None).unwrap(), 1);
        assert_eq!(bound("eth0"), ["10.0.20.11/24", "10.0.20.12/24", "10.0.20.13/24"]);
        assert_eq!(details("eth0"), before[1..]);
    });
}

#[test]
fn with_promotion_the_kernel_does_and_nothing_is_added() {
    in_namespace(|| {
        stage("1");
        let before = details("eth0");
        let mut kernel = Kernel::open().unwrap();
        assert_eq!(kernel.unbind(VIP, None).unwrap(), 1);
        assert_eq!(details("eth0"), before[1..]);
    });
}

#[test]
fn routes_survive_the_moment_without_the_addresses() {
    in_namespace(|| {
        stage("0");
        ip("route add default via 10.0.20.1 dev eth0");
        ip("route add 192.0.2.0/24 via 10.0.20.1 dev eth0 src 10.0.20.11");
        let before = ip("route show");
        let local = ip("route show table local");
        let mut kernel = Kernel::open().unwrap();
        kernel.unbind(VIP, None).unwrap();
        let after = ip("route show");
        for route in ["default via 10.0.20.1 dev eth0", "192.0.2.0/24 via 10.0.20.1 dev eth0 src 10.0.20.11"] {
            assert!(before.contains(route) && after.contains(route), "{before}\nbecame\n{after}");
        }
        assert!(after.contains("10.0.20.0/24 dev eth0 proto kernel"), "{after}");
        let kept = |table: &str| table.lines().filter(|line| !line.contains("10.0.20.155")).count();
        assert!(kept(&ip("route show table local")) >= kept(&local) - 1, "local routes are back");
    });
}

#[test]
fn a_secondary_vip_goes_alone() {
    in_namespace(|| {
        sysctl("all/promote_secondaries", "0");
        sysctl("eth0/promote_secondaries", "0");
        ip("address add 10.0.20.11/24 dev eth0");
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        kernel.bind(a, VIP, 24, NonZeroU32::new(30).unwrap()).unwrap();
        let all = kernel.addresses().unwrap();
        let row = |address: IpAddr| all.iter().find(|row| row.address == address).unwrap();
        assert!(row(VIP).secondary);
        assert_eq!(dependents(&all, row(VIP)).count(), 0);
        let own: IpAddr = "10.0.20.11".parse().unwrap();
        assert_eq!(dependents(&all, row(own)).collect::<Vec<_>>(), [row(VIP)]);
        assert_eq!(kernel.unbind(VIP, None).unwrap(), 1);
        assert_eq!(bound("eth0"), ["10.0.20.11/24"]);
    });
}

#[test]
fn a_primary_vip_becomes_a_secondary_by_unbinding_and_binding() {
    // The measured case: networkd restarts, the node's own address goes and comes back behind the VIP.
    in_namespace(|| {
        sysctl("all/promote_secondaries", "0");
        sysctl("eth0/promote_secondaries", "0");
        let mut kernel = Kernel::open().unwrap();
        let a = link(&mut kernel, "eth0").index;
        kernel.bind(a, VIP, 24, NonZeroU32::new(30).unwrap()).unwrap();
        ip("address add 10.0.20.11/24 dev eth0");
        let all = kernel.addresses().unwrap();
        let vip = all.iter().find(|row| row.address == VIP).unwrap();
        assert_eq!(dependents(&all, vip).count(), 1);

        kernel.unbind(VIP, None).unwrap();
        kernel.bind(a, VIP, 24, NonZeroU32::new(1).unwrap()).unwrap();
        assert_eq!(bound("eth0"), ["10.0.20.11/24", "10.0.20.155/24"]);
        crate::namespace::wait_until(std::time::Duration::from_secs(4), "it expires alone", || {
            bound("eth0") == ["10.0.20.11/24"]
        });
    });
}

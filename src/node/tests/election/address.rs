//! While the node is Active, its addresses are where they belong, with a lifetime, and nowhere else.

use vrrp::time::Instant;

use super::host::{Binding, DOWN, ETH0, Host, ME, SECOND, VIP, foreign, net, own, router6, up};
use crate::node::io::{Input, Output};
use crate::node::status::RouterLabel;

#[test]
fn an_active_does_nothing_but_renew_for_an_hour() {
    let mut host = Host::active();
    host.run(3600 * SECOND);
    assert_eq!(host.moves(), (1, 0));
    for what in ["bind", "advertise"] {
        assert!((3590..=3610).contains(&host.count(what)), "{what}: {}", host.count(what));
    }
    let lifetimes = host.log.iter().filter_map(|(_, output)| match output {
        Output::Bind { lifetime, .. } => Some(lifetime.get()),
        _ => None,
    });
    assert!(lifetimes.into_iter().all(|lifetime| lifetime == 3), "it never outlives the daemon for long");
}

#[test]
fn what_somebody_deletes_is_back_at_once_and_announced() {
    let mut host = Host::active();
    host.delete(VIP.into());
    assert!(host.is_bound());
    assert_eq!(host.deeds(), ["bind", "announce"]);
    assert_eq!((host.status().counters.repaired, host.told("putting it back"), host.moves()), (1, 1, (1, 0)));
}

#[test]
fn one_of_several_that_is_deleted_is_back_at_once() {
    let addresses = || vec![net("10.0.20.200/32"), net("10.0.20.201/32"), net("fe80::200/128")];
    let mut host = Host::active_with(|vip| vip.addresses = addresses());
    for address in addresses() {
        host.log.clear();
        host.delete(address.addr());
        assert!(host.is_bound(), "{address}");
        assert_eq!(host.deeds(), ["bind", "announce"], "{address}");
    }
    assert!(host.status().held);
}

#[test]
fn what_somebody_replaces_without_a_lifetime_gets_one() {
    let mut host = Host::active();
    host.add(foreign(2, VIP.into()));
    assert_eq!(host.deeds(), ["bind", "announce"]);
    assert!(host.addresses.iter().all(|(address, _)| address.address != VIP || address.lifetime == Some(3)));
}

#[test]
fn a_stray_is_removed_and_the_address_stays_where_it_belongs() {
    let mut host = Host::active();
    host.add(foreign(3, VIP.into()));
    assert_eq!(host.deeds(), ["unbind strays"]);
    assert!(host.is_bound());
    assert!(host.addresses.iter().all(|(address, _)| address.address != VIP || address.link == 2));
    assert_eq!((host.status().counters.expelled, host.status().held), (1, true));
    // With another prefix it is another address, which could take the host's own along when it goes.
    host.log.clear();
    let mut wide = foreign(2, VIP.into());
    wide.prefix_len = 24;
    host.give(Input::AddressAdded(wide));
    assert_eq!(host.deeds(), ["unbind strays"]);
}

/// The link's removal was not seen, or not in time.
#[test]
fn it_follows_an_interface_that_has_another_index() {
    let mut host = Host::active();
    host.add(own(7, ME.into()));
    host.link(ETH0, Some(up(7)));
    assert_eq!(host.deeds(), ["unbind strays", "bind", "announce"]);
    assert!(host.addresses.iter().all(|(address, _)| address.address != VIP || address.link == 7));
    assert!(host.status().held && host.is_bound());
}

/// The kernel, or this process, is slow; hammering it makes it no faster.
#[test]
fn late_binds_do_not_spin() {
    for binding in [Binding::Skipped, Binding::Undone] {
        let mut host = Host::new();
        host.binding = binding;
        host.run(DOWN + SECOND);
        assert!((15..=25).contains(&host.count("bind")), "{binding:?}: {}", host.count("bind"));
        assert_eq!(host.count("announce"), 0, "nothing is announced that is not bound");
        assert!(!host.is_bound() && !host.status().held);
        host.binding = Binding::Done;
        host.log.clear();
        host.run(SECOND / 5);
        assert_eq!((host.count("bind"), host.count("announce")), (1, 1), "{binding:?}");
        assert!(host.status().held && host.moves() == (1, 0));
    }
}

#[test]
fn a_renewal_that_comes_late_leaves_the_address_with_the_rest_of_its_lifetime() {
    let mut host = Host::active();
    host.binding = Binding::Skipped;
    host.run(SECOND);
    assert!(host.is_bound() && host.status().held);
    assert!((2..=25).contains(&host.count("bind")), "{}", host.count("bind"));
    host.binding = Binding::Done;
    host.run(SECOND);
    assert_eq!(host.moves(), (1, 0));
}

#[test]
fn a_renewal_that_was_undone_is_made_up_for() {
    let mut host = Host::active();
    host.binding = Binding::Undone;
    host.run(SECOND);
    assert!(!host.is_bound() && !host.status().held);
    assert_eq!(host.status().router, RouterLabel::Active, "it goes on trying");
    host.binding = Binding::Done;
    host.run(SECOND / 10);
    assert_eq!((host.is_bound(), host.moves()), (true, (2, 1)));
}

/// Not there and not to be had in time: that is one event, and neither a busy loop nor a line for every turn of it.
#[test]
fn a_repair_that_comes_late_does_not_spin() {
    let mut host = Host::active();
    host.binding = Binding::Skipped;
    host.delete(VIP.into());
    host.run(SECOND);
    assert!((15..=25).contains(&host.count("bind")), "{}", host.count("bind"));
    assert_eq!((host.status().counters.repaired, host.told("putting it back")), (1, 1));
    host.binding = Binding::Done;
    host.run(SECOND / 5);
    assert!(host.status().held && host.moves() == (1, 0), "{:?}", host.moves());
}

#[test]
fn what_is_missing_is_not_announced() {
    let mut host = Host::active();
    host.run(10 * SECOND);
    host.binding = Binding::Skipped;
    // Renewals are late already when it is deleted, so that it is not put back in the same instant.
    host.run(SECOND + SECOND / 100);
    host.log.clear();
    host.delete(VIP.into());
    assert_eq!(host.deeds(), [""; 0]);
    host.give(Input::Claim { interface: ETH0, address: VIP.into(), mac: [2, 0, 0, 0, 0, 9] });
    assert_eq!(host.deeds(), ["bind"], "it is tried again, and what follows a bind that failed is not done");
    host.run(SECOND / 2);
    host.binding = Binding::Done;
    host.run(2 * SECOND);
    assert!(host.status().held && host.count("announce") > 0);
}

/// Whoever died or was stopped loses it by the kernel's own hand.
#[test]
fn an_address_ends_with_its_lifetime() {
    let mut host = Host::active();
    host.now += 3 * SECOND;
    assert_eq!(host.expire().len(), 1);
    assert!(!host.is_bound());
}

/// A VIP is nothing to speak from, whatever order the kernel lists the addresses in.
// RFC9568: 7.2-3-
#[test]
fn an_advert_never_comes_from_a_vip() {
    let mut host = Host::before(
        vec![{
            let mut vip = super::host::vip();
            vip.addresses = vec![net("10.0.20.200/24"), net("fe80::200/128")];
            vip
        }],
        Instant::from_millis(5),
    );
    host.addresses.insert(0, (foreign(2, "fe80::200".parse().unwrap()), host.now));
    host.addresses.insert(0, (foreign(2, VIP.into()), host.now));
    host.begin();
    host.run(60 * SECOND);
    assert!(host.is_bound());
    let sources = host.sent();
    assert!(sources.iter().all(|(source, ..)| *source == ME || *source == router6(11)), "{sources:?}");
}

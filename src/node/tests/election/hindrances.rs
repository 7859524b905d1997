//! What keeps a node out of the election, and how it comes back: by way of Backup.

use super::host::{Binding, DOWN, ETH0, ETH1, Host, ME, SECOND, advert, own, router, router6, rules, up};
use crate::node::io::Link;
use crate::node::status::RouterLabel;

const DOWN_LINK: Link = Link { index: 2, up: false, mtu: 1500, mac: None };

/// Strikes an Active, looks what it says, and heals it.
fn check(label: &str, goodbye: usize, strike: impl FnOnce(&mut Host), heal: impl FnOnce(&mut Host)) {
    let mut host = Host::active_with(|vip| rules(vip).track = vec![ETH1]);
    strike(&mut host);
    assert_eq!((host.status().reason, host.status().router), (label, RouterLabel::Initialize));
    assert!(!host.is_bound(), "{label}");
    assert_eq!(host.deeds()[..2], ["reset", "unbind"], "{label}");
    assert_eq!(host.count("goodbye"), goodbye, "{label}");
    host.run(60 * SECOND);
    host.hear(advert(router(12), 0));
    host.run(60 * SECOND);
    assert!(!host.is_bound(), "{label}");
    assert_eq!(host.count("advertise"), 0, "{label}");
    heal(&mut host);
    assert_eq!(host.status().router, RouterLabel::Backup, "{label}");
    host.run(DOWN - SECOND / 1000);
    assert!(!host.is_bound(), "{label}");
    host.run(SECOND / 1000);
    assert!(host.is_bound(), "{label}: {}", host.why());
}

#[test]
fn its_own_interface_is_down() {
    check("interface_down", 1, |host| host.link(ETH0, Some(DOWN_LINK)), |host| host.link(ETH0, Some(up(2))));
}

/// There is nothing left to say goodbye on.
#[test]
fn its_own_interface_is_missing_and_comes_back_under_another_index() {
    let strike = |host: &mut Host| {
        host.addresses.retain(|(address, _)| address.link != 2);
        host.link(ETH0, None);
    };
    let heal = |host: &mut Host| {
        host.link(ETH0, Some(up(7)));
        assert_eq!(host.status().reason, "no_source", "its addresses come later");
        host.add(own(7, ME.into()));
    };
    check("no_interface", 0, strike, heal);
}

#[test]
fn a_tracked_interface_is_down_or_missing() {
    let down = Link { index: 3, ..DOWN_LINK };
    check("tracked_down", 1, |host| host.link(ETH1, Some(down)), |host| host.link(ETH1, Some(up(3))));
    check("tracked_down", 1, |host| host.link(ETH1, None), |host| host.link(ETH1, Some(up(9))));
}

#[test]
fn an_interface_that_is_not_tracked_does_not_matter() {
    let mut host = Host::active();
    host.link(ETH1, None);
    host.run(10 * SECOND);
    assert!(host.is_bound());
}

#[test]
fn without_an_address_to_advertise_from() {
    check("no_source", 0, |host| host.delete(ME.into()), |host| host.add(own(2, ME.into())));
}

/// One that it could not send from is none: over IPv6, while it may be another's.
// RFC9568: 7.2-3-
#[test]
fn a_tentative_address_is_no_source() {
    let mut tentative = own(2, router6(11));
    tentative.tentative = true;
    let mut host = Host::before(
        vec![{
            let mut vip = super::host::vip();
            vip.addresses = vec![super::host::net("fe80::200/128")];
            vip
        }],
        super::host::START,
    );
    host.addresses[1].0 = tentative;
    host.begin();
    assert_eq!(host.status().reason, "no_source");
    host.add(own(2, router6(11)));
    assert_eq!(host.status().reason, "backup");
    host.run(DOWN);
    assert_eq!(host.sent()[0].0, router6(11));
}

/// Another may serve meanwhile.
#[test]
fn the_kernel_refuses_to_bind() {
    let mut host = Host::new();
    host.binding = Binding::Refused;
    host.run(DOWN);
    assert_eq!(
        host.deeds(),
        ["advertise", "bind", "reset", "unbind", "goodbye"],
        "what follows a bind that failed is not done"
    );
    assert_eq!((host.status().reason, host.status().counters.bind_refused), ("bind_refused", 1));
    assert_eq!(host.moves(), (0, 0), "it never was here");
    host.log.clear();
    host.run(5 * SECOND - SECOND / 1000);
    assert_eq!(host.deeds(), [""; 0]);
    // Still the same: whoever serves meanwhile is not disturbed by a word of this one.
    host.run(SECOND / 1000 + DOWN);
    assert_eq!(host.deeds(), ["bind", "reset", "unbind", "goodbye"]);
    host.log.clear();
    host.binding = Binding::Done;
    host.run(5 * SECOND);
    assert_eq!((host.deeds(), host.status().reason), (vec![], "backup"));
    host.run(DOWN);
    assert!(host.is_bound());
    assert_eq!(host.deeds(), ["bind", "advertise", "announce"]);
}

#[test]
fn a_renewal_that_is_refused_ends_it_as_well() {
    let mut host = Host::active();
    host.binding = Binding::Refused;
    host.run(SECOND);
    assert!(!host.is_bound());
    assert_eq!((host.count("goodbye"), host.moves()), (1, (1, 1)));
}

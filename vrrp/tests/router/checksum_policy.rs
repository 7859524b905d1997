//! Which checksum form is sent: Keepalived accepts one form only and as a Backup says nothing, so a router that may learn
//! speaks as it is spoken to, and in both forms before that.

use vrrp::router::{Action, ChecksumPolicy, Checksums, Event, Router, Settings};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::{GREATER, LOWER, ME, START, advert, after, host6, router, settings, vrid};

fn old_form(priority: u8) -> Advert {
    Advert { checksum: ChecksumForm::Rfc5798, ..advert(LOWER, priority, 100) }
}

fn new_form(priority: u8) -> Advert {
    advert(GREATER, priority, 100)
}

fn sent(actions: &[Action]) -> Vec<Checksums> {
    let checksums = |action: &Action| match action {
        Action::SendAdvert { checksums, .. } => Some(*checksums),
        _ => None,
    };
    actions.iter().filter_map(checksums).collect()
}

fn with(priority: u8, checksum: ChecksumPolicy) -> Router {
    router(Settings { checksum, ..settings(priority, true) })
}

fn owner(checksum: ChecksumPolicy) -> Router {
    with(255, checksum)
}

/// A router of priority 100 that is Active since [`START`] because nobody was heard.
fn elected() -> Router {
    let mut router = with(100, ChecksumPolicy::Auto);
    router.handle(START - router.active_down_interval(), Event::Startup);
    assert_eq!(sent(&router.handle(START, Event::Timer)), [Checksums::Both]);
    router
}

#[test]
fn the_forms_of_each() {
    let forms = |checksums: Checksums| checksums.forms().collect::<Vec<_>>();
    assert_eq!(forms(Checksums::Rfc9568), [ChecksumForm::Rfc9568]);
    assert_eq!(forms(Checksums::Rfc5798), [ChecksumForm::Rfc5798]);
    assert_eq!(forms(Checksums::Both), [ChecksumForm::Rfc9568, ChecksumForm::Rfc5798]);
}

#[test]
fn the_form_is_learned_before_the_start_if_it_may_be() {
    for (policy, silent, spoken_to) in [
        (ChecksumPolicy::Auto, Checksums::Both, Checksums::Rfc5798),
        (ChecksumPolicy::Rfc9568, Checksums::Rfc9568, Checksums::Rfc9568),
        (ChecksumPolicy::Rfc5798, Checksums::Rfc5798, Checksums::Rfc5798),
    ] {
        let mut owner = owner(policy);
        assert_eq!(sent(&owner.clone().handle(START, Event::Startup)), [silent], "{policy:?}");
        assert_eq!(owner.handle(START, Event::Advert(&old_form(100))), []);
        assert_eq!(sent(&owner.handle(START, Event::Startup)), [spoken_to], "{policy:?}");
    }
}

#[test]
fn the_default_is_to_learn() {
    assert_eq!(ChecksumPolicy::default(), ChecksumPolicy::Auto);
}

/// Each of those that were heard has to understand the next advertisement.
#[test]
fn each_form_that_was_heard_is_sent() {
    for (heard, expected) in [
        (&[][..], Checksums::Both),
        (&[new_form(100)], Checksums::Rfc9568),
        (&[new_form(100), new_form(99)], Checksums::Rfc9568),
        (&[old_form(100), old_form(99)], Checksums::Rfc5798),
        (&[new_form(100), old_form(100)], Checksums::Both),
        (&[old_form(100), new_form(100), old_form(100)], Checksums::Both),
    ] {
        let mut owner = owner(ChecksumPolicy::Auto);
        for advert in heard {
            owner.handle(START, Event::Advert(advert));
        }
        assert_eq!(sent(&owner.handle(START, Event::Startup)), [expected], "{heard:?}");
    }
}

#[test]
fn the_answer_itself_is_in_the_form_of_the_question() {
    for priority in [0, 99] {
        assert_eq!(sent(&elected().handle(after(1), Event::Advert(&old_form(priority)))), [Checksums::Rfc5798]);
        assert_eq!(sent(&elected().handle(after(1), Event::Advert(&new_form(priority)))), [Checksums::Rfc9568]);
    }
}

/// Its sender is on this segment and will have to understand us, whether we obey it now or not.
#[test]
fn a_backup_learns_from_what_it_does_not_obey() {
    let mut router = with(100, ChecksumPolicy::Auto);
    router.handle(START, Event::Startup);
    let deadline = router.deadline().unwrap();
    router.handle(after(1), Event::Advert(&old_form(99)));
    assert_eq!(router.deadline(), Some(deadline));
    assert_eq!(sent(&router.handle(deadline, Event::Timer)), [Checksums::Rfc5798]);
}

#[test]
fn what_was_learned_stays() {
    let mut owner = owner(ChecksumPolicy::Auto);
    owner.handle(START, Event::Startup);
    owner.handle(after(1), Event::Advert(&old_form(100)));
    assert_eq!(sent(&owner.handle(after(3), Event::Shutdown)), [Checksums::Rfc5798], "the goodbye as well");
    assert_eq!(sent(&owner.handle(after(4), Event::Startup)), [Checksums::Rfc5798]);
}

#[test]
fn other_virtual_routers_teach_nothing() {
    let mut owner = owner(ChecksumPolicy::Auto);
    owner.handle(START, Event::Advert(&Advert { vrid: vrid(8), ..old_form(100) }));
    assert_eq!(sent(&owner.handle(START, Event::Startup)), [Checksums::Both]);
}

/// Over IPv6 there is one form, whoever sends it: it does not tell which one they would send over IPv4.
#[test]
fn what_comes_over_ipv6_teaches_nothing() {
    let mut owner = owner(ChecksumPolicy::Auto);
    owner.handle(START, Event::Advert(&advert(host6(1), 100, 100)));
    assert_eq!(sent(&owner.clone().handle(START, Event::Startup)), [Checksums::Both]);
    owner.handle(START, Event::Advert(&old_form(100)));
    owner.handle(START, Event::Advert(&advert(host6(1), 100, 100)));
    assert_eq!(sent(&owner.handle(START, Event::Startup)), [Checksums::Rfc5798]);
}

/// A loop in the network must not make a router believe that somebody understands it.
#[test]
fn the_own_echo_teaches_nothing() {
    let mut router = elected();
    assert_eq!(router.handle(after(1), Event::Advert(&advert(ME, 100, 100))), []);
    assert_eq!(sent(&router.handle(after(1000), Event::Timer)), [Checksums::Both]);
}

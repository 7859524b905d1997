//! Which checksum form is sent: Keepalived 2.2 rejects the form that it does not send itself, so a router that may
//! learn speaks as it is spoken to.

use vrrp::router::{Action, ChecksumPolicy, Event, Router, Settings};
use vrrp::wire::advert::{Advert, ChecksumForm};

use super::{GREATER, LOWER, START, advert, after, elected, router, settings, started, vrid};

fn old_form(priority: u8) -> Advert {
    Advert { checksum: ChecksumForm::Rfc5798, ..advert(LOWER, priority, 100) }
}

fn forms(actions: &[Action]) -> Vec<ChecksumForm> {
    let form = |action: &Action| match action {
        Action::SendAdvert { checksum, .. } => Some(*checksum),
        _ => None,
    };
    actions.iter().filter_map(form).collect()
}

fn owner(checksum: ChecksumPolicy) -> Router {
    router(Settings { checksum, ..settings(255, true) })
}

#[test]
fn the_form_is_learned_before_the_start_if_it_may_be() {
    for (policy, silent, spoken_to) in [
        (ChecksumPolicy::Auto, ChecksumForm::Rfc9568, ChecksumForm::Rfc5798),
        (ChecksumPolicy::Rfc9568, ChecksumForm::Rfc9568, ChecksumForm::Rfc9568),
        (ChecksumPolicy::Rfc5798, ChecksumForm::Rfc5798, ChecksumForm::Rfc5798),
    ] {
        let mut owner = owner(policy);
        assert_eq!(forms(&owner.clone().handle(START, Event::Startup)), [silent], "{policy:?}");
        assert_eq!(owner.handle(START, Event::Advert(&old_form(100))), []);
        assert_eq!(forms(&owner.handle(START, Event::Startup)), [spoken_to], "{policy:?}");
    }
}

#[test]
fn the_default_is_to_learn() {
    assert_eq!(ChecksumPolicy::default(), ChecksumPolicy::Auto);
}

#[test]
fn the_answer_itself_is_in_the_form_of_the_question() {
    for priority in [0, 99] {
        let mut router = elected(100, true);
        assert_eq!(forms(&router.handle(after(1), Event::Advert(&old_form(priority)))), [ChecksumForm::Rfc5798]);
    }
}

/// Its sender is on this segment and will have to understand us, whether we obey it now or not.
#[test]
fn a_backup_learns_from_what_it_does_not_obey() {
    let mut router = started(100, true);
    let deadline = router.deadline().unwrap();
    router.handle(after(1), Event::Advert(&old_form(99)));
    assert_eq!(router.deadline(), Some(deadline));
    assert_eq!(forms(&router.handle(deadline, Event::Timer)), [ChecksumForm::Rfc5798]);
}

#[test]
fn what_was_learned_stays() {
    let mut owner = owner(ChecksumPolicy::Auto);
    owner.handle(START, Event::Startup);
    owner.handle(after(1), Event::Advert(&old_form(100)));
    owner.handle(after(2), Event::Advert(&advert(GREATER, 100, 100)));
    assert_eq!(forms(&owner.handle(after(3), Event::Shutdown)), [ChecksumForm::Rfc5798], "the goodbye as well");
    assert_eq!(forms(&owner.handle(after(4), Event::Startup)), [ChecksumForm::Rfc5798]);
}

#[test]
fn other_virtual_routers_teach_nothing() {
    let mut owner = owner(ChecksumPolicy::Auto);
    owner.handle(START, Event::Advert(&Advert { vrid: vrid(8), ..old_form(100) }));
    assert_eq!(forms(&owner.handle(START, Event::Startup)), [ChecksumForm::Rfc9568]);
}

//! The owner, priority 255: nothing that is heard makes it leave, and nothing makes it talk without end.

use vrrp::router::{Action, Event, State};

use super::{GREATER, LOWER, advert, after, send, started};

#[test]
fn an_owner_yields_to_no_priority_from_no_address() {
    for source in [LOWER, GREATER] {
        for priority in 0..=255u8 {
            let mut owner = started(255, true);
            let conflict = Action::Conflict { source, priority };
            let expected = match priority {
                0 => vec![send(255)],
                255 => vec![conflict],
                _ => vec![conflict, send(255)],
            };
            assert_eq!(owner.handle(after(400), Event::Advert(&advert(source, priority, 50))), expected);
            assert_eq!(owner.state(), State::Active);
            // A goodbye begins the beat anew (section 6.4.3); a rival does not even touch that.
            assert_eq!(owner.deadline(), Some(after(if priority == 0 { 1400 } else { 1000 })));
        }
    }
}

/// Erratum 8298: two owners are a mistake to be logged. Each goes on as if alone.
// RFC9568: 7.1-10+ 8.3.2-1+
#[test]
fn two_owners_do_not_answer_each_other() {
    let mut owners = [(started(255, true), LOWER), (started(255, true), GREATER)];
    let mut sent = 0;
    for second in 1..=10 {
        for from in 0..2 {
            let mut mail = vec![(from, owners[from].0.handle(after(1000 * second), Event::Timer))];
            while let Some((from, actions)) = mail.pop() {
                for action in actions {
                    let Action::SendAdvert { priority, .. } = action else { continue };
                    sent += 1;
                    assert!(sent <= 20, "one a second from each");
                    let heard = advert(owners[from].1, priority, 100);
                    let to = 1 - from;
                    mail.push((to, owners[to].0.handle(after(1000 * second), Event::Advert(&heard))));
                }
            }
        }
    }
    assert_eq!(sent, 20);
}

/// The gate closes and opens again: the owner is back at once, and its goodbye came after the addresses were gone.
#[test]
fn an_owner_leaves_and_comes_back() {
    let mut owner = started(255, true);
    assert_eq!(owner.handle(after(10), Event::Shutdown), [Action::UnbindAddresses, send(0)]);
    assert_eq!(owner.handle(after(20), Event::Shutdown), []);
    assert_eq!(owner.handle(after(30), Event::Startup), [Action::BindAddresses, send(255), Action::Announce]);
    assert_eq!(owner.deadline(), Some(after(1030)));
}

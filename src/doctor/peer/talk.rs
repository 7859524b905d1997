//! One doctor's part of the conversation, without sockets and clocks: what it says next, what it makes of what comes in, and
//! when it knows enough.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::time::Instant;

use super::hello::Hello;
use super::ways::Way;

/// From the other's first word on: time enough for ten packets of each way, and for a switch to learn who wants the group's.
pub(super) const TEST: Duration = Duration::from_secs(5);

/// TTL and hop limit of what comes from the same segment (RFC 9568 sections 5.1.1.3 and 5.1.2.3).
const WHOLE: u8 = 255;

/// Where something was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// By UDP.
    Udp,
    /// On the interface, before firewall and routes have looked at it.
    Interface(Way),
    /// As a daemon would be given it, with this TTL or hop limit.
    Daemon(Way, u8),
}

/// What is known so far.
#[derive(Clone, Debug)]
pub(super) struct Talk {
    peer: IpAddr,
    until: Instant,
    me: Hello,
    /// What the other said last, whoever it listens to.
    pub(super) theirs: Option<Hello>,
    /// What it said last of what it received from here.
    pub(super) answer: Option<Hello>,
    /// Heard by UDP.
    pub(super) by_udp: bool,
    /// That no doctor runs at the peer's address, as its kernel says.
    pub(super) is_closed: bool,
    /// Somebody else who looks for a peer.
    pub(super) stranger: Option<IpAddr>,
}

impl Talk {
    /// A conversation that begins with this word, before `until`. Its number is not 0, and hard to guess: whoever repeats it has
    /// heard it.
    pub(super) fn new(peer: IpAddr, me: Hello, until: Instant) -> Self {
        Self { peer, until, me, theirs: None, answer: None, by_udp: false, is_closed: false, stranger: None }
    }

    /// What is to be said now.
    pub(super) fn hello(&self) -> Hello {
        self.me
    }

    /// This kernel refuses to send by this way.
    pub(super) fn refused(&mut self, way: Way) {
        self.me.refused.insert(way);
    }

    /// The peer's kernel says that nobody listens.
    pub(super) fn closed(&mut self) {
        self.is_closed = true;
    }

    /// Takes what was received. Returns whether the conversation begins by that.
    ///
    /// The peer is who speaks from its address, or says that it has that one: over IPv6 the packets have another.
    pub(super) fn take(&mut self, now: Instant, from: IpAddr, ear: Ear, hello: Hello) -> bool {
        if hello.mine == self.me.mine {
            return false;
        }
        let is_known = self.me.yours == hello.mine;
        if ![from, hello.here].contains(&self.peer) && !is_known {
            // Who has heard this one, or nobody yet, may be the one that was meant.
            if hello.yours == self.me.mine || hello.yours == 0 {
                self.stranger.get_or_insert(hello.here);
            }
            return false;
        }
        if !is_known {
            // The first, or one that was started anew: what was received of the one before is not of this one.
            let Hello { mine, here, tries, refused, .. } = self.me;
            self.me = Hello { yours: hello.mine, refused, ..Hello::first(mine, here, tries) };
            (self.answer, self.by_udp, self.is_closed) = (None, false, false);
            self.until = now + TEST;
        }
        match ear {
            Ear::Udp => self.by_udp = true,
            Ear::Interface(way) => self.me.seen.insert(way),
            Ear::Daemon(way, WHOLE) => self.me.heard.insert(way),
            Ear::Daemon(way, _) => self.me.routed.insert(way),
        }
        self.theirs = Some(hello);
        if hello.yours == self.me.mine {
            self.answer = Some(hello);
        }
        !is_known
    }

    /// When it is over, as far as is known now.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::super::ways::Ways;
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 20, 12));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 20, 99));

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1000)
    }

    fn talk() -> Talk {
        Talk::new(PEER, hello(1, 0), at(60))
    }

    /// Of somebody who has no name.
    fn hello(mine: u64, yours: u64) -> Hello {
        Hello { yours, ..Hello::first(mine, [0; 4].into(), Ways::default()) }
    }

    #[test]
    fn it_lasts_for_a_while_from_the_first_word_on() {
        let mut talk = talk();
        assert_eq!(talk.until(), at(60));
        assert!(talk.take(at(10), PEER, Ear::Udp, hello(2, 0)));
        assert!(!talk.take(at(12), PEER, Ear::Daemon(Way::GroupV4, 255), hello(2, 0)));
        assert_eq!(talk.until(), at(15));
        assert_eq!((talk.hello().yours, talk.by_udp), (2, true));
        assert!(talk.hello().heard.has(Way::GroupV4) && !talk.hello().heard.has(Way::GroupV6));
        assert!(talk.take(at(14), PEER, Ear::Interface(Way::GroupV4), hello(3, 0)), "started anew");
        assert_eq!(talk.until(), at(19));
        assert_eq!((talk.hello().heard, talk.by_udp), (Ways::default(), false), "that was another's");
    }

    #[test]
    fn only_the_peer_is_listened_to() {
        let mut talk = talk();
        assert!(!talk.take(at(1), PEER, Ear::Udp, hello(1, 0)), "an echo");
        assert!(!talk.take(at(1), OTHER, Ear::Daemon(Way::GroupV4, 255), hello(9, 8)), "of another conversation");
        assert_eq!((talk.hello(), talk.stranger), (hello(1, 0), None));
        assert!(!talk.take(at(1), OTHER, Ear::Daemon(Way::GroupV4, 255), Hello { here: OTHER, ..hello(9, 1) }));
        assert_eq!((talk.theirs, talk.stranger), (None, Some(OTHER)));
        let link_local = "fe80::12".parse().unwrap();
        assert!(!talk.take(at(1), link_local, Ear::Daemon(Way::GroupV6, 255), hello(2, 0)), "who would know");
        assert!(talk.take(at(2), PEER, Ear::Udp, hello(2, 0)));
        talk.take(at(3), link_local, Ear::Daemon(Way::GroupV6, 255), hello(2, 0));
        assert!(talk.hello().heard.has(Way::GroupV6));
        let named = Hello { here: PEER, ..hello(3, 0) };
        assert!(talk.take(at(4), link_local, Ear::Daemon(Way::GroupV6, 255), named), "it says who it is");
    }

    #[test]
    fn an_answer_is_to_what_was_said_here() {
        let mut talk = talk();
        let heard = [Way::GroupV4].into_iter().collect();
        talk.take(at(1), PEER, Ear::Udp, Hello { heard, ..hello(2, 77) });
        assert_eq!(talk.answer, None, "it speaks of somebody else");
        talk.take(at(2), PEER, Ear::Udp, Hello { heard, ..hello(2, 1) });
        assert!(talk.answer.is_some_and(|answer| answer.heard == heard));
    }

    #[test]
    fn what_a_router_has_passed_on_is_not_heard() {
        let mut talk = talk();
        talk.take(at(1), PEER, Ear::Daemon(Way::GroupV4, 254), hello(2, 0));
        assert!(talk.hello().routed.has(Way::GroupV4) && !talk.hello().heard.has(Way::GroupV4));
    }
}

//! When the clients of the last holder are told that it is gone.
//!
//! A host that lost its power says nothing, and neither does a client that waits for it. An acknowledgement from the VIP
//! that fits no connection makes the client's kernel answer with what it believes in; this host's kernel knows no such
//! connection and answers that with an RST, which the client believes. For a connection that does live it is one of the
//! stray packets that RFC 9293 section 3.10.7.4 has it answer and forget.

use std::time::Duration;

use vrrp::time::Instant;

use crate::gate::deadline;
use crate::gate::evidence::VipId;
use crate::node::io::Output;

/// Clients that are told in one go, and the pause before the next ones: 64 packets and some 0.3 ms of sending, so that thousands
/// of them delay no advert and fill no queue.
const SLICE: usize = 16;
const PAUSE: Duration = Duration::from_millis(1);

/// Pauses before everybody is told once more: the first packet, or its answer, may have been lost. A client, or its router, that
/// has missed the first announcements answers to the former holder's MAC, which nobody has any more: the later ones come after
/// the announcement of the fifth second, and after ten more.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_millis(4500), Duration::from_secs(10)];

/// How far the telling has come since the address was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tickling {
    began: bool,
    due: Option<Instant>,
    /// Position of the first client of the next slice.
    first: usize,
    /// Times that everybody has been told.
    rounds: usize,
}

impl Tickling {
    /// The address is bound and has been announced: what clients answer comes here.
    pub(super) fn announced(&mut self, now: Instant) {
        if !self.began {
            (self.began, self.due) = (true, Some(now));
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Not before `until`.
    pub(super) fn wait(&mut self, until: Instant) {
        self.due = self.due.map(|due| due.max(until));
    }

    /// The next slice, if it is due. Unless it turns out to have been sent, it is tried again after a while.
    pub(super) fn output(&mut self, now: Instant, vip: VipId) -> Option<Output> {
        self.due.filter(|due| *due <= now)?;
        self.due = Some(now + Duration::from_secs(1));
        let last = self.rounds == AGAIN.len();
        Some(Output::Tickle { vip, first: self.first, count: SLICE, last, not_after: deadline::not_after(now) })
    }

    /// A slice has been sent, of a list of `total` clients.
    pub(super) fn sent(&mut self, now: Instant, total: usize) {
        self.first += SLICE;
        if self.first < total {
            self.due = Some(now + PAUSE);
            return;
        }
        let pause = AGAIN.get(self.rounds).filter(|_| total > 0);
        self.due = pause.map(|pause| now + *pause);
        (self.first, self.rounds) = (0, self.rounds + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends what is due until nothing is left; returns when, from where, and whether the list was done with by that.
    fn run(total: usize) -> Vec<(u128, usize, bool)> {
        let mut tickling = Tickling::default();
        let start = Instant::ZERO + Duration::from_secs(100);
        assert_eq!(tickling.output(start, VipId(0)), None, "not before the address is announced");
        tickling.announced(start);
        let mut sent = Vec::new();
        while let Some(now) = tickling.due() {
            tickling.announced(now);
            match tickling.output(now, VipId(0)) {
                Some(Output::Tickle { first, last, .. }) => sent.push((now.since(start).as_millis(), first, last)),
                other => panic!("{other:?}"),
            }
            tickling.sent(now, total);
        }
        sent
    }

    #[test]
    fn everybody_is_told_several_times_and_in_slices() {
        let slices = [0, 1, 1001, 1002, 5502, 5503, 15_503, 15_504];
        let of_two: Vec<_> = (0..).zip(slices).map(|(i, at)| (at, i % 2 * SLICE, i >= 6)).collect();
        assert_eq!(run(17), of_two);
        assert_eq!(run(16), [(0, 0, false), (1000, 0, false), (5500, 0, false), (15_500, 0, true)]);
    }

    #[test]
    fn nobody_is_told_by_a_look_and_no_more() {
        assert_eq!(run(0), [(0, 0, false)]);
    }

    #[test]
    fn what_was_not_sent_is_tried_again() {
        let mut tickling = Tickling::default();
        tickling.announced(Instant::ZERO);
        let first = tickling.output(Instant::ZERO, VipId(0));
        let due = tickling.due().expect("not sent yet");
        assert_eq!(due.since(Instant::ZERO), Duration::from_secs(1));
        assert!(matches!(
            (first, tickling.output(due, VipId(0))),
            (Some(Output::Tickle { first: 0, .. }), Some(Output::Tickle { first: 0, .. }))
        ));
    }
}

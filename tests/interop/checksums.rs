//! The two forms of the checksum of IPv4. Keepalived 2.2 and FRR 8.4 know the one with a pseudo-header and no other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Time;
use lab::recorder::Form;
use lab::router::{Checksum, Make, VirtualRouter};

use crate::cells::{self, Cell, Family};
use crate::stage::{SECOND, Stage, is_ours, play};

const INTERVAL: Duration = Duration::from_millis(100);

fn cell() -> Cell {
    Cell::new(151, Family::V4, INTERVAL)
}

fn with_checksum(priority: u8, checksum: Checksum) -> Vec<VirtualRouter> {
    let mut router = cell().with_priority(priority);
    router.checksum = checksum;
    vec![router]
}

/// What was sent from a place in the last second.
fn forms(stage: &Stage, place: usize) -> (usize, usize) {
    let since = Time::from_nanos(Time::now().as_nanos() - 1_000_000_000);
    stage.ask(|record| {
        let sent = |form| {
            let adverts = record.adverts(cell().id).filter(|(at, from, _)| *at > since && *from == place);
            adverts.filter(|(.., advert)| advert.checksum == form).count()
        };
        (sent(Form::Message), sent(Form::PseudoHeader))
    })
}

/// A Backup is silent: nobody can know its form. It must not become Active beside us for that.
fn silent_backup(make: Make) {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(1, Make::Pgvrrp, &with_checksum(200, Checksum::Auto))?;
        stage.wait_holder(&[cell()], 1, 3 * SECOND)?;
        stage.start(0, make, &cells::with_priority(&[cell()], 100))?;
        let begun = Time::now();
        std::thread::sleep(SECOND);
        stage.calm(&[cell()], 1)?;
        let others = stage.ask(|record| record.holdings(cell().addresses[0]).iter().filter(|h| h.place == 0).count());
        ensure!(others == 0, "the silent Backup had the address");
        let heard = stage.ask(|record| record.adverts(cell().id).filter(|(at, p, _)| *p == 0 && *at > begun).count());
        ensure!(heard == 0, "the silent Backup was not silent");
        let (message, pseudo_header) = forms(stage, 1);
        ensure!(message >= 5 && pseudo_header >= 5, "sent: {message} in RFC 9568's form, {pseudo_header} in the other");
        // And it takes over in time: neither form has held it up.
        stage.kill(1)?;
        stage.wait_holder(&[cell()], 0, SECOND)
    });
}

#[test]
fn auto_is_understood_by_a_keepalived_that_is_silent() {
    silent_backup(Make::Keepalived);
}

#[test]
fn auto_is_understood_by_an_frr_that_is_silent() {
    silent_backup(Make::Frr);
}

/// Once it has been heard, its form is known: no packet is sent in vain.
#[test]
fn auto_keeps_to_the_form_that_was_heard() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, Make::Keepalived, &cells::with_priority(&[cell()], 100))?;
        stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        stage.start(1, Make::Pgvrrp, &with_checksum(200, Checksum::Auto))?;
        stage.wait_holder(&[cell()], 1, 3 * SECOND)?;
        stage.calm(&[cell()], 1)?;
        let (message, pseudo_header) = forms(stage, 1);
        ensure!(message == 0 && pseudo_header >= 5, "{message} in RFC 9568's form, {pseudo_header} in the other");
        stage.nobody_complains()
    });
}

/// With the wrong form both believe to be alone. Ours hears the other nevertheless: it takes either form.
#[test]
fn either_form_is_taken_and_one_alone_is_sent() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, Make::Keepalived, &cells::with_priority(&[cell()], 200))?;
        stage.start(1, Make::Pgvrrp, &with_checksum(100, Checksum::Rfc9568))?;
        stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        stage.calm(&[cell()], 0)?;
        stage.nobody_complains()?;
        stage.stop(0)?;
        stage.wait_holder(&[cell()], 1, 2 * SECOND)?;
        std::thread::sleep(SECOND);
        let (message, pseudo_header) = forms(stage, 1);
        ensure!(pseudo_header == 0 && message >= 5, "{message} in RFC 9568's form, {pseudo_header} in the other");
        // A Keepalived of lower priority is deaf to that, and the other way round we are not.
        stage.start(0, Make::Keepalived, &cells::with_priority(&[cell()], 50))?;
        stage.recorder.wait("Keepalived to take it as well", 5 * SECOND, |record| {
            (record.holders(cell().addresses[0]).len() == 2).then_some(())
        })?;
        let complaints = stage.complaints(0)?;
        complaints.iter().find(|line| line.contains("Invalid VRRPv3 checksum")).context("it did not say so")?;
        Ok(())
    });
}

/// Between two of ours, each form and both.
#[test]
fn two_of_ours_understand_each_other_in_every_form() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        for (ours, other) in [
            (Checksum::Auto, Checksum::Auto),
            (Checksum::Rfc9568, Checksum::Rfc5798),
            (Checksum::Rfc5798, Checksum::Auto),
        ] {
            stage.start(0, Make::Pgvrrp, &with_checksum(200, ours))?;
            stage.start(1, Make::Pgvrrp, &with_checksum(100, other))?;
            settled(stage)?;
        }
        Ok(())
    });
}

fn settled(stage: &Stage) -> Result<()> {
    stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
    stage.calm(&[cell()], 0)?;
    stage.nobody_complains()?;
    stage.stop(0)?;
    stage.wait_holder(&[cell()], 1, SECOND)?;
    stage.stop(1)
}

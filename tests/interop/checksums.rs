//! The two forms of the checksum of IPv4. Keepalived 2.2 and FRR 8.4 know the one with a pseudo-header and no other.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::Time;
use lab::recorder::{Form, Record};
use lab::router::{Checksum, Make, VirtualRouter};
use lab::speaker::{Speaker, Speech};

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
        stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        stage.start(1, Make::Pgvrrp, &with_checksum(100, Checksum::Rfc9568))?;
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

/// A frame made by hand.
fn speech(priority: u8, checksum: Form) -> Speech {
    let cell = cell();
    let v4 = |address: &IpAddr| if let IpAddr::V4(address) = address { Some(*address) } else { None };
    let addresses = cell.addresses.iter().filter_map(v4).collect();
    Speech { id: cell.id, priority, interval: INTERVAL, addresses, checksum }
}

/// A voice of higher priority is obeyed in either form, and in no other.
#[test]
fn a_voice_is_obeyed_in_either_form() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, Make::Pgvrrp, &with_checksum(100, Checksum::Auto))?;
        stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        for form in [Form::Message, Form::PseudoHeader] {
            let voice = Speaker::start(&stage.segment, 1, &speech(200, form), INTERVAL)?;
            let nobody = |record: &Record| record.holders(cell().addresses[0]).is_empty().then_some(());
            stage.recorder.wait(&format!("it to obey {form:?}"), SECOND, nobody)?;
            std::thread::sleep(SECOND);
            ensure!(stage.ask(|record| nobody(record).is_some()), "it did not go on obeying {form:?}");
            drop(voice);
            stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        }
        stage.nobody_complains()?;
        stays_with(stage, &speech(200, Form::Wrong))?;
        ensure!(!stage.complaints(0)?.is_empty(), "it has not counted what it did not take");
        Ok(())
    });
}

/// At twice its own pace: Keepalived 2.2 does not send anything itself as long as it hears such.
#[test]
fn what_is_not_taken_does_not_silence_us() {
    if !is_ours() {
        return;
    }
    play(2, |stage| {
        stage.start(0, Make::Pgvrrp, &with_checksum(100, Checksum::Rfc5798))?;
        stage.wait_holder(&[cell()], 0, 3 * SECOND)?;
        stays_with(stage, &speech(50, Form::Wrong))
    });
}

/// Holds and advertises in time while somebody speaks like that.
fn stays_with(stage: &Stage, speech: &Speech) -> Result<()> {
    let since = Time::now();
    let _voice = Speaker::start(&stage.segment, 1, speech, INTERVAL / 2)?;
    std::thread::sleep(2 * SECOND);
    stage.ask(|record| {
        ensure!(record.holders(cell().addresses[0]) == [0], "it has given up its address");
        let sent = |form| {
            let own = record.adverts(cell().id).filter(|(at, place, _)| *at > since && *place == 0);
            own.filter(|(.., advert)| advert.checksum == form).count()
        };
        let sent = sent(Form::PseudoHeader).max(sent(Form::Message));
        ensure!((15..=24).contains(&sent), "{sent} advertisements in 20 intervals");
        Ok(())
    })
}

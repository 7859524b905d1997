//! Every state with every class of event, for ordinary routers and for owners, with and without Preempt_Mode. The test
//! runs over all combinations and fails if one of them has no row in [`TABLE`], or two.
//!
//! The router has priority 100 or 255, address 10.0.20.100 and an interval of one second; what is heard has an interval
//! of half a second.

use std::time::Duration;

use vrrp::router::{Action, Event, Router, State};
use vrrp::wire::advert::Advert;

use super::{GREATER, LOWER, ME, START, advert, after, elected, router, send, settings, started, vrid};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Initialize,
    Backup,
    Active,
    InitializeOwner,
    ActiveOwner,
}

const BEFORE: [Before; 5] =
    [Before::Initialize, Before::Backup, Before::Active, Before::InitializeOwner, Before::ActiveOwner];

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Startup,
    Shutdown,
    /// One nanosecond before it is due.
    TimerEarly,
    TimerDue,
    /// Seven and a half seconds after it was due.
    TimerLate,
    /// Priority 0.
    Goodbye,
    /// Priority 99, from a greater address.
    Lower,
    /// Priority 100, from a smaller address.
    EqualSmaller,
    /// Priority 100, from our own address.
    EqualSame,
    /// Priority 100, from a greater address.
    EqualGreater,
    /// Priority 101, from a smaller address.
    Higher,
    /// Priority 255, from a smaller address.
    OtherOwner,
    /// Priority 255, of virtual router 8.
    Foreign,
    /// Priority 0, of virtual router 8.
    ForeignGoodbye,
}

use When::{
    EqualGreater, EqualSame, EqualSmaller, Foreign, ForeignGoodbye, Goodbye, Higher, Lower, OtherOwner, Shutdown,
    Startup, TimerDue, TimerEarly, TimerLate,
};

const WHEN: [When; 14] = [
    Startup,
    Shutdown,
    TimerEarly,
    TimerDue,
    TimerLate,
    Goodbye,
    Lower,
    EqualSmaller,
    EqualSame,
    EqualGreater,
    Higher,
    OtherOwner,
    Foreign,
    ForeignGoodbye,
];

const ADVERTS: [When; 9] =
    [Goodbye, Lower, EqualSmaller, EqualSame, EqualGreater, Higher, OtherOwner, Foreign, ForeignGoodbye];

#[derive(Clone, Copy, Debug)]
enum Timer {
    None,
    /// As it was before.
    Kept,
    /// Adver_Timer: one second from now.
    BeatFromNow,
    /// Adver_Timer: one second from when it was due.
    BeatFromDue,
    /// Active_Down_Timer: three times one second and the skew, from now.
    DownOfOwn,
    /// Active_Down_Timer: three times the half second that was heard and its skew, from now.
    DownOfHeard,
    /// Active_Down_Timer: the skew of one second, from now.
    Skew,
}

#[derive(Clone, Copy, Debug)]
enum Do {
    Nothing,
    BecomeActive,
    Leave,
    Advertise,
    Yield,
    Conflict,
    ConflictAndAdvertise,
}

struct Row {
    /// Section of RFC 9568, and what it asks for.
    rule: &'static str,
    from: Before,
    /// `None`: whatever Preempt_Mode is.
    preempt: Option<bool>,
    when: &'static [When],
    then: (State, Do, Timer),
}

const fn row(rule: &'static str, from: Before, when: &'static [When], then: (State, Do, Timer)) -> Row {
    Row { rule, from, preempt: None, when, then }
}

const fn if_preempt(preempt: bool, row: Row) -> Row {
    Row { preempt: Some(preempt), ..row }
}

#[rustfmt::skip]
const TABLE: [Row; 34] = {
    use Before::{Active, ActiveOwner, Backup, Initialize, InitializeOwner};
    [
        row("6.4.1: below 255, starting means watching for the Active with one's own interval",
            Initialize, &[Startup], (State::Backup, Do::Nothing, Timer::DownOfOwn)),
        row("6.4.1: nothing but Startup matters", Initialize, &[Shutdown, TimerEarly, TimerDue, TimerLate],
            (State::Initialize, Do::Nothing, Timer::None)),
        row("6.4.1: nothing that is heard matters", Initialize, &ADVERTS, (State::Initialize, Do::Nothing, Timer::None)),

        row("6.4.1: 255 means Active at once: advertise, announce, beat",
            InitializeOwner, &[Startup], (State::Active, Do::BecomeActive, Timer::BeatFromNow)),
        row("6.4.1: nothing but Startup matters", InitializeOwner, &[Shutdown, TimerEarly, TimerDue, TimerLate],
            (State::Initialize, Do::Nothing, Timer::None)),
        row("6.4.1: nothing that is heard matters",
            InitializeOwner, &ADVERTS, (State::Initialize, Do::Nothing, Timer::None)),

        row("6.4.2: Startup is no event of Backup", Backup, &[Startup], (State::Backup, Do::Nothing, Timer::Kept)),
        row("6.4.2: leaving needs no goodbye", Backup, &[Shutdown], (State::Initialize, Do::Nothing, Timer::None)),
        row("6.4.2: the Active_Down_Timer has not fired", Backup, &[TimerEarly],
            (State::Backup, Do::Nothing, Timer::Kept)),
        row("6.4.2: it has: advertise, announce, beat", Backup, &[TimerDue, TimerLate],
            (State::Active, Do::BecomeActive, Timer::BeatFromNow)),
        row("6.4.2: the Active says goodbye: wait for the skew only", Backup, &[Goodbye],
            (State::Backup, Do::Nothing, Timer::Skew)),
        row("6.4.2: priority at least one's own: adopt its interval, begin anew; addresses are not compared",
            Backup, &[EqualSmaller, EqualSame, EqualGreater, Higher, OtherOwner],
            (State::Backup, Do::Nothing, Timer::DownOfHeard)),
        if_preempt(false, row("6.4.2: without Preempt_Mode any Active is good enough", Backup, &[Lower],
            (State::Backup, Do::Nothing, Timer::DownOfHeard))),
        if_preempt(true, row("6.4.2: with Preempt_Mode a lesser one is not heard", Backup, &[Lower],
            (State::Backup, Do::Nothing, Timer::Kept))),
        row("7.1: not a virtual router of ours", Backup, &[Foreign], (State::Backup, Do::Nothing, Timer::Kept)),
        row("7.1: not a virtual router of ours", Backup, &[ForeignGoodbye], (State::Backup, Do::Nothing, Timer::Kept)),

        row("6.4.3: Startup is no event of Active", Active, &[Startup], (State::Active, Do::Nothing, Timer::Kept)),
        row("6.4.3: leaving means priority 0", Active, &[Shutdown], (State::Initialize, Do::Leave, Timer::None)),
        row("6.4.3: the Adver_Timer has not fired", Active, &[TimerEarly], (State::Active, Do::Nothing, Timer::Kept)),
        row("6.4.3: it has: advertise and beat on", Active, &[TimerDue],
            (State::Active, Do::Advertise, Timer::BeatFromDue)),
        row("6.4.3: one advertisement, however many were missed", Active, &[TimerLate],
            (State::Active, Do::Advertise, Timer::BeatFromNow)),
        row("6.4.3: a goodbye is answered, and the beat begins anew", Active, &[Goodbye],
            (State::Active, Do::Advertise, Timer::BeatFromNow)),
        row("6.4.3: a greater priority, or an equal one from a greater address, wins; its interval is adopted",
            Active, &[EqualGreater, Higher, OtherOwner], (State::Backup, Do::Yield, Timer::DownOfHeard)),
        row("6.4.3: a loser is told at once; the Adver_Timer is not touched", Active, &[Lower, EqualSmaller],
            (State::Active, Do::Advertise, Timer::Kept)),
        row("6.4.3 compares with others: one's own echo is nobody", Active, &[EqualSame],
            (State::Active, Do::Nothing, Timer::Kept)),
        row("7.1: not a virtual router of ours", Active, &[Foreign, ForeignGoodbye],
            (State::Active, Do::Nothing, Timer::Kept)),

        row("6.4.3: Startup is no event of Active", ActiveOwner, &[Startup],
            (State::Active, Do::Nothing, Timer::Kept)),
        row("6.4.3: leaving means priority 0", ActiveOwner, &[Shutdown], (State::Initialize, Do::Leave, Timer::None)),
        row("6.4.3: the Adver_Timer has not fired", ActiveOwner, &[TimerEarly],
            (State::Active, Do::Nothing, Timer::Kept)),
        row("6.4.3: it has: advertise and beat on", ActiveOwner, &[TimerDue],
            (State::Active, Do::Advertise, Timer::BeatFromDue)),
        row("6.4.3: one advertisement, or one answer, from now", ActiveOwner, &[TimerLate, Goodbye],
            (State::Active, Do::Advertise, Timer::BeatFromNow)),
        row("6.4.3: a loser is told at once; that it is there is a conflict", ActiveOwner,
            &[Lower, EqualSmaller, EqualSame, EqualGreater, Higher],
            (State::Active, Do::ConflictAndAdvertise, Timer::Kept)),
        row("7.1 with erratum 8298: a second owner is logged; neither yields, and answers would never end",
            ActiveOwner, &[OtherOwner], (State::Active, Do::Conflict, Timer::Kept)),
        row("7.1: not a virtual router of ours", ActiveOwner, &[Foreign, ForeignGoodbye],
            (State::Active, Do::Nothing, Timer::Kept)),
    ]
};

fn in_state(from: Before, preempt: bool) -> Router {
    match from {
        Before::Initialize => router(settings(100, preempt)),
        Before::Backup => started(100, preempt),
        Before::Active => elected(100, preempt),
        Before::InitializeOwner => router(settings(255, preempt)),
        Before::ActiveOwner => started(255, preempt),
    }
}

fn heard(when: When) -> Option<Advert> {
    let (source, priority) = match when {
        Goodbye | ForeignGoodbye => (GREATER, 0),
        Lower => (GREATER, 99),
        EqualSmaller => (LOWER, 100),
        EqualSame => (ME, 100),
        EqualGreater => (GREATER, 100),
        Higher => (LOWER, 101),
        OtherOwner | Foreign => (LOWER, 255),
        Startup | Shutdown | TimerEarly | TimerDue | TimerLate => return None,
    };
    let mut heard = advert(source, priority, 50);
    if matches!(when, Foreign | ForeignGoodbye) {
        heard.vrid = vrid(8);
    }
    Some(heard)
}

// RFC9568: 6.4.1-1+ 6.4.1-1- 6.4.1-2+ 6.4.1-2- 6.4.2-6+ 6.4.2-6- 6.4.2-7+ 6.4.2-7- 6.4.2-8+ 6.4.2-8- 6.4.2-9+ 6.4.2-9-
// RFC9568: 6.4.2-10+ 6.4.2-10- 6.4.3-8+ 6.4.3-8- 6.4.3-9+ 6.4.3-9- 6.4.3-10+ 6.4.3-10- 6.4.3-11+ 6.4.3-11- 6.4.3-12+ 6.4.3-12-
// RFC9568: 7.1-6+ 7.1-6-
#[test]
fn every_state_with_every_event() {
    for from in BEFORE {
        for preempt in [false, true] {
            for when in WHEN {
                let rows: Vec<&Row> = TABLE
                    .iter()
                    .filter(|row| row.from == from && row.when.contains(&when))
                    .filter(|row| row.preempt.is_none_or(|wanted| wanted == preempt))
                    .collect();
                let [row] = rows[..] else { panic!("{} rows for {from:?} {when:?} {preempt}", rows.len()) };
                check(row, preempt, when);
            }
        }
    }
}

fn check(row: &Row, preempt: bool, when: When) {
    let context = format!("{:?}, {when:?}, preempt {preempt}: {}", row.from, row.rule);
    let mut router = in_state(row.from, preempt);
    let before = router.clone();
    let due = router.deadline();
    let own = if matches!(row.from, Before::InitializeOwner | Before::ActiveOwner) { 255 } else { 100 };
    let now = match when {
        TimerEarly => due.unwrap_or(START) - Duration::from_nanos(1),
        TimerDue => due.unwrap_or(START),
        TimerLate => due.unwrap_or(START) + Duration::from_millis(7500),
        _ => after(400),
    };
    let heard = heard(when);
    let event = match (when, &heard) {
        (Startup, _) => Event::Startup,
        (Shutdown, _) => Event::Shutdown,
        (_, Some(heard)) => Event::Advert(heard),
        (_, None) => Event::Timer,
    };

    let actions = router.handle(now, event);

    let (state, what, timer) = row.then;
    assert_eq!(router.state(), state, "{context}");
    let (source, priority) = heard.map_or((ME, 0), |heard| (heard.source, heard.priority));
    let expected = match what {
        Do::Nothing => vec![],
        Do::BecomeActive => vec![Action::BindAddresses, send(own), Action::Announce],
        Do::Leave => vec![Action::UnbindAddresses, send(0)],
        Do::Advertise => vec![send(own)],
        Do::Yield => vec![Action::UnbindAddresses],
        Do::Conflict => vec![Action::Conflict { source, priority }],
        Do::ConflictAndAdvertise => vec![Action::Conflict { source, priority }, send(own)],
    };
    assert_eq!(actions, expected, "{context}");

    // 256 - 100 = 156 parts of 256 of an interval are the skew.
    let skew = |interval: u64| Duration::from_nanos(interval * 156 / 256);
    let (second, half) = (1_000_000_000, 500_000_000);
    let deadline = match timer {
        Timer::None => None,
        Timer::Kept => due,
        Timer::BeatFromNow => Some(now + Duration::from_secs(1)),
        Timer::BeatFromDue => due.map(|due| due + Duration::from_secs(1)),
        Timer::DownOfOwn => Some(now + Duration::from_nanos(3 * second) + skew(second)),
        Timer::DownOfHeard => Some(now + Duration::from_nanos(3 * half) + skew(half)),
        Timer::Skew => Some(now + skew(second)),
    };
    assert_eq!(router.deadline(), deadline, "{context}");
    let interval = if matches!(timer, Timer::DownOfHeard) { 50 } else { 100 };
    assert_eq!(router.active_adver_interval().centis(), interval, "{context}");
    if matches!((what, timer), (Do::Nothing, Timer::Kept)) {
        assert_eq!(router, before, "{context}");
    }
}

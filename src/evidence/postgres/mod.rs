//! PostgreSQL: one session that is kept, asked for its role at the cadence that the node wants, and made anew at once
//! when it ends.
//!
//! What the end of a session means (a postmaster cannot be demoted in place):
//!
//! | seen | reported |
//! |---|---|
//! | an answer | primary or standby |
//! | session ended; refused, no socket, or 57P03 | down |
//! | session ended; the same postmaster answers, be it with 53300 | nothing: only the session was ended |
//! | session ended; nothing decided within 100 ms | down |
//! | no answer in time on a session that did not end | unknown |
//! | alive, but it does not let us ask | unknown, with the reason |

mod bounded;
pub(crate) mod session;
pub mod tls;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use vrrp::time::Instant;

use crate::clock;
use crate::gate::evidence::{Role, RoleReport};
use session::{Ended, Failure, Session, Target};

/// How long after the end of a session "nothing happened" has to be shown.
const DECIDE: Duration = Duration::from_millis(100);

/// Pause between two attempts to connect while that is being decided, and while PostgreSQL is down.
const AGAIN: Duration = Duration::from_millis(5);
const AGAIN_DOWN: Duration = Duration::from_millis(100);

/// What the asker has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach the local server.
    pub connection: tokio_postgres::Config,
    /// Of a connection by TCP, where its `ssl_mode` does not say that there is none.
    pub tls: tls::Settings,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// What the asker has to say.
#[derive(Debug)]
pub enum Report {
    /// The server has ended the session: it may be about to go.
    Parted,
    /// An answer.
    Role(RoleReport),
}

/// What the last session leaves to the next.
#[derive(Debug)]
enum Before {
    /// There was none, or it is long gone.
    Nothing,
    /// The server ended it at this moment; it belonged to this postmaster.
    Ended { at: Instant, postmaster: Option<i32> },
    /// It stopped answering and was given up.
    Stalled,
}

/// Asks for as long as somebody listens. `cadence` is the pause between two questions; a new value, be it the same, asks
/// at once. Other `settings` take another session, between two questions: that this one is over then says nothing, and that the
/// server has ended one is not forgotten.
pub async fn run(
    mut settings: watch::Receiver<Settings>,
    mut cadence: watch::Receiver<Duration>,
    reports: mpsc::Sender<Report>,
) {
    let mut before = Before::Nothing;
    while !reports.is_closed() {
        let Settings { connection, tls, timeout: limit } = settings.borrow_and_update().clone();
        let target = Target::new(connection, tls);
        let asked = clock::now();
        match timeout(attempt_limit(&before, limit), Session::open(&target)).await {
            Ok(Ok((session, ended))) => {
                let same = matches!(&before, Before::Ended { postmaster, .. }
                    if postmaster.is_some() && *postmaster == session.postmaster());
                if !same && let Before::Ended { .. } = before {
                    // Another server than before: that the former one went down was true, be it for a moment.
                    report(&reports, asked, Role::Down, "it was restarted".to_owned(), None).await;
                }
                before = converse(&session, ended, limit, &mut settings, &mut cadence, &reports).await;
                continue;
            }
            Ok(Err(failure)) => before = explain(before, failure, asked, &reports).await,
            Err(_) => before = silence(before, limit, asked, &reports).await,
        }
        let pause = if matches!(before, Before::Ended { .. }) { AGAIN } else { AGAIN_DOWN };
        tokio::select! {
            () = sleep(pause) => {}
            _ = cadence.changed() => {}
        }
    }
}

/// Whether a server lets us in by these settings, and its system identifier, as far as it says it.
///
/// # Errors
/// Why there is no session.
pub(crate) async fn try_out(settings: Settings) -> Result<Option<String>, String> {
    let target = Target::new(settings.connection, settings.tls);
    match timeout(settings.timeout, Session::open(&target)).await {
        Ok(Ok((session, _))) => Ok(session.system_identifier.clone()),
        Ok(Err(Failure::Down(detail) | Failure::Alive { detail, .. })) => Err(detail),
        Err(_) => Err(format!("no connection within {:?}", settings.timeout)),
    }
}

/// While it is being decided what an end meant, an attempt may not take longer than the decision.
fn attempt_limit(before: &Before, limit: Duration) -> Duration {
    match before {
        Before::Ended { at, .. } => (*at + DECIDE).since(clock::now()).max(Duration::from_millis(1)).min(limit),
        Before::Nothing | Before::Stalled => limit,
    }
}

/// An attempt to connect was refused in words or by the kernel.
async fn explain(before: Before, failure: Failure, asked: Instant, reports: &mpsc::Sender<Report>) -> Before {
    match failure {
        Failure::Down(detail) => {
            report(reports, asked, Role::Down, detail, None).await;
            Before::Nothing
        }
        Failure::Alive { detail, postmaster } => {
            let undecided = match &before {
                Before::Ended { at, postmaster: former } => {
                    (former.is_none() || *former != postmaster).then_some(*at + DECIDE)
                }
                Before::Nothing | Before::Stalled => None,
            };
            match undecided {
                Some(until) if clock::now() < until => before,
                Some(_) => {
                    report(
                        reports,
                        asked,
                        Role::Down,
                        format!("the session was ended, and since then: {detail}"),
                        None,
                    )
                    .await;
                    Before::Nothing
                }
                None => {
                    report(reports, asked, Role::Unknown, detail, None).await;
                    Before::Nothing
                }
            }
        }
    }
}

/// An attempt to connect got no answer in time.
async fn silence(before: Before, limit: Duration, asked: Instant, reports: &mpsc::Sender<Report>) -> Before {
    match before {
        Before::Ended { at, .. } => {
            if clock::now() < at + DECIDE {
                return before;
            }
            let detail = format!("the session was ended, and nothing answered within {DECIDE:?}");
            report(reports, asked, Role::Down, detail, None).await;
            Before::Nothing
        }
        Before::Nothing | Before::Stalled => {
            report(reports, asked, Role::Unknown, format!("no connection within {limit:?}"), None).await;
            Before::Stalled
        }
    }
}

/// Asks until the session ends or stops answering, or another one is wanted.
async fn converse(
    session: &Session,
    mut ended: Ended,
    limit: Duration,
    settings: &mut watch::Receiver<Settings>,
    cadence: &mut watch::Receiver<Duration>,
    reports: &mpsc::Sender<Report>,
) -> Before {
    loop {
        let every = *cadence.borrow_and_update();
        let asked = clock::now();
        let answer = tokio::select! {
            answer = timeout(limit, session.ask()) => answer,
            detail = ended.wait() => Ok(Err(detail)),
        };
        match answer {
            Ok(Ok(in_recovery)) => {
                let role = if in_recovery { Role::Standby } else { Role::Primary };
                let detail = if in_recovery { "in recovery" } else { "accepts writes" };
                report(reports, asked, role, detail.to_owned(), session.system_identifier.clone()).await;
            }
            Ok(Err(_)) => return parted(session, reports).await,
            Err(_) => {
                report(reports, asked, Role::Unknown, format!("no answer within {limit:?}"), None).await;
                return Before::Stalled;
            }
        }
        let pause = every.saturating_sub(clock::now().since(asked));
        tokio::select! {
            // The server's end of it counts, whatever else there is.
            biased;
            _ = ended.wait() => return parted(session, reports).await,
            Ok(()) = settings.changed() => return Before::Nothing,
            changed = cadence.changed() => {
                if changed.is_err() {
                    return Before::Nothing;
                }
            }
            () = sleep(pause) => {}
        }
    }
}

/// The server has ended the session. What that means is found out next; that it may be the end is told at once.
async fn parted(session: &Session, reports: &mpsc::Sender<Report>) -> Before {
    let _ = reports.send(Report::Parted).await;
    Before::Ended { at: clock::now(), postmaster: session.postmaster() }
}

async fn report(
    reports: &mpsc::Sender<Report>,
    asked: Instant,
    role: Role,
    detail: String,
    system_identifier: Option<String>,
) {
    // A closed channel ends the loop above.
    let _ = reports.send(Report::Role(RoleReport { asked, role, system_identifier, detail })).await;
}

//! What Patroni's times mean for the VIP, in seconds.

use std::time::Duration;

use pgvrrp_config::Cluster;
use vrrp::time::Instant;

use super::areas::PATRONI as AREA;
use super::keys::Read;
use super::report::Finding;
use crate::evidence::etcd::parse::patroni_config;
use crate::gate::deadline::{deadline, leave_by, lock_ttl};
use crate::gate::evidence::PatroniConfig;
use crate::gate::policy::{Failsafe, Fence, Paused, Policy};
use crate::settings::policy_settings;

pub(super) fn judge(config: &Cluster, read: &Read) -> Vec<Finding> {
    let policy = policy_settings(config);
    match read {
        Ok(Some(value)) => match patroni_config(value) {
            Some(patroni) => {
                let figures = Times::of(&patroni, &policy);
                let findings = [
                    Some(times(&patroni, &figures)),
                    hiccup(figures.stays, patroni.retry_timeout),
                    failsafe(&patroni, &policy),
                    pause(&patroni, &policy),
                ];
                findings.into_iter().flatten().collect()
            }
            None => {
                let text = "Patroni times: its configuration in etcd is no JSON object; its defaults are assumed";
                vec![Finding::warning(AREA, text, "`patronictl edit-config`")]
            }
        },
        Ok(None) => {
            let text = "Patroni times: there is no configuration in etcd; Patroni's defaults are assumed";
            vec![Finding::warning(
                AREA,
                text,
                "start Patroni, or correct `namespace`, `scope` and, with Citus, `group` under [patroni]",
            )]
        }
        // Told already, with the rights or with etcd itself.
        Err(_) => Vec::new(),
    }
}

/// What follows for a VIP from Patroni's times.
struct Times {
    /// For how long at least the leader key of a dead host lives, in seconds.
    first: u64,
    /// The TTL of the lock, and what it would be without Patroni's failsafe mode; `None` if there is no lock.
    lock: Option<(u64, u64)>,
    /// How long the VIP stays with etcd silent, at least.
    stays: Duration,
}

impl Times {
    fn of(patroni: &PatroniConfig, policy: &Policy) -> Self {
        let first = patroni.ttl.saturating_sub(patroni.loop_wait).as_secs();
        let lock = (policy.fence == Fence::Lock)
            .then(|| (lock_ttl(patroni, policy.failsafe), lock_ttl(patroni, Failsafe::Drop)));
        // The lock is renewed every second, the leader key once per loop_wait.
        let silence = Instant::ZERO + Duration::from_secs(3600);
        let stays = leave_by(deadline(silence, lock.map_or(first, |(lock, _)| lock))).since(silence);
        Self { first, lock, stays }
    }
}

fn times(patroni: &PatroniConfig, figures: &Times) -> Finding {
    let [ttl, loop_wait, retry_timeout] = [patroni.ttl, patroni.loop_wait, patroni.retry_timeout].map(|t| t.as_secs());
    let Times { first, lock, stays } = figures;
    let named = format!("Patroni times: ttl {ttl}, loop_wait {loop_wait}, retry_timeout {retry_timeout}");
    let dead = format!("if the primary's host dies, its leader key ends {first} to {ttl} s later");
    let stays = format!("with etcd silent the VIP stays {:.1} s", stays.as_secs_f64());
    match lock {
        None => Finding::ok(
            AREA,
            format!("{named}: {dead}; with fence = \"leader-key\" there is no lock to wait for; {stays} or longer"),
        ),
        Some((lock, without_failsafe)) => match late(*lock, *without_failsafe, *first) {
            None => {
                Finding::ok(AREA, format!("{named}: the lock lives {lock} s; {dead}, when the lock is gone; {stays}"))
            }
            Some((more, fix)) => {
                let wait = format!("the VIP may wait up to {more} s more for the lock");
                Finding::warning(AREA, format!("{named}: the lock lives {lock} s; {dead}, and {wait}; {stays}"), fix)
            }
        },
    }
}

/// By how much the lock can outlive the leader key of a dead host, and what makes it shorter.
fn late(lock: u64, without_failsafe: u64, first: u64) -> Option<(u64, &'static str)> {
    let fix = if without_failsafe > first {
        "a smaller loop_wait, or a larger ttl, by `patronictl edit-config`"
    } else {
        "loop_wait: 5 and retry_timeout: 5 by `patronictl edit-config`, or failsafe = \"drop\" under [policy]"
    };
    (lock > first).then(|| (lock - first, fix))
}

/// Patroni keeps its primary through a silence of `retry_timeout`, and so should the VIP be kept.
fn hiccup(stays: Duration, retry_timeout: Duration) -> Option<Finding> {
    if stays >= retry_timeout {
        return None;
    }
    let text = format!(
        "Patroni times: with etcd silent the VIP stays {:.1} s, and Patroni's primary {} s at least (retry_timeout): a \
         hiccup that Patroni survives would take the VIP away",
        stays.as_secs_f64(),
        retry_timeout.as_secs()
    );
    Some(Finding::warning(AREA, text, "a smaller loop_wait, or a larger ttl, by `patronictl edit-config`"))
}

fn failsafe(patroni: &PatroniConfig, policy: &Policy) -> Option<Finding> {
    let text = match (patroni.failsafe_mode, policy.failsafe) {
        (false, Failsafe::Auto) => {
            "Patroni failsafe mode: off: without etcd the primary is demoted, and the VIP leaves (failsafe = \"auto\" has no effect)"
        }
        (false, Failsafe::Drop) => return None,
        (true, Failsafe::Auto) => {
            "Patroni failsafe mode: on: without etcd the VIP stays while this node's Patroni says that it stays primary"
        }
        (true, Failsafe::Drop) => {
            "Patroni failsafe mode: on, but failsafe = \"drop\": without etcd Patroni's primary may stay and the VIP leaves all the same"
        }
    };
    Some(Finding::note(AREA, text))
}

fn pause(patroni: &PatroniConfig, policy: &Policy) -> Option<Finding> {
    if !patroni.paused {
        return None;
    }
    let text = match (policy.paused, policy.fence) {
        (Paused::Hold, Fence::Lock) => {
            "Patroni is paused: it fails over by itself to nobody; should the leader key expire, the VIP stays while pgvrrp's lock lasts"
        }
        _ => "Patroni is paused: it fails over by itself to nobody; should the leader key expire, the VIP leaves",
    };
    Some(Finding::note(AREA, format!("{text}. `patronictl resume` ends it")))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn patroni(ttl: u64, loop_wait: u64, retry_timeout: u64, failsafe_mode: bool) -> PatroniConfig {
        PatroniConfig {
            ttl: Duration::from_secs(ttl),
            loop_wait: Duration::from_secs(loop_wait),
            retry_timeout: Duration::from_secs(retry_timeout),
            paused: false,
            failsafe_mode,
            standby_cluster: false,
        }
    }

    fn told(patroni: &PatroniConfig, policy: &Policy) -> Finding {
        times(patroni, &Times::of(patroni, policy))
    }

    #[test]
    fn the_numbers_of_the_readme() {
        let finding = told(&patroni(20, 1, 3, false), &Policy::default());
        assert_eq!(finding.level, Level::Ok);
        assert_eq!(
            finding.text,
            "Patroni times: ttl 20, loop_wait 1, retry_timeout 3: the lock lives 17 s; if the primary's host dies, its \
             leader key ends 19 to 20 s later, when the lock is gone; with etcd silent the VIP stays 11.3 s"
        );
        let finding = told(&patroni(30, 10, 10, false), &Policy::default());
        assert!(finding.text.contains("lock lives 18 s") && finding.text.contains("stays 12.2 s"), "{}", finding.text);
    }

    #[test]
    fn a_lock_that_outlives_the_leader_key() {
        let finding = told(&patroni(30, 10, 10, true), &Policy::default());
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.text.contains("up to 10 s more"), "{}", finding.text);
        assert!(finding.fix.unwrap().contains("loop_wait: 5"));
        let drop = Policy { failsafe: Failsafe::Drop, ..Policy::default() };
        assert_eq!(told(&patroni(30, 10, 10, true), &drop).level, Level::Ok);
        assert_eq!(told(&patroni(60, 5, 5, true), &Policy::default()).level, Level::Ok);
        assert_eq!(told(&patroni(30, 1, 14, false), &Policy::default()).level, Level::Ok);
    }

    #[test]
    fn what_makes_a_long_lock_shorter() {
        assert_eq!(late(18, 18, 20), None);
        assert_eq!(late(20, 20, 20), None);
        let (more, fix) = late(30, 18, 20).unwrap();
        assert!(more == 10 && fix.contains("failsafe"), "{fix}");
        // Where the failsafe mode is not why, its setting is no help.
        let (more, fix) = late(12, 12, 10).unwrap();
        assert!(more == 2 && fix.contains("larger ttl") && !fix.contains("failsafe"), "{fix}");
    }

    #[test]
    fn a_silence_that_patroni_survives() {
        let [short, long] = [3200, 5000].map(Duration::from_millis);
        let finding = hiccup(short, long).unwrap();
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.text.contains("stays 3.2 s") && finding.text.contains("primary 5 s"), "{}", finding.text);
        assert_eq!(hiccup(long, long), None);
        assert_eq!(hiccup(long, short), None);
        let leader_key = Policy { fence: Fence::LeaderKey, ..Policy::default() };
        for (patroni, is_told) in [(patroni(30, 10, 10, false), false), (patroni(20, 14, 3, false), true)] {
            let figures = Times::of(&patroni, &leader_key);
            assert_eq!(hiccup(figures.stays, patroni.retry_timeout).is_some(), is_told, "{patroni:?}");
        }
    }

    #[test]
    fn without_a_lock_nothing_waits_for_it() {
        let policy = Policy { fence: Fence::LeaderKey, ..Policy::default() };
        let finding = told(&patroni(30, 10, 10, true), &policy);
        assert!(finding.level == Level::Ok && finding.text.contains("no lock"), "{finding:?}");
    }

    #[test]
    fn a_pause_is_told() {
        let patroni = PatroniConfig { paused: true, ..PatroniConfig::DEFAULT };
        assert!(pause(&patroni, &Policy::default()).unwrap().text.contains("VIP stays"));
        let release = Policy { paused: Paused::Release, ..Policy::default() };
        assert!(pause(&patroni, &release).unwrap().text.contains("VIP leaves"));
        assert_eq!(pause(&PatroniConfig::DEFAULT, &Policy::default()), None);
    }
}

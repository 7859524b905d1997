//! What Patroni's times mean for the VIP, in seconds.

use std::time::Duration;

use pgvrrp_config::Config;
use vrrp::time::Instant;

use super::areas::PATRONI as AREA;
use super::keys::Read;
use super::report::Finding;
use crate::daemon::policy_settings;
use crate::evidence::etcd::parse::patroni_config;
use crate::gate::deadline::{deadline, leave_by, lock_ttl};
use crate::gate::evidence::PatroniConfig;
use crate::gate::policy::{Failsafe, Fence, Paused, Policy};

pub(super) fn judge(config: &Config, read: &Read) -> Vec<Finding> {
    let policy = policy_settings(config);
    match read {
        Ok(Some(value)) => match patroni_config(value) {
            Some(patroni) => {
                let findings = [Some(times(&patroni, &policy)), failsafe(&patroni, &policy), pause(&patroni, &policy)];
                findings.into_iter().flatten().collect()
            }
            None => {
                let text = "Patroni times: its configuration in etcd is no JSON object; its defaults are assumed";
                vec![Finding::warning(AREA, text, "`patronictl edit-config`")]
            }
        },
        Ok(None) => {
            let text = "Patroni times: there is no configuration in etcd; Patroni's defaults are assumed";
            vec![Finding::warning(AREA, text, "start Patroni, or correct `namespace` and `scope` under [patroni]")]
        }
        // Told already, with the rights or with etcd itself.
        Err(_) => Vec::new(),
    }
}

fn times(patroni: &PatroniConfig, policy: &Policy) -> Finding {
    let [ttl, loop_wait, retry_timeout] = [patroni.ttl, patroni.loop_wait, patroni.retry_timeout].map(|t| t.as_secs());
    let first = ttl.saturating_sub(loop_wait);
    let named = format!("Patroni times: ttl {ttl}, loop_wait {loop_wait}, retry_timeout {retry_timeout}");
    let dead = format!("if the primary's host dies, its leader key ends {first} to {ttl} s later");
    if policy.fence == Fence::LeaderKey {
        return Finding::ok(AREA, format!("{named}: {dead}; with fence = \"leader-key\" there is no lock to wait for"));
    }
    let lock = lock_ttl(patroni, policy.failsafe);
    let silence = Instant::ZERO + Duration::from_secs(3600);
    let stays = leave_by(deadline(silence, lock)).since(silence);
    let stays = format!("with etcd silent the VIP stays {:.1} s", stays.as_secs_f64());
    if lock <= first {
        return Finding::ok(AREA, format!("{named}: the lock lives {lock} s; {dead}, when the lock is gone; {stays}"));
    }
    let text = format!(
        "{named}: the lock lives {lock} s; {dead}, and the VIP may wait up to {} s more for the lock; {stays}",
        lock - first
    );
    // Only the failsafe mode makes a lock that long: Patroni keeps loop_wait + 2 * retry_timeout within ttl.
    let fix = "loop_wait: 5 and retry_timeout: 5 by `patronictl edit-config`, or failsafe = \"drop\" under [policy]";
    Finding::warning(AREA, text, fix)
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

    #[test]
    fn the_numbers_of_the_readme() {
        let finding = times(&patroni(20, 1, 3, false), &Policy::default());
        assert_eq!(finding.level, Level::Ok);
        assert_eq!(
            finding.text,
            "Patroni times: ttl 20, loop_wait 1, retry_timeout 3: the lock lives 17 s; if the primary's host dies, its \
             leader key ends 19 to 20 s later, when the lock is gone; with etcd silent the VIP stays 11.3 s"
        );
        let finding = times(&patroni(30, 10, 10, false), &Policy::default());
        assert!(finding.text.contains("lock lives 18 s") && finding.text.contains("stays 12.2 s"), "{}", finding.text);
    }

    #[test]
    fn a_lock_that_outlives_the_leader_key() {
        let finding = times(&patroni(30, 10, 10, true), &Policy::default());
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.text.contains("up to 10 s more"), "{}", finding.text);
        assert!(finding.fix.unwrap().contains("loop_wait: 5"));
        let drop = Policy { failsafe: Failsafe::Drop, ..Policy::default() };
        assert_eq!(times(&patroni(30, 10, 10, true), &drop).level, Level::Ok);
        assert_eq!(times(&patroni(60, 5, 5, true), &Policy::default()).level, Level::Ok);
        assert_eq!(times(&patroni(30, 20, 5, false), &Policy::default()).level, Level::Ok);
        assert_eq!(times(&patroni(30, 1, 14, false), &Policy::default()).level, Level::Ok);
    }

    #[test]
    fn without_a_lock_nothing_waits_for_it() {
        let policy = Policy { fence: Fence::LeaderKey, ..Policy::default() };
        let finding = times(&patroni(30, 10, 10, true), &policy);
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

//! The arithmetic of time: how long a proof lasts, how long the kernel may keep the address, how late a call may come.

use std::num::NonZeroU32;
use std::time::Duration;

use vrrp::time::Instant;

use super::evidence::PatroniConfig;
use super::guard::{Guard, stands};
use super::policy::Failsafe;

/// Kept back from D, and again between the end of the address's lifetime and D. The kernel looks at lifetimes at most
/// once a second, so an address may outlive its own by 1.0 s.
const MARGIN: Duration = Duration::from_millis(1500);

/// The longest lifetime that the kernel is given, in seconds. With the kernel's second of lateness, a node whose daemon
/// died has lost the address after 4 s.
const LONGEST_LIFETIME: u64 = 3;

/// The same for an address that no deadline limits.
pub const LIFETIME: NonZeroU32 = NonZeroU32::new(LONGEST_LIFETIME as u32).unwrap();

/// How long K may be trusted, from a read that shows it under another lease than the one that was asked about. Patroni has
/// granted that lease a moment before, for at least 15 s; the next round asks about it at once.
pub const NEW_LEASE: Duration = Duration::from_secs(5);

/// How long after the decision a bind, a renewal or an announcement may still be carried out.
///
/// [`lifetime`] leaves 1.5 s between the end of the lifetime and D, of which the kernel may need 1.0 s; a call that is
/// 0.1 s late uses a fifth of the rest.
const SLACK: Duration = Duration::from_millis(100);

/// A pass of the loop that comes later than this after the one before follows a stall: the process was stopped, or the
/// machine was.
pub const STALL: Duration = Duration::from_secs(2);

/// PostgreSQL's answer to a question that was asked longer ago than this binds nothing: what it was then, it may not be any more.
pub const RECENT: Duration = STALL;

/// D: until when V cannot have expired in etcd, given that its keepalive was sent at `asked` and granted `ttl` seconds.
///
/// The lease's time runs from etcd's handling of the keepalive, which is later than `asked`. Nine tenths of it have
/// passed on a clock that is up to 10 % slow when all of it has passed on a true one.
pub fn deadline(asked: Instant, ttl: u64) -> Instant {
    let tenths = if stands(Guard::ClockRate) { 9 } else { 10 };
    let reserve = if stands(Guard::Reserve) { MARGIN } else { Duration::ZERO };
    // A TTL that no etcd grants is still what this one said.
    asked + Duration::from_secs(ttl).saturating_mul(tenths) / 10 - reserve
}

/// The lifetime to give the address now, or `None` if it has to go: `min(3, floor(D - now - 1.5 s))`, at least 1.
pub fn lifetime(now: Instant, deadline: Instant) -> Option<NonZeroU32> {
    let margin = if stands(Guard::LifetimeMargin) { MARGIN } else { Duration::ZERO };
    let whole = deadline.since(now).saturating_sub(margin).as_secs().min(LONGEST_LIFETIME);
    u32::try_from(whole).ok().and_then(NonZeroU32::new)
}

/// The first moment at which [`lifetime`] is `None`.
pub fn leave_by(deadline: Instant) -> Instant {
    deadline - MARGIN - Duration::from_secs(1)
}

/// The last moment at which an output that was decided now may be carried out.
pub fn not_after(now: Instant) -> Instant {
    now + SLACK
}

/// The TTL to ask for V's lease, in seconds.
///
/// Patroni renews K once per `loop_wait`, so K outlives a dead host by at least `ttl - loop_wait`: V is gone two seconds
/// before that, and the next primary need not wait for it. Never so short that a hiccup which Patroni survives
/// (`retry_timeout`, and the second since the last round) moves the VIP, even if the next primary has to wait then.
///
/// Where the VIP is to be held through Patroni's failsafe mode, D may not come before that can have become active:
/// after the rest of a cycle, the retries, and two attempts of 2 s to reach the members. With 30/10/10 there is no such
/// TTL below Patroni's own, which it then is; after the death of a host the next primary may have to wait for it.
pub fn lock_ttl(config: &PatroniConfig, failsafe: Failsafe) -> u64 {
    let [ttl, loop_wait, retry_timeout] = [config.ttl, config.loop_wait, config.retry_timeout].map(|t| t.as_secs());
    let before_k = ttl.saturating_sub(loop_wait).saturating_sub(2);
    let least = before_k.max(outlasting(retry_timeout.saturating_add(1)));
    if config.failsafe_mode && failsafe == Failsafe::Auto {
        let until_active = loop_wait.saturating_add(retry_timeout).saturating_add(2 * 2);
        // One second to ask Patroni.
        least.max(outlasting(until_active.saturating_add(1)).min(ttl))
    } else {
        least
    }
}

/// The TTL with which the address stays for so many seconds after the last proof: it leaves 4 s before nine tenths of the
/// TTL are over.
fn outlasting(seconds: u64) -> u64 {
    seconds.saturating_add(4).saturating_mul(10).div_ceil(9)
}

/// How long to acquire nothing after etcd turned out to be another one: until a peer that still trusts the former one, and
/// whose lock had this TTL in seconds, has reached its D, even if its clock is slow.
pub fn quarantine(ttl: u64) -> Duration {
    Duration::from_secs(ttl).saturating_mul(5) / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_nanos((seconds * 1e9) as u64)
    }

    fn config(ttl: u64, loop_wait: u64, retry_timeout: u64) -> PatroniConfig {
        PatroniConfig {
            ttl: Duration::from_secs(ttl),
            loop_wait: Duration::from_secs(loop_wait),
            retry_timeout: Duration::from_secs(retry_timeout),
            ..PatroniConfig::DEFAULT
        }
    }

    #[test]
    fn ttl_of_the_lock_follows_patroni() {
        assert_eq!(lock_ttl(&config(30, 10, 10), Failsafe::Auto), 18);
        assert_eq!(lock_ttl(&config(20, 1, 3), Failsafe::Auto), 17);
    }

    /// A hiccup that Patroni survives must not move the VIP, whatever its times are.
    #[test]
    fn ttl_of_the_lock_outlasts_patronis_retries() {
        for [ttl, loop_wait, retry_timeout] in
            [[20, 1, 3], [30, 10, 10], [20, 10, 5], [30, 20, 5], [20, 2, 9], [60, 36, 12], [120, 10, 55]]
        {
            let lock = lock_ttl(&config(ttl, loop_wait, retry_timeout), Failsafe::Drop);
            let last_proof = at(100.0);
            let outage = last_proof + Duration::from_secs(1);
            assert!(leave_by(deadline(last_proof, lock)) >= outage + Duration::from_secs(retry_timeout));
            assert!(lock <= ttl, "{lock} is longer than Patroni's own {ttl}");
        }
    }

    /// The address must not leave while Patroni is still on its way into its failsafe mode.
    #[test]
    fn ttl_of_the_lock_leaves_time_for_the_failsafe_mode() {
        let ttl = |times: [u64; 3], failsafe| {
            let config = PatroniConfig { failsafe_mode: true, ..config(times[0], times[1], times[2]) };
            lock_ttl(&config, failsafe)
        };
        assert_eq!(ttl([20, 1, 3], Failsafe::Auto), 17);
        assert_eq!(ttl([30, 10, 10], Failsafe::Auto), 30);
        assert_eq!(ttl([30, 10, 10], Failsafe::Drop), 18);
        assert_eq!(ttl([60, 10, 10], Failsafe::Auto), 48);
        let left = leave_by(deadline(at(100.0), ttl([30, 10, 10], Failsafe::Auto)));
        assert_eq!(left, at(123.0), "a cycle of 10 s, retries of 10 s, and 3 s");
    }

    #[test]
    fn the_table_of_timings_is_true() {
        let page = include_str!("../../docs/TIMINGS.md");
        let rows = page.lines().filter(|line| line.starts_with('|') && line.contains('/') && line.contains(" to "));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
        assert_eq!(rows.len(), 5);
        for row in rows {
            let times = row[0].split(' ').next().unwrap().split('/').map(|time| time.parse().unwrap());
            let [ttl, loop_wait, retry_timeout] = times.collect::<Vec<u64>>()[..] else { panic!("{row:?}") };
            let lock = lock_ttl(&config(ttl, loop_wait, retry_timeout), Failsafe::Auto);
            let stays = leave_by(deadline(at(100.0), lock)).since(at(100.0)).as_secs_f64();
            assert_eq!(row[1..3], [lock.to_string(), format!("{stays:.1}")], "{row:?}");
            assert_eq!(row[3], format!("{} to {}.5", ttl - loop_wait, ttl), "{row:?}");
        }
    }

    #[test]
    fn deadline_counts_from_the_question() {
        assert_eq!(deadline(at(100.0), 18), at(100.0 + 16.2 - 1.5));
    }

    #[test]
    fn lifetime_shrinks_towards_the_deadline() {
        let d = at(50.0);
        for (now, expected) in [(10.0, 3), (45.5, 3), (45.6, 2), (46.5, 2), (46.6, 1), (47.5, 1)] {
            assert_eq!(lifetime(at(now), d).map(NonZeroU32::get), Some(expected), "at {now}");
        }
        assert_eq!(lifetime(at(47.6), d), None);
        assert_eq!(lifetime(at(60.0), d), None);
        assert_eq!(leave_by(d), at(47.5));
    }

    /// The dead-man switch's own argument: whenever a call goes out in time, the kernel has removed the address before
    /// D, its second of lateness included.
    #[test]
    fn the_kernel_is_done_before_the_deadline() {
        let d = at(50.0);
        for tenth in 0..600 {
            let now = at(f64::from(tenth) / 10.0);
            if let Some(lifetime) = lifetime(now, d) {
                let latest_call = not_after(now);
                assert!(latest_call + Duration::from_secs(u64::from(lifetime.get()) + 1) < d, "at {now}");
            }
        }
    }
}

//! The value of a key in etcd: what it means as each of the keys that are read.

use pgvrrp::evidence::etcd::parse::{lock_holder, member_host, patroni_config};
use pgvrrp::gate::deadline::{deadline, leave_by, lock_ttl, quarantine};
use pgvrrp::gate::evidence::LockHolder;
use pgvrrp::gate::policy::Failsafe;
use vrrp::time::Instant;

pub fn run(bytes: &[u8]) {
    if let Some(config) = patroni_config(bytes) {
        let [ttl, loop_wait, retry_timeout] = [config.ttl, config.loop_wait, config.retry_timeout].map(|t| t.as_secs());
        assert!((20..=86_400).contains(&ttl) && loop_wait >= 1 && retry_timeout >= 3, "{config:?}");
        assert!(loop_wait + 2 * retry_timeout <= ttl, "{config:?}");
        for failsafe in [Failsafe::Auto, Failsafe::Drop] {
            let lock = lock_ttl(&config, failsafe);
            let _ = quarantine(lock);
            assert!(leave_by(deadline(Instant::from_millis(60_000), lock)) > Instant::from_millis(60_000));
        }
    }
    match lock_holder(bytes) {
        LockHolder::Known(value) => {
            let again = serde_json::to_vec(&value).expect("it was JSON");
            assert_eq!(lock_holder(&again), LockHolder::Known(value));
        }
        LockHolder::Unknown(text) => {
            assert!(text.chars().count() <= 80 && !text.contains(char::is_control), "{text:?}");
        }
    }
    if let Some(host) = member_host(bytes) {
        assert!(!host.is_empty() && !host.contains('/'), "{host:?}");
    }
}

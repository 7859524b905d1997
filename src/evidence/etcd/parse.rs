//! What the values mean. They are outside bytes: whatever they are, there is an answer and no panic.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;

use crate::gate::evidence::{LockHolder, LockValue, Member, PatroniConfig};

/// Longest part of an unreadable value that is kept for people.
const SHOWN: usize = 80;

/// No time of Patroni's is longer than a day, in seconds: whatever the key says, it can be reckoned with.
const LONGEST: u64 = 86_400;

/// How long a name may take to resolve within a round.
const RESOLVE: Duration = Duration::from_millis(500);

/// Patroni's `config` key, with the adjustments that Patroni itself makes: `ttl` at least 20, `loop_wait` at least 1,
/// `retry_timeout` at least 3, and `loop_wait + 2 * retry_timeout <= ttl` (`_validate_and_adjust_timeouts`). `None` if
/// it is no JSON object.
pub fn patroni_config(value: &[u8]) -> Option<PatroniConfig> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let object = value.as_object()?;
    let seconds = |key: &str, default: Duration, least: u64| {
        let number = match object.get(key) {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        number.unwrap_or(default.as_secs()).clamp(least, LONGEST)
    };
    let defaults = PatroniConfig::DEFAULT;
    let ttl = seconds("ttl", defaults.ttl, 20);
    let mut loop_wait = seconds("loop_wait", defaults.loop_wait, 1);
    let mut retry_timeout = seconds("retry_timeout", defaults.retry_timeout, 3);
    if retry_timeout.saturating_mul(2).saturating_add(1) > ttl {
        loop_wait = 1;
        retry_timeout = (ttl - 1) / 2;
    } else if retry_timeout.saturating_mul(2).saturating_add(loop_wait) > ttl {
        loop_wait = ttl - 2 * retry_timeout;
    }
    Some(PatroniConfig {
        ttl: Duration::from_secs(ttl),
        loop_wait: Duration::from_secs(loop_wait),
        retry_timeout: Duration::from_secs(retry_timeout),
        paused: is_true(object.get("pause")),
        failsafe_mode: is_true(object.get("failsafe_mode")),
        standby_cluster: object.get("standby_cluster").is_some_and(is_standby_cluster),
    })
}

/// Patroni's `initialize` key: empty while the cluster is being made.
pub(super) fn system_identifier(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// As Patroni sees it: one of these has to be said.
fn is_standby_cluster(value: &Value) -> bool {
    ["host", "port", "restore_command"].iter().any(|key| value.get(key).is_some_and(|said| !said.is_null()))
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => matches!(text.as_str(), "true" | "on" | "yes" | "1"),
        _ => false,
    }
}

/// The value of V. Anything that is not format 1 is a holder like any other.
pub fn lock_holder(value: &[u8]) -> LockHolder {
    match serde_json::from_slice::<LockValue>(value) {
        Ok(value) if value.format == LockValue::FORMAT => LockHolder::Known(value),
        _ => {
            let text = String::from_utf8_lossy(value);
            LockHolder::Unknown(text.chars().filter(|c| !c.is_control()).take(SHOWN).collect())
        }
    }
}

/// The host part of `conn_url` in a member key; `None` if there is none.
pub fn member_host(value: &[u8]) -> Option<String> {
    let url = text_of(value, "conn_url")?;
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host_port = authority.rsplit('@').next()?;
    let host = match host_port.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => host_port.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn text_of(value: &[u8], key: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(value).ok()?;
    Some(value.get(key)?.as_str()?.to_owned())
}

/// Turns names into addresses, and keeps what a name meant for the time when DNS is down.
#[derive(Debug, Default)]
pub struct Resolver(Mutex<HashMap<String, Vec<IpAddr>>>);

impl Resolver {
    /// What this node's member key points to.
    pub async fn member(&self, value: &[u8]) -> Member {
        let api_url = text_of(value, "api_url");
        let Some(host) = member_host(value) else {
            let host = String::from_utf8_lossy(value).chars().take(SHOWN).collect();
            return Member { host, addresses: Vec::new(), api_url };
        };
        if let Ok(address) = host.parse() {
            return Member { host, addresses: vec![address], api_url };
        }
        let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host.clone(), 0))).await;
        let mut known = self.0.lock().await;
        if let Ok(Ok(found)) = found {
            known.insert(host.clone(), found.map(|address| address.ip()).collect());
        }
        let addresses = known.get(&host).cloned().unwrap_or_default();
        Member { host, addresses, api_url }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(config: &str) -> (u64, u64, u64) {
        let config = patroni_config(config.as_bytes()).unwrap();
        (config.ttl.as_secs(), config.loop_wait.as_secs(), config.retry_timeout.as_secs())
    }

    #[test]
    fn times_are_adjusted_as_patroni_adjusts_them() {
        assert_eq!(times("{}"), (30, 10, 10));
        assert_eq!(times(r#"{"ttl":20,"loop_wait":1,"retry_timeout":3}"#), (20, 1, 3));
        assert_eq!(times(r#"{"ttl":5,"loop_wait":0,"retry_timeout":1}"#), (20, 1, 3));
        // 10 + 2 * 10 does not fit into 20: the retry timeout stays as long as 1 + 2 * it fits.
        assert_eq!(times(r#"{"ttl":20,"loop_wait":10,"retry_timeout":9}"#), (20, 2, 9));
        assert_eq!(times(r#"{"ttl":20,"loop_wait":10,"retry_timeout":10}"#), (20, 1, 9));
        assert_eq!(times(r#"{"ttl":"40","loop_wait":null,"retry_timeout":"10"}"#), (40, 10, 10));
        assert_eq!(times(r#"{"retry_timeout":18446744073709551615}"#), (30, 1, 14));
        assert_eq!(times(r#"{"ttl":18446744073709551615}"#), (86_400, 10, 10));
    }

    #[test]
    fn pause_and_failsafe_are_read_as_patroni_reads_them() {
        let config = patroni_config(br#"{"pause": true, "failsafe_mode": "on"}"#).unwrap();
        assert!(config.paused && config.failsafe_mode);
        let config = patroni_config(br#"{"pause": false, "failsafe_mode": null}"#).unwrap();
        assert!(!config.paused && !config.failsafe_mode);
        assert!(!config.standby_cluster);
        assert_eq!(patroni_config(b"nonsense"), None);
        assert_eq!(patroni_config(b"[1]"), None);
    }

    #[test]
    fn a_standby_cluster_is_one_that_says_whom_it_follows() {
        let is = |config: &str| patroni_config(config.as_bytes()).unwrap().standby_cluster;
        assert!(is(r#"{"standby_cluster": {"host": "10.0.0.1", "port": 5432}}"#));
        assert!(is(r#"{"standby_cluster": {"restore_command": "cp"}}"#));
        assert!(!is(r#"{"standby_cluster": null}"#));
        assert!(!is(r#"{"standby_cluster": {}}"#));
        assert!(!is(r#"{"standby_cluster": {"host": null}}"#));
    }

    #[test]
    fn a_lock_of_another_format_is_a_holder_too() {
        let value = LockValue {
            format: 1,
            member: "db1".to_owned(),
            boot_id: "b".to_owned(),
            incarnation: "i".to_owned(),
            epoch: 7,
        };
        let json = serde_json::to_vec(&value).unwrap();
        assert_eq!(lock_holder(&json), LockHolder::Known(value));
        let newer = br#"{"format":2,"member":"db1","boot_id":"b","incarnation":"i","epoch":7}"#;
        assert!(matches!(lock_holder(newer), LockHolder::Unknown(_)));
        assert_eq!(lock_holder(b"\xff\n\x1b[31m"), LockHolder::Unknown("\u{fffd}[31m".to_owned()));
        assert!(matches!(lock_holder(b""), LockHolder::Unknown(_)));
    }

    #[test]
    fn hosts_of_member_keys() {
        let host = |url: &str| member_host(format!(r#"{{"conn_url":"{url}"}}"#).as_bytes());
        assert_eq!(host("postgres://10.0.20.11:5432/postgres").as_deref(), Some("10.0.20.11"));
        assert_eq!(host("postgres://u:p@db1.lan:5432/postgres").as_deref(), Some("db1.lan"));
        assert_eq!(host("postgres://[fd00::1]:5432/postgres").as_deref(), Some("fd00::1"));
        assert_eq!(host("postgres://db1").as_deref(), Some("db1"));
        assert_eq!(host("postgres:///x"), None);
        assert_eq!(host("nonsense"), None);
        assert_eq!(member_host(b"{}"), None);
        assert_eq!(member_host(b"\0"), None);
    }
}

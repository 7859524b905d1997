//! Whom another configuration has asked is asked before it is taken: a mistyped port would look like a PostgreSQL that is down.

use std::time::Duration;

use pgvrrp_config::Config;
use tokio::time::timeout;

use crate::evidence::{etcd, postgres};
use crate::node::status::Status;
use crate::settings::{etcd_settings, postgres_settings};

/// How long that may take.
pub(super) const LIMIT: Duration = Duration::from_secs(8);

/// Asks etcd and PostgreSQL where the configuration says otherwise than before how to do that. `status` says which cluster this is.
///
/// # Errors
/// Which of them does not answer and why, or is another cluster's.
pub(super) async fn try_out(old: &Config, new: &Config, status: &Status) -> Result<(), String> {
    let Some((old, cluster)) = old.cluster.as_ref().zip(new.cluster.as_ref()) else { return Ok(()) };
    let ours = status.etcd.as_ref().and_then(|etcd| etcd.system_identifier.as_deref());
    let etcd = async {
        if old.etcd == cluster.etcd {
            return Ok(());
        }
        let found = timeout(LIMIT, etcd::try_out(&etcd_settings(new, cluster))).await;
        let found = found.unwrap_or_else(|_| Err(late())).map_err(|why| format!("[etcd]: {why}"))?;
        knows_us(found, ours)
    };
    let postgres = async {
        if old.postgres == cluster.postgres {
            return Ok(());
        }
        let found = timeout(LIMIT, postgres::try_out(postgres_settings(cluster)?)).await;
        let found = found.unwrap_or_else(|_| Err(late())).map_err(|why| format!("[postgres]: {why}"))?;
        is_ours("[postgres]", "its system identifier", found, ours)
    };
    let (etcd, postgres) = tokio::join!(etcd, postgres);
    etcd.and(postgres)
}

fn late() -> String {
    format!("no answer within {LIMIT:?}")
}

/// An etcd without Patroni's keys, where there were some, is another one: the VIP would leave.
fn knows_us(found: Option<String>, ours: Option<&str>) -> Result<(), String> {
    if found.is_none() && ours.is_some() {
        return Err("[etcd]: this one does not know the cluster: Patroni's `initialize` is not there".to_owned());
    }
    is_ours("[etcd]", "Patroni's `initialize`", found, ours)
}

/// What is not known, on either side, is no contradiction: the gate asks again.
fn is_ours(section: &str, what: &str, found: Option<String>, ours: Option<&str>) -> Result<(), String> {
    match (found, ours) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Err(format!("{section}: this is another cluster's: {what} is {theirs}, here it is {ours}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_told_from_ours() {
        let is = |found: Option<&str>, ours| is_ours("[etcd]", "it", found.map(str::to_owned), ours);
        assert_eq!(is(Some("7"), Some("7")), Ok(()));
        assert_eq!(is(Some("7"), None), Ok(()));
        assert_eq!(is(None, Some("7")), Ok(()));
        assert_eq!(knows_us(None, None), Ok(()));
        assert_eq!(knows_us(Some("7".to_owned()), Some("7")), Ok(()));
        assert!(knows_us(None, Some("7")).unwrap_err().contains("does not know the cluster"));
        assert_eq!(is(Some("8"), Some("7")).unwrap_err(), "[etcd]: this is another cluster's: it is 8, here it is 7");
    }
}

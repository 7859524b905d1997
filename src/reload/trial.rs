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
        is_ours("[etcd]", "Patroni's `initialize`", found.unwrap_or_else(|_| Err(late())), ours)
    };
    let postgres = async {
        if old.postgres == cluster.postgres {
            return Ok(());
        }
        let found = timeout(LIMIT, postgres::try_out(postgres_settings(cluster)?)).await;
        is_ours("[postgres]", "its system identifier", found.unwrap_or_else(|_| Err(late())), ours)
    };
    let (etcd, postgres) = tokio::join!(etcd, postgres);
    etcd.and(postgres)
}

fn late() -> String {
    format!("no answer within {LIMIT:?}")
}

/// What is not known, on either side, is no contradiction: the gate asks again.
fn is_ours(section: &str, what: &str, found: Result<Option<String>, String>, ours: Option<&str>) -> Result<(), String> {
    let found = found.map_err(|why| format!("{section}: {why}"))?;
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
        let is = |found: Result<Option<&str>, &str>, ours| {
            is_ours("[etcd]", "it", found.map(|id| id.map(str::to_owned)).map_err(str::to_owned), ours)
        };
        assert_eq!(is(Ok(Some("7")), Some("7")), Ok(()));
        assert_eq!(is(Ok(Some("7")), None), Ok(()));
        assert_eq!(is(Ok(None), Some("7")), Ok(()));
        assert_eq!(
            is(Ok(Some("8")), Some("7")).unwrap_err(),
            "[etcd]: this is another cluster's: it is 8, here it is 7"
        );
        assert_eq!(is(Err("down"), Some("7")).unwrap_err(), "[etcd]: down");
    }
}

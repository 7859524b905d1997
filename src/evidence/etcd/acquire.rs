//! Putting V under a fresh lease, and revoking a lease.

use etcd_client::{Client, Compare, CompareOp, Error, PutOptions, Txn, TxnOp};
use tokio::time::timeout;

use super::endpoints::Endpoints;
use super::failed::describe;
use super::keyring::{Secret, seal};
use super::keys::Keys;
use crate::clock;
use crate::gate::evidence::{Acquisition, Expect, LeaseId, LockValue, VipId};

/// Grants a lease and puts V under it, if K is still this member's in the same epoch and V is as expected.
pub(super) async fn acquire(
    endpoints: &Endpoints,
    keys: &Keys,
    vip: VipId,
    value: &LockValue,
    ttl: u64,
    expect: Expect,
) -> Acquisition {
    let (Some(key), Ok(json)) =
        (keys.locks.get(vip.0).and_then(Option::as_ref), seal(value, Secret::random().as_ref()))
    else {
        return Acquisition::Failed { reason: "this VIP has no key".to_owned() };
    };
    let limit = endpoints.timeout();
    let mut client = match endpoints.preferred().await {
        Ok(client) => client,
        Err(reason) => {
            endpoints.preferred_failed().await;
            return Acquisition::Failed { reason };
        }
    };
    // Before the lease exists: its time runs from etcd's handling of the grant at the earliest.
    let asked = clock::now();
    let ask = i64::try_from(ttl).unwrap_or(i64::MAX);
    let (lease, granted) = match timeout(limit, client.lease_grant(ask, None)).await {
        Ok(Ok(granted)) => (granted.id(), granted.ttl()),
        outcome => {
            endpoints.preferred_failed().await;
            let reason = match outcome {
                Ok(Err(error)) => describe(&error),
                _ => format!("no lease granted within {limit:?}"),
            };
            return Acquisition::Failed { reason };
        }
    };
    let unchanged = match expect {
        Expect::Absent => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
        Expect::Mine(revision) => Compare::mod_revision(key.as_str(), CompareOp::Equal, revision),
    };
    let txn = Txn::new()
        .when([
            Compare::value(keys.leader.as_str(), CompareOp::Equal, value.member.as_str()),
            Compare::create_revision(keys.leader.as_str(), CompareOp::Equal, value.epoch),
            unchanged,
        ])
        .and_then([TxnOp::put(key.as_str(), json, Some(PutOptions::new().with_lease(lease)))]);
    match timeout(limit, client.txn(txn)).await {
        Ok(Ok(response)) if !response.succeeded() => Acquisition::Refused { lease },
        Ok(Ok(response)) => match response.header() {
            // A put's mod_revision is the revision of the transaction that made it.
            Some(header) => Acquisition::Acquired {
                asked,
                lease,
                ttl: granted,
                mod_revision: header.revision(),
                cluster_id: Some(header.cluster_id()),
            },
            None => Acquisition::Unknown { lease, reason: "etcd's answer has no header".to_owned() },
        },
        // Whatever the error says, the put may have been carried out.
        Ok(Err(error)) => {
            endpoints.preferred_failed().await;
            Acquisition::Unknown { lease, reason: describe(&error) }
        }
        Err(_) => {
            endpoints.preferred_failed().await;
            Acquisition::Unknown { lease, reason: format!("the put was not answered within {limit:?}") }
        }
    }
}

/// Revokes a lease. That it does not exist is as good.
pub(super) async fn revoke(endpoints: &Endpoints, lease: LeaseId) -> Result<(), String> {
    endpoints
        .ask(async |mut client: Client, _: &str| match client.lease_revoke(lease).await {
            Ok(_) => Ok(()),
            // gRPC code 5, NotFound.
            Err(Error::GRpcStatus(status)) if status.code() as i32 == 5 => Ok(()),
            Err(error) => Err(error.into()),
        })
        .await
}

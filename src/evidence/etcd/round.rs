//! A proof round: the keepalives, or what is left of K's lease, and then one linearizable read of everything.

use etcd_client::{Client, Error, GetResponse, KeyValue, Txn, TxnOp, TxnOpResponse};
use tokio::sync::watch;
use tokio::time::timeout;

use super::endpoints::Endpoints;
use super::failed::Failed;
use super::keyring::{Keyring, LockSecret, secret_of};
use super::keys::Keys;
use super::parse::{Resolver, lock_holder, patroni_config, system_identifier};
use crate::clock;
use crate::gate::evidence::{
    EtcdReport, Kept, LeaderKey, LeaseId, LockHolder, LockKey, LockValue, Observation, Remaining, VipId,
};

/// Keeps the leases alive and then reads. The read is sent to the endpoint that answered the keepalives, after it did.
pub(super) async fn round(
    endpoints: &Endpoints,
    keys: &Keys,
    resolver: &Resolver,
    keyring: &watch::Sender<Keyring>,
    keep_alive: Vec<(VipId, LeaseId)>,
    leader_lease: Option<LeaseId>,
) -> EtcdReport {
    let answer = endpoints
        .ask(async |mut client: Client, url: &str| {
            let limit = endpoints.timeout();
            let late = |_| format!("no answer within {limit:?}");
            let mut kept = Vec::new();
            for &(vip, lease) in &keep_alive {
                kept.push(timeout(limit, keepalive(&mut client, vip, lease)).await.map_err(late)??);
            }
            let remaining = match leader_lease {
                Some(lease) => timeout(limit, time_to_live(&mut client, lease)).await.map_err(late)??,
                None => None,
            };
            let mut observation =
                timeout(limit, read(&mut client, keys, resolver, keyring, url)).await.map_err(late)??;
            // What is left of another lease than the one that K has now says nothing about K.
            if let Some(leader) = observation.leader.as_mut().filter(|leader| Some(leader.lease) == leader_lease) {
                leader.remaining = remaining;
            }
            Ok((kept, observation))
        })
        .await;
    match answer {
        Ok((kept, observation)) => EtcdReport::Round { kept, observation: Ok(Box::new(observation)) },
        Err(error) => EtcdReport::Round { kept: Vec::new(), observation: Err(error) },
    }
}

/// One keepalive on a stream of its own: answers carry no number, so a stream that is used again after a timeout could
/// hand an old answer to a new question.
async fn keepalive(client: &mut Client, vip: VipId, lease: LeaseId) -> Result<Kept, Failed> {
    let asked = clock::now();
    let gone = Kept { vip, lease, asked, ttl: 0 };
    // The client library keeps the first answer's TTL to itself and only says whether the lease lives; a second
    // question on the same stream gets the number. `asked` is the time before the first.
    let (mut keeper, mut answers) = match client.lease_keep_alive(lease).await {
        Ok(stream) => stream,
        Err(Error::LeaseKeepAliveError(_)) => return Ok(gone),
        Err(error) => return Err(error.into()),
    };
    keeper.keep_alive().await?;
    match answers.message().await? {
        Some(answer) if answer.id() == lease => Ok(Kept { ttl: answer.ttl(), ..gone }),
        Some(answer) => Err(format!("etcd answered for lease {:x} instead of {lease:x}", answer.id()).into()),
        None => Err("etcd closed the keepalive's stream".to_owned().into()),
    }
}

/// What is left of somebody else's lease; `None` if it is gone. etcd rounds down to whole seconds.
async fn time_to_live(client: &mut Client, lease: LeaseId) -> Result<Option<Remaining>, Failed> {
    let asked = clock::now();
    let answer = client.lease_time_to_live(lease, None).await?;
    Ok(u64::try_from(answer.ttl()).ok().map(|ttl| Remaining { asked, ttl }))
}

/// Everything at one revision. A transaction of reads alone is linearizable unless its reads ask not to be.
async fn read(
    client: &mut Client,
    keys: &Keys,
    resolver: &Resolver,
    keyring: &watch::Sender<Keyring>,
    url: &str,
) -> Result<Observation, Failed> {
    let asked = clock::now();
    let names = [&keys.leader, &keys.member, &keys.config, &keys.initialize].into_iter().chain(keys.own());
    let operations: Vec<_> = names.map(|name| TxnOp::get(name.as_str(), None)).collect();
    let expected = operations.len();
    let response = client.txn(Txn::new().and_then(operations)).await?;
    let (cluster_id, revision) = match response.header() {
        Some(header) => (header.cluster_id(), header.revision()),
        None => return Err("etcd's answer has no header".to_owned().into()),
    };
    let answers: Vec<GetResponse> = response
        .op_responses()
        .into_iter()
        .filter_map(|response| match response {
            TxnOpResponse::Get(get) => Some(get),
            _ => None,
        })
        .collect();
    if answers.len() != expected {
        return Err(format!("etcd answered {} of {expected} reads", answers.len()).into());
    }
    let value = |index: usize| answers.get(index).and_then(|answer| answer.kvs().first());
    let text = |kv: &KeyValue| String::from_utf8_lossy(kv.value()).into_owned();
    let member = match value(1) {
        Some(kv) => Some(resolver.member(kv.value()).await),
        None => None,
    };
    // Those of the VIPs that have one, in their places among all.
    let mut locks = answers.iter().skip(4).map(|answer| answer.kvs().first());
    let locks: Vec<_> = keys.locks.iter().map(|key| key.as_ref().and_then(|_| locks.next().flatten())).collect();
    let secrets = locks.iter().map(|lock| lock.and_then(lock_secret)).collect();
    keyring.send_if_modified(|known| std::mem::replace(known, secrets) != *known);
    Ok(Observation {
        asked,
        endpoint: url.to_owned(),
        cluster_id,
        revision,
        leader: value(0).map(|kv| LeaderKey {
            member: text(kv),
            create_revision: kv.create_revision(),
            lease: kv.lease(),
            remaining: None,
        }),
        locks: locks
            .into_iter()
            .map(|lock| {
                lock.map(|kv| LockKey {
                    mod_revision: kv.mod_revision(),
                    lease: kv.lease(),
                    holder: lock_holder(kv.value()),
                })
            })
            .collect(),
        config: value(2).and_then(|kv| patroni_config(kv.value())),
        system_identifier: value(3).and_then(|kv| system_identifier(kv.value())),
        member,
        member_key: keys.member.clone(),
    })
}

/// By whose word to go about the clients of a VIP with this V.
fn lock_secret(kv: &KeyValue) -> Option<LockSecret> {
    let LockHolder::Known(LockValue { member, .. }) = lock_holder(kv.value()) else { return None };
    let secret = secret_of(kv.value())?;
    Some(LockSecret { member, mod_revision: kv.mod_revision(), secret })
}

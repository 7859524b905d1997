//! What is in etcd below Patroni's prefix and below pgvrrp's own, and what this user may do there.

use std::time::Duration;

use etcd_client::{Client, Error, GetOptions};

use super::patience::Patience;
use crate::evidence::etcd::{Settings, describe};

/// What reading everything may take together.
const TOGETHER: Duration = Duration::from_secs(2);

/// gRPC's PermissionDenied.
const DENIED: i32 = 7;

/// A key's value, if there is such a key, or why it could not be read.
pub(crate) type Read = Result<Option<Vec<u8>>, Unread>;

/// Why a key could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// etcd's words, or that it did not answer.
    pub(crate) why: String,
    /// It is for the user's rights.
    pub(crate) denied: bool,
}

/// What was read.
pub(crate) struct Contents {
    pub(crate) leader: Read,
    pub(crate) config: Read,
    pub(crate) initialize: Read,
    pub(crate) member: Read,
    /// V of each VIP, in the order of the configuration; none with `fence = "leader-key"`.
    pub(crate) locks: Vec<Read>,
    /// Names and values of all member keys.
    pub(crate) members: Result<Vec<(String, Vec<u8>)>, Unread>,
    pub(crate) permissions: Permissions,
}

/// What the user may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permissions {
    /// Authentication is off: everything.
    Open,
    /// What these roles allow together.
    Granted(Vec<Role>),
    /// etcd did not say.
    Unknown(String),
}

/// One of the user's roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) ranges: Vec<Range>,
}

impl Role {
    /// Whether one of its permissions allows to write this key.
    pub(crate) fn may_write(&self, key: &str) -> bool {
        self.ranges.iter().any(|range| range.write && range.covers(key))
    }
}

/// A permission: from `key` up to `end`, which is excluded; one key if `end` is empty, all keys from `key` on if it is a
/// zero byte (`authpb.Permission`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) key: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl Range {
    pub(crate) fn covers(&self, key: &str) -> bool {
        let key = key.as_bytes();
        match self.end.as_slice() {
            [] => key == self.key,
            [0] => key >= self.key.as_slice(),
            end => key >= self.key.as_slice() && key < end,
        }
    }
}

impl Contents {
    /// The cluster's system identifier, as Patroni wrote it when it made the cluster.
    pub(crate) fn system_identifier(&self) -> Option<String> {
        let value = self.initialize.as_ref().ok()?.as_ref()?;
        let text = String::from_utf8_lossy(value).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

/// Reads everything, each key by itself: a right that is missing for one must not hide the others.
pub(crate) async fn read(client: Client, settings: &Settings) -> Contents {
    let patience = Patience::of(TOGETHER);
    let keys = &settings.keys;
    let one = async |key: &str| get(client.clone(), key, patience).await;
    let mut locks = Vec::new();
    for key in keys.own() {
        locks.push(one(key).await);
    }
    let user = settings.credentials.as_ref().map(|credentials| credentials.user.as_str());
    Contents {
        leader: one(&keys.leader).await,
        config: one(&keys.config).await,
        initialize: one(&keys.initialize).await,
        member: one(&keys.member).await,
        locks,
        members: members(client.clone(), &keys.member, patience).await,
        permissions: permissions(client.clone(), user, patience).await,
    }
}

async fn get(mut client: Client, key: &str, patience: Patience) -> Read {
    let answer = patience.wait(client.get(key, None)).await.map_err(late)?.map_err(|error| refused(&error))?;
    Ok(answer.kvs().first().map(|kv| kv.value().to_vec()))
}

/// All members of the cluster. The daemon does not need them, so being refused this is no fault.
async fn members(mut client: Client, member: &str, patience: Patience) -> Result<Vec<(String, Vec<u8>)>, Unread> {
    let prefix = member.rsplit_once('/').map_or(String::new(), |(path, _)| format!("{path}/"));
    let options = GetOptions::new().with_prefix().with_limit(100);
    let answer = patience.wait(client.get(prefix.as_str(), Some(options))).await.map_err(late)?;
    let answer = answer.map_err(|error| refused(&error))?;
    let named = answer.kvs().iter().map(|kv| {
        let name = String::from_utf8_lossy(kv.key()).trim_start_matches(&prefix).to_owned();
        (name, kv.value().to_vec())
    });
    Ok(named.collect())
}

/// Any user may ask for itself and for its own roles, if it knows its name. Without one, authentication is off, or etcd has
/// taken the name from the certificate; then only root may list the roles.
async fn permissions(mut client: Client, user: Option<&str>, patience: Patience) -> Permissions {
    let Some(user) = user else {
        return match patience.wait(client.role_list()).await {
            Ok(Err(error)) if refused(&error).denied => {
                Permissions::Unknown("etcd takes the user from the certificate".to_owned())
            }
            _ => Permissions::Open,
        };
    };
    granted(client, user, patience).await.map_or_else(Permissions::Unknown, Permissions::Granted)
}

async fn granted(mut client: Client, user: &str, patience: Patience) -> Result<Vec<Role>, String> {
    /// etcd's own role, which may everything and has no list of permissions.
    const ROOT: &str = "root";
    let user = patience.wait(client.user_get(user)).await?.map_err(|error| describe(&error))?;
    let mut roles = Vec::new();
    for name in user.roles().to_vec() {
        if name == ROOT {
            let everything = Range { read: true, write: true, key: vec![0], end: vec![0] };
            roles.push(Role { name, ranges: vec![everything] });
            continue;
        }
        let role = patience.wait(client.role_get(name.as_str())).await?.map_err(|error| describe(&error))?;
        let permissions = role.permissions();
        let ranges = permissions.iter().map(|permission| {
            // READ = 0, WRITE = 1, READWRITE = 2.
            let kind = permission.get_type();
            Range {
                read: kind != 1,
                write: kind != 0,
                key: permission.key().to_vec(),
                end: permission.range_end().to_vec(),
            }
        });
        roles.push(Role { name, ranges: ranges.collect() });
    }
    Ok(roles)
}

fn late(why: String) -> Unread {
    Unread { why, denied: false }
}

fn refused(error: &Error) -> Unread {
    let denied = matches!(error, Error::GRpcStatus(status) if status.code() as i32 == DENIED);
    Unread { why: describe(error), denied }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(key: &[u8], end: &[u8]) -> Range {
        Range { read: true, write: true, key: key.to_vec(), end: end.to_vec() }
    }

    #[test]
    fn what_a_permission_covers() {
        let one = range(b"/service/odoo/leader", b"");
        assert!(one.covers("/service/odoo/leader") && !one.covers("/service/odoo/leader2"));
        let prefix = range(b"/service/odoo/", b"/service/odoo0");
        assert!(prefix.covers("/service/odoo/leader") && prefix.covers("/service/odoo/"));
        assert!(!prefix.covers("/service/odoo2/leader") && !prefix.covers("/service/odoo"));
        let from = range(b"/service/", b"\0");
        assert!(from.covers("/service/odoo/leader") && !from.covers("/pgvrrp/v1/service/odoo/10.0.20.155"));
        let everything = range(b"\0", b"\0");
        assert!(everything.covers("/pgvrrp/v1/service/odoo/10.0.20.155"));
    }
}

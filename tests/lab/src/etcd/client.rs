//! Access to etcd's keys: its JSON gateway, as Patroni uses it, and its command line client.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{CLIENT_PORT, PLAIN_PORT};
use crate::clock::Time;
use crate::cluster::Options;
use crate::http::{self, Request};
use crate::netns::Namespace;
use crate::network::Node;
use crate::prerequisites::Tools;

/// The account that the lab uses once etcd's authentication is on.
pub const ROOT_USER: (&str, &str) = ("root", "lab-root");

/// Access to etcd's keys from one namespace.
#[derive(Clone, Debug)]
pub struct EtcdClient {
    namespace: Namespace,
    endpoints: Vec<Ipv4Addr>,
    port: u16,
    etcdctl: PathBuf,
    auth: bool,
}

/// A key as etcd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// Its value; bytes that are not UTF-8 are replaced.
    pub value: String,
    /// The revision that made it.
    pub create_revision: i64,
    /// The revision of its last change.
    pub mod_revision: i64,
    /// The lease it is bound to, 0 for none.
    pub lease: i64,
}

impl EtcdClient {
    /// With the passwords that the options say, or before there are any.
    pub(crate) fn new(namespace: &Namespace, options: &Options, tools: &Tools, auth: bool) -> Self {
        // dcs last in the list is first here: it is the member that tests leave alone most.
        let endpoints = options.etcd.nodes().iter().rev().map(|n| n.ip()).collect();
        let port = if options.etcd_tls { PLAIN_PORT } else { CLIENT_PORT };
        Self { namespace: namespace.clone(), endpoints, port, etcdctl: tools.etcdctl.clone(), auth }
    }

    /// Access to one member alone, from its own machine.
    pub(crate) fn alone(&self, member: Node, namespace: &Namespace) -> Self {
        Self { namespace: namespace.clone(), endpoints: vec![member.ip()], ..self.clone() }
    }

    /// Runs `etcdctl` with these arguments, as root if authentication is on, and returns what it printed.
    ///
    /// # Errors
    /// With the complaint of `etcdctl`.
    pub fn etcdctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.namespace.command(&self.etcdctl);
        self.set_etcdctl_environment(&mut command);
        let output = command.args(args).output().context("cannot run etcdctl")?;
        if !output.status.success() {
            bail!("etcdctl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn set_etcdctl_environment(&self, command: &mut Command) {
        let endpoints: Vec<String> = self.endpoints.iter().map(|ip| format!("http://{ip}:{}", self.port)).collect();
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", endpoints.join(","));
        if self.auth {
            command.env("ETCDCTL_USER", format!("{}:{}", ROOT_USER.0, ROOT_USER.1));
        }
    }

    /// One key, read linearizably. `None` when there is no such key.
    ///
    /// # Errors
    /// When no endpoint answers within a second each.
    pub fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.range(&json!({"key": base64(key)}))?.0.pop())
    }

    /// All keys that begin with `prefix`.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_prefix(&self, prefix: &str) -> Result<Vec<KeyValue>> {
        Ok(self.get_prefix_at(prefix)?.0)
    }

    /// The same, with the revision of the whole store that the answer describes.
    pub(crate) fn get_prefix_at(&self, prefix: &str) -> Result<(Vec<KeyValue>, i64)> {
        self.range(&json!({"key": base64(prefix), "range_end": base64(&prefix_end(prefix))}))
    }

    /// Deletes one key.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn delete(&self, key: &str) -> Result<()> {
        self.call("/v3/kv/deleterange", &json!({"key": base64(key)})).map(drop)
    }

    /// Puts a key that is bound to no lease.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn put(&self, key: &str, value: &str) -> Result<()> {
        self.call("/v3/kv/put", &json!({"key": base64(key), "value": base64(value)})).map(drop)
    }

    /// Revokes a lease: the keys that are bound to it go.
    ///
    /// # Errors
    /// As [`Self::get`], and when there is no such lease.
    pub fn revoke(&self, lease: i64) -> Result<()> {
        self.call("/v3/lease/revoke", &json!({"ID": lease.to_string()})).map(drop)
    }

    /// Whether the first member is the leader of its cluster.
    pub(crate) fn leads(&self) -> Result<bool> {
        let status = self.call("/v3/maintenance/status", &json!({}))?;
        Ok(status["leader"] == status["header"]["member_id"])
    }

    /// Waits until a member says that it is healthy: it has a leader and commits.
    ///
    /// # Errors
    /// When none does within `limit`.
    pub fn wait_healthy(&self, limit: Duration) -> Result<()> {
        let start = Time::now();
        let healthy = || -> Result<bool> {
            let server = self.first_server();
            let answer =
                self.namespace.run(|| http::request(server, Request::get("/health"), Duration::from_secs(1)))??;
            Ok(answer.body.contains("true"))
        };
        while !healthy().unwrap_or(false) {
            if start.elapsed() > limit {
                bail!("etcd was not healthy within {limit:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn first_server(&self) -> SocketAddr {
        SocketAddr::from((self.endpoints[0], self.port))
    }

    fn range(&self, body: &Value) -> Result<(Vec<KeyValue>, i64)> {
        let answer = self.call("/v3/kv/range", body)?;
        let keys = answer["kvs"].as_array().map(|kvs| kvs.iter().map(key_value).collect()).unwrap_or_default();
        Ok((keys, number(&answer["header"]["revision"])))
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value> {
        let mut last = None;
        for ip in &self.endpoints {
            match self.namespace.run(|| call(SocketAddr::from((*ip, self.port)), path, body, self.auth))? {
                Ok(answer) => return Ok(answer),
                Err(e) => last = Some(e),
            }
        }
        Err(last.context("no etcd endpoint")?)
    }

    pub(crate) const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn servers(&self) -> Vec<SocketAddr> {
        self.endpoints.iter().map(|ip| SocketAddr::from((*ip, self.port))).collect()
    }

    pub(crate) const fn auth(&self) -> bool {
        self.auth
    }
}

/// One call of the gateway. To be run in the right namespace.
fn call(server: SocketAddr, path: &str, body: &Value, auth: bool) -> Result<Value> {
    let limit = Duration::from_secs(1);
    let token = if auth { Some(token(server, limit)?) } else { None };
    let body = body.to_string();
    let answer = http::request(server, Request { token: token.as_deref(), ..Request::post(path, &body) }, limit)?;
    if answer.status != 200 {
        bail!("etcd answered {} to {path}: {}", answer.status, answer.body.trim());
    }
    Ok(serde_json::from_str(&answer.body)?)
}

/// A token for [`ROOT_USER`]. To be run in the right namespace.
pub(crate) fn token(server: SocketAddr, limit: Duration) -> Result<String> {
    let body = json!({"name": ROOT_USER.0, "password": ROOT_USER.1}).to_string();
    let answer = http::request(server, Request::post("/v3/auth/authenticate", &body), limit)?;
    let answer: Value = serde_json::from_str(&answer.body)?;
    Ok(answer["token"].as_str().context("etcd gave no token")?.to_owned())
}

pub(crate) fn key_value(kv: &Value) -> KeyValue {
    KeyValue {
        key: from_base64(&kv["key"]),
        value: from_base64(&kv["value"]),
        create_revision: number(&kv["create_revision"]),
        mod_revision: number(&kv["mod_revision"]),
        lease: number(&kv["lease"]),
    }
}

/// The gateway writes 64-bit numbers as strings, and leaves out zeros.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_str().and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// The end of the range of all keys with this prefix: the next string that has not got it.
pub(crate) fn prefix_end(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    // Every prefix of the lab ends in an ASCII character below DEL.
    let last = end.pop().unwrap_or('\0');
    end.push(char::from(last as u8 + 1));
    end
}

pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Decodes a JSON string; what is not base64 becomes an empty string.
pub(crate) fn from_base64(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(prefix_end("/service/odoo/"), "/service/odoo0");
    }
}

//! The leader key and the daemon's own keys, by a watch over etcd's JSON gateway.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Stop;
use crate::clock::Time;
use crate::etcd::{self, EtcdClient, KeyValue};
use crate::history::{History, Observation};
use crate::http::{self, Request};
use crate::patroni::LEADER_KEY;

/// Below it, the daemon keeps its own keys.
pub const OWN_PREFIX: &str = "/pgvrrp/";

/// The first key and the end of the range that are watched.
const WATCHED: [&str; 2] = [LEADER_KEY, OWN_PREFIX];

/// Watches from dcs. After a broken watch it reads what is there and reports what is different.
#[derive(Debug)]
pub(super) struct KeyProbe {
    etcd: EtcdClient,
    history: History,
    known: Vec<KeyValue>,
}

impl KeyProbe {
    pub(super) fn new(etcd: &EtcdClient, history: &History) -> Self {
        Self { etcd: etcd.clone(), history: history.clone(), known: Vec::new() }
    }

    pub(super) fn run(mut self, stop: &Stop) {
        let servers = self.etcd.servers();
        for server in servers.iter().cycle() {
            if stop.is_set() {
                return;
            }
            // Ends when the server goes away; then the next one's turn comes.
            let _ = self.follow(*server, stop);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn follow(&mut self, server: SocketAddr, stop: &Stop) -> Result<()> {
        let revision = self.read_all()?;
        let requests: String = WATCHED
            .iter()
            .map(|key| {
                let mut create = json!({"key": etcd::base64(key), "start_revision": revision + 1});
                if key.ends_with('/') {
                    create["range_end"] = etcd::base64(&etcd::prefix_end(key)).into();
                }
                json!({"create_request": create}).to_string()
            })
            .collect();
        let auth = self.etcd.auth();
        let mut stream = self.etcd.namespace().run(|| {
            let limit = Duration::from_millis(500);
            let token = if auth { Some(etcd::token(server, limit)?) } else { None };
            let request = Request { token: token.as_deref(), ..Request::post("/v3/watch", &requests) };
            http::open(server, request, limit).context("cannot watch")
        })??;
        while !stop.is_set() {
            match stream.next_line() {
                Ok(Some(line)) => self.read_answer(Time::now(), &serde_json::from_str(&line)?)?,
                Ok(None) => bail!("the watch ended"),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Reads the keys as they are and reports the differences; returns the revision from which to watch.
    fn read_all(&mut self) -> Result<i64> {
        let (mut found, revision) = self.etcd.get_prefix_at(OWN_PREFIX)?;
        found.extend(self.etcd.get(LEADER_KEY)?);
        let gone: Vec<_> = self.known.iter().filter(|k| found.iter().all(|f| f.key != k.key)).cloned().collect();
        for key in gone {
            self.note(Time::now(), &KeyValue { mod_revision: revision, ..key }, false);
        }
        for key in found {
            if !self.known.contains(&key) {
                self.note(Time::now(), &key, true);
            }
        }
        Ok(revision)
    }

    fn read_answer(&mut self, at: Time, answer: &Value) -> Result<()> {
        let result = &answer["result"];
        if answer["error"].is_object() || result["canceled"].as_bool() == Some(true) {
            bail!("etcd cancelled the watch: {answer}");
        }
        for event in result["events"].as_array().into_iter().flatten() {
            // The gateway leaves out the type of a put, which is 0.
            self.note(at, &etcd::key_value(&event["kv"]), event["type"] != "DELETE");
        }
        Ok(())
    }

    fn note(&mut self, at: Time, kv: &KeyValue, exists: bool) {
        self.known.retain(|k| k.key != kv.key);
        if exists {
            self.known.push(kv.clone());
        }
        let value = exists.then(|| kv.value.clone());
        let what = Observation::Key { key: kv.key.clone(), value, revision: kv.mod_revision, lease: kv.lease };
        self.history.record_at(at, what);
    }
}

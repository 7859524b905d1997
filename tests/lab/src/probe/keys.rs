//! The leader key and the daemon's own keys, by watches over etcd's JSON gateway.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Stop;
use crate::clock::Time;
use crate::cluster::Lab;
use crate::etcd::{self, EtcdClient, KeyValue};
use crate::history::{History, Observation};
use crate::http::{self, Request};
use crate::patroni::LEADER_KEY;

/// Below it, the daemon keeps its own keys.
pub const OWN_PREFIX: &str = "/pgvrrp/";

/// The first key and the end of the range that are watched.
const WATCHED: [&str; 2] = [LEADER_KEY, OWN_PREFIX];

/// What is known of each key: what it was last, `None` when it is gone, and since which revision.
type Known = BTreeMap<String, (Option<KeyValue>, i64)>;

/// Watches one member from its own machine, where no cut is in the way. Each change counts when the first member tells of
/// it: a majority has it then, so that no hanging member makes it look late. After a broken watch it reads what is there and
/// reports what is different.
#[derive(Debug)]
pub(super) struct KeyProbe {
    etcd: EtcdClient,
    history: History,
    known: Arc<Mutex<Known>>,
}

impl KeyProbe {
    /// One for each member.
    pub(super) fn all(lab: &Lab, history: &History) -> Vec<Self> {
        let known = Arc::<Mutex<Known>>::default();
        let probe = |etcd| Self { etcd, history: history.clone(), known: Arc::clone(&known) };
        lab.etcd_members_alone().map(probe).collect()
    }

    pub(super) fn run(self, stop: &Stop) {
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

    fn follow(&self, server: SocketAddr, stop: &Stop) -> Result<()> {
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
    fn read_all(&self) -> Result<i64> {
        let (mut found, revision) = self.etcd.get_prefix_at(OWN_PREFIX)?;
        found.extend(self.etcd.get(LEADER_KEY)?);
        self.forget_what_is_newer(revision);
        let known: Vec<_> = self.lock().values().filter_map(|(kv, _)| kv.clone()).collect();
        for key in known.iter().filter(|k| found.iter().all(|f| f.key != k.key)) {
            self.note(Time::now(), &KeyValue { mod_revision: revision, ..key.clone() }, false);
        }
        for key in found {
            self.note(Time::now(), &key, true);
        }
        Ok(revision)
    }

    fn read_answer(&self, at: Time, answer: &Value) -> Result<()> {
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

    fn note(&self, at: Time, kv: &KeyValue, exists: bool) {
        // Held while it is recorded, so that one key's changes are recorded in their order.
        let mut known = self.lock();
        if known.get(&kv.key).is_some_and(|(_, revision)| *revision >= kv.mod_revision) {
            return;
        }
        known.insert(kv.key.clone(), (exists.then(|| kv.clone()), kv.mod_revision));
        let value = exists.then(|| kv.value.clone());
        let what = Observation::Key { key: kv.key.clone(), value, revision: kv.mod_revision, lease: kv.lease };
        self.history.record_at(at, what);
    }

    /// An etcd that was restored from a backup begins again at an older revision.
    fn forget_what_is_newer(&self, revision: i64) {
        for (_, since) in self.lock().values_mut().filter(|(_, since)| *since > revision) {
            *since = 0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What this node knows of etcd: the last good read, and whether it is still the same etcd.

use vrrp::time::Instant;

use crate::gate::deadline;
use crate::gate::evidence::{Acquisition, Observation, PatroniConfig};
use crate::gate::guard::{Guard, stands};
use crate::gate::policy::Failsafe;
use crate::gate::verdict::patroni_config;

/// How many reads in a row have to show an older revision before etcd is taken for a restored copy. A single one may
/// come from a member that lags (etcd before 3.5.28 and 3.6.9 can serve such reads); it is no evidence either way.
const OLDER_READS: u32 = 2;

/// The last good read of etcd.
#[derive(Debug, Default)]
pub(super) struct EtcdView {
    latest: Option<Box<Observation>>,
    /// Of this etcd's last read that had one. A cluster that loses its `initialize` key is the same cluster.
    system_identifier: Option<String>,
    /// Patroni's member of this name was there once.
    pub(super) member_known: bool,
    /// Where its REST API was when the member was last there: without etcd its key expires like K.
    pub(super) api_url: Option<String>,
    /// The longest TTL that any lock may have had in this etcd, by what was read of Patroni's configuration.
    longest_ttl: u64,
    quarantine: Option<Instant>,
    older_reads: u32,
    /// Why the latest round failed.
    pub(super) error: Option<String>,
    /// Rounds that failed.
    pub(super) errors: u64,
    /// Times that etcd turned out to be another one.
    pub(super) rebuilt: u64,
}

/// What a read turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Evidence.
    Good,
    /// From before what is known already: no evidence.
    Older,
    /// From another etcd: everything known is void.
    Rebuilt,
}

impl EtcdView {
    pub(super) fn latest(&self) -> Option<&Observation> {
        self.latest.as_deref()
    }

    pub(super) fn system_identifier(&self) -> Option<&str> {
        self.system_identifier.as_deref()
    }

    pub(super) fn quarantine(&self) -> Option<Instant> {
        self.quarantine
    }

    /// Whether what came of an acquisition is from another etcd than the one that was read last. The next read is then of that
    /// one, too.
    pub(super) fn is_of_another(&self, outcome: &Acquisition) -> bool {
        let Acquisition::Acquired { cluster_id: Some(id), .. } = outcome else { return false };
        let another = self.latest.as_ref().is_some_and(|latest| latest.cluster_id != *id);
        another && stands(Guard::OtherCluster)
    }

    /// Takes the read of a round. Rounds follow one another, so a lower revision than the last one's is not a late
    /// answer but an older etcd.
    pub(super) fn take(&mut self, now: Instant, read: Result<Box<Observation>, String>) -> Read {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.error = Some(error);
                self.errors += 1;
                return Read::Older;
            }
        };
        self.error = None;
        match &self.latest {
            Some(latest) if latest.cluster_id != read.cluster_id && stands(Guard::OtherCluster) => {
                self.start_anew(now, read)
            }
            Some(latest) if latest.revision > read.revision && stands(Guard::OlderRevision) => {
                self.older_reads += 1;
                if self.older_reads < OLDER_READS {
                    self.error = Some(format!(
                        "{} answered with revision {}, older than {} that was read before",
                        read.endpoint, read.revision, latest.revision
                    ));
                    return Read::Older;
                }
                self.start_anew(now, read)
            }
            _ => {
                self.older_reads = 0;
                self.keep(read);
                Read::Good
            }
        }
    }

    fn start_anew(&mut self, now: Instant, read: Box<Observation>) -> Read {
        self.quarantine = Some(now + deadline::quarantine(self.longest_ttl));
        self.older_reads = 0;
        self.rebuilt += 1;
        self.system_identifier = None;
        self.latest = None;
        self.keep(read);
        Read::Rebuilt
    }

    fn keep(&mut self, mut read: Box<Observation>) {
        // Times that cannot be read now are not other times. A pause is another matter: it is a reason to stay without K,
        // and what is not known is not read as yes (P6).
        let former = self.latest.as_ref().and_then(|latest| latest.config);
        let former = former.map(|former| PatroniConfig { paused: false, ..former });
        read.config = read.config.or(former);
        // A peer's setting is not known: the longer of the two.
        let ttl = deadline::lock_ttl(&patroni_config(Some(&read)), Failsafe::Auto);
        self.longest_ttl = self.longest_ttl.max(ttl);
        if let Some(member) = &read.member {
            self.member_known = true;
            self.api_url.clone_from(&member.api_url);
        }
        if read.system_identifier.is_some() {
            self.system_identifier.clone_from(&read.system_identifier);
        }
        self.latest = Some(read);
    }
}

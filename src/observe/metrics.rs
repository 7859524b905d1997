//! The picture in Prometheus' text formats. All names begin with `pgvrrp_`, but for those of the process, which are called
//! as everywhere; all durations are in seconds. `docs/METRICS.md` has each of them.

mod classic;
mod process;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::health::not_ready;
use super::logging;
use crate::gate::evidence::Role;
use crate::node::status::{
    BUCKETS, EtcdStatus, FollowsLabel, Histogram, PatroniStatus, PostgresStatus, Status, VipCounters, VipStatus,
};
use process::Process;

/// The two formats that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0: what Prometheus asks for.
    OpenMetrics,
    /// Prometheus' own text format 0.0.4: for everybody who does not ask for the other.
    Classic,
}

impl Format {
    /// The answer to an `Accept` header.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Classic }
    }

    /// What the asker is told the text is.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Renders the picture, and what the process needs at this moment.
pub(super) fn render(status: Arc<Status>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process::now(status.uptime)));
    registry.sub_registry_with_prefix("pgvrrp").register_collector(Box::new(Picture(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(match format {
        Format::OpenMetrics => out,
        Format::Classic => classic::from_openmetrics(&out),
    })
}

#[derive(Debug)]
struct Picture(Arc<Status>);

impl Collector for Picture {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        out.node(&self.0)?;
        out.vips(&self.0.vips)
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn node(&mut self, status: &Status) -> fmt::Result {
        let info = vec![("version", status.version), ("node", status.node.as_str())];
        self.gauge("build_info", "pgvrrp's version and this node's member name", 1.0, &info)?;
        self.gauge("uptime_seconds", "Time since the daemon started", status.uptime.as_secs_f64(), &vec![])?;
        let help = "Age of the picture that all this is from; more than 2 s: the protocol thread does not run";
        self.age("picture_age_seconds", help, Some(status.age))?;
        let help = "Whether this node could take a VIP over, as /readyz says";
        self.flag("ready", help, not_ready(status).is_none())?;
        if let Some(etcd) = &status.etcd {
            self.etcd(etcd)?;
        }
        if let Some(postgres) = &status.postgres {
            self.postgres(postgres)?;
        }
        if let Some(failsafe) = &status.failsafe {
            let help = "Whether Patroni says that its failsafe mode is active; there while it is asked";
            self.flag("failsafe_active", help, failsafe.active && failsafe.error.is_none())?;
            self.age(
                "failsafe_evidence_age_seconds",
                "Age of Patroni's last answer or failure to answer",
                failsafe.age,
            )?;
        }
        let up = status
            .interfaces
            .iter()
            .map(|interface| (vec![("interface", interface.name.as_str())], f64::from(u8::from(interface.up))));
        let help = "Whether the interface exists, is up and has carrier";
        self.series("interface_up", help, MetricType::Gauge, &up.collect::<Vec<_>>())?;
        self.flag(
            "observing",
            "Whether the daemon only observes: nothing of what it decides is done",
            status.observing,
        )?;
        let config = &status.config;
        self.age("config_age_seconds", "How long ago the configuration in force was read", Some(config.age))?;
        let help = "Whether the configuration is the one that was last read, and not refused";
        self.flag("config_last_reload_successful", help, config.refusal.is_none())?;
        let reloads = [("taken", config.reloads), ("refused", config.refused)];
        let reloads = reloads.map(|(result, count)| (vec![("result", result)], count as f64));
        self.series("config_reloads", "Times the configuration was read again", MetricType::Counter, &reloads)?;
        let counters = &status.counters;
        self.count("etcd_errors", "Rounds with etcd that failed", counters.etcd_errors)?;
        self.count("etcd_rebuilt", "Times etcd turned out to be another one or an older copy", counters.etcd_rebuilt)?;
        self.count("loop_stalls", "Passes of the loop more than 2 s after the one before", counters.stalls)?;
        self.count("kernel_resyncs", "Dumps of all addresses after lost notifications", counters.resyncs)?;
        self.count("log_lines_dropped", "Log lines dropped, since they were not taken in time", logging::dropped())?;
        let help = "Whether lists of clients cannot be given away or taken, or are not to be";
        self.flag("client_lists_trouble", help, status.clients_trouble.is_some())?;
        let refused = counters.client_lists_refused.iter();
        let refused = refused.map(|(reason, count)| (vec![("reason", reason.as_ref())], *count as f64));
        let help = "Datagrams to the port for lists of clients that were not used, by reason";
        self.series("client_lists_refused", help, MetricType::Counter, &refused.collect::<Vec<_>>())?;
        let discards =
            counters.discards.iter().map(|(reason, count)| (vec![("reason", reason.as_ref())], *count as f64));
        let help = "Packets that were not used, by reason";
        self.series("packets_discarded", help, MetricType::Counter, &discards.collect::<Vec<_>>())
    }

    fn etcd(&mut self, etcd: &EtcdStatus) -> fmt::Result {
        self.age("etcd_evidence_age_seconds", "Age of the last answered read of etcd", etcd.age)?;
        self.flag("etcd_up", "Whether the last round with etcd succeeded", etcd.age.is_some() && etcd.error.is_none())?;
        self.flag("leader_key_mine", "Whether this member holds Patroni's leader key", etcd.leader_is_me)?;
        etcd.patroni.as_ref().map_or(Ok(()), |patroni| self.patroni(patroni))
    }

    fn patroni(&mut self, patroni: &PatroniStatus) -> fmt::Result {
        self.age("patroni_ttl_seconds", "Patroni's ttl", Some(patroni.ttl))?;
        self.age("patroni_loop_wait_seconds", "Patroni's loop_wait", Some(patroni.loop_wait))?;
        self.age("patroni_retry_timeout_seconds", "Patroni's retry_timeout", Some(patroni.retry_timeout))?;
        self.flag("patroni_paused", "Whether Patroni is paused", patroni.paused)?;
        self.flag("patroni_failsafe_mode", "Whether Patroni has failsafe_mode", patroni.failsafe_mode)?;
        self.flag("patroni_standby_cluster", "Whether Patroni runs a standby cluster", patroni.standby_cluster)
    }

    fn postgres(&mut self, postgres: &PostgresStatus) -> fmt::Result {
        self.age("postgres_evidence_age_seconds", "Age of PostgreSQL's last answer", postgres.age)?;
        let roles = [Role::Primary, Role::Standby, Role::Down, Role::Unknown].map(|role| {
            let is = postgres.role == Some(role);
            (vec![("role", role.as_str())], f64::from(u8::from(is)))
        });
        self.series("postgres_role", "1 for the role that PostgreSQL last reported", MetricType::Gauge, &roles)
    }

    fn vips(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let flag = |is: bool| f64::from(u8::from(is));
        let secs = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        self.vip_info(vips)?;
        self.each(vips, "vip_held", "Whether the VIP is bound on this node", |vip| Some(flag(vip.held)))?;
        let help = "Whether the VIP would be bound on this node, of a daemon that only observes";
        self.each(vips, "vip_would_hold", help, |vip| vip.observed.as_ref().map(|seen| flag(seen.would_hold)))?;
        let help = "Whether somebody has bound the VIP on this node, of a daemon that only observes";
        self.each(vips, "vip_present", help, |vip| vip.observed.as_ref().map(|seen| flag(seen.present)))?;
        self.each(vips, "gate_open", "Whether this node may hold the VIP", |vip| Some(flag(vip.gate_open)))?;
        self.each(vips, "vip_armed", "Whether only PostgreSQL's role is waited for", |vip| Some(flag(vip.armed)))?;
        self.labelled(vips, "gate_reason", "1 for the reason of the gate's state", "reason", |vip| vip.reason)?;
        self.labelled(vips, "vip_phase", "1 for the phase the VIP is in", "phase", |vip| vip.phase.as_str())?;
        let help = "How long the VIP has been in its phase";
        self.each(vips, "vip_phase_age_seconds", help, |vip| Some(vip.since.as_secs_f64()))?;
        self.each(vips, "vip_drained", "Whether the VIP is kept away by hand", |vip| Some(flag(vip.drained)))?;
        let help = "Whether this node holds the VIP's lock in etcd, or by the leader key where that is the fence";
        self.each(vips, "lock_mine", help, |vip| vip.lock.as_ref().map(|lock| flag(lock.mine)))?;
        let fences = vips.iter().filter_map(|vip| vip.lock.as_ref().map(|lock| (vip, lock.fence)));
        let fences = fences.map(|(vip, fence)| (vec![("vip", vip.name.as_str()), ("fence", fence)], 1.0));
        let help = "1 for what keeps two nodes from holding the VIP";
        self.series("fence", help, MetricType::Gauge, &fences.collect::<Vec<_>>())?;
        let help = "Time until the VIP will have left without a new proof from etcd";
        self.each(vips, "deadline_seconds", help, |vip| secs(vip.lock.as_ref()?.deadline_in))?;
        let help = "Age of the last proof from etcd, while the lock is held";
        self.each(vips, "proof_age_seconds", help, |vip| secs(vip.lock.as_ref()?.proof_age))?;
        let help =
            "The granted TTL of the lock's lease in etcd, or what was left of the leader key's at the last proof";
        self.each(vips, "lock_ttl_seconds", help, |vip| secs(vip.lock.as_ref()?.ttl))?;
        let help = "How long another node's lock has been waited for";
        self.each(vips, "lock_waiting_seconds", help, |vip| {
            vip.lock.as_ref().map(|lock| secs(lock.waiting).unwrap_or(0.0))
        })?;
        self.labelled(vips, "vrrp_state", "1 for the VRRP state of the router", "state", |vip| vip.router.as_str())?;
        self.each(vips, "vrrp_priority", "This router's priority", |vip| Some(f64::from(vip.vrrp.priority)))?;
        let help = "The advertisement interval that the Active was heard to use, or this router's own";
        self.each(vips, "vrrp_active_adver_interval_seconds", help, |vip| {
            Some(vip.vrrp.active_adver_interval.as_secs_f64())
        })?;
        let help = "Silence after which a Backup takes over";
        self.each(vips, "vrrp_active_down_interval_seconds", help, |vip| {
            Some(vip.vrrp.active_down_interval.as_secs_f64())
        })?;
        self.peers(vips)?;
        self.clients(vips)?;

        let moves = |counters: &VipCounters| vec![("gained", counters.gained), ("lost", counters.lost)];
        self.counts(vips, "transitions", "Moves of the VIP to and from this node", "direction", moves)?;
        let conflicts =
            |counters: &VipCounters| vec![("advert", counters.advert_conflicts), ("arp", counters.arp_conflicts)];
        self.counts(vips, "conflicts", "Others that claimed the VIP while it was held here", "kind", conflicts)?;
        let repairs = |counters: &VipCounters| vec![("restored", counters.repaired), ("expelled", counters.expelled)];
        let help = "Addresses put back after others removed them, or removed after others added them";
        self.counts(vips, "repairs", help, "kind", repairs)?;
        let adverts = |counters: &VipCounters| {
            vec![
                ("sent", counters.adverts_sent),
                ("received", counters.adverts_received),
                ("version2", counters.version2_received),
            ]
        };
        self.counts(vips, "adverts", "VRRP advertisements of this virtual router", "kind", adverts)?;
        for (name, help, pick) in PLAIN {
            let series = vips.iter().map(|vip| (vec![("vip", vip.name.as_str())], pick(&vip.counters) as f64));
            self.series(name, help, MetricType::Counter, &series.collect::<Vec<_>>())?;
        }
        self.hooks(vips)?;
        self.phases(vips)
    }

    fn vip_info(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let texts = vips.iter().map(|vip| (vip, vip.address.to_string(), vip.virtual_router_id.to_string()));
        let texts: Vec<_> = texts.collect();
        let series = texts.iter().map(|(vip, address, id)| {
            let labels = vec![
                ("vip", vip.name.as_str()),
                ("address", address.as_str()),
                ("interface", vip.interface.as_str()),
                ("virtual_router_id", id.as_str()),
                ("follows", vip.follows.as_str()),
            ];
            (labels, 1.0)
        });
        let help = "What the VIP is: its first address, interface and virtual router, and who decides where it is";
        self.series("vip_info", help, MetricType::Gauge, &series.collect::<Vec<_>>())
    }

    fn peers(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let peers = || vips.iter().flat_map(|vip| vip.peers.iter().map(move |peer| (vip, peer)));
        let names: Vec<_> = peers().map(|(_, peer)| peer.address.to_string()).collect();
        let labels = |index: usize, vip: &'_ VipStatus| (index, vip.name.clone());
        let of: Vec<_> = peers().enumerate().map(|(index, (vip, _))| labels(index, vip)).collect();
        let label = |index: usize| vec![("vip", of[index].1.as_str()), ("peer", names[index].as_str())];
        let heard = peers().enumerate().map(|(index, (_, peer))| (label(index), peer.adverts as f64));
        let help = "Advertisements heard of each router on the VIP's virtual router; the last 16 are remembered";
        self.series("peer_adverts", help, MetricType::Counter, &heard.collect::<Vec<_>>())?;
        let ages = peers().enumerate();
        let ages = ages.filter_map(|(index, (_, peer))| peer.age.map(|age| (label(index), age.as_secs_f64())));
        let help = "Age of the last advertisement of each router on the VIP's virtual router";
        self.series("peer_age_seconds", help, MetricType::Gauge, &ages.collect::<Vec<_>>())
    }

    fn clients(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let clients = |vip: &VipStatus| vip.clients.clone().unwrap_or_default();
        let help = "Established connections to the VIP, while it is here; 16384 are counted at most";
        self.each(vips, "clients", help, |vip| clients(vip).connected.map(|count| count as f64))?;
        let help = "Clients that another holder has told of, to be told when it is gone";
        self.each(vips, "listed_clients", help, |vip| clients(vip).list.map(|list| list.clients as f64))?;
        let help = "Age of what another holder has told of its clients";
        self.each(vips, "client_list_age_seconds", help, |vip| clients(vip).list.map(|list| list.age.as_secs_f64()))?;
        let lists = vips.iter().filter_map(|vip| vip.clients.as_ref().map(|clients| (vip.name.as_str(), clients)));
        let lists = lists.flat_map(|(vip, clients)| {
            [("sent", clients.lists_sent), ("received", clients.lists_received)]
                .map(|(direction, count)| (vec![("vip", vip), ("direction", direction)], count as f64))
        });
        let help = "Lists of clients given to other nodes and taken from them";
        self.series("client_lists", help, MetricType::Counter, &lists.collect::<Vec<_>>())
    }

    fn hooks(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let all = || vips.iter().filter_map(|vip| vip.hooks.as_ref().map(|hooks| (vip.name.as_str(), hooks)));
        let runs = all().flat_map(|(vip, hooks)| {
            let labels = move |hook, result| vec![("vip", vip), ("hook", hook), ("result", result)];
            hooks.runs.iter().map(move |((hook, result), count)| (labels(*hook, *result), *count as f64))
        });
        self.series("hook_runs", "Hooks that were run", MetricType::Counter, &runs.collect::<Vec<_>>())?;
        let superseded = all().map(|(vip, hooks)| (vec![("vip", vip)], hooks.superseded as f64));
        let help = "Transitions without a hook, since others had followed them already";
        self.series("hooks_superseded", help, MetricType::Counter, &superseded.collect::<Vec<_>>())?;
        let help = "Transitions that wait for a hook that is running";
        self.each(vips, "hooks_queued", help, |vip| vip.hooks.as_ref().map(|hooks| hooks.queued as f64))?;
        let help = "How long hooks took";
        let mut metric = self.0.encode_descriptor("hook_duration_seconds", help, None, MetricType::Histogram)?;
        for (vip, hooks) in all() {
            encode_histogram(metric.encode_family(&vec![("vip", vip)])?, &hooks.took)?;
        }
        Ok(())
    }

    fn phases(&mut self, vips: &[VipStatus]) -> fmt::Result {
        let help = "How long each phase of a move took";
        let mut metric = self.0.encode_descriptor("phase_duration_seconds", help, None, MetricType::Histogram)?;
        for vip in vips {
            // There from the start: the first of its kind would be no increase.
            let expected = phases_of(vip.follows).iter().map(|phase| (*phase, Histogram::default()));
            let mut phases: BTreeMap<_, _> = expected.collect();
            phases.extend(vip.counters.phases.clone());
            for (phase, histogram) in &phases {
                let labels = vec![("vip", vip.name.as_str()), ("phase", *phase)];
                encode_histogram(metric.encode_family(&labels)?, histogram)?;
            }
        }
        Ok(())
    }

    fn each(
        &mut self,
        vips: &[VipStatus],
        name: &str,
        help: &str,
        pick: impl Fn(&VipStatus) -> Option<f64>,
    ) -> fmt::Result {
        let series = vips.iter().filter_map(|vip| pick(vip).map(|value| (vec![("vip", vip.name.as_str())], value)));
        self.series(name, help, MetricType::Gauge, &series.collect::<Vec<_>>())
    }

    fn labelled(
        &mut self,
        vips: &[VipStatus],
        name: &str,
        help: &str,
        label: &'static str,
        pick: impl Fn(&VipStatus) -> &'static str,
    ) -> fmt::Result {
        let series = vips.iter().map(|vip| (vec![("vip", vip.name.as_str()), (label, pick(vip))], 1.0));
        self.series(name, help, MetricType::Gauge, &series.collect::<Vec<_>>())
    }

    fn counts(
        &mut self,
        vips: &[VipStatus],
        name: &str,
        help: &str,
        label: &'static str,
        pick: impl Fn(&VipCounters) -> Vec<(&'static str, u64)>,
    ) -> fmt::Result {
        let mut series = Vec::new();
        for vip in vips {
            let picked = pick(&vip.counters);
            series.extend(
                picked.into_iter().map(|(kind, count)| (vec![("vip", vip.name.as_str()), (label, kind)], count as f64)),
            );
        }
        self.series(name, help, MetricType::Counter, &series)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64, labels: &Labels<'_>) -> fmt::Result {
        self.series(name, help, MetricType::Gauge, &[(labels.clone(), value)])
    }

    fn flag(&mut self, name: &str, help: &str, is: bool) -> fmt::Result {
        self.gauge(name, help, f64::from(u8::from(is)), &vec![])
    }

    fn age(&mut self, name: &str, help: &str, age: Option<Duration>) -> fmt::Result {
        match age {
            Some(age) => self.gauge(name, help, age.as_secs_f64(), &vec![]),
            None => Ok(()),
        }
    }

    fn count(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.counter(name, help, count as f64)
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.series(name, help, MetricType::Counter, &[(vec![], value)])
    }

    fn series(&mut self, name: &str, help: &str, kind: MetricType, series: &[(Labels<'_>, f64)]) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            // An empty family would be written with empty braces.
            if labels.is_empty() {
                encode(&mut metric, kind, *value)?;
            } else {
                encode(&mut metric.encode_family(labels)?, kind, *value)?;
            }
        }
        Ok(())
    }
}

fn encode(metric: &mut MetricEncoder<'_>, kind: MetricType, value: f64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ => metric.encode_gauge(&value),
    }
}

/// The phases that moves of such a VIP can have.
const fn phases_of(follows: FollowsLabel) -> &'static [&'static str] {
    match follows {
        FollowsLabel::Primary => &["lock", "promotion", "bind", "drain", "unbind", "unlock"],
        FollowsLabel::None => &["bind", "unbind"],
    }
}

type Pick = fn(&VipCounters) -> u64;

/// Counters without a label of their own.
const PLAIN: [(&str, &str, Pick); 17] = [
    ("connections_reset", "Client connections that were reset", |counters| counters.connections_reset),
    ("syn_drops", "Times that new connections were dropped for a moment, to meet the next holder", |counters| {
        counters.syn_drops
    }),
    ("clients_told", "Clients of a former holder that were told of its end, each of them four times", |counters| {
        counters.clients_told
    }),
    ("announcements", "Gratuitous ARP and neighbour advertisements sent", |counters| counters.announcements),
    ("vrrp_master_transitions", "Times the router became Active (RFC 8347)", |counters| counters.became_active),
    ("vrrp_interval_errors", "Adverts heard with another interval than this node's (RFC 8347)", |counters| {
        counters.interval_errors
    }),
    ("vrrp_priority_zero_pkts_rcvd", "Goodbyes heard (RFC 8347)", |counters| counters.priority_zero_received),
    ("vrrp_priority_zero_pkts_sent", "Goodbyes sent (RFC 8347)", |counters| counters.priority_zero_sent),
    ("vrrp_invalid_type_pkts_rcvd", "Messages that are no advertisement (RFC 8347)", |counters| {
        counters.invalid_type_received
    }),
    ("vrrp_address_list_errors", "Adverts heard with other addresses (RFC 8347)", |counters| {
        counters.address_list_errors
    }),
    ("vrrp_packet_length_errors", "Messages longer or shorter than they say (RFC 8347)", |counters| {
        counters.length_errors
    }),
    ("send_errors", "Packets that the kernel refused to send", |counters| counters.send_errors),
    ("bind_refused", "Binds and renewals that the kernel refused", |counters| counters.bind_refused),
    ("late", "Binds dropped or undone, since they came too late", |counters| counters.late),
    ("locks_lost", "Locks found gone or another's while they were held", |counters| counters.locks_lost),
    ("split_brains", "Times PostgreSQL was primary while another held the leader key", |counters| {
        counters.split_brains
    }),
    ("displaced", "Times a foreign VRRP router was made to yield before the address was bound", |counters| {
        counters.displaced
    }),
];

fn encode_histogram(mut encoder: MetricEncoder<'_>, histogram: &Histogram) -> fmt::Result {
    let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(histogram.buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(histogram.sum.as_secs_f64(), histogram.count, &buckets, None)
}

//! What the process needs of its host, under the names that every Prometheus client library has for it. What cannot be read
//! is left out.

use std::fmt;
use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeVal;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::Writer;
use crate::clock;

/// The process as it is now.
#[derive(Debug)]
pub(super) struct Process {
    /// Seconds since 1970.
    started: f64,
    /// Seconds, of user and system.
    processor: Option<f64>,
    /// Bytes.
    resident: Option<u64>,
    /// Bytes.
    virtual_memory: Option<u64>,
    threads: Option<u64>,
    descriptors: Option<usize>,
    most_descriptors: Option<u64>,
}

impl Process {
    /// Reads it. `uptime` is how long the daemon has been running.
    pub(super) fn now(uptime: Duration) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| number(&status, name).map(|kib| kib * 1024);
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        Self {
            started: started(uptime),
            processor: usage.map(|usage| seconds(usage.user_time()) + seconds(usage.system_time())),
            resident: kib("VmRSS:"),
            virtual_memory: kib("VmSize:"),
            threads: number(&status, "Threads:"),
            // Without the one that lists them.
            descriptors: fs::read_dir("/proc/self/fd").ok().map(|open| open.count().saturating_sub(1)),
            most_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer(encoder);
        let mut gauge =
            |name, help, value: Option<f64>| value.map_or(Ok(()), |value| out.gauge(name, help, value, &vec![]));
        gauge("process_start_time_seconds", "When the daemon started, in seconds since 1970", Some(self.started))?;
        gauge("process_resident_memory_bytes", "Resident memory", self.resident.map(|bytes| bytes as f64))?;
        gauge("process_virtual_memory_bytes", "Virtual memory", self.virtual_memory.map(|bytes| bytes as f64))?;
        gauge("process_threads", "Threads", self.threads.map(|count| count as f64))?;
        gauge("process_open_fds", "Open file descriptors", self.descriptors.map(|count| count as f64))?;
        gauge(
            "process_max_fds",
            "The most of them that there may be",
            self.most_descriptors.map(|count| count as f64),
        )?;
        let help = "Processor time used, by user and system";
        self.processor.map_or(Ok(()), |used| out.counter("process_cpu_seconds", help, used))
    }
}

/// Looked up once: a clock that is set later does not look like a restart.
fn started(uptime: Duration) -> f64 {
    static STARTED: OnceLock<f64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let now = clock::time_of_day().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(uptime).as_secs_f64()
    })
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// The number behind a name in `/proc/self/status`.
fn number(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

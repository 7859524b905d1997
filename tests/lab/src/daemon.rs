//! The daemon under test on one node.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::clock::Time;
use crate::cluster::Lab;
use crate::etcd;
use crate::http::{self, Request};
use crate::netns::Namespace;
use crate::network::{INTERFACE, Node, VIP};
use crate::patroni::SCOPE;
use crate::process::Process;

/// Where the daemon's HTTP server listens.
pub const HTTP_PORT: u16 = 9155;

/// The daemon's configuration, by section and key. The section `""` is the top of the file, `"vip"` the only VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

impl Config {
    /// The reference setup's, for a node of `lab`.
    #[must_use]
    pub fn reference(lab: &Lab, node: Node) -> Self {
        let dir = lab.dir().join(node.name());
        let text = |value: &dyn std::fmt::Display| format!("\"{value}\"");
        let tls = lab.options().etcd_tls;
        let endpoints: Vec<String> =
            lab.options().etcd.nodes().iter().map(|n| text(&etcd::client_url(*n, tls))).collect();
        let connection = format!("host={} user=pgvrrp dbname=postgres", dir.join("socket").display());
        let mut config = Self { sections: BTreeMap::new() };
        config.set("", "node", &text(&node));
        config.set("", "interface", &text(&INTERFACE));
        config.set("", "runtime_dir", &text(&dir.join("run").display()));
        config.set("patroni", "scope", &text(&SCOPE));
        config.set("etcd", "endpoints", &format!("[{}]", endpoints.join(", ")));
        if tls {
            let file = |name: &str| text(&lab.dir().join("tls").join(name).display());
            config.set("etcd", "ca_file", &file("ca.pem"));
            config.set("etcd", "cert_file", &file("client.pem")).set("etcd", "key_file", &file("client.key"));
        }
        config.set("postgres", "connection", &text(&connection));
        config.set("vip", "address", &text(&VIP));
        config.set("vip", "virtual_router_id", "155");
        config.set("vip", "follows", "\"primary\"");
        config
    }

    /// Sets a key to a value in TOML's notation: a string needs its quotes.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> &mut Self {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// Writes a password file that only its owner may read, and names both in `[etcd]`. The file is replaced as a whole:
    /// a daemon that was just started may be reading it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_etcd_user(&mut self, name: &str, password: &str, file: &Path) -> Result<()> {
        let new = file.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut secret = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        writeln!(secret, "{password}")?;
        fs::rename(&new, file).with_context(|| format!("cannot write {file:?}"))?;
        self.set("etcd", "username", &format!("\"{name}\""));
        self.set("etcd", "password_file", &format!("\"{}\"", file.display()));
        Ok(())
    }

    /// Leaves a key out.
    pub fn remove(&mut self, section: &str, key: &str) -> &mut Self {
        if let Some(section) = self.sections.get_mut(section) {
            section.remove(key);
        }
        self
    }

    /// The file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // The top of the file sorts first, as it must.
        for (name, keys) in &self.sections {
            match name.as_str() {
                "" => {}
                "vip" => text += "\n[[vip]]\n",
                name => text += &format!("\n[{name}]\n"),
            }
            text.extend(keys.iter().map(|(key, value)| format!("{key} = {value}\n")));
        }
        text
    }
}

/// How a daemon is to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its configuration.
    pub config: Config,
    /// The name of its files: `<name>.toml` and `<name>.log` in the node's directory. Two daemons need two names.
    pub name: String,
    /// A command that starts it, with arguments, such as `setpriv` with a user and capabilities. Empty: as root.
    pub wrapper: Vec<String>,
    /// The file that it records to, `run --record`.
    pub record: Option<PathBuf>,
    /// It only observes, `run --observe`.
    pub observe: bool,
}

impl Launch {
    /// With the reference setup's configuration, as root.
    #[must_use]
    pub fn reference(lab: &Lab, node: Node) -> Self {
        let config = Config::reference(lab, node);
        Self { config, name: "pgvrrp".to_owned(), wrapper: Vec::new(), record: None, observe: false }
    }
}

/// A daemon that was started. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    node: Node,
    binary: PathBuf,
    config_path: PathBuf,
    log_path: PathBuf,
    namespace: Namespace,
    process: Process,
}

impl Daemon {
    /// Writes the configuration and starts `binary run --config FILE` on a node, with `--record FILE` if that is wanted. Returns at once.
    ///
    /// # Errors
    /// When the file cannot be written or the program cannot be started.
    pub fn start(lab: &Lab, node: Node, binary: &Path, launch: &Launch) -> Result<Self> {
        let dir = lab.dir().join(node.name());
        let config_path = dir.join(format!("{}.toml", launch.name));
        let log_path = dir.join(format!("{}.log", launch.name));
        fs::write(&config_path, launch.config.render()).with_context(|| format!("cannot write {config_path:?}"))?;
        let log = File::options().create(true).append(true).open(&log_path)?;
        let namespace = lab.namespace(node).clone();
        let mut command = match launch.wrapper.split_first() {
            None => namespace.command(binary),
            Some((program, args)) => {
                let mut command = namespace.command(program);
                command.args(args).arg(binary);
                command
            }
        };
        command.arg("run").arg("--config").arg(&config_path).stdout(log.try_clone()?).stderr(log);
        if let Some(recording) = &launch.record {
            command.arg("--record").arg(recording);
        }
        if launch.observe {
            command.arg("--observe");
        }
        let process = Process::spawn(&format!("{} on {node}", launch.name), command)?;
        Ok(Self { node, binary: binary.to_owned(), config_path, log_path, namespace, process })
    }

    /// The node that it runs on.
    #[must_use]
    pub const fn node(&self) -> Node {
        self.node
    }

    /// The process: its id, memory and CPU time.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// SIGTERM; returns how long the daemon took to end.
    ///
    /// # Errors
    /// When it does not end with exit code 0 within 5 s.
    pub fn terminate(&self) -> Result<Duration> {
        self.process.terminate(Duration::from_secs(5))
    }

    /// SIGKILL; returns when it was sent.
    pub fn kill(&self) -> Time {
        let at = Time::now();
        self.process.kill();
        at
    }

    /// SIGSTOP; returns when it was sent.
    ///
    /// # Errors
    /// When the daemon has ended.
    pub fn freeze(&self) -> Result<Time> {
        let at = Time::now();
        self.process.signal(Signal::SIGSTOP)?;
        Ok(at)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the daemon has ended.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    /// Runs the same binary with these arguments on the same node, and waits for it.
    ///
    /// # Errors
    /// When it cannot be started; its exit status is in the result.
    pub fn command(&self, args: &[&OsStr]) -> Result<Output> {
        let output = self.namespace.command(&self.binary).args(args).output();
        output.with_context(|| format!("cannot run {:?}", self.binary))
    }

    /// What `status --json` prints.
    ///
    /// # Errors
    /// With what the command says when it fails.
    pub fn status(&self) -> Result<Value> {
        let args: [&OsStr; 4] = ["status".as_ref(), "--json".as_ref(), "--config".as_ref(), self.config_path.as_ref()];
        let output = self.command(&args)?;
        if !output.status.success() {
            bail!("status on {}: {}", self.node, String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("status --json is not JSON")
    }

    /// The body of an HTTP GET from the node itself.
    ///
    /// # Errors
    /// When nothing answers within a second, or with another status than 200.
    pub fn http_get(&self, path: &str) -> Result<String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, HTTP_PORT));
        let answer = self.namespace.run(|| http::request(server, Request::get(path), Duration::from_secs(1)))??;
        if answer.status != 200 {
            bail!("{path} on {}: status {}: {}", self.node, answer.status, answer.body);
        }
        Ok(answer.body)
    }

    /// Its metrics in Prometheus's text format.
    ///
    /// # Errors
    /// As [`Self::http_get`].
    pub fn metrics(&self) -> Result<String> {
        self.http_get("/metrics")
    }

    /// The sum of all series of a metric whose name and labels begin with `series`, for example
    /// `pgvrrp_conflicts_total` or `pgvrrp_discards_total{reason="ttl"`. `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::http_get`].
    pub fn metric(&self, series: &str) -> Result<Option<f64>> {
        Ok(sum_series(&self.metrics()?, series))
    }

    /// Everything that it has written to standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.config_path
    }
}

fn sum_series(metrics: &str, series: &str) -> Option<f64> {
    let values = metrics.lines().filter(|l| l.starts_with(series)).filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        // "pgvrrp_held" must not count "pgvrrp_held_seconds".
        let rest = name.strip_prefix(series)?;
        let complete = rest.is_empty() || rest.starts_with('{') || series.contains('{');
        if complete { value.parse::<f64>().ok() } else { None }
    });
    values.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_or_label() {
        let metrics = "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\"} 4\na_total_more 9\nb 0.5\n";
        assert_eq!(sum_series(metrics, "a_total"), Some(7.0));
        assert_eq!(sum_series(metrics, "a_total{x=\"2\""), Some(4.0));
        assert_eq!(sum_series(metrics, "b"), Some(0.5));
        assert_eq!(sum_series(metrics, "c"), None);
    }

    #[test]
    fn the_top_of_the_file_comes_first() {
        let mut config = Config { sections: BTreeMap::new() };
        config.set("vip", "priority", "200").set("", "node", "\"db1\"").set("etcd", "x", "1");
        config.set("etcd", "y", "2").remove("etcd", "x");
        assert_eq!(config.render(), "node = \"db1\"\n\n[etcd]\ny = 2\n\n[[vip]]\npriority = 200\n");
    }
}

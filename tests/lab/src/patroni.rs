//! Patroni and its PostgreSQL on one node.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::certificates::{Authority, Files};
use crate::clock::Time;
use crate::cluster::Options;
use crate::etcd::{self, CLIENT_PORT};
use crate::http::{self, Request, Response};
use crate::netns::Namespace;
use crate::network::Node;
use crate::prerequisites::Tools;
use crate::process::{self, Process};
use crate::site::Site;

/// Patroni's `scope` in the lab.
pub const SCOPE: &str = "odoo";

/// The leader key.
pub const LEADER_KEY: &str = "/service/odoo/leader";

/// Where PostgreSQL listens.
pub const POSTGRES_PORT: u16 = 5432;

/// Where Patroni's REST API listens.
pub const REST_PORT: u16 = 8008;

/// etcd's account for Patroni, where authentication is on.
pub const ETCD_USER: (&str, &str) = ("patroni", "lab-patroni");

/// Patroni's three times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The leader key's time to live, at least 20.
    pub ttl: u32,
    /// The longest sleep between two looks at the world.
    pub loop_wait: u32,
    /// How long Patroni keeps trying when etcd or PostgreSQL does not answer, at least 3.
    pub retry_timeout: u32,
}

impl Timing {
    /// Patroni's own: 30/10/10.
    pub const DEFAULT: Self = Self { ttl: 30, loop_wait: 10, retry_timeout: 10 };
    /// The shortest that Patroni allows: 20/1/3.
    pub const FAST: Self = Self { ttl: 20, loop_wait: 1, retry_timeout: 3 };
}

/// Patroni and PostgreSQL on one node.
#[derive(Debug)]
pub struct Database {
    node: Node,
    namespace: Namespace,
    tools: Tools,
    dir: PathBuf,
    patroni: Mutex<Option<Process>>,
}

impl Database {
    pub(crate) fn new(
        node: Node,
        namespace: &Namespace,
        tools: &Tools,
        site: &Site,
        options: &Options,
        authority: &Authority,
    ) -> Result<Self> {
        let dir = site.make_dir(node.name(), None)?;
        // Patroni makes the data directory itself; what holds it must be its own.
        for owned in ["pg", "socket"] {
            site.make_dir(&format!("{node}/{owned}"), Some(tools.account))?;
        }
        let database =
            Self { node, namespace: namespace.clone(), tools: tools.clone(), dir, patroni: Mutex::new(None) };
        let mut config = database.config(options);
        if options.etcd_tls {
            let Files { cert, key } = authority.files("client");
            let etcd = &mut config["etcd3"];
            etcd["protocol"] = "https".into();
            etcd["cacert"] = json!(authority.certificate());
            etcd["cert"] = json!(cert);
            etcd["key"] = json!(key);
        }
        if options.postgres_tls {
            let Files { cert, key } =
                authority.issue(&format!("postgres-{node}"), &[&host_name(node)], tools.account)?;
            let postgres = &mut config["postgresql"];
            postgres["parameters"]["ssl"] = "on".into();
            postgres["parameters"]["ssl_ca_file"] = json!(authority.certificate());
            postgres["parameters"]["ssl_cert_file"] = json!(cert);
            postgres["parameters"]["ssl_key_file"] = json!(key);
            if let Some(lines) = postgres["pg_hba"].as_array_mut() {
                lines.insert(0, "hostssl all certified 127.0.0.1/32 cert".into());
                lines.insert(1, "hostssl all all 127.0.0.1/32 scram-sha-256".into());
            }
        }
        fs::write(database.config_path(), config.to_string())?;
        Ok(database)
    }

    /// Starts Patroni, which starts PostgreSQL.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut patroni = self.lock();
        if patroni.as_ref().is_some_and(Process::is_running) {
            bail!("Patroni on {} runs already", self.node);
        }
        let log = File::options().create(true).append(true).open(self.dir.join("patroni.log"))?;
        let mut command = self.namespace.command_as(&self.tools.python, self.tools.account);
        self.tools.set_environment(&mut command);
        command.env("HOME", self.dir.join("pg")).current_dir("/");
        command.args(["-m", "patroni"]).arg(self.config_path());
        command.stdout(log.try_clone()?).stderr(log);
        *patroni = Some(Process::spawn(&format!("Patroni on {}", self.node), command)?);
        Ok(())
    }

    /// The directory of PostgreSQL's Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// PostgreSQL's data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("pg/data")
    }

    /// Patroni's log and PostgreSQL's, both in one file.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("patroni.log")
    }

    /// The process id of Patroni, if it runs.
    pub fn patroni_pid(&self) -> Option<u32> {
        self.lock().as_ref().filter(|p| p.is_running()).map(Process::pid)
    }

    /// The process id of PostgreSQL's postmaster, if it runs.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.data_dir().join("postmaster.pid")).ok()?.lines().next()?.parse().ok()?;
        // The file outlives a postmaster that was killed, and the number may have gone to somebody else.
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_postgres = String::from_utf8_lossy(&command_line).contains(self.data_dir().to_str()?);
        (is_postgres && process::is_alive(pid)).then_some(pid)
    }

    /// Every process of PostgreSQL: the postmaster first, then its children.
    #[must_use]
    pub fn postgres_pids(&self) -> Vec<u32> {
        let Some(postmaster) = self.postmaster_pid() else { return Vec::new() };
        [vec![postmaster], process::children_of(postmaster)].concat()
    }

    /// Sends a signal to Patroni alone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal_patroni(&self, signal: Signal) -> Result<()> {
        self.lock().as_ref().with_context(|| format!("Patroni on {} does not run", self.node))?.signal(signal)
    }

    /// Kills Patroni alone with SIGKILL; PostgreSQL goes on.
    pub fn kill_patroni(&self) {
        if let Some(patroni) = self.lock().take() {
            patroni.kill();
        }
    }

    /// Sends a signal to PostgreSQL's postmaster and all its children.
    ///
    /// # Errors
    /// When PostgreSQL does not run.
    pub fn signal_postgres(&self, signal: Signal) -> Result<()> {
        let pids = self.postgres_pids();
        if pids.is_empty() {
            bail!("PostgreSQL on {} does not run", self.node);
        }
        pids.into_iter().try_for_each(|pid| process::signal_pid(pid, signal))
    }

    /// Kills Patroni and PostgreSQL with SIGKILL, Patroni first so that it cannot start PostgreSQL again. Returns the
    /// moment at which PostgreSQL's postmaster was sent its signal.
    ///
    /// # Errors
    /// When PostgreSQL does not run.
    pub fn kill_all(&self) -> Result<Time> {
        // Patroni must not see its child die: it would begin to release the leader key.
        self.kill_patroni();
        let at = Time::now();
        self.signal_postgres(Signal::SIGKILL)?;
        Ok(at)
    }

    /// Asks Patroni's REST API. A node without Patroni refuses the connection, which is an error here.
    ///
    /// # Errors
    /// When Patroni does not answer within `limit`.
    pub fn rest(&self, request: Request<'_>, limit: Duration) -> Result<Response> {
        let server = SocketAddr::from((self.node.ip(), REST_PORT));
        let answer = self.namespace.run(|| http::request(server, request, limit))?;
        answer.with_context(|| format!("{} {} of Patroni on {}", request.method, request.path, self.node))
    }

    /// What Patroni says of itself: `GET /patroni`.
    ///
    /// # Errors
    /// As [`Self::rest`].
    pub fn state(&self) -> Result<Value> {
        let answer = self.rest(Request::get("/patroni"), Duration::from_secs(3))?;
        serde_json::from_str(&answer.body).context("strange answer of Patroni")
    }

    /// Runs one SQL command as the superuser over the Unix socket and returns what it prints, values separated by `|`.
    ///
    /// # Errors
    /// With the complaint of PostgreSQL.
    pub fn sql(&self, statement: &str) -> Result<String> {
        let mut command = Command::new(self.tools.postgres_program("psql"));
        self.tools.set_environment(&mut command);
        command.env("PGHOST", self.socket_dir()).env("PGCONNECT_TIMEOUT", "3");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-c", statement]);
        let output = command.output().context("cannot run psql")?;
        if !output.status.success() {
            bail!("{statement} on {}: {}", self.node, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until PostgreSQL accepts writes.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub fn wait_writable(&self, limit: Duration) -> Result<()> {
        let start = Time::now();
        while !self.sql("select pg_is_in_recovery()").is_ok_and(|r| r == "f") {
            if start.elapsed() > limit {
                bail!("PostgreSQL on {} was not a primary within {limit:?}; see {:?}", self.node, self.log_path());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Patroni's own configuration of this node.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("patroni.json")
    }

    /// Patroni's configuration. JSON is YAML.
    fn config(&self, options: &Options) -> Value {
        let ip = self.node.ip();
        let hosts: Vec<String> = options.etcd.nodes().iter().map(|n| format!("{}:{CLIENT_PORT}", n.ip())).collect();
        let mut etcd = json!({"hosts": hosts});
        if options.etcd_auth {
            etcd["username"] = ETCD_USER.0.into();
            etcd["password"] = ETCD_USER.1.into();
        }
        json!({
            "scope": SCOPE,
            "name": self.node.name(),
            "restapi": {"listen": format!("{ip}:{REST_PORT}"), "connect_address": format!("{ip}:{REST_PORT}")},
            "etcd3": etcd,
            "bootstrap": {
                "dcs": {
                    "ttl": options.timing.ttl,
                    "loop_wait": options.timing.loop_wait,
                    "retry_timeout": options.timing.retry_timeout,
                    "failsafe_mode": options.failsafe_mode,
                    // Of the whole cluster: a node's own configuration has no say in this parameter.
                    "postgresql": {"use_pg_rewind": true, "parameters": {"max_connections": options.max_connections}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": format!("*:{POSTGRES_PORT}"),
                "connect_address": format!("{ip}:{POSTGRES_PORT}"),
                "data_dir": self.data_dir(),
                "bin_dir": self.tools.postgres_bin,
                "pgpass": self.dir.join("pg/pgpass"),
                "use_unix_socket": true,
                "use_unix_socket_repl": true,
                "remove_data_directory_on_rewind_failure": true,
                "remove_data_directory_on_diverged_timelines": true,
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "replicator"},
                },
                "parameters": {
                    "unix_socket_directories": self.socket_dir(),
                    "lab.node": self.node.name(),
                    "shared_buffers": "16MB",
                    "min_wal_size": "32MB",
                    "wal_retrieve_retry_interval": "500ms",
                    // The lab never loses power: a test machine's slow disk must not show in the measurements.
                    "fsync": "off",
                },
                "pg_hba": [
                    "local all all trust",
                    "local replication all trust",
                    "host all all 10.0.20.0/24 trust",
                    "host replication all 10.0.20.0/24 trust",
                ],
                "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            },
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.patroni.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name for which PostgreSQL's certificate is, where it has TLS. Nobody resolves it.
#[must_use]
pub fn host_name(node: Node) -> String {
    format!("{node}.example")
}

/// Gives Patroni its account in etcd and switches authentication on.
pub(crate) fn set_up_etcd_auth(open: &etcd::EtcdClient) -> Result<()> {
    let (root, password) = etcd::ROOT_USER;
    let (patroni, secret) = ETCD_USER;
    for args in [
        &["user", "add", &format!("{root}:{password}")][..],
        &["user", "grant-role", root, "root"],
        &["role", "add", "patroni"],
        &["role", "grant-permission", "patroni", "readwrite", "/service/", "--prefix"],
        &["user", "add", &format!("{patroni}:{secret}")],
        &["user", "grant-role", patroni, "patroni"],
        &["auth", "enable"],
    ] {
        open.etcdctl(args)?;
    }
    Ok(())
}

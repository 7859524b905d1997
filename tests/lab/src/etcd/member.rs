//! One etcd server.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{CLIENT_PORT, PEER_PORT, PLAIN_PORT, Tokens, client_url, url};
use crate::certificates::{Authority, Files};
use crate::cluster::Options;
use crate::netns::Namespace;
use crate::network::Node;
use crate::prerequisites::Tools;
use crate::process::Process;
use crate::site::Site;

/// One etcd member, which can be killed and started again with the data it had.
#[derive(Debug)]
pub struct Member {
    node: Node,
    namespace: Namespace,
    tools: Tools,
    site_dir: PathBuf,
    initial_cluster: String,
    tokens: Tokens,
    has_v2: bool,
    tls: Option<(PathBuf, Files)>,
    process: Mutex<Option<Process>>,
}

impl Member {
    pub(crate) fn new(
        node: Node,
        options: &Options,
        namespace: &Namespace,
        tools: &Tools,
        site: &Site,
        authority: &Authority,
    ) -> Result<Self> {
        site.make_dir(&format!("{node}/etcd"), None)?;
        let tls = if options.etcd_tls {
            let names = [&node.ip().to_string(), "127.0.0.1", "localhost"];
            Some((authority.certificate(), authority.issue(&format!("etcd-{node}"), &names, tools.account)?))
        } else {
            None
        };
        let initial_cluster: Vec<String> =
            options.etcd.nodes().iter().map(|n| format!("{n}={}", url(*n, PEER_PORT))).collect();
        Ok(Self {
            node,
            namespace: namespace.clone(),
            tools: tools.clone(),
            site_dir: site.dir(),
            initial_cluster: initial_cluster.join(","),
            tokens: options.etcd_tokens,
            has_v2: options.etcd_v2,
            tls,
            process: Mutex::new(None),
        })
    }

    /// Starts it, without waiting for it to serve.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut process = self.lock();
        if process.as_ref().is_some_and(Process::is_running) {
            bail!("etcd on {} runs already", self.node);
        }
        let dir = self.site_dir.join(self.node.name());
        let log = File::options().create(true).append(true).open(dir.join("etcd.log"))?;
        let (client, peer) = (client_url(self.node, self.tls.is_some()), url(self.node, PEER_PORT));
        let mut command = self.namespace.command(&self.tools.etcd);
        self.tools.set_environment(&mut command);
        command.args(["--name", self.node.name(), "--data-dir"]).arg(dir.join("etcd"));
        match &self.tls {
            None => command.args(["--listen-client-urls", &format!("{client},http://127.0.0.1:{CLIENT_PORT}")]),
            Some((authority, Files { cert, key })) => command
                .args(["--listen-client-urls", &format!("{client},{}", url(self.node, PLAIN_PORT))])
                .args(["--client-cert-auth".as_ref(), "--trusted-ca-file".as_ref(), authority.as_os_str()])
                .args(["--cert-file".as_ref(), cert.as_os_str(), "--key-file".as_ref(), key.as_os_str()]),
        };
        // Passwords that are quick to check: on a busy machine etcd's usual ones keep it busy for seconds.
        command.args(["--bcrypt-cost", "4"]);
        match self.tokens {
            Tokens::Simple(ttl) => command.args(["--auth-token", "simple", "--auth-token-ttl", &ttl.to_string()]),
            Tokens::Jwt(ttl) => {
                let secret = dir.join("etcd-token.key");
                std::fs::write(&secret, "what the tokens are signed with")?;
                let sign = format!("jwt,sign-method=HS256,ttl={ttl}s,priv-key={}", secret.display());
                command.args(["--auth-token", &sign])
            }
        };
        if self.has_v2 {
            command.arg("--enable-v2");
        }
        command.args(["--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &self.initial_cluster, "--initial-cluster-state", "new"]);
        command.stdout(log.try_clone()?).stderr(log);
        *process = Some(Process::spawn(&format!("etcd on {}", self.node), command)?);
        Ok(())
    }

    /// The node that it runs on.
    #[must_use]
    pub const fn node(&self) -> Node {
        self.node
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) {
        if let Some(process) = self.lock().take() {
            process.kill();
        }
    }

    /// Sends a signal, for example SIGSTOP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.lock().as_ref().with_context(|| format!("etcd on {} does not run", self.node))?.signal(signal)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

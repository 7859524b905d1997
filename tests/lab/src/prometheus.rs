//! A real Prometheus that scrapes the daemons from the application's machine.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::Lab;
use crate::daemon::HTTP_PORT;
use crate::http::{self, Request};
use crate::netns::Namespace;
use crate::network::Node;
use crate::prerequisites::Monitoring;
use crate::process::Process;

/// Where it listens, on loopback.
const PORT: u16 = 9090;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    namespace: Namespace,
    process: Process,
    log: PathBuf,
}

impl Prometheus {
    /// Starts it with these rules. It scrapes both daemons as the job `pgvrrp`, with the label `cluster="odoo"`, and looks at
    /// its rules, once a second. Returns when it is ready.
    ///
    /// # Errors
    /// When it is missing, or not ready in time; with the end of its log.
    pub fn start(lab: &Lab, rules: &str) -> Result<Self> {
        let programs = Monitoring::find()?;
        let dir = lab.make_dir("prometheus")?;
        let (config, log) = (dir.join("prometheus.yml"), dir.join("prometheus.log"));
        fs::write(dir.join("pgvrrp.rules.yml"), rules)?;
        fs::write(&config, configuration())?;
        let namespace = lab.namespace(Node::Client).clone();
        let mut command = namespace.command_as(&programs.prometheus, lab.tools().account);
        command.current_dir(&dir).arg(flag("config.file", &config)).arg(flag("storage.tsdb.path", &dir.join("data")));
        command.arg(format!("--web.listen-address=127.0.0.1:{PORT}"));
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let server = Self { namespace, process: Process::spawn("Prometheus", command)?, log };
        lab.wait_until("Prometheus to be ready", Duration::from_secs(20), || {
            if !server.process.is_running() {
                bail!("Prometheus has ended:\n{}", server.log());
            }
            Ok(server.ask("/-/ready").is_ok())
        })?;
        Ok(server)
    }

    /// The result of an expression, now: a list of series with `metric` and `value`.
    ///
    /// # Errors
    /// With Prometheus' words when it does not like the expression.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let answer = self.ask_json(&format!("/api/v1/query?query={}", escape(expression)))?;
        match answer["data"]["result"].as_array() {
            Some(series) if answer["data"]["resultType"] == "vector" => Ok(series.clone()),
            _ => bail!("{expression}: no vector: {answer}"),
        }
    }

    /// Every rule, as Prometheus sees it: `name`, `type`, `health`, `lastError`, and of an alert `state`.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let answer = self.ask_json("/api/v1/rules")?;
        let groups = answer["data"]["groups"].as_array().context("no groups of rules")?;
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect())
    }

    /// The alerts that fire: their names, sorted.
    ///
    /// # Errors
    /// When Prometheus does not answer.
    pub fn firing(&self) -> Result<Vec<String>> {
        let rules = self.rules()?;
        let firing = rules.iter().filter(|rule| rule["state"] == "firing");
        let mut names: Vec<_> = firing.filter_map(|rule| rule["name"].as_str().map(ToOwned::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What it has written.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn ask_json(&self, path: &str) -> Result<Value> {
        let answer: Value = serde_json::from_str(&self.ask(path)?)?;
        if answer["status"] != "success" {
            bail!("Prometheus refuses {path}: {answer}");
        }
        Ok(answer)
    }

    fn ask(&self, path: &str) -> Result<String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let answer = self.namespace.run(|| http::request(server, Request::get(path), PATIENCE))??;
        if answer.status != 200 {
            bail!("Prometheus answers {path} with {}: {}", answer.status, answer.body);
        }
        Ok(answer.body)
    }
}

fn configuration() -> String {
    let targets = Node::DATABASES.map(|node| format!("\"{}:{HTTP_PORT}\"", node.ip())).join(", ");
    format!(
        "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n\
         rule_files:\n  - pgvrrp.rules.yml\n\
         scrape_configs:\n  - job_name: pgvrrp\n    static_configs:\n      - targets: [{targets}]\n        labels:\n          cluster: odoo\n"
    )
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// A value in a URL's query.
fn escape(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_a_url_is_escaped() {
        assert_eq!(escape("a{b=~\"c\"} + 1"), "a%7Bb%3D%7E%22c%22%7D%20%2B%201");
    }
}

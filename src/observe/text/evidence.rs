//! What the node goes by, and how old that is.

use std::fmt::Result;
use std::time::Duration;

use super::{Canvas, harmless, span};
use crate::gate::evidence::Role;
use crate::node::status::{EtcdStatus, FailsafeStatus, InterfaceStatus, PostgresStatus, Status};

/// Both are asked once a second: an answer that is older than this has been waited for.
const OLD: Duration = Duration::from_secs(3);

impl Canvas {
    pub(super) fn evidence(&mut self, status: &Status) -> Result {
        status.etcd.iter().try_for_each(|etcd| self.etcd(etcd))?;
        status.postgres.iter().try_for_each(|postgres| self.postgres(postgres))?;
        status.failsafe.iter().try_for_each(|failsafe| self.failsafe(failsafe))?;
        status.interfaces.iter().try_for_each(|interface| self.interface(interface))
    }

    fn etcd(&mut self, etcd: &EtcdStatus) -> Result {
        match (&etcd.endpoint, etcd.age) {
            (Some(endpoint), Some(age)) => {
                let leader = match (&etcd.leader, etcd.leader_is_me) {
                    (_, true) => "the leader key is mine".to_owned(),
                    (Some(leader), false) => format!("{} holds the leader key", harmless(leader)),
                    (None, false) => "nobody holds the leader key".to_owned(),
                };
                let asked = self.asked(age);
                self.line("etcd", &format!("{leader} ({endpoint}, {asked})"))?;
            }
            _ => self.warn("etcd", "has not answered yet")?,
        }
        if let Some(error) = &etcd.error {
            self.warn("etcd error", &harmless(error))?;
        }
        let Some(patroni) = &etcd.patroni else { return Ok(()) };
        let paused = if patroni.paused { ", paused" } else { "" };
        let failsafe = if patroni.failsafe_mode { ", failsafe mode" } else { "" };
        let standby = if patroni.standby_cluster { ", standby cluster" } else { "" };
        let times =
            [patroni.ttl, patroni.loop_wait, patroni.retry_timeout].map(|time| time.as_secs().to_string()).join("/");
        self.line("patroni", &format!("ttl/loop_wait/retry_timeout {times}{paused}{failsafe}{standby}"))
    }

    fn postgres(&mut self, postgres: &PostgresStatus) -> Result {
        let Some(role) = postgres.role else { return self.warn("postgresql", "has not been asked yet") };
        let asked = postgres.age.map(|age| self.asked(age)).unwrap_or_default();
        let text = format!("{}: {} ({asked})", role.as_str(), harmless(&postgres.detail));
        match role {
            Role::Primary | Role::Standby => self.line("postgresql", &text),
            Role::Down | Role::Unknown => self.warn("postgresql", &text),
        }
    }

    fn failsafe(&mut self, failsafe: &FailsafeStatus) -> Result {
        let FailsafeStatus { url, age, primary, active, error } = failsafe;
        let asked = age.map(|age| format!(", {}", self.asked(age))).unwrap_or_default();
        let said = match (error, asked.is_empty()) {
            (Some(error), _) => harmless(error),
            (None, true) => "has not answered yet".to_owned(),
            (None, false) => format!(
                "{}, {}",
                if *active { "active" } else { "not active" },
                if *primary { "this node is the primary" } else { "this node is not the primary" }
            ),
        };
        self.line("failsafe", &format!("{said} ({}{asked})", harmless(url)))
    }

    fn interface(&mut self, interface: &InterfaceStatus) -> Result {
        let state = match (interface.index, interface.up) {
            (None, _) => "does not exist",
            (_, true) => "up",
            (_, false) => "down",
        };
        let sources: Vec<_> = interface.sources.iter().map(|address| format!(", {address}")).collect();
        let text = format!("{} {state}{}", interface.name, sources.concat());
        if interface.up { self.line("interface", &text) } else { self.warn("interface", &text) }
    }

    fn asked(&self, age: Duration) -> String {
        let text = format!("asked {} ago", span(age));
        if age > OLD { self.paint.warn(&text) } else { text }
    }
}

//! How each kind of fault is done to the cluster.

use std::ffi::OsStr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::etcd::Member;
use lab::http::Request;
use lab::patroni::LEADER_KEY;
use lab::process::Process;
use lab::{Direction, Node, Time, Traffic, VIP};
use nix::sys::signal::Signal::{SIGKILL, SIGSTOP};
use serde_json::json;

use super::judge::ByHand;
use super::plan::{Fault, Kind, Target};
use super::stage::{Part, Remedy, Stage};

/// How many busy loops starve a machine, per processor.
const GREED: usize = 3;

impl Stage {
    /// Does it. False if that is not possible at the moment, since another fault is in the way.
    ///
    /// # Errors
    /// When the lab itself fails.
    pub(crate) fn strike(&mut self, fault: &Fault) -> Result<bool> {
        let holder = self.holder();
        let node = if fault.target == Target::Holder { holder } else { holder.other() };
        match fault.kind {
            Kind::CutFromEtcd => self.cut(fault, node, Traffic::Etcd, Direction::Both),
            Kind::CutTowardsEtcd => self.cut(fault, node, Traffic::Etcd, Direction::Out),
            Kind::CutFromEtcdOneWay => self.cut(fault, node, Traffic::Etcd, Direction::In),
            Kind::CutFromEtcdMember => {
                let members = self.lab.members();
                // What stays on the machine is not cut.
                let others: Vec<_> = members.iter().map(Member::node).filter(|member| *member != node).collect();
                let member = others[fault.variant % others.len()];
                self.cut(fault, node, Traffic::EtcdMember(member), Direction::Both)
            }
            Kind::CutFromPeer => self.cut(fault, node, Traffic::Peer(node.other()), Direction::Both),
            Kind::CutFromPeerOneWay => self.cut(fault, node, Traffic::Peer(node.other()), Direction::In),
            Kind::CutFromClient => self.cut(fault, node, Traffic::Peer(Node::Client), Direction::Both),
            Kind::CutVrrp => {
                let direction = [Direction::In, Direction::Out, Direction::Both][fault.variant % 3];
                self.cut(fault, node, Traffic::Vrrp, direction)
            }
            Kind::CutRestApi => self.cut(fault, node, Traffic::Rest, Direction::Both),
            Kind::CutCable => self.cut(fault, node, Traffic::All, Direction::Both),
            Kind::DaemonStopped => self.stop_daemon(fault, node),
            Kind::DaemonKilled => self.kill_daemon(fault, node),
            Kind::DaemonRestarted => self.restart_daemon(fault, node),
            Kind::DaemonHandedOver => self.hand_over(fault, node),
            Kind::PostgresStopped => self.stop_postgres(fault, node),
            Kind::PostgresKilled => self.kill_postgres(fault, node),
            Kind::SessionEnded => self.end_session(fault, node),
            Kind::PatroniStopped | Kind::PatroniKilled => self.hinder_patroni(fault, node),
            Kind::EtcdStopped | Kind::EtcdKilled => self.hinder_etcd(fault),
            Kind::NodeKilled => self.kill_node(fault, node),
            Kind::Starvation => self.starve(fault),
            Kind::Switchover => self.switch_over(fault),
            Kind::PostgresRestarted => self.restart_postgres(fault, node),
            Kind::Paused => self.patch(fault, &json!({"pause": true}), json!({"pause": null})),
            Kind::TtlChanged => {
                let ttl = 20 + fault.variant % 41;
                let usual = self.lab.options().timing.ttl;
                self.patch(fault, &json!({"ttl": ttl}), json!({"ttl": usual}))
            }
            Kind::LeaderKeyDeleted => {
                let from = Time::now();
                let deleted = self.lab.etcd().delete(LEADER_KEY).is_ok();
                deleted.then(|| self.done(fault.kind, "", from));
                Ok(deleted)
            }
            Kind::LinkDown => self.take_link_down(fault, node),
            Kind::VipDeleted => self.delete_vip(fault, holder),
            Kind::VipAdded => self.add_vip(fault, holder.other()),
            Kind::ClockStepped => self.step_clock(fault),
        }
    }

    fn cut(&mut self, fault: &Fault, node: Node, traffic: Traffic, direction: Direction) -> Result<bool> {
        let part = Part::Cut(node, traffic, direction);
        if !self.are_whole(&[part]) {
            return Ok(false);
        }
        let from = Time::now();
        self.lab.cut(node, traffic, direction)?;
        self.broke(fault.kind, from, fault.length, vec![(part, Remedy::Uncut)]);
        Ok(true)
    }

    fn stop_daemon(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        if !self.are_whole(&[Part::Daemon(node)]) {
            return Ok(false);
        }
        let from = self.daemon(node).freeze()?;
        self.is_out(node, from);
        self.broke(fault.kind, from, fault.length, vec![(Part::Daemon(node), Remedy::Continue)]);
        Ok(true)
    }

    fn kill_daemon(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        if !self.are_whole(&[Part::Daemon(node)]) {
            return Ok(false);
        }
        let from = self.daemon(node).kill();
        self.is_out(node, from);
        self.broke(fault.kind, from, fault.length, vec![(Part::Daemon(node), Remedy::Start)]);
        Ok(true)
    }

    fn restart_daemon(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        if !self.are_whole(&[Part::Daemon(node)]) {
            return Ok(false);
        }
        let from = Time::now();
        self.daemon(node).terminate()?;
        self.is_out(node, from);
        self.start_daemon(node)?;
        self.done(fault.kind, node, from);
        Ok(true)
    }

    /// `pgvrrp handover`, with this program as the supervisor. Refused where the next daemon could not go on.
    fn hand_over(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        if !self.are_whole(&[Part::Daemon(node)]) {
            return Ok(false);
        }
        let from = Time::now();
        let (namespace, binary) = (self.lab.namespace(node).clone(), self.binary().to_owned());
        let config = self.daemon(node).config_path().to_owned();
        let asker = thread::spawn(move || {
            let args: [&OsStr; 3] = ["handover".as_ref(), "--config".as_ref(), config.as_ref()];
            namespace.command(binary).args(args).output()
        });
        let ended = self.daemon(node).process().wait(Duration::from_secs(3)).is_ok();
        if ended {
            self.is_out(node, from);
            self.start_daemon(node)?;
            self.done(fault.kind, node, from);
        }
        asker.join().ok().context("the asker panicked")??;
        Ok(ended)
    }

    fn stop_postgres(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let database = self.lab.database(node);
        if !self.are_whole(&[Part::Postgres(node)]) || database.postmaster_pid().is_none() {
            return Ok(false);
        }
        let from = Time::now();
        database.signal_postgres(SIGSTOP)?;
        self.broke(fault.kind, from, fault.length, vec![(Part::Postgres(node), Remedy::Continue)]);
        Ok(true)
    }

    fn kill_postgres(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let from = Time::now();
        let killed = self.lab.database(node).signal_postgres(SIGKILL).is_ok();
        killed.then(|| self.done(fault.kind, node, from));
        Ok(killed)
    }

    fn end_session(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        // psql would wait for as long as PostgreSQL hangs.
        if !self.are_whole(&[Part::Postgres(node)]) {
            return Ok(false);
        }
        let from = Time::now();
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'pgvrrp'";
        let ended = self.lab.database(node).sql(end).is_ok_and(|count| count != "0");
        ended.then(|| self.done(fault.kind, node, from));
        Ok(ended)
    }

    fn hinder_patroni(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let part = Part::Patroni(node);
        let from = Time::now();
        if !self.are_whole(&[part]) || self.lab.database(node).patroni_pid().is_none() {
            return Ok(false);
        }
        let remedy = if fault.kind == Kind::PatroniStopped {
            self.lab.database(node).signal_patroni(SIGSTOP)?;
            Remedy::Continue
        } else {
            self.lab.database(node).kill_patroni();
            Remedy::Start
        };
        self.broke(fault.kind, from, fault.length, vec![(part, remedy)]);
        Ok(true)
    }

    /// The leader, as long as one is known. Never a second member: that would be an outage and nothing more.
    fn hinder_etcd(&mut self, fault: &Fault) -> Result<bool> {
        if self.is_any_etcd_broken() {
            return Ok(false);
        }
        let members = self.lab.members();
        let leader = self.lab.etcd_leader();
        let member = leader.unwrap_or_else(|| &members[fault.variant % members.len()]);
        let (node, from) = (member.node(), Time::now());
        let remedy = if fault.kind == Kind::EtcdStopped {
            member.signal(SIGSTOP)?;
            Remedy::Continue
        } else {
            member.kill();
            Remedy::Start
        };
        self.broke(fault.kind, from, fault.length, vec![(Part::Etcd(node), remedy)]);
        Ok(true)
    }

    /// PostgreSQL, Patroni, the daemon and the etcd member at once. What only a kernel does goes on: the address has its lifetime.
    fn kill_node(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let parts = [Part::Daemon(node), Part::Patroni(node), Part::Postgres(node)];
        if !self.are_whole(&parts) {
            return Ok(false);
        }
        let from = self.daemon(node).kill();
        self.is_out(node, from);
        // Patroni first, or it would see its child die. PostgreSQL may be down already.
        let _ = self.lab.database(node).kill_all();
        let mut remedies = vec![(Part::Daemon(node), Remedy::Start), (Part::Patroni(node), Remedy::Start)];
        let member = self.lab.members().iter().find(|member| member.node() == node);
        if let Some(member) = member.filter(|_| !self.is_any_etcd_broken()) {
            member.kill();
            remedies.push((Part::Etcd(node), Remedy::Start));
        }
        self.broke(fault.kind, from, fault.length, remedies);
        Ok(true)
    }

    fn starve(&mut self, fault: &Fault) -> Result<bool> {
        if !self.are_whole(&[Part::Processors]) {
            return Ok(false);
        }
        let from = Time::now();
        let greedy = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            Process::spawn("a busy loop", command)
        };
        let count = GREED * thread::available_parallelism().map_or(1, usize::from);
        let loops = (0..count).map(|_| greedy()).collect::<Result<Vec<_>>>()?;
        self.broke(fault.kind, from, fault.length, vec![(Part::Processors, Remedy::End(loops))]);
        Ok(true)
    }

    fn switch_over(&mut self, fault: &Fault) -> Result<bool> {
        let Ok(Some(leader)) = self.lab.leader() else { return Ok(false) };
        let from = Time::now();
        // Patroni may refuse, for a while or for ever: that is its right.
        self.ask(move |lab| drop(lab.switchover(leader.other())));
        self.done(fault.kind, format!("to {}", leader.other()), from);
        Ok(true)
    }

    fn restart_postgres(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let from = Time::now();
        self.ask(move |lab| drop(lab.database(node).rest(Request::post("/restart", "{}"), Duration::from_secs(30))));
        self.done(fault.kind, node, from);
        Ok(true)
    }

    fn patch(&mut self, fault: &Fault, change: &serde_json::Value, back: serde_json::Value) -> Result<bool> {
        let from = Time::now();
        if !self.are_whole(&[Part::Config]) || self.lab.patch_config(change).is_err() {
            return Ok(false);
        }
        self.broke(fault.kind, from, fault.length, vec![(Part::Config, Remedy::Patch(back))]);
        Ok(true)
    }

    fn take_link_down(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        if !self.are_whole(&[Part::Link(node)]) {
            return Ok(false);
        }
        let from = Time::now();
        self.lab.namespace(node).ip(&["link", "set", "eth0", "down"])?;
        self.broke(fault.kind, from, fault.length, vec![(Part::Link(node), Remedy::Up)]);
        Ok(true)
    }

    fn delete_vip(&mut self, fault: &Fault, holder: Node) -> Result<bool> {
        let from = Time::now();
        let address = format!("{VIP}/32");
        let deleted = self.lab.namespace(holder).ip(&["address", "del", &address, "dev", "eth0"]).is_ok();
        deleted.then(|| self.done(fault.kind, holder, from));
        Ok(deleted)
    }

    /// Where a daemon is there to remove it, and where it is not on its way to by right.
    fn add_vip(&mut self, fault: &Fault, node: Node) -> Result<bool> {
        let is_free = self.lab.leader().is_ok_and(|leader| leader == Some(node.other()));
        if !self.are_whole(&[Part::Daemon(node)]) || !is_free {
            return Ok(false);
        }
        let (address, device) = [("/32", "eth0"), ("/24", "eth0"), ("/32", "lo")][fault.variant % 3];
        let from = Time::now();
        let added = self.lab.namespace(node).ip(&["address", "add", &format!("{VIP}{address}"), "dev", device]).is_ok();
        if added {
            self.by_hand.push(ByHand { node, from, to: Time::now() });
            self.done(fault.kind, node, from);
        }
        Ok(added)
    }

    fn step_clock(&mut self, fault: &Fault) -> Result<bool> {
        if !self.are_whole(&[Part::Clock]) {
            return Ok(false);
        }
        let size = 1 + (fault.variant / 2 % 30) as i64;
        let seconds = if fault.variant.is_multiple_of(2) { size } else { -size };
        let from = Time::now();
        lab::clock::step_realtime(seconds)?;
        self.broke(fault.kind, from, fault.length, vec![(Part::Clock, Remedy::StepBack(-seconds))]);
        Ok(true)
    }
}

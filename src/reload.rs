//! Another configuration for a daemon that runs: read, looked at as at start, and taken as a whole or not at all.
//!
//! What the daemon is at start (who it is, of which cluster, by which fence) does not change at run time: that takes a handover,
//! which moves no VIP either.

mod trial;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use pgvrrp_config::{Cluster, Config, Vip};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::clients::Book;
use crate::drained;
use crate::evidence::etcd::keys::Keys;
use crate::evidence::{etcd, postgres};
use crate::failure::Failure;
use crate::gate::evidence::Role;
use crate::gate::policy::Fence;
use crate::hooks;
use crate::node::status::Status;
use crate::node::{Follows, Settings, VipSettings, lock_address};
use crate::observe::logging;
use crate::reactor::Command;
use crate::requirements;
use crate::settings::{client_addresses, etcd_keys, etcd_settings, postgres_settings, reloaded};
use crate::vip_lock::{self, VipLock};

/// Somebody wants the configuration to be read again, and to know what came of it: a line for each thing that changes, or why
/// nothing does.
pub(crate) type Wanted = oneshot::Sender<Result<String, String>>;

/// What is in force, and who has to know of another.
#[derive(Debug)]
pub(crate) struct Reloader {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    /// By address.
    pub(crate) vip_locks: BTreeMap<IpAddr, VipLock>,
    /// The daemon only observes.
    pub(crate) observing: bool,
    pub(crate) keys: watch::Sender<Arc<Keys>>,
    /// Whom to ask; `None` where nothing is asked.
    pub(crate) evidence: Option<Evidence>,
    pub(crate) http: watch::Sender<Option<SocketAddr>>,
    pub(crate) status: watch::Receiver<Arc<Status>>,
    pub(crate) clients: watch::Sender<Vec<Vec<IpAddr>>>,
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) hooks: watch::Sender<hooks::Settings>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// How long whoever wants it has to wait at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Those who ask etcd and PostgreSQL.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) etcd: watch::Sender<etcd::Settings>,
    pub(crate) postgres: watch::Sender<postgres::Settings>,
}

/// Asks for it, and waits.
///
/// # Errors
/// Why the configuration stays as it was.
pub(crate) async fn ask(reloads: &mpsc::Sender<Wanted>) -> Result<String, String> {
    let (answer, answered) = oneshot::channel();
    let ending = |_| "the daemon is ending".to_owned();
    reloads.send(answer).await.map_err(|_| ending(()))?;
    answered.await.map_err(|_| ending(()))?
}

impl Reloader {
    /// Serves who asks, and SIGHUP, for as long as the daemon lives.
    pub(crate) async fn serve(mut self, mut wanted: mpsc::Receiver<Wanted>) {
        let mut hang_up = match signal(SignalKind::hangup()) {
            Ok(hang_up) => hang_up,
            Err(error) => return warn!(%error, "no handler for SIGHUP: the configuration cannot be read again"),
        };
        loop {
            let answer = tokio::select! {
                Some(answer) = wanted.recv() => Some(answer),
                Some(()) = hang_up.recv() => None,
                else => return,
            };
            let outcome = self.reload().await;
            match &outcome {
                Ok(what) => info!("the configuration was read again: {}", what.trim_end().replace('\n', "; ")),
                Err(why) => {
                    let _ = self.commands.send(Command::ReloadRefused(why.clone())).await;
                }
            }
            // Whoever asked may have gone.
            let _ = answer.map(|answer| answer.send(outcome));
        }
    }

    async fn reload(&mut self) -> Result<String, String> {
        if self.observing {
            return Err("a daemon that only observes reads its configuration at its start alone".to_owned());
        }
        let path = self.path.clone();
        let loaded = spawn_blocking(move || Config::load(&path)).await;
        let config = loaded.map_err(|error| error.to_string())?.map_err(|problems| problems.brief().to_owned())?;
        requirements::check(&config).map_err(|failure| failure.to_string())?;
        let fixed = fixed(&self.config, &config);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            return Err(format!("{keys}: another value takes `pgvrrp handover`, which moves no VIP"));
        }
        // Never borrowed for longer: the protocol thread would wait for it.
        let status = self.status.borrow().clone();
        trial::try_out(&self.config, &config, &status).await?;
        let drained = drained::read(&config.runtime_dir);
        let drained = drained.map_err(|error| format!("{}: {error}", drained::path(&config.runtime_dir).display()))?;
        let settings = reloaded(&self.settings, &config, &drained);
        can_bind(&self.settings, &settings, &status)?;
        let what = changes(&self.settings, &settings) + policy_change(&self.settings, &settings);
        let what = what + other_changes(&self.config, &config).as_str() + &other_locks(&self.settings, &settings);
        if what.is_empty() {
            // The node is told even so: what it refused before is not what the file has any more.
            self.tell(settings).await?;
            return Ok("nothing has changed\n".to_owned());
        }
        self.lock(&config).map_err(|failure| failure.to_string())?;
        // Those who ask for a VIP's evidence know of it before the node does.
        if let Some(cluster) = &config.cluster {
            self.keys.send_replace(Arc::new(etcd_keys(&settings, cluster)));
            self.tell_who_to_ask(&config, cluster)?;
        }
        self.http.send_if_modified(|listen| std::mem::replace(listen, config.http.listen) != *listen);
        let listed = client_addresses(&settings);
        self.book.lock().unwrap_or_else(PoisonError::into_inner).serve(&listed);
        self.clients.send_replace(listed);
        self.hooks.send_replace(hooks::Settings::of(&config));
        if self.config.log.level != config.log.level {
            logging::configure_level(config.log.level);
        }
        self.config = config;
        self.tell(settings).await?;
        Ok(what)
    }

    fn tell_who_to_ask(&self, config: &Config, cluster: &Cluster) -> Result<(), String> {
        let (Some(evidence), Some(before)) = (&self.evidence, &self.config.cluster) else { return Ok(()) };
        let postgres = postgres_settings(cluster)?;
        if before.etcd != cluster.etcd {
            evidence.etcd.send_replace(etcd_settings(config, cluster));
        }
        if before.postgres != cluster.postgres {
            evidence.postgres.send_replace(postgres);
        }
        Ok(())
    }

    async fn tell(&mut self, settings: Settings) -> Result<(), String> {
        self.settings = settings.clone();
        let sent = self.commands.send(Command::Reload(Box::new(settings))).await;
        sent.map_err(|_| "the daemon is ending".to_owned())
    }

    /// Makes sure that no other daemon of this host serves what is new. The locks of what is on its way out stay until the next
    /// time.
    fn lock(&mut self, config: &Config) -> Result<(), Failure> {
        let addresses = |config: &Config| config.vips.iter().flat_map(|vip| vip.addresses.clone()).collect::<Vec<_>>();
        let (now, before) = (addresses(config), addresses(&self.config));
        let new = now.iter().map(IpNet::addr).filter(|address| !self.vip_locks.contains_key(address));
        let taken = vip_lock::take_all(new)?;
        let either = |address: &IpAddr| now.iter().chain(&before).any(|net| net.addr() == *address);
        self.vip_locks.retain(|address, _| either(address));
        self.vip_locks.extend(taken);
        Ok(())
    }
}

/// What differs and is fixed while the daemon lives.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut differing = vec![
        ("node", old.node != new.node),
        ("runtime_dir", old.runtime_dir != new.runtime_dir),
        ("[log] format", old.log.format != new.log.format),
    ];
    match (&old.cluster, &new.cluster) {
        (Some(old), Some(new)) => differing.extend([
            ("fence", old.fence != new.fence),
            ("[patroni]", old.patroni != new.patroni),
            ("[clients]", old.clients != new.clients),
        ]),
        (old, new) => {
            differing.push(("the first or the last VIP that follows the primary", old.is_some() != new.is_some()));
        }
    }
    differing.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

/// An address that comes to a VIP that is here is bound at once, which takes PostgreSQL's "primary"; without, it would make the
/// whole VIP leave, where what is bound may stay (P6).
fn can_bind(old: &Settings, new: &Settings, status: &Status) -> Result<(), String> {
    let Some(postgres) = status.postgres.as_ref().filter(|postgres| postgres.role != Some(Role::Primary)) else {
        return Ok(());
    };
    let held = |vip: &VipSettings| status.vips.iter().any(|known| known.held && known.name == vip.name);
    for (old, new) in old.vips.iter().zip(&new.vips).filter(|(_, new)| !new.retired && held(new)) {
        let added = new.addresses.iter().find(|net| new.follows == Follows::Primary && !old.addresses.contains(net));
        if let Some(added) = added {
            return Err(format!(
                "{}: {} can be added when PostgreSQL says that it is primary; now all of the VIP would leave ({})",
                new.name,
                added.addr(),
                postgres.detail
            ));
        }
    }
    Ok(())
}

/// What becomes of each VIP that does not stay as it is, a line each.
fn changes(old: &Settings, new: &Settings) -> String {
    let added = new.vips.get(old.vips.len()..).unwrap_or_default();
    let begins_anew = |vip: &VipSettings| added.iter().any(|new| new.name == vip.name);
    let mut lines = Vec::new();
    for (old, new) in old.vips.iter().zip(&new.vips) {
        let name = &new.name;
        match (old.retired, new.retired) {
            (false, true) if begins_anew(new) => lines.push(format!("{name}: leaves, and begins anew elsewhere\n")),
            (false, true) => lines.push(format!("{name}: removed\n")),
            (false, false) if VipSettings { former: Vec::new(), ..old.clone() } != forgetful(new, old.drained) => {
                lines.push(format!("{name}: changed{}\n", moved(old, new)));
            }
            _ => {}
        }
    }
    let was_there = |vip: &VipSettings| old.vips.iter().any(|old| !old.retired && old.name == vip.name);
    lines.extend(added.iter().filter(|vip| !was_there(vip)).map(|vip| format!("{}: added\n", vip.name)));
    lines.concat()
}

/// The addresses that another lock fences from now on: nodes that still have the former one are not kept away by it.
fn other_locks(old: &Settings, new: &Settings) -> String {
    let fences = |settings: &Settings| -> Vec<(IpAddr, Option<IpAddr>)> {
        let vips = settings.vips.iter().filter(|vip| !vip.retired && vip.follows == Follows::Primary);
        vips.flat_map(|vip| vip.addresses.iter().map(|net| (net.addr(), lock_address(&vip.addresses)))).collect()
    };
    if new.policy.fence == Fence::LeaderKey {
        return String::new();
    }
    let old = fences(old);
    let differs = |(address, lock): &(IpAddr, Option<IpAddr>)| old.iter().any(|(a, l)| a == address && l != lock);
    let line = |(address, _)| {
        format!(
            "{address}: has another lock now, which keeps no node away that still has the former one: change an address's \
             lock by taking it out on every node first\n"
        )
    };
    fences(new).into_iter().filter(differs).map(line).collect()
}

/// As the configuration has it: neither what was there before nor what is kept away by hand is in that.
fn forgetful(vip: &VipSettings, drained: bool) -> VipSettings {
    VipSettings { former: Vec::new(), drained, ..vip.clone() }
}

/// The addresses that come and go.
fn moved(old: &VipSettings, new: &VipSettings) -> String {
    let only = |a: &VipSettings, b: &VipSettings, sign| {
        let only = a.addresses.iter().filter(|net| !b.addresses.contains(net));
        only.map(|net| format!(" {sign}{}", net.addr())).collect::<String>()
    };
    only(new, old, '+') + &only(old, new, '-')
}

/// What is of no decision.
fn other_changes(old: &Config, new: &Config) -> String {
    let differs = |vip: &Vip| new.vips.iter().any(|new| new.name == vip.name && new.hooks != vip.hooks);
    let hooks = old.hook_timeout != new.hook_timeout || old.vips.iter().any(differs);
    let level = old.log.level != new.log.level;
    let asked = old.cluster.as_ref().zip(new.cluster.as_ref());
    let lines = [
        (asked.is_some_and(|(old, new)| old.etcd != new.etcd), "[etcd]: changed\n".to_owned()),
        (asked.is_some_and(|(old, new)| old.postgres != new.postgres), "[postgres]: changed\n".to_owned()),
        (old.http != new.http, "[http]: changed\n".to_owned()),
        (hooks, "hooks: changed\n".to_owned()),
        (level, format!("[log] level: {}\n", new.log.level.as_str())),
    ];
    lines.into_iter().filter(|(is_new, _)| *is_new).map(|(_, line)| line).collect()
}

fn policy_change(old: &Settings, new: &Settings) -> &'static str {
    if old.policy == new.policy { "" } else { "[policy]: changed\n" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use vrrp::time::Instant;

    use crate::node::status::PostgresStatus;
    use crate::node::{Identity, Node};
    use crate::settings::node_settings;

    const BASE: &str = "
        node = \"db1\"
        interface = \"eth0\"
        [patroni]
        scope = \"odoo\"
        [etcd]
        endpoints = [\"http://10.0.20.13:2379\"]
    ";
    const FIRST: &str = "
        [[vip]]
        addresses = [\"10.0.20.155\", \"10.0.20.156\"]
        virtual_router_id = 155
        name = \"odoo\"
    ";
    const PLAIN: &str = "
        [[vip]]
        address = \"10.0.20.200\"
        virtual_router_id = 20
        follows = \"none\"
    ";

    fn config(parts: &[&str]) -> Config {
        Config::parse(Path::new("pgvrrp.toml"), &parts.concat(), Path::new("/")).unwrap()
    }

    fn started(config: &Config) -> Settings {
        let me = Identity { member: "db1".to_owned(), boot_id: "b".to_owned(), incarnation: "i".to_owned() };
        node_settings(config, me, &BTreeSet::new())
    }

    /// From the first to the second: what is said of it, and what it is then.
    fn from(old: &Settings, new: &Config) -> (String, Settings) {
        let settings = reloaded(old, new, &BTreeSet::new());
        (changes(old, &settings) + policy_change(old, &settings), settings)
    }

    #[test]
    fn the_same_configuration_changes_nothing_in_whatever_order() {
        let old = started(&config(&[BASE, FIRST, PLAIN]));
        let (what, new) = from(&old, &config(&[BASE, PLAIN, FIRST]));
        assert_eq!((what.as_str(), &new), ("", &old));
    }

    #[test]
    fn addresses_come_and_go_in_place_unless_the_lock_is_called_after_them() {
        let old = started(&config(&[BASE, FIRST]));
        let other = FIRST.replace("10.0.20.156", "10.0.20.157");
        let (what, new) = from(&old, &config(&[BASE, &other]));
        assert_eq!(what, "odoo: changed +10.0.20.157 -10.0.20.156\n");
        assert_eq!(new.vips.len(), 1);
        assert_eq!(new.vips[0].former, ["10.0.20.156/32".parse().unwrap()]);
        let (what, back) = from(&new, &config(&[BASE, FIRST]));
        assert_eq!(what, "odoo: changed +10.0.20.156 -10.0.20.157\n");
        assert_eq!(back.vips[0].former, ["10.0.20.157/32".parse().unwrap()]);
        let lower = FIRST.replace("10.0.20.156", "10.0.20.154");
        let (what, new) = from(&old, &config(&[BASE, &lower]));
        assert_eq!(what, "odoo: leaves, and begins anew elsewhere\n");
        assert_eq!(new.vips.iter().map(|vip| vip.retired).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn nothing_is_added_to_what_is_held_while_postgresql_says_nothing() {
        let old = started(&config(&[BASE, FIRST, PLAIN]));
        let now = Instant::from_millis(1);
        let mut status = Node::new(old.clone(), now).status(now);
        status.vips.iter_mut().for_each(|vip| vip.held = true);
        let tried = |status: &Status, parts: &[&str]| can_bind(&old, &from(&old, &config(parts)).1, status);
        let more = FIRST.replace("\"]", "\", \"10.0.20.157\"]");
        let less = FIRST.replace(", \"10.0.20.156\"", "");
        let plain = PLAIN.replace("address = \"10.0.20.200\"", "addresses = [\"10.0.20.200\", \"10.0.20.201\"]");
        for (role, refused) in [(Role::Primary, false), (Role::Unknown, true), (Role::Down, true)] {
            status.postgres = Some(PostgresStatus { role: Some(role), ..PostgresStatus::default() });
            assert_eq!(tried(&status, &[BASE, &more, PLAIN]).is_err(), refused, "{role:?}");
            assert_eq!(tried(&status, &[BASE, &less, PLAIN]), Ok(()));
            assert_eq!(
                tried(&status, &[BASE, FIRST, &plain, "name = \"10.0.20.200\"\n"]),
                Ok(()),
                "no evidence of PostgreSQL's"
            );
        }
        status.vips.iter_mut().for_each(|vip| vip.held = false);
        assert_eq!(tried(&status, &[BASE, &more, PLAIN]), Ok(()), "it is not here");
    }

    #[test]
    fn addresses_whose_lock_is_another_are_named() {
        let old = started(&config(&[BASE, FIRST]));
        let named = |parts: &[&str]| {
            let lines = other_locks(&old, &from(&old, &config(parts)).1);
            lines.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let second = PLAIN.replace("10.0.20.200", "10.0.20.156").replace("none", "primary");
        let alone = FIRST.replace(", \"10.0.20.156\"", "");
        assert_eq!(named(&[BASE, &alone, &second]), ["10.0.20.156"]);
        assert_eq!(named(&[BASE, &FIRST.replace("10.0.20.156", "10.0.20.154")]), ["10.0.20.155"]);
        assert_eq!(named(&[BASE, &FIRST.replace("10.0.20.156", "10.0.20.157")]), [""; 0], "its lock is the same");
        assert_eq!(named(&[BASE, &FIRST.replace("router_id = 155", "router_id = 156")]), [""; 0]);
        let third = PLAIN.replace("none", "primary");
        assert_eq!(named(&[BASE, FIRST, &third]), [""; 0], "new here, it has no former one");
    }

    #[test]
    fn vips_come_and_go_and_keep_their_numbers() {
        let old = started(&config(&[BASE, FIRST]));
        let (what, both) = from(&old, &config(&[BASE, PLAIN, FIRST]));
        assert_eq!((what.as_str(), both.vips[0].name.as_str()), ("10.0.20.200: added\n", "odoo"));
        let (what, one) = from(&both, &config(&[BASE, FIRST]));
        assert_eq!((what.as_str(), one.vips.len()), ("10.0.20.200: removed\n", 2));
        let (what, again) = from(&one, &config(&[BASE, FIRST, PLAIN]));
        assert_eq!(
            (what.as_str(), again.vips.len()),
            ("10.0.20.200: added\n", 3),
            "the former one may still be leaving"
        );
        let keys = etcd_keys(&again, config(&[BASE, FIRST]).cluster.as_ref().unwrap());
        assert_eq!(keys.locks, [Some("/pgvrrp/v1/service/odoo/10.0.20.155".to_owned()), None, None]);
    }

    /// It would be a stray of the one and the other's own.
    #[test]
    fn an_address_that_goes_from_one_to_another_is_the_others() {
        let old = started(&config(&[BASE, FIRST]));
        let first = FIRST.replace(", \"10.0.20.156\"", "");
        let second = PLAIN.replace("10.0.20.200", "10.0.20.156");
        let (what, new) = from(&old, &config(&[BASE, &first, &second]));
        assert_eq!(what, "odoo: changed -10.0.20.156\n10.0.20.156: added\n");
        assert!(new.vips[0].former.is_empty());
    }

    #[test]
    fn another_place_is_another_vip() {
        let old = started(&config(&[BASE, FIRST, PLAIN]));
        for (before, after) in [("= 20\n", "= 21\n"), ("= 20\n", "= 20\n interface = \"eth1\"\n")] {
            let (what, _) = from(&old, &config(&[BASE, FIRST, &PLAIN.replacen(before, after, 1)]));
            assert_eq!(what, "10.0.20.200: leaves, and begins anew elsewhere\n");
        }
        let (what, new) = from(&old, &config(&[BASE, FIRST, PLAIN, "priority = 7\n"]));
        assert_eq!((what.as_str(), new.vips.len()), ("10.0.20.200: changed\n", 2));
        let (what, _) = from(&old, &config(&[BASE, FIRST, "[policy]\npostgres_down = \"hold\"\n"]));
        assert_eq!(what, "10.0.20.200: removed\n[policy]: changed\n");
    }

    #[test]
    fn hooks_and_the_level_are_said_and_nothing_of_a_vip_that_is_new() {
        let old = config(&[BASE, FIRST]);
        let hooked = config(&[BASE, FIRST, "on_active = [\"/bin/true\"]\n"]);
        assert_eq!(other_changes(&old, &hooked), "hooks: changed\n");
        let debug = config(&[BASE, FIRST, PLAIN, "on_active = [\"/bin/true\"]\n", "[log]\nlevel = \"debug\"\n"]);
        assert_eq!(other_changes(&old, &debug), "[log] level: debug\n");
        assert_eq!(other_changes(&old, &old), "");
        let asked = "[postgres]\nconnection = \"host=/run/pg\"\n[http]\nlisten = \"off\"\n";
        let asked = config(&[&BASE.replace("2379", "2380"), FIRST, asked]);
        assert_eq!(other_changes(&old, &asked), "[etcd]: changed\n[postgres]: changed\n[http]: changed\n");
    }

    #[test]
    fn what_the_daemon_is_made_of_is_fixed() {
        let old = config(&[BASE, FIRST]);
        assert_eq!(fixed(&old, &config(&[BASE, FIRST, PLAIN])), [""; 0]);
        assert_eq!(fixed(&old, &config(&[&BASE.replace("db1", "db2"), FIRST])), ["node"]);
        assert_eq!(fixed(&old, &config(&["fence = \"leader-key\"\n", BASE, FIRST])), ["fence"]);
        assert_eq!(fixed(&old, &config(&[BASE, FIRST, "[clients]\nport = 9999\n"])), ["[clients]"]);
    }
}

//! What a line about a VIP is founded on, in a few words: what was answered, by whom, and how old that is.

use std::fmt::Write;

use crate::node::status::{EtcdStatus, FailsafeStatus, FollowsLabel, LockStatus, PostgresStatus, Status, VipStatus};
use crate::words::{harmless, span};

/// How many of the routers that were heard are named.
const PEERS: usize = 3;

/// The evidence on the first VIP of a picture.
pub(crate) fn of(status: &Status) -> String {
    let Some(vip) = status.vips.first() else { return String::new() };
    let parts = match vip.follows {
        FollowsLabel::Primary => vec![
            status.etcd.as_ref().map(etcd),
            status.postgres.as_ref().map(postgres),
            status.failsafe.as_ref().map(failsafe),
            vip.lock.as_ref().map(lock),
        ],
        FollowsLabel::None => vec![Some(election(vip))],
    };
    let interfaces = status.interfaces.iter().filter(|interface| !interface.up).map(|interface| {
        let state = if interface.index.is_some() { "down" } else { "missing" };
        Some(format!("{} {state}", interface.name))
    });
    parts.into_iter().chain(interfaces).flatten().collect::<Vec<_>>().join("; ")
}

fn etcd(etcd: &EtcdStatus) -> String {
    let mut text = match (&etcd.leader, etcd.age) {
        (_, None) => "etcd has not answered yet".to_owned(),
        (Some(leader), Some(age)) => format!("etcd: {} leads, asked {} ago", harmless(leader), span(age)),
        (None, Some(age)) => format!("etcd: nobody leads, asked {} ago", span(age)),
    };
    if let Some(error) = &etcd.error {
        let _ = write!(text, ", then: {}", harmless(error));
    }
    text
}

fn postgres(postgres: &PostgresStatus) -> String {
    match (postgres.role, postgres.age) {
        (Some(role), Some(age)) => format!("PostgreSQL: {}, asked {} ago", role.as_str(), span(age)),
        _ => "PostgreSQL has not answered yet".to_owned(),
    }
}

fn failsafe(failsafe: &FailsafeStatus) -> String {
    let age = failsafe.age.map(|age| format!(", asked {} ago", span(age))).unwrap_or_default();
    let active = failsafe.active && failsafe.error.is_none();
    format!("failsafe mode {}{age}", if active { "active" } else { "not active" })
}

fn lock(lock: &LockStatus) -> String {
    match (lock.mine, lock.proof_age, lock.deadline_in) {
        (true, Some(age), Some(left)) => format!("lock: mine, proved {} ago, good for {}", span(age), span(left)),
        (true, ..) => "lock: mine".to_owned(),
        (false, ..) => match &lock.holder {
            Some(holder) => format!("lock: held by {}", harmless(holder)),
            None => "lock: not held".to_owned(),
        },
    }
}

fn election(vip: &VipStatus) -> String {
    let mut text = format!("priority {}", vip.vrrp.priority);
    let heard = vip.peers.iter().filter_map(|peer| peer.age.map(|age| (peer, age)));
    let heard: Vec<_> = heard
        .take(PEERS)
        .map(|(peer, age)| format!("{} with {} {} ago", peer.address, peer.priority, span(age)))
        .collect();
    let _ = match heard.is_empty() {
        true => write!(text, "; heard nobody"),
        false => write!(text, "; heard {}", heard.join(", ")),
    };
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vrrp::time::Instant;

    use super::*;
    use crate::gate::evidence::Role;
    use crate::gate::policy::Policy;
    use crate::node::Node;
    use crate::node::tests::world::settings;

    fn picture() -> Status {
        let start = Instant::from_millis(1000);
        Node::new(settings(Policy::default()), start).status(start)
    }

    #[test]
    fn at_first_nothing_is_known() {
        assert_eq!(
            of(&picture()),
            "etcd has not answered yet; PostgreSQL has not answered yet; lock: not held; eth0 missing"
        );
    }

    #[test]
    fn each_piece_has_its_age() {
        let mut status = picture();
        let etcd = status.etcd.as_mut().unwrap();
        (etcd.age, etcd.leader) = (Some(Duration::from_millis(300)), Some("db1\n".to_owned()));
        let postgres = status.postgres.as_mut().unwrap();
        (postgres.age, postgres.role) = (Some(Duration::from_micros(1500)), Some(Role::Primary));
        let lock = status.vips[0].lock.as_mut().unwrap();
        (lock.mine, lock.proof_age, lock.deadline_in) =
            (true, Some(Duration::from_millis(290)), Some(Duration::from_secs(12)));
        (status.interfaces[0].index, status.interfaces[0].up) = (Some(2), true);
        assert_eq!(
            of(&status),
            "etcd: db1\u{fffd} leads, asked 300.0 ms ago; PostgreSQL: primary, asked 1.5 ms ago; lock: mine, proved 290.0 ms \
             ago, good for 12.0 s"
        );
        status.etcd.as_mut().unwrap().error = Some("refused".to_owned());
        assert!(of(&status).contains("asked 300.0 ms ago, then: refused; "), "{}", of(&status));
    }
}

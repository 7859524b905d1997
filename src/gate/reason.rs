//! Why the gate is open or not: one value for the decision, the metric's label, and the sentence that people read.

use std::fmt;

/// Why a VIP is, or is not, on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The host's addresses have not been read yet.
    KernelUnasked,
    /// No read of etcd has been answered yet.
    EtcdUnasked,
    /// etcd turned out to be another one, or an older copy: nothing is acquired for a while.
    EtcdRebuilt,
    /// K does not exist.
    NoLeader,
    /// K is another member's.
    OtherLeads(String),
    /// K is another member's, and PostgreSQL here accepts writes.
    SplitBrain(String),
    /// `members/<me>` does not exist.
    UnknownMember(String),
    /// `members/<me>` names a host that does not resolve, so it cannot be told whether it is this one.
    MemberUnresolved(String),
    /// `members/<me>` points to an address that is not of this host.
    MemberElsewhere(String),
    /// Patroni has not bootstrapped the cluster: `initialize` is missing.
    NotInitialized,
    /// PostgreSQL's system identifier is not that of the cluster.
    WrongServer {
        /// What the server behind the socket says.
        server: String,
        /// What Patroni's `initialize` key says.
        cluster: String,
    },
    /// PostgreSQL has not answered yet, or not since the VIP was last released.
    PostgresUnasked,
    /// PostgreSQL is down, starting or stopping.
    PostgresDown(String),
    /// PostgreSQL does not answer in time.
    PostgresUnknown(String),
    /// PostgreSQL is in recovery.
    InRecovery,
    /// PostgreSQL is in recovery, and is to stay so: Patroni runs a standby cluster.
    StandbyCluster,
    /// The interface does not exist.
    NoInterface(String),
    /// `pgvrrp drain`: not here, by the operator's will.
    Drained,
    /// The VIP is not configured any more.
    Removed,
    /// V is being acquired.
    Acquiring,
    /// V could not be acquired; tried again.
    AcquireFailed(String),
    /// Another holds V; waited for, never stolen.
    LockHeld(String),
    /// V is in a format that this build does not know: a holder like any other.
    LockUnreadable(String),
    /// A lease that may still carry V is being revoked.
    Unlocking,
    /// V was held and is gone, or another's.
    LockLost(String),
    /// No proof arrived in time: D.
    Deadline,
    /// After a stall, nothing is bound before fresh evidence.
    Stalled,
    /// The kernel refused to bind the address; tried again after a pause.
    BindRefused(String),
    /// A foreign Active is being made to yield.
    Displacing,
    /// The daemon is stopping.
    Stopping,
    /// The daemon is about to be replaced by another process, whose business this is.
    HandingOver,
    /// Everything is as it must be.
    Holding,
    /// Held although K is gone, since Patroni is paused and V is mine.
    HoldingPaused,
    /// Held without a proof from etcd, or without K, since Patroni's failsafe mode vouches for this node.
    HoldingFailsafe,
    /// Held although PostgreSQL does not answer; D decides.
    HoldingUnanswered(String),
    /// Held although PostgreSQL is down, by `postgres_down = "hold"`.
    HoldingDown(String),
}

impl Reason {
    /// The metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::KernelUnasked => "kernel_unasked",
            Self::EtcdUnasked => "etcd_unasked",
            Self::EtcdRebuilt => "etcd_rebuilt",
            Self::NoLeader => "no_leader",
            Self::OtherLeads(_) => "other_leads",
            Self::SplitBrain(_) => "split_brain",
            Self::UnknownMember(_) => "unknown_member",
            Self::MemberUnresolved(_) => "member_unresolved",
            Self::MemberElsewhere(_) => "member_elsewhere",
            Self::NotInitialized => "not_initialized",
            Self::WrongServer { .. } => "wrong_server",
            Self::PostgresUnasked => "postgres_unasked",
            Self::PostgresDown(_) => "postgres_down",
            Self::PostgresUnknown(_) => "postgres_unknown",
            Self::InRecovery => "in_recovery",
            Self::StandbyCluster => "standby_cluster",
            Self::NoInterface(_) => "no_interface",
            Self::Drained => "drained",
            Self::Removed => "removed",
            Self::Acquiring => "acquiring",
            Self::AcquireFailed(_) => "acquire_failed",
            Self::LockHeld(_) => "lock_held",
            Self::LockUnreadable(_) => "lock_unreadable",
            Self::Unlocking => "unlocking",
            Self::LockLost(_) => "lock_lost",
            Self::Deadline => "deadline",
            Self::Stalled => "stalled",
            Self::BindRefused(_) => "bind_refused",
            Self::Displacing => "displacing",
            Self::Stopping => "stopping",
            Self::HandingOver => "handing_over",
            Self::Holding => "holding",
            Self::HoldingPaused => "holding_paused",
            Self::HoldingFailsafe => "holding_failsafe",
            Self::HoldingUnanswered(_) => "holding_unanswered",
            Self::HoldingDown(_) => "holding_down",
        }
    }

    /// Whether the answer is still out: neither yes nor no (P6). An address found at start may wait for it, within the
    /// lifetime that the kernel gives it.
    pub fn is_undecided(&self) -> bool {
        matches!(
            self,
            Self::EtcdUnasked
                | Self::PostgresUnasked
                | Self::PostgresUnknown(_)
                | Self::MemberUnresolved(_)
                | Self::Acquiring
                | Self::Stalled
                | Self::HandingOver
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KernelUnasked => write!(f, "the host's addresses have not been read yet"),
            Self::EtcdUnasked => write!(f, "etcd has not answered yet"),
            Self::EtcdRebuilt => write!(
                f,
                "etcd is another cluster or an older copy than before: nothing is acquired until every former holder must have let go"
            ),
            Self::NoLeader => write!(f, "no member holds Patroni's leader key"),
            Self::OtherLeads(member) => write!(f, "{member} holds Patroni's leader key"),
            Self::SplitBrain(leader) => {
                write!(f, "split brain: PostgreSQL here accepts writes while {leader} holds Patroni's leader key")
            }
            Self::UnknownMember(key) => {
                write!(
                    f,
                    "there is no key {key} in etcd: is Patroni running here, is `node` the member's name, and are `namespace`, `scope` and `group` under `[patroni]` right?"
                )
            }
            Self::MemberUnresolved(host) => {
                write!(
                    f,
                    "this member's conn_url names {host}, which does not resolve: cannot tell whether it is this host"
                )
            }
            Self::MemberElsewhere(host) => {
                write!(
                    f,
                    "this member's conn_url names {host}, which is no address of this host: is `node` another member's name?"
                )
            }
            Self::NotInitialized => write!(f, "Patroni has not bootstrapped this cluster yet (no `initialize` key)"),
            Self::WrongServer { server, cluster } => write!(
                f,
                "the PostgreSQL that answers has system identifier {server}, the cluster has {cluster}: `[postgres] connection` leads to another server"
            ),
            Self::PostgresUnasked => write!(f, "PostgreSQL has not answered yet"),
            Self::PostgresDown(detail) => write!(f, "PostgreSQL is down: {detail}"),
            Self::PostgresUnknown(detail) => write!(f, "PostgreSQL's role is not known: {detail}"),
            Self::InRecovery => write!(f, "PostgreSQL is in recovery"),
            Self::StandbyCluster => {
                write!(f, "this is a standby cluster: no PostgreSQL of it accepts writes until Patroni promotes it")
            }
            Self::NoInterface(name) => write!(f, "there is no interface {name}"),
            Self::Drained => write!(f, "drained by hand: `pgvrrp undrain` ends that"),
            Self::Removed => write!(f, "taken out of the configuration"),
            Self::Acquiring => write!(f, "acquiring the lock in etcd"),
            Self::AcquireFailed(reason) => write!(f, "the lock in etcd could not be acquired, trying again: {reason}"),
            Self::LockHeld(holder) => {
                write!(f, "{holder} still holds the lock in etcd: waiting until it lets go or its lease expires")
            }
            Self::LockUnreadable(value) => {
                write!(
                    f,
                    "the lock in etcd has a format that this version does not know, {value:?}: waiting until it is gone"
                )
            }
            Self::Unlocking => write!(f, "revoking the lock's lease in etcd"),
            Self::LockLost(how) => write!(f, "the lock in etcd is lost: {how}"),
            Self::Deadline => write!(f, "etcd has not confirmed in time that the VIP may be here"),
            Self::Stalled => write!(f, "the daemon was stopped or starved: waiting for fresh evidence"),
            Self::BindRefused(error) => write!(f, "the address could not be bound, trying again: {error}"),
            Self::Displacing => write!(f, "advertising first: a foreign VRRP router is Active"),
            Self::Stopping => write!(f, "the daemon is stopping"),
            Self::HandingOver => write!(f, "the daemon hands over to the next process"),
            Self::Holding => write!(f, "this node holds the leader key, and its PostgreSQL is primary"),
            Self::HoldingPaused => {
                write!(f, "the leader key is gone while Patroni is paused; the lock is held and PostgreSQL is primary")
            }
            Self::HoldingFailsafe => {
                write!(
                    f,
                    "Patroni's failsafe mode is active: it cannot reach etcd, and says that this node is the primary"
                )
            }
            Self::HoldingUnanswered(detail) => {
                write!(
                    f,
                    "PostgreSQL does not answer ({detail}), which proves nothing: holding while the lock is confirmed"
                )
            }
            Self::HoldingDown(detail) => write!(f, "PostgreSQL is down ({detail}); holding by policy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Reason> {
        let text = || "text".to_owned();
        vec![
            Reason::KernelUnasked,
            Reason::EtcdUnasked,
            Reason::EtcdRebuilt,
            Reason::NoLeader,
            Reason::OtherLeads(text()),
            Reason::SplitBrain(text()),
            Reason::UnknownMember(text()),
            Reason::MemberUnresolved(text()),
            Reason::MemberElsewhere(text()),
            Reason::NotInitialized,
            Reason::WrongServer { server: text(), cluster: text() },
            Reason::PostgresUnasked,
            Reason::PostgresDown(text()),
            Reason::PostgresUnknown(text()),
            Reason::InRecovery,
            Reason::StandbyCluster,
            Reason::NoInterface(text()),
            Reason::Drained,
            Reason::Removed,
            Reason::Acquiring,
            Reason::AcquireFailed(text()),
            Reason::LockHeld(text()),
            Reason::LockUnreadable(text()),
            Reason::Unlocking,
            Reason::LockLost(text()),
            Reason::Deadline,
            Reason::Stalled,
            Reason::BindRefused(text()),
            Reason::Displacing,
            Reason::Stopping,
            Reason::HandingOver,
            Reason::Holding,
            Reason::HoldingPaused,
            Reason::HoldingFailsafe,
            Reason::HoldingUnanswered(text()),
            Reason::HoldingDown(text()),
        ]
    }

    /// Does not compile when a reason is added that [`all`] may lack.
    #[allow(dead_code, reason = "it is only there to be compiled")]
    fn is_in_the_list(reason: &Reason) {
        match reason {
            Reason::KernelUnasked
            | Reason::EtcdUnasked
            | Reason::EtcdRebuilt
            | Reason::NoLeader
            | Reason::OtherLeads(_)
            | Reason::SplitBrain(_)
            | Reason::UnknownMember(_)
            | Reason::MemberUnresolved(_)
            | Reason::MemberElsewhere(_)
            | Reason::NotInitialized
            | Reason::WrongServer { .. }
            | Reason::PostgresUnasked
            | Reason::PostgresDown(_)
            | Reason::PostgresUnknown(_)
            | Reason::InRecovery
            | Reason::StandbyCluster
            | Reason::NoInterface(_)
            | Reason::Drained
            | Reason::Removed
            | Reason::Acquiring
            | Reason::AcquireFailed(_)
            | Reason::LockHeld(_)
            | Reason::LockUnreadable(_)
            | Reason::Unlocking
            | Reason::LockLost(_)
            | Reason::Deadline
            | Reason::Stalled
            | Reason::BindRefused(_)
            | Reason::Displacing
            | Reason::Stopping
            | Reason::HandingOver
            | Reason::Holding
            | Reason::HoldingPaused
            | Reason::HoldingFailsafe
            | Reason::HoldingUnanswered(_)
            | Reason::HoldingDown(_) => {}
        }
    }

    #[test]
    fn every_reason_has_a_label_of_its_own_and_is_explained() {
        let explained = include_str!("../../docs/STATUS.md");
        let mut labels: Vec<_> = all().iter().map(Reason::label).collect();
        for label in &labels {
            assert!(explained.contains(&format!("`{label}`")), "docs/STATUS.md says nothing about {label}");
        }
        let listed = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), listed);
    }
}

//! The names of the keys: Patroni's, which are read, and pgvrrp's own.

use std::net::IpAddr;

/// Where everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// K, Patroni's leader key.
    pub leader: String,
    /// Patroni's dynamic configuration.
    pub config: String,
    /// PostgreSQL's system identifier.
    pub initialize: String,
    /// This node's member key.
    pub member: String,
    /// The prefix of all member keys.
    pub members: String,
    /// Patroni's request for a change of leader.
    pub failover: String,
    /// V of each VIP that has one, by [`VipId`](crate::gate::evidence::VipId). Outside Patroni's prefix, which
    /// `patronictl remove` deletes.
    pub locks: Vec<Option<String>>,
}

impl Keys {
    /// The keys of a cluster. `namespace` begins with a slash and does not end with one; `group` is a Citus group.
    /// `vips`: by which address each VIP's lock is called, if it has one.
    pub fn new(namespace: &str, scope: &str, group: Option<u32>, member: &str, vips: &[Option<IpAddr>]) -> Self {
        let group = group.map(|group| format!("/{group}")).unwrap_or_default();
        let path = format!("{namespace}/{scope}{group}");
        Self {
            leader: format!("{path}/leader"),
            config: format!("{path}/config"),
            initialize: format!("{path}/initialize"),
            member: format!("{path}/members/{member}"),
            members: format!("{path}/members/"),
            failover: format!("{path}/failover"),
            locks: vips.iter().map(|vip| vip.map(|vip| format!("/pgvrrp/v1{path}/{vip}"))).collect(),
        }
    }

    /// The keys that are pgvrrp's.
    pub fn own(&self) -> impl Iterator<Item = &String> {
        self.locks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_outside_patronis_prefix() {
        let keys = Keys::new("/service", "odoo", None, "db1", &[Some([10, 0, 20, 155].into()), None]);
        assert_eq!(keys.leader, "/service/odoo/leader");
        assert_eq!(keys.member, "/service/odoo/members/db1");
        assert_eq!(keys.locks, [Some("/pgvrrp/v1/service/odoo/10.0.20.155".to_owned()), None]);
    }

    #[test]
    fn a_citus_group_is_a_level_of_its_own() {
        let keys = Keys::new("/service", "odoo", Some(2), "db1", &[None, Some([10, 0, 20, 155].into())]);
        assert_eq!(keys.config, "/service/odoo/2/config");
        assert_eq!(keys.initialize, "/service/odoo/2/initialize");
        assert_eq!(keys.own().collect::<Vec<_>>(), ["/pgvrrp/v1/service/odoo/2/10.0.20.155"]);
    }
}

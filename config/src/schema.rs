//! Which keys there are, and what to say about those that are not.

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Schema {
    /// As it stands in messages. Empty for the top of the file.
    pub(crate) header: &'static str,
    /// The keys that it may have.
    pub(crate) keys: &'static [&'static str],
    /// Keys with a meaning that this version does not have: to ignore them would promise what is not done.
    pub(crate) not_yet: &'static [Foreign],
    /// What people coming from elsewhere write, and what it is called here.
    pub(crate) known_elsewhere: &'static [Foreign],
}

/// Keys that are no keys of ours, and what to do instead.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) keys: &'static [&'static str],
    /// The key of ours that it stands for, if it is one: that it is missing need not be told as well.
    pub(crate) means: Option<&'static str>,
    pub(crate) help: &'static str,
}

pub(crate) const TOP: Schema = Schema {
    header: "",
    keys: &[
        "node",
        "interface",
        "runtime_dir",
        "fence",
        "patroni",
        "etcd",
        "postgres",
        "http",
        "policy",
        "clients",
        "log",
        "hooks",
        "vip",
    ],
    not_yet: &[],
    known_elsewhere: &[
        Foreign {
            keys: &["name", "member", "hostname", "router_id"],
            means: Some("node"),
            help: "did you mean `node`?",
        },
        Foreign { keys: &["iface", "dev", "device"], means: Some("interface"), help: "did you mean `interface`?" },
        Foreign { keys: &["postgresql"], means: Some("postgres"), help: "did you mean [postgres]?" },
        Foreign {
            keys: &["vrrp_instance", "virtual_ipaddress", "vips"],
            means: Some("vip"),
            help: "each virtual IP is a [[vip]]",
        },
    ],
};

pub(crate) const PATRONI: Schema = Schema {
    header: "[patroni]",
    keys: &["namespace", "scope", "group"],
    not_yet: &[],
    known_elsewhere: &[
        Foreign { keys: &["name"], means: None, help: "the member name is `node`, at the top of the file" },
        Foreign { keys: &["cluster", "cluster_name"], means: Some("scope"), help: "did you mean `scope`?" },
    ],
};

const CA_FILE: Foreign = Foreign {
    keys: &["cacert", "ca", "cafile", "sslrootcert"],
    means: Some("ca_file"),
    help: "did you mean `ca_file`?",
};

const CERT_FILE: Foreign =
    Foreign { keys: &["cert", "certfile", "sslcert"], means: Some("cert_file"), help: "did you mean `cert_file`?" };

const KEY_FILE: Foreign =
    Foreign { keys: &["key", "keyfile", "sslkey"], means: Some("key_file"), help: "did you mean `key_file`?" };

pub(crate) const ETCD: Schema = Schema {
    header: "[etcd]",
    keys: &["endpoints", "ca_file", "cert_file", "key_file", "username", "password_file", "request_timeout"],
    not_yet: &[],
    known_elsewhere: &[
        Foreign {
            keys: &["host", "hosts", "url", "urls"],
            means: Some("endpoints"),
            help: "did you mean `endpoints`?",
        },
        Foreign { keys: &["user"], means: Some("username"), help: "did you mean `username`?" },
        CA_FILE,
        CERT_FILE,
        KEY_FILE,
        Foreign {
            keys: &["protocol"],
            means: None,
            help: "write it in front of each endpoint: endpoints = [\"https://10.0.20.13:2379\"]",
        },
        Foreign {
            keys: &["password"],
            means: None,
            help: "put it into a file that only pgvrrp may read, and name that: password_file = \"etcd.password\"",
        },
    ],
};

pub(crate) const POSTGRES: Schema = Schema {
    header: "[postgres]",
    keys: &["connection", "sslmode", "ca_file", "cert_file", "key_file", "password_file", "timeout"],
    not_yet: &[],
    known_elsewhere: &[
        CA_FILE,
        CERT_FILE,
        KEY_FILE,
        Foreign {
            keys: &["dsn", "url", "conninfo", "host", "port", "user", "dbname"],
            means: None,
            help: "write it in `connection`: connection = \"host=/var/run/postgresql user=pgvrrp dbname=postgres\"",
        },
        Foreign {
            keys: &["password"],
            means: None,
            help: "put it into a file that only pgvrrp may read, and name that: password_file = \"postgres.password\"",
        },
    ],
};

pub(crate) const HTTP: Schema = Schema {
    header: "[http]",
    keys: &["listen"],
    not_yet: &[Foreign {
        keys: &["certfile", "cert", "keyfile", "key"],
        means: None,
        help: "TLS is not available in this version: listen on an address of a trusted network",
    }],
    known_elsewhere: &[Foreign {
        keys: &["address", "port", "bind"],
        means: None,
        help: "write both in `listen`: listen = \"[::]:9155\"",
    }],
};

pub(crate) const POLICY: Schema = Schema {
    header: "[policy]",
    keys: &["postgres_down", "paused", "foreign_active", "failsafe"],
    not_yet: &[],
    known_elsewhere: &[],
};

pub(crate) const CLIENTS: Schema = Schema {
    header: "[clients]",
    keys: &["tell", "port", "services"],
    not_yet: &[],
    known_elsewhere: &[
        Foreign { keys: &["listen"], means: None, help: "write port = 9155: it is the same on every node" },
        Foreign { keys: &["ports", "service"], means: Some("services"), help: "write services = [5432]" },
    ],
};

pub(crate) const LOG: Schema =
    Schema { header: "[log]", keys: &["level", "format"], not_yet: &[], known_elsewhere: &[] };

const NOTIFY_MASTER: Foreign = Foreign {
    keys: &["notify_master", "on_master"],
    means: Some("on_active"),
    help: "write on_active = [\"/etc/pgvrrp/notify\"]",
};

const NOTIFY_BACKUP: Foreign =
    Foreign { keys: &["notify_backup"], means: Some("on_backup"), help: "write on_backup = [\"/etc/pgvrrp/notify\"]" };

const NOTIFY_FAULT: Foreign =
    Foreign { keys: &["notify_fault"], means: Some("on_fault"), help: "write on_fault = [\"/etc/pgvrrp/notify\"]" };

const NOTIFY_STOP: Foreign =
    Foreign { keys: &["notify_stop"], means: Some("on_stop"), help: "write on_stop = [\"/etc/pgvrrp/notify\"]" };

const NOTIFY: Foreign =
    Foreign { keys: &["notify"], means: Some("on_change"), help: "write on_change = [\"/etc/pgvrrp/notify\"]" };

pub(crate) const HOOKS: Schema = Schema {
    header: "[hooks]",
    keys: &["on_active", "on_backup", "on_fault", "on_stop", "on_change", "timeout"],
    not_yet: &[],
    known_elsewhere: &[NOTIFY_MASTER, NOTIFY_BACKUP, NOTIFY_FAULT, NOTIFY_STOP, NOTIFY],
};

pub(crate) const VIP: Schema = Schema {
    header: "[[vip]]",
    keys: &[
        "name",
        "address",
        "addresses",
        "virtual_router_id",
        "interface",
        "follows",
        "priority",
        "preempt",
        "preempt_delay",
        "track_interfaces",
        "advertisement_interval",
        "unicast_peers",
        "checksum",
        "mac",
        "on_active",
        "on_backup",
        "on_fault",
        "on_stop",
        "on_change",
    ],
    not_yet: &[Foreign {
        keys: &["exclusive"],
        means: None,
        help: "remove it: a VIP that follows the primary always is",
    }],
    known_elsewhere: &[
        Foreign {
            keys: &["vrid", "router_id"],
            means: Some("virtual_router_id"),
            help: "did you mean `virtual_router_id`?",
        },
        Foreign {
            keys: &["advert_int", "interval"],
            means: Some("advertisement_interval"),
            help: "did you mean `advertisement_interval`?",
        },
        Foreign { keys: &["ip", "vip"], means: Some("address"), help: "did you mean `address`?" },
        Foreign {
            keys: &["ips", "vips", "virtual_ipaddress", "virtual_ipaddress_excluded", "virtual_ipaddresses"],
            means: Some("addresses"),
            help: "write addresses = [\"10.0.20.155\", \"10.0.20.156\"], or `address` for a single one",
        },
        Foreign { keys: &["iface", "dev", "device"], means: Some("interface"), help: "did you mean `interface`?" },
        Foreign { keys: &["nopreempt"], means: Some("preempt"), help: "write preempt = false" },
        Foreign {
            keys: &["state", "initial_state"],
            means: None,
            help: "remove it: `priority` decides with follows = \"none\", and etcd with follows = \"primary\"",
        },
        Foreign {
            keys: &["track_interface"],
            means: Some("track_interfaces"),
            help: "write track_interfaces = [\"eth1\"]",
        },
        Foreign {
            keys: &["track_script", "track_process", "track_file"],
            means: None,
            help: "remove it: `track_interfaces` is all that is tracked",
        },
        Foreign {
            keys: &["unicast_peer", "peer", "peers"],
            means: Some("unicast_peers"),
            help: "write unicast_peers = [\"10.0.20.12\"]",
        },
        Foreign {
            keys: &["unicast_src_ip", "mcast_src_ip"],
            means: None,
            help: "remove it: advertisements come from the address that the interface has itself",
        },
        Foreign {
            keys: &["authentication", "auth_type", "auth_pass"],
            means: None,
            help: "remove it: VRRPv3 has no authentication",
        },
        Foreign { keys: &["version", "vrrp_version"], means: None, help: "remove it: it is always 3" },
        Foreign {
            keys: &["accept", "accept_mode"],
            means: None,
            help: "remove it: the holder always accepts what is sent to the VIP",
        },
        Foreign { keys: &["use_vmac"], means: Some("mac"), help: "write mac = \"virtual\"" },
        NOTIFY_MASTER,
        NOTIFY_BACKUP,
        NOTIFY_FAULT,
        NOTIFY_STOP,
        NOTIFY,
    ],
};

/// Every table there is.
pub(crate) const ALL: [&Schema; 10] = [&TOP, &PATRONI, &ETCD, &POSTGRES, &HTTP, &POLICY, &CLIENTS, &LOG, &HOOKS, &VIP];

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../packaging/pgvrrp.toml");

    /// The settings of the example file with their tables, those included that are commented out as `#key = value`.
    fn example_keys() -> Vec<(&'static str, &'static str)> {
        let mut header = "";
        let mut keys = Vec::new();
        for line in EXAMPLE.lines().filter(|line| !line.starts_with("# ")) {
            if line.starts_with('[') {
                header = line;
                keys.push(("", line.trim_matches(['[', ']'])));
            } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
                keys.push((header, key));
            }
        }
        keys.sort_unstable();
        keys
    }

    #[test]
    fn the_example_file_has_every_key_once() {
        let keys = ALL.iter().flat_map(|schema| schema.keys.iter().map(|key| (schema.header, *key)));
        let mut keys: Vec<_> = keys.collect();
        keys.sort_unstable();
        assert_eq!(example_keys(), keys);
    }

    #[test]
    fn no_key_is_ours_and_foreign() {
        for schema in ALL {
            let foreign = schema.not_yet.iter().chain(schema.known_elsewhere).flat_map(|foreign| foreign.keys);
            let mut seen = schema.keys.to_vec();
            for key in foreign {
                assert!(!seen.contains(key), "{key} stands twice in {}", schema.header);
                seen.push(key);
            }
        }
    }
}

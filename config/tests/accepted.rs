//! What the daemon gets from files that are right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgvrrp_config::{
    Checksum, Clients, Cluster, Config, Etcd, Failsafe, Fence, Follows, ForeignActive, Hooks, Http, Log, Mac, Patroni,
    Paused, Policy, Postgres, PostgresDown, SslMode, Tls, Vip,
};
use vrrp::types::{Interval, Vrid};

/// The whole reference setup.
const TEN_LINES: &str = r#"
node = "db1"                       # the Patroni member name
interface = "eth0"

[patroni]
scope = "odoo"

[etcd]
endpoints = ["http://10.0.20.13:2379"]

[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
follows = "primary"                # primary | standby-leader | replica | sync-standby | none
"#;

fn parse(text: &str) -> Config {
    Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/etc/pgvrrp")).expect("the text is right")
}

fn cluster(text: &str) -> Cluster {
    parse(text).cluster.expect("a VIP follows the primary")
}

/// The addresses of a VIP.
fn shown(vip: &Vip) -> String {
    vip.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The ten-line file with one table's lines added to or put in place of its own.
fn with(header: &str, lines: &str) -> String {
    match TEN_LINES.split_once(&format!("{header}\n")) {
        Some((before, after)) => format!("{before}{header}\n{lines}\n{after}"),
        None => format!("{TEN_LINES}\n{header}\n{lines}\n"),
    }
}

#[test]
fn ten_lines_are_enough() {
    let expected = Config {
        node: "db1".into(),
        interface: "eth0".into(),
        runtime_dir: PathBuf::from("/run/pgvrrp"),
        cluster: Some(Cluster {
            fence: Fence::Lock,
            patroni: Patroni { namespace: "/service".into(), scope: "odoo".into(), group: None },
            etcd: Etcd {
                endpoints: vec!["http://10.0.20.13:2379".into()],
                tls: None,
                username: None,
                password: None,
                request_timeout: Duration::from_secs(1),
            },
            postgres: Postgres {
                connection: "host=/var/run/postgresql user=pgvrrp dbname=postgres".into(),
                ssl_mode: SslMode::Prefer,
                tls: Tls { ca_file: None, identity: None },
                password: None,
                timeout: Duration::from_millis(500),
            },
            policy: Policy {
                postgres_down: PostgresDown::Release,
                paused: Paused::Hold,
                foreign_active: ForeignActive::AdvertiseFirst,
                failsafe: Failsafe::Auto,
            },
            clients: Clients { port: Some(9155), services: vec![] },
        }),
        http: Http { listen: Some("[::]:9155".parse().unwrap()) },
        log: Log::default(),
        hook_timeout: Duration::from_secs(10),
        vips: vec![Vip {
            name: "10.0.20.155".into(),
            addresses: vec!["10.0.20.155/32".parse().unwrap()],
            virtual_router_id: Vrid::new(155).unwrap(),
            interface: "eth0".into(),
            interval: Interval::DEFAULT,
            checksum: Checksum::Auto,
            unicast_peers: vec![],
            mac: Mac::Interface,
            follows: Follows::Primary,
            hooks: Hooks::default(),
        }],
    };
    assert_eq!(parse(TEN_LINES), expected);
    assert_eq!(TEN_LINES.lines().filter(|line| line.contains('=')).count(), 7);
}

#[test]
fn every_setting_arrives() {
    let text = r#"
        node = "db2"
        interface = "bond0.20"
        runtime_dir = "/run/pgvrrp-db2"
        fence = "lock"

        [patroni]
        namespace = "db/prod/"
        scope = "odoo"
        group = 3

        [etcd]
        endpoints = ["HTTP://Etcd-1.Example.:2379/", "http://[fd00::13]:2379"]
        request_timeout = "250ms"

        [postgres]
        connection = "postgresql://pgvrrp@%2Fvar%2Frun%2Fpostgresql:5433/postgres"
        timeout = "1s 500ms"

        [http]
        listen = "off"

        [policy]
        postgres_down = "hold"
        paused = "release"
        foreign_active = "bind-at-once"
        failsafe = "drop"

        [clients]
        port = 1
        services = [5432, 6432]

        [log]
        level = "debug"

        [[vip]]
        name = "odoo"
        address = "10.0.20.155/24"
        virtual_router_id = 1
        advertisement_interval = "40.95s"
        checksum = "rfc5798"
        mac = "interface"

        [[vip]]
        address = "10.0.20.156"
        virtual_router_id = 0xff
        advertisement_interval = "10ms"
        checksum = "rfc9568"
    "#;
    let config = parse(text);
    assert_eq!((config.node.as_str(), config.interface.as_str()), ("db2", "bond0.20"));
    assert_eq!(config.runtime_dir, Path::new("/run/pgvrrp-db2"));
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.fence, Fence::Lock);
    assert_eq!(cluster.patroni, Patroni { namespace: "/db/prod".into(), scope: "odoo".into(), group: Some(3) });
    assert_eq!(cluster.etcd.endpoints, ["http://etcd-1.example.:2379", "http://[fd00::13]:2379"]);
    assert_eq!(cluster.etcd.request_timeout, Duration::from_millis(250));
    assert_eq!(cluster.postgres.connection, "postgresql://pgvrrp@%2Fvar%2Frun%2Fpostgresql:5433/postgres");
    assert_eq!(cluster.postgres.timeout, Duration::from_millis(1500));
    assert_eq!(config.http.listen, None);
    let policy = Policy {
        postgres_down: PostgresDown::Hold,
        paused: Paused::Release,
        foreign_active: ForeignActive::BindAtOnce,
        failsafe: Failsafe::Drop,
    };
    assert_eq!(cluster.policy, policy);
    assert_eq!(cluster.clients, Clients { port: Some(1), services: vec![5432, 6432] });
    let silent = parse(&text.replace("[clients]", "[clients]\n        tell = false")).cluster.unwrap();
    assert_eq!(silent.clients.port, None);
    assert_eq!(config.log.level.as_str(), "debug");
    let [odoo, other] = config.vips.as_slice() else { panic!("{:?}", config.vips) };
    assert_eq!((odoo.name.as_str(), shown(odoo)), ("odoo", "10.0.20.155/24".to_owned()));
    assert_eq!((odoo.virtual_router_id.get(), odoo.interval.centis()), (1, 4095));
    assert_eq!(odoo.checksum, Checksum::Rfc5798);
    assert_eq!((other.name.as_str(), shown(other)), ("10.0.20.156", "10.0.20.156/32".to_owned()));
    assert_eq!((other.virtual_router_id.get(), other.interval.centis()), (255, 1));
    assert_eq!(other.checksum, Checksum::Rfc9568);
}

#[test]
fn addresses_at_the_edge_of_what_a_host_can_have() {
    for (address, prefix_len) in
        [("10.0.20.1/24", 24), ("10.0.20.254/24", 24), ("10.0.20.0", 32), ("10.0.20.255/16", 16)].into_iter().chain([
            ("10.0.20.0/31", 31),
            ("10.0.20.1/31", 31),
            ("169.254.7.7", 32),
            ("1.0.0.1/1", 1),
            ("223.255.255.254", 32),
        ])
    {
        let config = parse(&TEN_LINES.replace("10.0.20.155", address));
        assert_eq!(config.vips[0].addresses[0].prefix_len(), prefix_len, "{address}");
    }
}

#[test]
fn the_namespace_is_written_as_patroni_makes_it() {
    for namespace in ["service", "/service", "/service/", "//service//"] {
        let text = with("[patroni]", &format!("namespace = \"{namespace}\""));
        assert_eq!(cluster(&text).patroni.namespace, "/service", "{namespace}");
    }
}

#[test]
fn connections_to_this_host() {
    for connection in [
        "host=/tmp/pg1 port=5433 user=pgvrrp dbname=postgres application_name=pgvrrp",
        "host=localhost user=pgvrrp",
        "host=127.0.0.1 user=pgvrrp sslmode=disable",
        "hostaddr=::1 user=pgvrrp",
        "host=db1.example hostaddr=127.0.0.1 user=pgvrrp sslmode=require",
        "postgresql:///postgres?host=/var/run/postgresql&user=pgvrrp",
        "postgres://pgvrrp@[::1]:5432/postgres",
    ] {
        let text = with("[postgres]", &format!("connection = \"{connection}\""));
        assert_eq!(cluster(&text).postgres.connection, connection);
    }
}

#[test]
fn passwords_come_from_files_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [("etcd.password", "hunter2\n"), ("postgres.password", " tr0ub4dor&3 \r\n")] {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }
    let path = dir.path().join("pgvrrp.toml");
    let postgres = dir.path().join("postgres.password");
    let text = with("[etcd]", "username = \"pgvrrp\"\npassword_file = \"etcd.password\"");
    fs::write(&path, format!("{text}\n[postgres]\npassword_file = \"{}\"\n", postgres.display())).unwrap();

    let config = Config::load(&path).unwrap();
    let cluster = config.cluster.as_ref().unwrap();
    assert_eq!(cluster.etcd.username.as_deref(), Some("pgvrrp"));
    assert_eq!(cluster.etcd.password.as_ref().unwrap().expose(), "hunter2");
    assert_eq!(cluster.postgres.password.as_ref().unwrap().expose(), " tr0ub4dor&3 ");

    let shown = format!("{config:?} {config:#?}");
    assert!(shown.contains("***"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("tr0ub4dor"), "{shown}");
}

#[test]
fn a_virtual_mac_for_each_family() {
    let config = parse(
        r#"
        node = "lb1"
        interface = "eth0"
        [[vip]]
        address = "10.0.20.155"
        virtual_router_id = 155
        follows = "none"
        mac = "virtual"
        [[vip]]
        addresses = ["fe80::155/64", "fd00::155"]
        virtual_router_id = 155
        follows = "none"
        mac = "virtual"
        [[vip]]
        address = "10.0.20.156"
        virtual_router_id = 156
        follows = "none"
        "#,
    );
    assert_eq!(config.vips.iter().map(|vip| vip.mac).collect::<Vec<_>>(), [Mac::Virtual, Mac::Virtual, Mac::Interface]);
}

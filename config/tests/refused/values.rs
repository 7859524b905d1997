//! Values that are out of range, or do not fit each other.

use crate::{RIGHT, one, refuse, with};

#[test]
fn the_top() {
    let link = "`ip -brief link` lists the names";
    one("", "interface = «\"\"»", "interface must not be empty", link);
    one("", "interface = «\"enp0s31f6-vlan20\"»", "interface must have at most 15 bytes", link);
    one("", "interface = «\"eth0/1\"»", "interface must not contain a slash or a colon", link);
    one("", "interface = «\"eth0:1\"»", "interface must not contain a slash or a colon", link);
    one("", "interface = «\"eth 0\"»", "interface must not contain white space", link);
    one("", "interface = «\"..\"»", "interface must be the name of a network interface", link);
    let member = "this is the member name, `name` in Patroni's configuration";
    one("", "node = «\"\"»", "node must not be empty", member);
    one("", "node = «\"a/b\"»", "node must not contain a slash", member);
    one("", "node = «\"a b\"»", "node must not contain white space", member);
    let dir = "the default is \"/run/pgvrrp\"; two daemons that share a file system need two directories";
    one("", "runtime_dir = «\"run/pgvrrp\"»", "runtime_dir must be an absolute path", dir);
    one("", "runtime_dir = «\"\"»", "runtime_dir must be an absolute path", dir);
}

#[test]
fn patroni_http_log_and_policy() {
    let scope = "this is `scope` in Patroni's configuration";
    one("[patroni]", "scope = «\"\"»", "scope must not be empty", scope);
    one("[patroni]", "scope = «\"service/odoo\"»", "scope must not contain a slash", scope);
    let namespace = "this is `namespace` in Patroni's configuration; without it there, leave it out here too";
    one("[patroni]", "namespace = «\"//\"»", "namespace must not be empty", namespace);
    one("[patroni]", "namespace = «\"a b\"»", "namespace must not contain white space", namespace);
    one(
        "[patroni]",
        "group = «-1»",
        "group must be 0 to 4294967295",
        "this is `citus.group` in Patroni's configuration",
    );
    let listen = "write \"[::]:9155\" for every address, \"127.0.0.1:9155\" for this host only, or \"off\"";
    for address in [":9155", "9155", "localhost:9155", "0.0.0.0", "[::]:99999", ""] {
        one("[http]", &format!("listen = «\"{address}\"»"), "listen must be an IP address and a port", listen);
    }
    one(
        "[log]",
        "level = «\"INFO\"»",
        "level must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
        "did you mean \"info\"?",
    );
    one(
        "[policy]",
        "postgres_down = «\"drop\"»",
        "postgres_down must be \"release\" or \"hold\"",
        "write postgres_down = \"release\" or \"hold\"",
    );
    one(
        "[policy]",
        "foreign_active = «\"bind_at_once\"»",
        "foreign_active must be \"advertise-first\" or \"bind-at-once\"",
        "did you mean \"bind-at-once\"?",
    );
    one(
        "[policy]",
        "failsafe = «\"hold\"»",
        "failsafe must be \"auto\" or \"drop\"",
        "write failsafe = \"auto\" or \"drop\"",
    );
    one(
        "",
        "fence = «\"leader\"»",
        "fence must be \"lock\" or \"leader-key\"",
        "write fence = \"lock\" or \"leader-key\"",
    );
}

#[test]
fn etcd() {
    let host = "write a name, an IPv4 address, or an IPv6 address in brackets, such as http://[fd00::13]:2379";
    let behind = "write http://host:port and nothing behind it";
    for (endpoint, message, help) in [
        ("10.0.20.13:2379", "an endpoint must begin with http:// or https://", "write http://10.0.20.13:2379"),
        ("10.0.20.13", "an endpoint must begin with http:// or https://", "write http://10.0.20.13:2379"),
        ("etcd://db3:2379", "an endpoint must begin with http:// or https://", "write http://db3:2379"),
        ("", "an endpoint must begin with http:// or https://", "write http://host:2379"),
        ("http://db3", "an endpoint must name a port", "write http://db3:2379"),
        ("https://db3", "an endpoint must name a port", "write https://db3:2379"),
        ("https://db3:2379/v3", "an endpoint has no path", "write https://host:port and nothing behind it"),
        ("http://[fd00::13]", "an endpoint must name a port", "write http://[fd00::13]:2379"),
        ("http://db3:0", "the port of an endpoint must be 1 to 65535", "etcd's is 2379 unless configured"),
        ("http://db3:65536", "the port of an endpoint must be 1 to 65535", "etcd's is 2379 unless configured"),
        ("http://db3:", "the port of an endpoint must be 1 to 65535", "etcd's is 2379 unless configured"),
        ("http://db3:2379/v3", "an endpoint has no path", behind),
        ("http://db3:2379?x=1", "an endpoint has no path", behind),
        ("http://10.0.20.300:2379", "the host of an endpoint must be a name or an address", host),
        ("http://fd00::13:2379", "the host of an endpoint must be a name or an address", host),
        ("http://[fd00::xyz]:2379", "the host of an endpoint must be a name or an address", host),
        ("http://a..b:2379", "the host of an endpoint must be a name or an address", host),
        ("http://:2379", "the host of an endpoint must be a name or an address", host),
        ("http://a b:2379", "the host of an endpoint must be a name or an address", host),
    ] {
        one("[etcd]", &format!("endpoints = [«\"{endpoint}\"»]"), message, help);
    }
    one("[etcd]", "request_timeout = «\"99ms\"»", "request_timeout must be 100ms to 5s", "the default is \"1s\"");
    one("[etcd]", "request_timeout = «\"5001ms\"»", "request_timeout must be 100ms to 5s", "the default is \"1s\"");
    one(
        "[etcd]",
        "request_timeout = «\"1\"»",
        "request_timeout is not a duration",
        "write a number and a unit: request_timeout = \"1s\"",
    );
    one(
        "[etcd]",
        "«username» = \"pgvrrp\"",
        "username without password_file",
        "add password_file = \"/etc/pgvrrp/etcd.password\", or remove the user",
    );
}

#[test]
fn an_endpoint_named_twice() {
    let text = RIGHT.replace("[\"http://10.0.20.13:2379\"]", "[\n  \"http://db3:2379\",\n  \"http://DB3:2379/\",\n]");
    let expected = r#"error: the same endpoint twice
 --> /etc/pgvrrp/pgvrrp.toml:8:3
  |
8 |   "http://DB3:2379/",
  |   ^^^^^^^^^^^^^^^^^^
  = note: the first one is on line 7
  = help: name each etcd member once

1 error"#;
    assert_eq!(refuse(&text), expected);
}

#[test]
fn postgres() {
    let default = "the default is \"host=/var/run/postgresql user=pgvrrp dbname=postgres\"";
    let local = "ask the PostgreSQL of this host, and no other: host=/var/run/postgresql";
    let one_host = "connection must name one host";
    let here = "connection must lead to a Unix socket or a loopback address";
    for (connection, message, help) in [
        ("", "connection must not be empty", default),
        ("host=/tmp prot=5432", "connection is not understood: unknown option `prot`", default),
        ("host=/tmp port=x", "connection is not understood: invalid value for option `port`", default),
        ("user=pgvrrp", "connection names no host", local),
        ("host=/a,/b user=u", one_host, local),
        ("host=10.0.20.12 user=u", here, local),
        ("host=db2 user=u", here, local),
        ("host=localhost hostaddr=10.0.20.12 user=u", here, local),
        ("postgresql://db2/postgres?user=u", here, local),
        (
            "host=/tmp user=u target_session_attrs=read-write",
            "connection must not ask for a role by target_session_attrs",
            "remove it: the question is which role the server has, whichever that is",
        ),
    ] {
        one("[postgres]", &format!("connection = «\"{connection}\"»"), message, help);
    }
    one("[postgres]", "timeout = «\"49ms\"»", "timeout must be 50ms to 5s", "the default is \"500ms\"");
    one("[postgres]", "password_file = «\"\"»", "password_file must not be empty", "write a path, or remove the key");
}

#[test]
fn vip_addresses() {
    let unicast = "a VIP is an address that clients can connect to";
    let example = "write an IPv4 or IPv6 address, such as \"10.0.20.155\", or with a prefix length \"10.0.20.155/24\"";
    for (address, message, help) in [
        ("", "address is not an IP address", example),
        ("10.0.20", "address is not an IP address", example),
        ("10.0.20.256", "address is not an IP address", example),
        ("db-vip.example", "address is not an IP address", example),
        ("10.0.20.155/0", "the prefix length must be 1 to 32", "without one it is 32"),
        ("10.0.20.155/33", "the prefix length must be 1 to 32", "without one it is 32"),
        ("10.0.20.155/", "the prefix length must be 1 to 32", "without one it is 32"),
        ("10.0.20.155/255.255.255.0", "the prefix length must be 1 to 32", "without one it is 32"),
        ("0.0.0.0", "0.0.0.0 is in 0.0.0.0/8, which no host has", unicast),
        ("127.0.0.1", "127.0.0.1 is a loopback address", unicast),
        ("224.0.0.18", "224.0.0.18 is a multicast address", unicast),
        ("255.255.255.255", "255.255.255.255 is the broadcast address", unicast),
        ("241.0.0.1", "241.0.0.1 is in 240.0.0.0/4, which no host has", unicast),
        ("10.0.20.0/24", "10.0.20.0 is the network address of its prefix", unicast),
        ("10.0.20.255/24", "10.0.20.255 is the broadcast address of its prefix", unicast),
        ("10.0.20.3/30", "10.0.20.3 is the broadcast address of its prefix", unicast),
    ] {
        one("[[vip]]", &format!("address = «\"{address}\"»"), message, help);
    }
}

#[test]
fn vip_settings() {
    let number = "choose a number that no other VRRP router on this segment uses";
    for id in ["0", "256", "-1", "99999999999999999999"] {
        one("[[vip]]", &format!("virtual_router_id = «{id}»"), "virtual_router_id must be 1 to 255", number);
    }
    let interval = "advertisement_interval must be";
    for value in ["9ms", "40.96s", "0s", "1d"] {
        one(
            "[[vip]]",
            &format!("advertisement_interval = «\"{value}\"»"),
            &format!("{interval} 10ms to 40.95s"),
            "the default is \"1s\"",
        );
    }
    for value in ["15ms", "1s 1us", "40.949s"] {
        one(
            "[[vip]]",
            &format!("advertisement_interval = «\"{value}\"»"),
            &format!("{interval} a multiple of 10ms"),
            "the packet holds it in hundredths of a second",
        );
    }
    one(
        "[[vip]]",
        "name = «\"\"»",
        "name must not be empty or hold control characters",
        "a name tells this VIP from the others in status and metrics",
    );
    one(
        "[[vip]]",
        "checksum = «\"rfc9658\"»",
        "checksum must be \"auto\", \"rfc9568\" or \"rfc5798\"",
        "did you mean \"rfc9568\"?",
    );
    one(
        "[[vip]]",
        "mac = «\"auto\"»",
        "mac must be \"interface\" or \"virtual\"",
        "write mac = \"interface\" or \"virtual\"",
    );
    one("[[vip]]", "follows = «\"replicas\"»", "follows must be \"primary\" or \"none\"", "did you mean \"replica\"?");
}

#[test]
fn two_vips_with_the_same() {
    let text =
        format!("{RIGHT}name = \"a\"\n[[vip]]\nname = \"a\"\naddress = \"10.0.20.155/24\"\nvirtual_router_id = 155\n");
    let expected = r#"error: name is that of another [[vip]]
  --> /etc/pgvrrp/pgvrrp.toml:20:8
   |
20 | name = "a"
   |        ^^^
   = note: the first one is on line 18
   = help: a name tells this VIP from the others in status and metrics

error: address 10.0.20.155 is that of another [[vip]]
  --> /etc/pgvrrp/pgvrrp.toml:21:11
   |
21 | address = "10.0.20.155/24"
   |           ^^^^^^^^^^^^^^^^
   = note: the first one is on line 16
   = help: one address is one VIP

error: virtual_router_id 155 is that of another [[vip]]
  --> /etc/pgvrrp/pgvrrp.toml:22:21
   |
22 | virtual_router_id = 155
   |                     ^^^
   = note: the first one is on line 17
   = help: each VIP is a virtual router of its own and needs its own number on its interface

3 errors"#;
    assert_eq!(refuse(&text), expected);
}

#[test]
fn holding_without_postgresql_by_the_leader_key() {
    let text = with("", "fence = \"leader-key\"").0.replace("[policy]\n", "[policy]\npostgres_down = \"hold\"\n");
    let told = refuse(&text);
    assert!(told.contains("postgres_down = \"hold\" cannot be had with fence = \"leader-key\""), "{told}");
    let alone = with("", "fence = \"leader-key\"").0;
    assert!(pgvrrp_config::Config::parse("pgvrrp.toml".as_ref(), &alone, "/".as_ref()).is_ok());
}

#[test]
fn clients() {
    let port = "write port = 9155, which is the default, and the same on every node";
    one("[clients]", "port = «0»", "port must be 1 to 65535", port);
    one("[clients]", "port = «65536»", "port must be 1 to 65535", port);
    one("[clients]", "port = «\"9155\"»", "port must be a whole number, not a string", port);
    let services = "write services = [5432]";
    one("[clients]", "services = «5432»", "services must be a list of whole numbers, not a whole number", services);
    one("[clients]", "services = [5432, «0»]", "each of services must be 1 to 65535", services);
    one("[clients]", "services = [«\"5432\"»]", "services must be a list of whole numbers, not a string", services);
    one("[clients]", "services = [5432, 6432, «5432»]", "5432 stands twice in services", "remove one of them");
    one("[clients]", "«ports» = [5432]", "unknown key `ports` in [clients]", services);
    one(
        "[clients]",
        "tell = «\"no\"»",
        "tell must be true or false, not a string",
        "write tell = true, which is the default",
    );
}

//! Configurations as they are written for Patroni, and what becomes of them.

use std::time::Duration;

use pgvrrp_config::import::{Failure, Verdict};
use pgvrrp_config::{Checksum, Follows, Mac};

use super::{Made, PATRONI, config, import_with, imported, note, parse, says};

/// The one that is found everywhere: version 2, a password, a script that asks Patroni.
const TYPICAL: &str = r#"
global_defs {
    router_id db1
    enable_script_security
    script_user root
}

vrrp_script chk_patroni {
    script "/usr/bin/curl -s -f http://127.0.0.1:8008/primary"
    interval 2
    fall 2
    rise 2
}

vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 100
    nopreempt
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass geheim42
    }
    virtual_ipaddress {
        10.0.20.155/24 dev eth0 label eth0:vip
    }
    track_script {
        chk_patroni
    }
    notify_master "/usr/local/bin/tell master"
}
"#;

#[test]
fn the_typical_one() {
    let imported = imported(TYPICAL);
    let config = config(&imported);
    let cluster = config.cluster.as_ref().expect("it follows the primary");
    assert_eq!((config.node.as_str(), config.interface.as_str()), ("db1", "eth0"));
    assert_eq!((cluster.patroni.scope.as_str(), cluster.patroni.namespace.as_str()), ("odoo", "/service"));
    assert_eq!(cluster.etcd.endpoints, ["http://10.0.20.13:2379", "http://10.0.20.14:2379"]);
    let [vip] = config.vips.as_slice() else { panic!("{config:?}") };
    assert_eq!((vip.name.as_str(), vip.virtual_router_id.get(), &vip.follows), ("VI_1", 51, &Follows::Primary));
    assert_eq!(vip.addresses, ["10.0.20.155/24".parse().unwrap()]);
    assert_eq!((vip.checksum, vip.interval.duration()), (Checksum::Rfc5798, Duration::from_secs(1)));
    says(&imported, "chk_patroni", Verdict::Converted, "follows = \"primary\"");
    says(&imported, "priority", Verdict::NotNeeded, "etcd decides");
    says(&imported, "nopreempt", Verdict::NotNeeded, "etcd decides");
    says(&imported, "authentication", Verdict::NotNeeded, "no authentication");
    says(&imported, "interval", Verdict::NotNeeded, "watches etcd and PostgreSQL itself");
    says(&imported, "vrrp_version", Verdict::ByHand, "do not hear each other");
    says(&imported, "notify_master", Verdict::ByHand, "exec /usr/local/bin/tell master");
    assert_eq!(note(&imported, "virtual_router_id").line, 18);
    assert!(!imported.explanation().contains("geheim42") && !imported.toml.unwrap().contains("geheim42"));
    assert_eq!(imported.to_fill_in, Vec::<String>::new());
}

#[test]
fn nothing_is_left_to_do_with_version_3() {
    let text = TYPICAL
        .replace("router_id db1", "vrrp_version 3")
        .replace("    notify_master \"/usr/local/bin/tell master\"\n", "");
    let imported = imported(&text);
    assert!(imported.is_complete(), "{}", imported.explanation());
}

#[test]
fn without_patronis_configuration_there_are_placeholders() {
    let imported = import_with(TYPICAL, None, &Made::default()).unwrap();
    let config = config(&imported);
    let cluster = config.cluster.as_ref().expect("it follows the primary");
    assert_eq!((config.node.as_str(), cluster.patroni.scope.as_str()), ("FILL-IN", "FILL-IN"));
    assert_eq!(cluster.etcd.endpoints, ["http://fill-in.invalid:2379"]);
    let starts: Vec<_> = imported.to_fill_in.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(starts, ["node", "[patroni] scope", "[etcd] endpoints"]);
    assert_eq!(imported.toml.as_ref().unwrap().matches("# FILL IN: ").count(), 3);
    assert!(imported.explanation().contains("3 to be filled in") && !imported.is_complete());
}

/// TLS files that cannot be read here would be refused: they stand there as a comment, and so does the user.
#[test]
fn tls_and_a_user_of_etcd() {
    let patroni = "scope: odoo\nname: db1\nnamespace: /db/\ncitus:\n  group: 2\netcd3:\n  host: etcd1\n  protocol: https\n  \
                   cacert: /nonexistent/ca.pem\n  username: patroni\n  password: geheim42\n";
    let imported = import_with(TYPICAL, Some(patroni), &Made::default()).unwrap();
    let toml = imported.toml.as_ref().unwrap();
    assert!(toml.contains("#endpoints = [\"https://etcd1:2379\"]\n#ca_file = \"/nonexistent/ca.pem\"\n"), "{toml}");
    let cluster = config(&imported).cluster.unwrap();
    assert_eq!((cluster.patroni.namespace.as_str(), cluster.patroni.group), ("/db", Some(2)));
    assert_eq!(imported.to_fill_in.len(), 2, "{:?}", imported.to_fill_in);
    assert!(!toml.contains("geheim42") && !imported.explanation().contains("geheim42"));
}

#[test]
fn weights_unicast_and_a_script_that_is_read() {
    let text = r#"
global_defs { vrrp_version 3 }
vrrp_script check { script "/etc/keepalived/check.sh"
  weight -50 }
vrrp_instance pg {
  interface ens18
  state MASTER
  virtual_router_id 10
  priority 150
  preempt_delay 30
  advert_int 0.25
  unicast_src_ip 10.0.0.1
  unicast_peer { 10.0.0.2
    10.0.0.3 min_ttl 255 }
  virtual_ipaddress { 10.0.0.100 }
  track_script { check weight -50 }
  track_interface { eth9 }
}
"#;
    let script = "#!/bin/bash\n# /replica is not for us\ncurl -fs http://localhost:8008/leader > /dev/null || exit 1\n";
    let files = Made::with(&[("/etc/keepalived/check.sh", script)]);
    let imported = import_with(text, Some(PATRONI), &files).unwrap();
    let config = config(&imported);
    let vip = &config.vips[0];
    assert!(vip.follows.is_primary());
    assert_eq!(vip.interval.duration(), Duration::from_millis(250));
    assert_eq!(vip.unicast_peers, ["10.0.0.2".parse::<std::net::IpAddr>().unwrap(), "10.0.0.3".parse().unwrap()]);
    says(&imported, "check", Verdict::Converted, "its weight has no counterpart");
    says(&imported, "preempt_delay", Verdict::NotNeeded, "etcd decides");
    says(&imported, "eth9", Verdict::ByHand, "moving that is Patroni's");
    // Unread, its name says nothing.
    let unread = import_with(text, Some(PATRONI), &Made::default()).unwrap();
    says(&unread, "check", Verdict::ByHand, "not known");
}

/// curl that never fails is what many have; they are told.
#[test]
fn a_check_that_never_failed() {
    let text = TYPICAL.replace("curl -s -f ", "curl -s ");
    says(&imported(&text), "chk_patroni", Verdict::Converted, "curl without --fail");
}

/// A postmaster runs on a replica as well.
#[test]
fn a_process_of_postgresqls() {
    let text = "vrrp_track_process pm {\n process postgres\n}\nvrrp_instance a {\n interface eth0\n version 3\n virtual_router_id 1\n \
                virtual_ipaddress {\n 10.0.20.1\n }\n track_process {\n pm\n }\n}\n";
    let imported = imported(text);
    assert!(config(&imported).vips[0].follows.is_primary());
    says(&imported, "pm", Verdict::ByHand, "not clear");
    let other = super::imported(&text.replace("postgres", "sshd"));
    assert!(!config(&other).vips[0].follows.is_primary());
    says(&other, "pm", Verdict::ByHand, "not tracked");
}

#[test]
fn haproxy_and_replicas() {
    let instance = |name: &str, id: u8, check: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n version 3\n virtual_router_id {id}\n priority 255\n virtual_ipaddress {{\n \
             10.0.20.{id}\n }}\n track_script {{\n {check}\n }}\n}}\n"
        )
    };
    let text = format!(
        "vrrp_script chk_haproxy {{\n script \"/usr/bin/killall -0 haproxy\"\n}}\nvrrp_script chk_ro {{\n script \"/usr/bin/curl -f \
         http://127.0.0.1:8008/replica\"\n}}\n{}{}",
        instance("proxy", 51, "chk_haproxy"),
        instance("readers", 52, "chk_ro")
    );
    let imported = imported(&text);
    let config = config(&imported);
    assert!(config.cluster.is_none());
    let [proxy] = config.vips.as_slice() else { panic!("{config:?}") };
    let Follows::None(election) = &proxy.follows else { panic!("{proxy:?}") };
    assert_eq!((proxy.name.as_str(), election.priority.get()), ("proxy", 254));
    says(&imported, "chk_haproxy", Verdict::ByHand, "plain VRRP");
    says(&imported, "chk_ro", Verdict::ByHand, "replica");
    let toml = imported.toml.as_ref().unwrap();
    assert!(
        toml.contains("# LEFT OUT: VIPs of replicas are not in this version") && toml.contains("#name = \"readers\"")
    );
    // Alone it leaves nothing.
    let text = format!(
        "vrrp_script chk_ro {{\n script \"curl -f http://h:8008/replica\"\n}}\n{}",
        instance("readers", 52, "chk_ro")
    );
    let nothing = super::imported(&text);
    assert!(nothing.toml.is_none() && nothing.explanation().contains("no instance could be converted"));
}

/// An IPv4 and an IPv6 instance.
fn both_families(check: &str, group: &str) -> String {
    let instance = |name: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id 155\n virtual_ipaddress {{\n {addresses}\n }}\n{check}}}\n"
        )
    };
    format!(
        "global_defs {{\n vrrp_version 3\n}}\nvrrp_script chk_patroni {{\n script \"/x/chk_patroni\"\n}}\n{group}{}{}",
        instance("v4", "10.0.20.155"),
        instance("v6", "fd00:20::155/64")
    )
}

const GROUP: &str = "vrrp_sync_group both {\n group {\n v4\n v6\n }\n}\n";
const CHECK: &str = " track_script {\n chk_patroni\n }\n";

#[test]
fn a_sync_group_of_both_families_is_one_vip() {
    let imported = imported(&both_families(CHECK, GROUP));
    let config = config(&imported);
    let [vip] = config.vips.as_slice() else { panic!("{config:?}") };
    let addresses: Vec<_> = vip.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.20.155/32", "fe80::200:5eff:fe00:29b/128", "fd00:20::155/64"]);
    says(&imported, "vrrp_sync_group", Verdict::Converted, "one [[vip]]");
    let notes: Vec<_> = imported.notes.iter().filter(|note| note.text.contains("link-local")).collect();
    assert!(notes.len() == 1 && notes[0].verdict == Verdict::ByHand, "{notes:?}");
}

/// The group's check counts for its members too.
#[test]
fn a_check_of_the_group() {
    let group = GROUP.replace(" group {", &format!("{CHECK} group {{"));
    let config = config(&imported(&both_families("", &group)));
    assert!(config.vips.len() == 1 && config.vips[0].follows.is_primary(), "{config:?}");
}

#[test]
fn without_a_group_or_without_the_primary_they_stay_two() {
    let apart = imported(&both_families(CHECK, ""));
    assert_eq!(config(&apart).vips.len(), 2);
    let elected = imported(&both_families("", GROUP));
    assert_eq!(config(&elected).vips.len(), 2);
    says(&elected, "vrrp_sync_group", Verdict::ByHand, "elected by itself");
}

#[test]
fn plain_vrrp() {
    let text = r#"
vrrp_instance web {
  version 3
  state BACKUP
  interface eth0
  virtual_router_id 51
  priority 150
  preempt_delay 4.5
  advert_int 0.1
  use_vmac vrrp.51
  v3_checksum_as_v2
  track_interface {
    eth0
    eth1
    eth2 weight 20
  }
  virtual_ipaddress {
    10.0.20.200/24
    10.0.20.201 dev eth1
    10.0.20.200
  }
}
"#;
    let imported = import_with(text, None, &Made::default()).unwrap();
    let config = config(&imported);
    let vip = &config.vips[0];
    let Follows::None(election) = &vip.follows else { panic!("{vip:?}") };
    assert_eq!((election.priority.get(), election.preempt_delay), (150, Duration::from_millis(4500)));
    assert_eq!(election.track_interfaces, ["eth1"]);
    assert_eq!((vip.mac, vip.checksum), (Mac::Virtual, Checksum::Rfc9568));
    assert_eq!(vip.addresses, ["10.0.20.200/32".parse().unwrap()]);
    assert_eq!(config.node, "db1.example");
    says(&imported, "eth2", Verdict::ByHand, "no weights");
    says(&imported, "10.0.20.201", Verdict::ByHand, "another interface");
    says(&imported, "10.0.20.200", Verdict::NotNeeded, "stands there before");
}

/// What pgvrrp would refuse stands there as a comment, with the reason.
#[test]
fn what_would_be_refused_is_left_out() {
    let instance = |name: &str, id: &str, interface: &str, address: &str| {
        format!(
            "vrrp_instance {name} {{\n interface {interface}\n virtual_router_id {id}\n virtual_ipaddress {{\n {address}\n }}\n}}\n"
        )
    };
    let text = [
        instance("long", "1", "interfacenamethatistoolong", "10.0.20.1"),
        instance("good", "2", "eth0", "10.0.20.2"),
        instance("same_id", "2", "eth0", "10.0.20.3"),
        instance("same_address", "3", "eth0", "10.0.20.2"),
        instance("loopback", "4", "eth0", "127.0.0.1"),
        instance("no_number", "400", "eth0", "10.0.20.5"),
        instance("no_address", "6", "eth0", "10.0.20./24"),
        instance("good", "7", "eth0", "10.0.20.7"),
        instance("other", "2", "eth1", "10.0.20.8"),
    ];
    let imported = imported(&text.concat());
    let config = config(&imported);
    let names: Vec<_> = config.vips.iter().map(|vip| vip.name.as_str()).collect();
    assert_eq!(names, ["good", "10.0.20.7", "other"]);
    assert_eq!(imported.toml.as_ref().unwrap().matches("# LEFT OUT: ").count(), 6);
    let of = imported.notes.iter().filter(|note| note.keyword == "vrrp_instance");
    assert_eq!(of.clone().filter(|note| note.verdict == Verdict::Converted).count(), 3);
    assert_eq!(of.filter(|note| note.text.contains("is left out")).count(), 6);
}

#[test]
fn what_is_not_for_pgvrrp() {
    for (text, expected) in [
        ("", "is no keepalived.conf"),
        ("vrrp_instance a {\n\0", "is no keepalived.conf"),
        ("[Unit]\nDescription = x\n", "is no keepalived.conf"),
        ("virtual_server 10.0.0.1 80 {\n}\n", "no vrrp_instance"),
        ("global_defs {\n}\n", "no vrrp_instance"),
    ] {
        let failure = import_with(text, None, &Made::default()).unwrap_err();
        assert!(failure.to_string().contains(expected), "{failure}");
        assert!(!matches!(failure, Failure::Syntax { .. }));
    }
}

#[test]
fn the_default_interface() {
    let text = "global_defs {\n default_interface ens3\n}\nvrrp_instance a {\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n";
    assert_eq!(config(&imported(text)).interface, "ens3");
    let without = imported(&text.replace("default_interface ens3", "router_id x"));
    assert_eq!(parse(without.toml.as_ref().unwrap()).interface, "eth0");
    assert!(without.to_fill_in.iter().any(|line| line.starts_with("interface")), "{:?}", without.to_fill_in);
}

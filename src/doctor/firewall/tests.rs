//! Rulesets as the tools print them, read and judged.

use std::path::Path;

use super::*;
use crate::doctor::report::Level;

fn config() -> Config {
    let text = r#"
        node = "db1"
        interface = "eth0"
        [etcd]
        endpoints = ["http://10.0.20.11:2379"]
        [patroni]
        scope = "odoo"
        [postgres]
        connection = "host=/run/postgresql user=pgvrrp dbname=postgres"
        [[vip]]
        address = "10.0.20.155"
        virtual_router_id = 155
    "#;
    Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/")).unwrap()
}

fn seen(loose: i32) -> Seen {
    Seen {
        kernel: NfTables::Tables(1),
        nft: Answer::NotInstalled,
        listing: Answer::NotInstalled,
        iptables: Answer::NotInstalled,
        ip6tables: Answer::NotInstalled,
        is_legacy: false,
        loose: Some(loose),
        routes: String::new(),
        rp_filters: BTreeMap::new(),
    }
}

fn judged(seen: &Seen) -> Vec<Finding> {
    let findings = judge(&config(), seen, Ports { postgres: 5432, clients: Some(9155) });
    // The kernel's nf_tables is another matter.
    findings.into_iter().filter(|finding| !finding.text.contains("the kernel has")).collect()
}

fn told(findings: &[Finding], level: Level) -> Vec<&str> {
    findings.iter().filter(|finding| finding.level == level).map(|finding| finding.text.as_str()).collect()
}

fn fixes(findings: &[Finding]) -> String {
    findings.iter().filter_map(|finding| finding.fix.as_deref()).collect::<Vec<_>>().join("\n")
}

/// As `nft` prints a table `inet filter` with these chains: name, hook, policy, and the rules' statements.
fn nft(loose: i32, chains: &[(&str, &str, &str, &[&str])]) -> Seen {
    let mut objects = vec![
        r#"{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}"#.to_owned(),
        r#"{"table": {"family": "inet", "name": "filter", "handle": 1}}"#.to_owned(),
        r#"{"set": {"family": "inet", "name": "open", "table": "filter", "type": "inet_service", "handle": 7,
            "flags": ["interval"], "elem": [22, {"range": [9000, 9200]}, {"elem": {"val": 5432, "comment": "x"}}]}}"#
            .to_owned(),
    ];
    for (name, hook, policy, _) in chains {
        let base = if hook.is_empty() {
            String::new()
        } else {
            format!(r#", "type": "filter", "hook": "{hook}", "prio": 0, "policy": "{policy}""#)
        };
        objects.push(format!(r#"{{"chain": {{"family": "inet", "table": "filter", "name": "{name}"{base}}}}}"#));
    }
    for (name, _, _, rules) in chains {
        objects.extend(rules.iter().map(|rule| {
            format!(
                r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "{name}", "handle": 9, "expr": [{rule}]}}}}"#
            )
        }));
    }
    let listing =
        "table inet filter { # handle 1\n\tchain input { # handle 2\n\t\tct state invalid drop # handle 9\n\t}\n}\n";
    Seen {
        nft: Answer::Printed(format!(r#"{{"nftables": [{}]}}"#, objects.join(", "))),
        listing: Answer::Printed(listing.to_owned()),
        ..seen(loose)
    }
}

const INVALID: &str =
    r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}, {"drop": null}"#;
const ESTABLISHED: &str = r#"{"match": {"op": "==", "left": {"ct": {"key": "state"}},
    "right": {"set": ["established", "related"]}}}, {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}"#;
const NEW: &str = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}},
    {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5432}}, {"accept": null}"#;
const NO_SYN: &str = r#"{"match": {"op": "!=", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}},
    ["fin", "syn", "rst", "ack"]]}, "right": "syn"}}, {"match": {"op": "in", "left": {"ct": {"key": "state"}},
    "right": "new"}}, {"drop": null}"#;
const REJECT: &str = r#"{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}"#;
/// What is recommended, as it is printed afterwards.
const ANSWERS: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}},
    "right": "10.0.20.155"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
    "right": 5432}}, {"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}},
    ["syn", "rst", "ack"]]}, "right": "ack"}}, {"accept": null}"#;
const TELLS: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}},
    "right": "10.0.20.155"}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "sport"}},
    "right": 5432}}, {"accept": null}"#;

#[test]
fn no_rules() {
    let findings = judged(&seen(1));
    // Without nft, the kernel's one table is unknown.
    assert!(findings[0].text.contains("install nftables"), "{findings:?}");
    let none = Seen { kernel: NfTables::Tables(0), ..seen(1) };
    assert_eq!(told(&judged(&none), Level::Ok), ["firewall: no rules"]);
    assert_eq!(told(&judged(&nft(0, &[])), Level::Ok), ["firewall: no rules"]);
}

#[test]
fn what_is_invalid_only_without_loose() {
    for hook in ["input", "prerouting"] {
        assert_eq!(
            told(&judged(&nft(1, &[("input", hook, "accept", &[INVALID])])), Level::Ok),
            ["firewall: no rule was seen that keeps packets from a VIP (nf_conntrack_tcp_loose = 1)"]
        );
        let findings = judged(&nft(0, &[("input", hook, "accept", &[INVALID])]));
        assert_eq!(
            told(&findings, Level::Warning),
            ["firewall: inet filter input drops what clients answer when told that the primary's host died (ct state \
              invalid drop, and net.netfilter.nf_conntrack_tcp_loose is 0): they wait for their own time-outs instead"]
        );
        let fixes = fixes(&findings);
        assert!(fixes.contains("nf_conntrack_tcp_loose = 1"), "{fixes}");
        let rule = "`nft 'insert rule inet filter input ip daddr 10.0.20.155 tcp dport 5432 tcp flags & (syn | rst | ack) \
                    == ack accept'`";
        assert!(fixes.contains(rule), "{fixes}");
    }
    let outwards = judged(&nft(0, &[("output", "output", "accept", &[INVALID])]));
    assert_eq!(told(&outwards, Level::Warning).len(), 1, "the tickle's and the RST's are one: {outwards:?}");
    assert!(fixes(&outwards).contains("output ip saddr 10.0.20.155 tcp sport 5432 accept"), "{outwards:?}");
    // The fixes are some.
    let mended =
        [("input", "input", "accept", &[ANSWERS, INVALID][..]), ("output", "output", "accept", &[TELLS, INVALID])];
    assert_eq!(told(&judged(&nft(0, &mended)), Level::Ok).len(), 1);
}

#[test]
fn what_is_dropped_with_loose_too() {
    for rules in [&[NO_SYN][..], &[ESTABLISHED, REJECT]] {
        let findings = judged(&nft(1, &[("output", "output", "accept", rules)]));
        let [warning] = told(&findings, Level::Warning).try_into().unwrap();
        assert!(warning.contains("what tells clients") && !warning.contains("loose"), "{warning}");
        assert!(!fixes(&findings).contains("loose"), "{findings:?}");
    }
    let inwards = [("input", "input", "accept", &[NO_SYN][..])];
    assert!([0, 1].iter().all(|loose| told(&judged(&nft(*loose, &inwards)), Level::Ok).len() == 1));
}

#[test]
fn a_closed_input() {
    for rules in [("drop", &[ESTABLISHED, NEW][..]), ("accept", &[ESTABLISHED, NEW, REJECT])] {
        let findings = judged(&nft(1, &[("input", "input", rules.0, rules.1)]));
        let notes = told(&findings, Level::Note);
        let about = ["lets the lists of clients in, UDP port 9155", "lets VRRP in, protocol 112"];
        assert!(notes.len() == 2 && notes.iter().zip(about).all(|(note, about)| note.contains(about)), "{notes:?}");
        assert!(told(&findings, Level::Warning).is_empty(), "{findings:?}");
        let strict = judged(&nft(0, &[("input", "input", rules.0, rules.1)]));
        assert_eq!(told(&strict, Level::Warning).len(), 1, "{strict:?}");
    }
    let findings = judged(&nft(1, &[("input", "input", "drop", &[ESTABLISHED])]));
    assert!(told(&findings, Level::Note)[0].contains("connections to 10.0.20.155 in, TCP port 5432"), "{findings:?}");
}

#[test]
fn sets_maps_jumps_and_what_is_not_known() {
    let tcp = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": "@open"}}, {"accept": null}"#;
    let udp = tcp.replace("tcp", "udp");
    let vrrp = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["icmp", "vrrp"]}}}, {"accept": null}"#;
    let jump = r#"{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": {"set": ["eth0", "eth1"]}}},
        {"jump": {"target": "allowed"}}"#;
    let states = r#"{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["established", {"accept": null}],
        ["related", {"accept": null}], ["invalid", {"drop": null}]]}}}"#;
    let chains = |rules: &'static [&'static str]| [("input", "input", "drop", rules)];
    let open = |jump: &str, loose| {
        let allowed = [tcp, udp.as_str(), vrrp];
        judged(&nft(loose, &[("input", "input", "drop", &[states, jump]), ("allowed", "", "", &allowed)]))
    };
    assert_eq!(told(&open(jump, 1), Level::Ok).len(), 1, "{:?}", open(jump, 1));
    assert_eq!(told(&open(jump, 0), Level::Warning).len(), 1);
    assert_eq!(told(&open(&jump.replace("eth0", "eth7"), 1), Level::Note).len(), 3);
    // From where is not known, nor what an entry in a set that changes by itself, or another expression, is.
    for unknown in [
        r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.20.12"}}, {"accept": null}"#,
        r#"{"match": {"op": "==", "left": {"concat": [1, 2]}, "right": "@all"}}, {"accept": null}"#,
        r#"{"brand-new": {"of": 2040}}, {"accept": null}"#,
        r#"{"queue": {"num": 1}}"#,
    ] {
        let rules = [unknown];
        let findings = judged(&nft(1, &[("input", "input", "drop", &rules)]));
        assert_eq!(told(&findings, Level::Ok).len(), 1, "{unknown}: {findings:?}");
    }
    // Of a chain that goes round in circles, the kernel has none.
    let circle = judged(&nft(1, &chains(&[r#"{"jump": {"target": "input"}}"#, r#"{"jump": {"target": "input"}}"#])));
    assert_eq!(told(&circle, Level::Ok).len(), 1, "{circle:?}");
    // Narrower than all, and it asks conntrack.
    let narrow = format!(
        r#"{{"match": {{"op": "==", "left": {{"payload": {{"protocol": "ip", "field": "saddr"}}}},
        "right": {{"prefix": {{"addr": "10.0.0.0", "len": 8}}}}}}}}, {INVALID}"#
    );
    let findings = judged(&nft(0, &[("input", "input", "accept", &[&narrow])]));
    assert!(told(&findings, Level::Note)[0].contains("may drop what clients answer"), "{findings:?}");
}

#[test]
fn every_address_is_in_the_fix() {
    let both = r#"
        node = "db1"
        interface = "eth0"
        [etcd]
        endpoints = ["http://10.0.20.11:2379"]
        [patroni]
        scope = "odoo"
        [postgres]
        connection = "host=/run/postgresql user=pgvrrp dbname=postgres"
        [[vip]]
        name = "both"
        addresses = ["10.0.20.155", "10.0.20.156", "fe80::155", "fd00:20::155"]
        virtual_router_id = 155
    "#;
    let config = Config::parse(Path::new("pgvrrp.toml"), both, Path::new("/")).unwrap();
    let judged = |rules: &[&str]| {
        let seen = nft(0, &[("output", "output", "accept", rules)]);
        let findings = judge(&config, &seen, Ports { postgres: 5432, clients: Some(9155) });
        findings.into_iter().filter(|finding| finding.level == Level::Warning).collect::<Vec<_>>()
    };
    let [finding] = judged(&[INVALID]).try_into().unwrap();
    let fix = "`nft 'insert rule inet filter output ip saddr { 10.0.20.155, 10.0.20.156 } tcp sport 5432 accept'` and \
               `nft 'insert rule inet filter output ip6 saddr { fd00:20::155, fe80::155 } tcp sport 5432 accept'`, and";
    assert!(finding.fix.as_deref().unwrap().contains(fix), "{finding:?}");
    let [finding] = judged(&[TELLS, INVALID]).try_into().unwrap();
    assert!(!finding.fix.unwrap().contains("10.0.20.155"));
}

const SAVED: &str = r#"# Generated by iptables-save v1.8.9 (nf_tables) on Thu Nov 26 14:42:45 2026
*nat
:PREROUTING DROP [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:local - [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -j local
-A INPUT -m comment --comment "the \"rest\" -j ACCEPT" -j REJECT --reject-with icmp-host-prohibited
-A local ! -s 10.9.0.0/16 -i eth+ -p tcp -m state --state NEW -m multiport --dports 22,5432 -j ACCEPT
-A local -p udp -m udp --dport 9100:9200 -j ACCEPT
-A local -p 112 -j ACCEPT
COMMIT
# Completed on Thu Nov 26 14:42:45 2026
"#;

fn iptables(loose: i32, saved: &str) -> Seen {
    Seen { iptables: Answer::Printed(saved.to_owned()), kernel: NfTables::Tables(0), ..seen(loose) }
}

#[test]
fn iptables_as_it_is_saved() {
    assert_eq!(told(&judged(&iptables(1, SAVED)), Level::Ok).len(), 1, "{:?}", judged(&iptables(1, SAVED)));
    let findings = judged(&iptables(0, SAVED));
    let [warning] = told(&findings, Level::Warning).try_into().unwrap();
    assert!(warning.contains(r#"iptables INPUT drops"#) && warning.contains("-j REJECT"), "{warning}");
    let rule = "iptables -I INPUT -d 10.0.20.155 -p tcp --dport 5432 --tcp-flags SYN,RST,ACK ACK -j ACCEPT";
    assert!(fixes(&findings).contains(rule), "{findings:?}");
    let mended =
        "-A INPUT -d 10.0.20.155/32 -p tcp -m tcp --dport 5432 --tcp-flags SYN,RST,ACK ACK -j ACCEPT\n-A INPUT -i lo";
    assert_eq!(told(&judged(&iptables(0, &SAVED.replace("-A INPUT -i lo", mended))), Level::Ok).len(), 1);

    for (rule, what) in [
        ("-A OUTPUT -m conntrack --ctstate INVALID -j DROP", "what tells"),
        ("-A INPUT -m state --state INVALID -j DROP", "what clients answer"),
        ("-A INPUT -p tcp -m conntrack ! --ctstate NEW,RELATED,ESTABLISHED -j DROP", "what clients answer"),
    ] {
        let saved = format!("*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{rule}\nCOMMIT\n");
        let findings = judged(&iptables(0, &saved));
        assert!(told(&findings, Level::Warning).iter().all(|text| text.contains(what)), "{findings:?}");
        assert_eq!(told(&findings, Level::Warning).len(), 1, "{findings:?}");
        assert_eq!(told(&judged(&iptables(1, &saved)), Level::Ok).len(), 1);
    }
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j DROP\n-A PREROUTING -p tcp --dport 5432 -j CT --notrack\n\
               COMMIT\n*filter\n:INPUT DROP [0:0]\n-A INPUT -p 112 -j ACCEPT\n-A INPUT -m state --state NEW,ESTABLISHED -j ACCEPT\n";
    let findings = judged(&iptables(1, raw));
    assert!(fixes(&findings).contains("`iptables -t raw -I PREROUTING -p udp --dport 9155 -j ACCEPT`"), "{findings:?}");
    assert_eq!(told(&findings, Level::Warning).len(), 1, "what is not tracked is not established: {findings:?}");
}

#[test]
fn what_iptables_keeps_in_nf_tables_is_read_once() {
    let rules = [r#"{"xt": {"type": "match", "name": "conntrack"}}, {"drop": null}"#];
    let shown = nft(0, &[("INPUT", "input", "accept", &rules)]);
    let findings = judged(&shown);
    assert!(told(&findings, Level::Note)[0].contains("rules of iptables in inet filter"), "{findings:?}");
    let Answer::Printed(json) = &shown.nft else { panic!() };
    let both = Seen { nft: Answer::Printed(json.replace("\"inet\"", "\"ip\"")), ..iptables(0, SAVED) };
    assert_eq!(judged(&both), judged(&iptables(0, SAVED)));
}

#[test]
fn what_could_not_be_read_is_told() {
    let hidden = Seen { kernel: NfTables::NotPermitted, ..seen(1) };
    let findings = judged(&hidden);
    assert!(findings.len() == 1 && findings[0].text.contains("CAP_NET_ADMIN"), "{findings:?}");
    let failed = Seen { nft: Answer::Failed("took longer than 2s".to_owned()), ..seen(1) };
    assert!(judged(&failed)[0].text.contains("took longer than 2s"));
    let legacy = Seen { is_legacy: true, kernel: NfTables::Absent, ..seen(1) };
    assert!(judged(&legacy).iter().any(|finding| finding.text.contains("install iptables")));
}

#[test]
fn odd_output_is_no_end() {
    for nft in ["", "{", "[]", "{\"nftables\": 7}", "\u{0}\u{1b}"] {
        let findings = judged(&Seen { nft: Answer::Printed(nft.to_owned()), ..seen(1) });
        assert!(findings[0].text.contains("is not understood"), "{nft}: {findings:?}");
    }
    // Every cut, and every other byte instead: it says something, or nothing, and ends.
    let Answer::Printed(json) = nft(0, &[("input", "input", "drop", &[ESTABLISHED, ANSWERS, NO_SYN])]).nft else {
        panic!()
    };
    for (at, _) in json.char_indices().step_by(3) {
        for odd in ["", "0", "null", "[", "\"", "-1", "{}"] {
            let broken = format!("{}{odd}{}", &json[..at], &json[at + 1..]);
            judged(&Seen { nft: Answer::Printed(broken.clone()), listing: Answer::Printed(broken), ..seen(0) });
        }
    }
    for (at, _) in SAVED.char_indices() {
        for odd in ["", "!", "\"", " ", "\\", "-A ", "*", ":"] {
            judged(&iptables(0, &format!("{}{odd}{}", &SAVED[..at], &SAVED[at + 1..])));
            judged(&iptables(0, &format!("{}{odd}", &SAVED[..at])));
        }
    }
}

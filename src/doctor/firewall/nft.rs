//! Reads what `nft --json list ruleset` prints (libnftables-json(5)), and the rules' own words from `nft -a list ruleset`,
//! since JSON is not what an administrator wrote.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::iptables::{flag, protocol_named, state};
use super::packet::{self, Flags};
use super::rules::{Action, Base, Chain, End, Hook, Rule, Table, Test, Tool};

/// What was read, and whether there is what only iptables understands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ruleset {
    pub(super) tables: Vec<Table>,
    /// Those tables with rules of iptables' own modules, of which `nft` shows nothing but that they are there.
    pub(super) foreign: Vec<String>,
}

/// `None` if it is no list of nft's. `listing` is that for people, and may be empty.
pub(super) fn parse(json: &str, listing: &str) -> Option<Ruleset> {
    let json: Value = serde_json::from_str(json).ok()?;
    let objects = json["nftables"].as_array()?;
    let texts = texts(listing);
    let of = |kinds: &'static [&'static str]| {
        objects.iter().filter_map(|object| kinds.iter().find_map(|kind| object.get(*kind)))
    };
    let sets: Sets<'_> =
        of(&["set", "map"]).filter_map(|set| Some(((table_of(set)?, word(set, "name")?.to_owned()), set))).collect();
    let mut read = Ruleset::default();
    for table in of(&["table"]) {
        let (Some(family), Some(name)) = (word(table, "family"), word(table, "name")) else { continue };
        let (ipv4, ipv6) = (matches!(family, "ip" | "inet"), matches!(family, "ip6" | "inet"));
        // Of an owner that sleeps: its chains see nothing.
        let is_dormant = list(&table["flags"]).iter().any(|flag| *flag == "dormant");
        if (ipv4 || ipv6) && !is_dormant {
            let name = format!("{family} {name}");
            read.tables.push(Table { tool: Tool::Nft, name, ipv4, ipv6, chains: Vec::new() });
        }
    }
    for chain in of(&["chain"]) {
        let table = table_of(chain).and_then(|name| read.tables.iter_mut().find(|table| table.name == name));
        let (Some(table), Some(name)) = (table, word(chain, "name")) else { continue };
        let hook = word(chain, "hook").and_then(Hook::named).filter(|_| word(chain, "type") != Some("nat"));
        let base = hook.map(|hook| Base { hook, drops: word(chain, "policy") == Some("drop") });
        table.chains.push(Chain { name: name.to_owned(), base, rules: Vec::new() });
    }
    for rule in of(&["rule"]) {
        let Some(name) = table_of(rule) else { continue };
        let Some(table) = read.tables.iter_mut().find(|table| table.name == name) else { continue };
        let Some(chain) = table.chains.iter_mut().find(|chain| word(rule, "chain") == Some(&chain.name)) else {
            continue;
        };
        let handle = rule["handle"].as_u64().unwrap_or_default();
        let statements = rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default();
        if statements.iter().any(|statement| statement.get("xt").is_some()) && !read.foreign.contains(&name) {
            read.foreign.push(name.clone());
        }
        let text = texts.get(&(name.clone(), handle)).cloned().unwrap_or_else(|| format!("rule with handle {handle}"));
        let reader = Reader { sets: &sets, table: &name };
        let rules = reader.rule(statements).into_iter();
        chain.rules.extend(rules.map(|(tests, action)| Rule { text: text.clone(), tests, action }));
    }
    Some(read)
}

type Sets<'a> = HashMap<(String, String), &'a Value>;

fn word<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object[key].as_str()
}

fn table_of(object: &Value) -> Option<String> {
    Some(format!("{} {}", word(object, "family")?, word(object, "table")?))
}

/// The words of each rule, by its table and handle.
fn texts(listing: &str) -> HashMap<(String, u64), String> {
    let (mut table, mut texts) = (String::new(), HashMap::new());
    for line in listing.lines().map(str::trim) {
        let Some((text, handle)) = line.rsplit_once(" # handle ") else { continue };
        let Ok(handle) = handle.parse() else { continue };
        match text.strip_suffix('{').map(str::trim) {
            Some(opened) => table = opened.strip_prefix("table ").map_or(table, str::to_owned),
            None => drop(texts.insert((table.clone(), handle), text.trim().to_owned())),
        }
    }
    texts
}

/// JSON's one or many.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().collect(),
        one => one.get("|").map_or_else(|| vec![one], |all| list(all).into_iter().flat_map(list).collect()),
    }
}

/// Statements that let the packet go on to the next.
const HARMLESS: [&str; 12] = [
    "counter",
    "log",
    "mangle",
    "set",
    "map",
    "dup",
    "flow",
    "ct helper",
    "ct timeout",
    "ct expectation",
    "last",
    "secmark",
];

struct Reader<'a> {
    sets: &'a Sets<'a>,
    table: &'a str,
}

impl Reader<'_> {
    /// A verdict map is as many rules as it has entries.
    fn rule(&self, statements: &[Value]) -> Vec<(Vec<Test>, Action)> {
        let (mut tests, mut action) = (Vec::new(), Action::Nothing);
        for statement in statements {
            let Some((kind, value)) = statement.as_object().and_then(|object| object.iter().next()) else {
                tests.push(Test::Unknown);
                continue;
            };
            match kind.as_str() {
                "match" => tests.extend(self.test(value)),
                "vmap" => return self.verdicts(&tests, value),
                "notrack" => action = Action::NoTrack,
                kind if HARMLESS.contains(&kind) => {}
                _ => match verdict(statement) {
                    Some(verdict) => action = verdict,
                    None => tests.push(Test::Unknown),
                },
            }
        }
        vec![(tests, action)]
    }

    fn verdicts(&self, tests: &[Test], map: &Value) -> Vec<(Vec<Test>, Action)> {
        let Some(entries) = self.elements(&map["data"]) else { return vec![(tests.to_vec(), Action::Unknown)] };
        let entries = entries.into_iter().map(|entry| {
            let (key, target) = (&entry[0], &entry[1]);
            let own = self.test(&serde_json::json!({ "op": "==", "left": map["key"], "right": key }));
            ([tests, &own].concat(), verdict(target).unwrap_or(Action::Unknown))
        });
        entries.collect()
    }

    /// The members of a set, by name or in place; `None` of one whose members come and go by themselves.
    fn elements(&self, value: &'_ Value) -> Option<Vec<Value>> {
        let named = match value.as_str().and_then(|name| name.strip_prefix('@')) {
            Some(name) => {
                let set = self.sets.get(&(self.table.to_owned(), name.to_owned()))?;
                if list(&set["flags"]).iter().any(|flag| *flag == "dynamic" || *flag == "timeout") {
                    return None;
                }
                Some(&set["elem"])
            }
            None => value.get("set"),
        };
        let elements = named.map_or_else(|| list(value), list).into_iter();
        Some(elements.map(|element| element["elem"].get("val").unwrap_or(element).clone()).collect())
    }

    /// A match can ask for a protocol by the way.
    fn test(&self, asked: &Value) -> Vec<Test> {
        let not = match word(asked, "op") {
            Some("==" | "in") => false,
            Some("!=") => true,
            _ => return vec![Test::Unknown],
        };
        let left = &asked["left"];
        let masked = left.get("&");
        if word(&masked.map_or(left, |both| &both[0])["payload"], "field") == Some("flags") {
            return vec![only(packet::TCP), self.flags(asked, masked.map(|both| &both[1]), not)];
        }
        let Some(values) = self.elements(&asked["right"]) else { return vec![Test::Unknown] };
        let (payload, meta) = (&left["payload"], &left["meta"]);
        let field = (word(payload, "protocol"), word(payload, "field"), word(meta, "key"), word(&left["ct"], "key"));
        match field {
            (_, _, _, Some("state")) => vec![states(&values, not)],
            (_, _, Some("l4proto"), _) | (Some("ip"), Some("protocol"), ..) | (Some("ip6"), Some("nexthdr"), ..) => {
                let numbers = all(&values, |value| ranges(value, protocol_number));
                vec![numbers.map_or(Test::Unknown, |any_of| Test::Protocol { any_of, not })]
            }
            (Some(protocol @ ("tcp" | "udp" | "th")), Some(end @ ("sport" | "dport")), ..) => {
                let which = if end == "sport" { End::Source } else { End::Destination };
                let numbers = all(&values, |value| ranges(value, |port| u16::try_from(port.as_u64()?).ok()));
                let port = numbers.map_or(Test::Unknown, |any_of| Test::Port { which, any_of, not });
                protocol_named(protocol).map(only).into_iter().chain([port]).collect()
            }
            (Some(family @ ("ip" | "ip6")), Some(end @ ("saddr" | "daddr")), ..) => {
                let which = if end == "saddr" { End::Source } else { End::Destination };
                let addresses = all(&values, addresses);
                let address = addresses.map_or(Test::Unknown, |any_of| Test::Address { which, any_of, not });
                vec![Test::Ipv4 { not: family == "ip6" }, address]
            }
            (_, _, Some(end @ ("iif" | "iifname" | "oif" | "oifname")), _) => {
                let which = if end.starts_with('i') { End::Source } else { End::Destination };
                let names = all(&values, |name| name.as_str().map(str::to_owned));
                vec![names.map_or(Test::Unknown, |any_of| Test::Interface { which, any_of, not })]
            }
            (_, _, Some("nfproto" | "protocol"), _) => match values.as_slice() {
                [one] if matches!(one.as_str(), Some("ipv4" | "ip")) => vec![Test::Ipv4 { not }],
                [one] if matches!(one.as_str(), Some("ipv6" | "ip6")) => vec![Test::Ipv4 { not: !not }],
                _ => vec![Test::Unknown],
            },
            _ => vec![Test::Unknown],
        }
    }

    fn flags(&self, asked: &Value, mask: Option<&Value>, not: bool) -> Test {
        let right = &asked["right"];
        let bits = match mask {
            Some(mask) => flags(mask),
            None => Some(Flags::MAX),
        };
        if word(asked, "op") == Some("in") {
            return flags(right).map_or(Test::Unknown, Test::SomeFlag);
        }
        let any_of = match right.get("set") {
            Some(set) => all(&list(set).into_iter().cloned().collect::<Vec<_>>(), flags),
            None => flags(right).map(|one| vec![one]),
        };
        match (bits, any_of) {
            (Some(bits), Some(any_of)) => Test::Flags { bits, any_of, not },
            _ => Test::Unknown,
        }
    }
}

fn verdict(statement: &Value) -> Option<Action> {
    let (kind, value) = statement.as_object()?.iter().next()?;
    let target = || word(value, "target").unwrap_or_default().to_owned();
    Some(match kind.as_str() {
        "accept" => Action::Accept,
        "drop" | "reject" => Action::Drop,
        "return" => Action::Return,
        "continue" => Action::Nothing,
        "jump" => Action::Jump(target()),
        "goto" => Action::Goto(target()),
        "queue" | "synproxy" | "tproxy" | "fwd" => Action::Unknown,
        _ => return None,
    })
}

fn only(protocol: u8) -> Test {
    Test::Protocol { any_of: vec![(protocol, protocol)], not: false }
}

/// One that is not understood makes the whole not understood.
fn all<T>(values: &[Value], read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(read).collect()
}

fn states(values: &[Value], not: bool) -> Test {
    let states = all(values, |name| state(name.as_str()?));
    states.map_or(Test::Unknown, |states| Test::State { any_of: states.iter().fold(0, |all, one| all | one), not })
}

fn flags(value: &Value) -> Option<Flags> {
    list(value).into_iter().try_fold(0, |all, one| {
        let bits = match one.as_u64() {
            Some(number) => Flags::try_from(number).ok(),
            None => flag(one.as_str()?),
        };
        Some(all | bits?)
    })
}

fn protocol_number(value: &Value) -> Option<u8> {
    match value.as_u64() {
        Some(number) => u8::try_from(number).ok(),
        None => protocol_named(value.as_str()?),
    }
}

fn ranges<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<(T, T)> {
    match value.get("range") {
        Some(range) => Some((read(&range[0])?, read(&range[1])?)),
        None => Some((read(value)?, read(value)?)),
    }
}

fn addresses(value: &Value) -> Option<(IpAddr, IpAddr)> {
    match value.get("prefix") {
        Some(prefix) => {
            let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
            let net = IpNet::new(word(prefix, "addr")?.parse().ok()?, length).ok()?;
            Some((net.network(), net.broadcast()))
        }
        None => ranges(value, |address| address.as_str()?.parse().ok()),
    }
}

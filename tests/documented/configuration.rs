//! `docs/CONFIGURATION.md` has every key, its default and its limits. That `packaging/pgvrrp.toml` has every key and the right
//! defaults is tested in `config/`; so this page is compared with that, and what it says of values is tried.

use std::collections::BTreeMap;
use std::path::Path;

use pgvrrp_config::Config;
use toml::{Table, Value};

use crate::host::Host;
use crate::table::rows;
use crate::text::quoted;

const PAGE: &str = include_str!("../../docs/CONFIGURATION.md");
const EXAMPLE: &str = include_str!("../../packaging/pgvrrp.toml");

/// The same three VIPs of the pages: by Patroni with what is usual, with everything that TLS and passwords take, and by VRRP alone.
const USUAL: &str = r#"
node = "db1"
interface = "eth0"
[patroni]
scope = "odoo"
[etcd]
endpoints = ["http://10.0.20.13:2379"]
[postgres]
connection = "host=127.0.0.1 user=pgvrrp dbname=postgres"
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
"#;
const SECURED: &str = r#"
node = "db1"
interface = "eth0"
[patroni]
scope = "odoo"
[etcd]
endpoints = ["https://etcd1.example:2379"]
ca_file = "/etc/pgvrrp/etcd-ca.pem"
cert_file = "/etc/pgvrrp/etcd-client.pem"
key_file = "/etc/pgvrrp/etcd-client.key"
username = "pgvrrp"
password_file = "/etc/pgvrrp/etcd.password"
[postgres]
connection = "host=db1.example hostaddr=127.0.0.1 user=pgvrrp dbname=postgres"
sslmode = "verify-full"
ca_file = "/etc/pgvrrp/postgres-ca.pem"
cert_file = "/etc/pgvrrp/postgres-client.pem"
key_file = "/etc/pgvrrp/postgres-client.key"
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
"#;
const PLAIN: &str = r#"
node = "db1"
interface = "eth0"
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
follows = "none"
"#;

/// A row of the page.
struct Row {
    /// The table's header, as the file has it. Empty for the top.
    table: &'static str,
    key: &'static str,
    value: &'static str,
    default: &'static str,
}

fn documented() -> Vec<Row> {
    let sections = PAGE.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    let of = |(title, text): (&'static str, &'static str)| {
        let table = title.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or_default();
        rows(text, "| key | value | default | why, and when to change it |").into_iter().map(move |cells| {
            let [key, value, default, why] = cells[..] else { panic!("{table}: not four cells: {cells:?}") };
            assert!(!why.is_empty(), "{table} {key}: no reason");
            Row { table, key: key.trim_matches('`'), value, default: default.trim_matches('`') }
        })
    };
    sections.flat_map(of).collect()
}

/// What the example has for each key: its default, or that there is none.
fn example() -> BTreeMap<(&'static str, &'static str), &'static str> {
    let (mut table, mut keys) = ("", BTreeMap::new());
    for line in EXAMPLE.lines() {
        let commented =
            line.strip_prefix('#').filter(|rest| rest.starts_with(|first: char| first.is_ascii_lowercase()));
        if line.starts_with('[') {
            table = line;
        } else if let Some((key, rest)) =
            commented.unwrap_or(line).split_once(" = ").filter(|_| !line.starts_with("# "))
        {
            let (value, note) = rest.split_once("  # ").unwrap_or((rest, ""));
            let default = match (commented, note.trim_start_matches(['#', ' '])) {
                (None, _) => "required",
                (Some(_), "" | "with follows = \"none\"") => value.trim(),
                (Some(_), _) => "none",
            };
            keys.insert((table, key), default);
        }
    }
    keys
}

#[test]
fn every_key_has_its_row_and_its_default() {
    let rows = documented();
    let documented: BTreeMap<_, _> = rows.iter().map(|row| ((row.table, row.key), row.default)).collect();
    assert_eq!(documented.len(), rows.len(), "a key is there twice");
    let example = example();
    let missing: Vec<_> = example.keys().filter(|key| !documented.contains_key(*key)).collect();
    let invented: Vec<_> = documented.keys().filter(|key| !example.contains_key(*key)).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not documented: {missing:?}; no keys: {invented:?}");
    for (key, default) in example {
        assert_eq!(documented[&key], default, "{key:?}: what the page says, and what packaging/pgvrrp.toml does");
    }
}

/// Whether there is a configuration with this value that is right.
fn is_accepted(host: &Host, row: &Row, value: &Value) -> bool {
    [USUAL, SECURED, PLAIN].iter().any(|base| {
        let mut whole: Table = base.parse().expect("it is TOML");
        let table = match row.table.trim_matches(['[', ']']) {
            "" => &mut whole,
            "vip" => whole["vip"][0].as_table_mut().expect("it is a table"),
            name => {
                let table = whole.entry(name).or_insert_with(|| Value::Table(Table::new()));
                table.as_table_mut().expect("it is a table")
            }
        };
        if row.key == "addresses" {
            table.remove("address");
        }
        table.insert(row.key.to_owned(), value.clone());
        let text = host.at_home(&toml::to_string(&whole).expect("it can be written"));
        Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/etc/pgvrrp")).is_ok()
    })
}

fn value(text: &str) -> Value {
    let table: Table = format!("x = {text}").parse().unwrap_or_else(|_| panic!("{text} is no TOML"));
    table["x"].clone()
}

#[test]
fn every_value_that_the_page_names_can_be_had() {
    let host = Host::new();
    for row in documented().iter().filter(|row| !row.value.contains("` to `")) {
        let values = quoted(row.value);
        assert!(!values.is_empty(), "{} {}: no value", row.table, row.key);
        for text in &values {
            assert!(is_accepted(&host, row, &value(text)), "{} {} = {text} is refused", row.table, row.key);
        }
        if row.value.starts_with("one of") {
            let other = value("\"something-else\"");
            assert!(!is_accepted(&host, row, &other), "{} {} takes anything", row.table, row.key);
        }
    }
}

/// The ends of a range, and what is just outside of them, as TOML has it.
fn around(range: &str) -> ([Value; 2], Vec<Value>) {
    let (least, most) = range.split_once(" to ").expect("it is a range");
    let (least, most) = (least.trim_matches('`'), most.trim_matches('`'));
    if let (Ok(least), Ok(most)) = (least.parse::<i64>(), most.parse::<i64>()) {
        return ([least.into(), most.into()], vec![(least - 1).into(), (most + 1).into()]);
    }
    let micros = |text: &str| {
        let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).expect("it has a unit"));
        let unit = match unit {
            "ms" => 1e3,
            "s" => 1e6,
            _ => panic!("unit {unit}"),
        };
        (number.parse::<f64>().expect("it is a number") * unit) as i64
    };
    let below = Some(micros(least) / 2).filter(|half| *half > 0);
    let outside = below.into_iter().chain([micros(most) + 10_000]);
    let outside = outside.map(|micros| format!("{}ms", micros as f64 / 1e3).into()).collect();
    ([least.into(), most.into()], outside)
}

#[test]
fn the_limits_are_those_that_the_page_names() {
    let host = Host::new();
    let ranges: Vec<_> = documented().into_iter().filter(|row| row.value.contains("` to `")).collect();
    assert!(ranges.len() > 6, "only {} were found", ranges.len());
    for row in ranges {
        let (ends, outside) = around(row.value);
        for end in ends {
            assert!(is_accepted(&host, &row, &end), "{} {} = {end} is refused", row.table, row.key);
        }
        for value in outside {
            assert!(!is_accepted(&host, &row, &value), "{} {} = {value} is taken", row.table, row.key);
        }
    }
}

//! What is no TOML, no key, of the wrong type, missing, or not there yet.

use crate::{RIGHT, one, refuse};

#[test]
fn everything_is_told_at_once() {
    let text = r#"nod = "db1"
interface = "eth0"
vip = 3

[etcd]
endpoints = []
reqest_timeout = "1s"

[policy]
paused = "hodl"
"#;
    let expected = r#"error: [patroni] is missing
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add [patroni] with scope = "odoo"

error: unknown key `nod`
 --> /etc/pgvrrp/pgvrrp.toml:1:1
  |
1 | nod = "db1"
  | ^^^
  = help: did you mean `node`?

error: vip must be a list of tables, not a whole number
 --> /etc/pgvrrp/pgvrrp.toml:3:7
  |
3 | vip = 3
  |       ^
  = help: write [[vip]], with double brackets, for each

error: endpoints must not be empty
 --> /etc/pgvrrp/pgvrrp.toml:6:13
  |
6 | endpoints = []
  |             ^^
  = help: write endpoints = ["http://10.0.20.13:2379"]

error: unknown key `reqest_timeout` in [etcd]
 --> /etc/pgvrrp/pgvrrp.toml:7:1
  |
7 | reqest_timeout = "1s"
  | ^^^^^^^^^^^^^^
  = help: did you mean `request_timeout`?

error: paused must be "hold" or "release"
  --> /etc/pgvrrp/pgvrrp.toml:10:10
   |
10 | paused = "hodl"
   |          ^^^^^^
   = help: did you mean "hold"?

6 errors"#;
    assert_eq!(refuse(text), expected);
}

#[test]
fn an_empty_file() {
    let expected = r#"error: `node` is missing
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add node = "db1" above all tables

error: `interface` is missing
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add interface = "eth0" above all tables

error: there is no [[vip]]
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add [[vip]] with address = "10.0.20.155" and virtual_router_id = 155

error: [patroni] is missing
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add [patroni] with scope = "odoo"

error: [etcd] is missing
 --> /etc/pgvrrp/pgvrrp.toml
  = help: add [etcd] with endpoints = ["http://10.0.20.13:2379"]

5 errors"#;
    assert_eq!(refuse(""), expected);
}

#[test]
fn toml_that_is_none() {
    let text = "node = db1\ninterface = \"eth0\n[patroni\nscope = 'odoo'\n";
    let expected = r#"error: TOML: string values must be quoted, expected literal string
 --> /etc/pgvrrp/pgvrrp.toml:1:8
  |
1 | node = db1
  |        ^^^
  = help: put text in double quotes

error: TOML: invalid basic string, expected `"`
 --> /etc/pgvrrp/pgvrrp.toml:2:18
  |
2 | interface = "eth0
  |                  ^
  = help: mend the TOML; what the values say is looked at after that

error: TOML: unclosed table, expected `]`
 --> /etc/pgvrrp/pgvrrp.toml:3:9
  |
3 | [patroni
  |         ^
  = help: mend the TOML; what the values say is looked at after that

3 errors"#;
    assert_eq!(refuse(text), expected);
}

#[test]
fn keys_that_are_none() {
    let unknown = "unknown key";
    one(
        "",
        "«names» = \"db1\"",
        &format!("{unknown} `names`"),
        "the keys are node, interface, runtime_dir, fence, patroni, etcd, postgres, http, policy, clients, log, hooks, vip",
    );
    one("", "«listen» = \"off\"", &format!("{unknown} `listen`"), "`listen` belongs to [http]");
    one("", "«router_id» = \"db1\"", &format!("{unknown} `router_id`"), "did you mean `node`?");
    one(
        "[patroni]",
        "«node» = \"db1\"",
        &format!("{unknown} `node` in [patroni]"),
        "`node` stands at the top of the file, above all tables",
    );
    one(
        "[patroni]",
        "«name» = \"db1\"",
        &format!("{unknown} `name` in [patroni]"),
        "the member name is `node`, at the top of the file",
    );
    one("[log]", "«colour» = true", &format!("{unknown} `colour` in [log]"), "the keys in [log] are level, format");
    one("", "«priority» = 100", &format!("{unknown} `priority`"), "`priority` belongs to [[vip]]");
    one(
        "[policy]",
        "«foreign-active» = \"bind-at-once\"",
        &format!("{unknown} `foreign-active` in [policy]"),
        "did you mean `foreign_active`?",
    );
}

#[test]
fn a_key_under_a_wrong_name_is_not_also_missing() {
    for (right, wrong, meant) in [
        ("node =", "name =", "did you mean `node`?"),
        ("[patroni]", "[patron]", "did you mean `patroni`?"),
        ("scope =", "scpoe =", "did you mean `scope`?"),
        ("[etcd]", "[etcd3]", "did you mean `etcd`?"),
        ("endpoints =", "hosts =", "did you mean `endpoints`?"),
        ("[[vip]]", "[[vips]]", "each virtual IP is a [[vip]]"),
        ("virtual_router_id =", "vrid =", "did you mean `virtual_router_id`?"),
        ("address =", "vip =", "did you mean `address`?"),
        (
            "address =",
            "virtual_ipaddress =",
            "write addresses = [\"10.0.20.155\", \"10.0.20.156\"], or `address` for a single one",
        ),
    ] {
        let shown = refuse(&RIGHT.replace(right, wrong));
        assert!(shown.ends_with(&format!("= help: {meant}\n\n1 error")), "{shown}");
    }
}

#[test]
fn values_of_the_wrong_type() {
    one("", "node = «1»", "node must be a string, not a whole number", "write node = \"db1\"");
    one("", "interface = «[\"eth0\"]»", "interface must be a string, not a list", "write interface = \"eth0\"");
    one(
        "",
        "runtime_dir = «true»",
        "runtime_dir must be a string, not true or false",
        "write runtime_dir = \"/run/pgvrrp\"",
    );
    one("[patroni]", "scope = «{ x = 1 }»", "scope must be a string, not a table", "write scope = \"odoo\"");
    one(
        "[patroni]",
        "group = «\"0\"»",
        "group must be a whole number, not a string",
        "this is `citus.group` in Patroni's configuration",
    );
    one(
        "[etcd]",
        "endpoints = «\"http://a:1\"»",
        "endpoints must be a list of strings, not a string",
        "write endpoints = [\"http://10.0.20.13:2379\"]",
    );
    one(
        "[etcd]",
        "endpoints = [«2379»]",
        "endpoints must be a list of strings, not a whole number",
        "write endpoints = [\"http://10.0.20.13:2379\"]",
    );
    one(
        "[etcd]",
        "request_timeout = «1.5»",
        "request_timeout must be a duration in quotes, not a number with a fraction",
        "write request_timeout = \"1s\", which is the default",
    );
    one(
        "[log]",
        "level = «2026-11-24»",
        "level must be a string, not a date or time",
        "write level = \"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    );
    one(
        "[[vip]]",
        "virtual_router_id = «\"155\"»",
        "virtual_router_id must be a whole number, not a string",
        "choose a number that no other VRRP router on this segment uses",
    );
}

#[test]
fn tables_of_the_wrong_kind() {
    for (right, wrong, message, help) in [
        (
            "[[vip]]",
            "[vip]",
            "vip must be a list of tables, not a table",
            "write [[vip]], with double brackets, for each",
        ),
        (
            "[etcd]",
            "[[etcd]]",
            "etcd must be one table, not a list of tables",
            "write [etcd] with single brackets, once",
        ),
    ] {
        let shown = refuse(&RIGHT.replace(right, wrong));
        assert!(shown.starts_with(&format!("error: {message}\n")), "{shown}");
        assert!(shown.ends_with(&format!(" = help: {help}\n\n1 error")), "{shown}");
    }
    let shown = refuse(&format!("http = \"off\"\n{}", RIGHT.replace("[http]\nlisten = \"off\"\n", "")));
    let expected = "error: http must be a table, not a string\n --> /etc/pgvrrp/pgvrrp.toml:1:8\n  |\n1 | http = \"off\"\n  \
                    |        ^^^^^\n  = help: write [http]\n\n1 error";
    assert_eq!(shown, expected);
}

#[test]
fn what_is_not_available_in_this_version() {
    let vip = "[[vip]]";
    let not_yet = |what: &str| format!("{what} is not available in this version");
    for follows in ["standby-leader", "replica", "sync-standby"] {
        one(
            vip,
            &format!("follows = «\"{follows}\"»"),
            &not_yet(&format!("follows = \"{follows}\"")),
            "write \"primary\", or \"none\" for plain VRRP, or leave this [[vip]] to another program",
        );
    }
    one(
        vip,
        "«exclusive» = true",
        &not_yet("`exclusive` in [[vip]]"),
        "remove it: a VIP that follows the primary always is",
    );
}

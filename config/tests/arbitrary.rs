//! Whatever is in the file, it is either taken or refused with a reason.

use std::fs;
use std::path::Path;

use pgvrrp_config::Config;
use proptest::prelude::*;

fn taken_or_refused(text: &str) {
    if let Err(problems) = Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/nonexistent")) {
        let shown = problems.to_string();
        let count = problems.count();
        assert!(count > 0);
        let last = shown.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("{count} error")), "{shown}");
        assert_eq!(shown.lines().filter(|line| line.starts_with("error: ")).count(), count.min(100), "{shown}");
        assert_eq!(shown.matches(" = help: ").count(), count.min(100), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
}

fn key() -> impl Strategy<Value = String> {
    let keys = "node interface runtime_dir fence patroni etcd postgres http policy clients tell port services log vip namespace scope group \
                endpoints username password_file request_timeout connection timeout listen postgres_down paused \
                foreign_active failsafe level format name address virtual_router_id follows advertisement_interval checksum \
                mac addresses priority preempt preempt_delay track_interfaces unicast_peers hooks on_active on_change timeout x";
    prop::sample::select(keys.split_whitespace().collect::<Vec<_>>()).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        any::<bool>().prop_map(|truth| truth.to_string()),
        "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
        "[0-9.:/\\[\\]hts]{0,20}".prop_map(|text| format!("'{text}'")),
        "[0-9]{1,25}(ms|s|m|y)?".prop_map(|text| format!("'{text}'")),
        "http://[0-9a-f:\\[\\].]{0,20}".prop_map(|text| format!("'{text}'")),
        "[0-9a-f:.%/]{0,20}".prop_map(|text| format!("'{text}'")),
        prop::sample::select(vec!["primary", "none", "fe80::1", "fd00::155/64", "10.0.20.155", "eth0", "eth1"])
            .prop_map(|text| format!("'{text}'")),
        "(host|port|user|sslmode|hostaddr)=[a-z0-9/,.:]{0,9}".prop_map(|text| format!("'{text}'")),
        Just("2026-11-24T00:00:00Z".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(", "))),
            prop::collection::vec((key(), inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{ {} }}", pairs.join(", "))
            }),
        ]
    })
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| format!("{key} = {value}")),
        1 => key().prop_map(|key| format!("[{key}]")),
        1 => Just("[[vip]]".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        taken_or_refused(&text);
    }

    #[test]
    fn any_punctuation(text in "[\\[\\]{}=\"'.,#a\n\r\t \u{feff}\u{0}\u{1b}ä\\\\]{0,60}") {
        taken_or_refused(&text);
    }

    #[test]
    fn any_toml(lines in prop::collection::vec(line(), 0..12)) {
        taken_or_refused(&lines.join("\n"));
    }

    #[test]
    fn any_value_of_any_key(key in key(), value in value(), header in prop::sample::select(vec![
        "", "[patroni]", "[etcd]", "[postgres]", "[http]", "[policy]", "[log]", "[hooks]", "[[vip]]",
    ])) {
        taken_or_refused(&format!("{header}\n{key} = {value}\n"));
    }
}

#[test]
fn deep_nesting() {
    for text in ["a.".repeat(100_000) + "a = 1", "[".repeat(100_000), "x = ".to_owned() + &"{a=".repeat(100_000)] {
        taken_or_refused(&text);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pgvrrp.toml");
    let shown = |path: &Path| Config::load(path).unwrap_err().to_string();
    let help = "name the right file (`--config FILE`, or `pgvrrp check FILE`); the user who runs pgvrrp must be able to read it";
    let refused = |path: &Path, error: &str| {
        let path = path.display();
        format!("error: cannot read the configuration: {error}\n --> {path}\n  = help: {help}\n\n1 error")
    };
    assert_eq!(shown(&path), refused(&path, "No such file or directory (os error 2)"));
    assert_eq!(shown(dir.path()), refused(dir.path(), "Is a directory (os error 21)"));
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert_eq!(shown(&path), refused(&path, "it is longer than 1 MiB"));
    fs::write(&path, b"node = \"db1\"\nscope = \"\xff\"\n").unwrap();
    let expected = format!(
        "error: the file is not UTF-8 text\n --> {}:2:10\n  |\n2 | scope = \"\u{fffd}\"\n  |          ^\n  = help: save it as \
         UTF-8\n\n1 error",
        path.display()
    );
    assert_eq!(shown(&path), expected);
}

#[test]
fn a_byte_order_mark_and_dos_line_ends() {
    let text = "\u{feff}node = \"db1\"\r\ninterface = \"eth0\"\r\n[patroni]\r\nscope = \"\"\r\n[etcd]\r\n\
                endpoints = [\"http://a:1\"]\r\n[[vip]]\r\naddress = \"10.0.20.155\"\r\nvirtual_router_id = 1\r\n";
    let problems = Config::parse(Path::new("f"), text, Path::new("/")).unwrap_err();
    let expected = "error: scope must not be empty\n --> f:4:9\n  |\n4 | scope = \"\"\n  |         ^^\n  = help: this is \
                    `scope` in Patroni's configuration\n\n1 error";
    assert_eq!(problems.to_string(), expected);
    assert!(Config::parse(Path::new("f"), &text.replace("\"\"", "\"odoo\""), Path::new("/")).is_ok());
}

//! `packaging/pgvrrp.toml` tells the truth about defaults. That it has every key is tested beside the schema.

use std::net::IpAddr;
use std::path::Path;

use pgvrrp_config::Config;

const EXAMPLE: &str = include_str!("../../packaging/pgvrrp.toml");

fn parse(text: &str) -> Config {
    Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/etc/pgvrrp")).expect("the example is right")
}

/// What stands behind a setting that cannot be had together with the others.
const ELSEWHERE: [&str; 3] = ["# with follows = \"none\"", "# instead of address", "# instead of that in [hooks]"];

/// A commented-out setting: `#key = value`, with no space behind the `#`, which prose has.
fn is_setting(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "))
}

#[test]
fn the_commented_defaults_are_the_defaults() {
    let mut uncommented = 0;
    let lines = EXAMPLE.lines().map(|line| {
        let apart = ELSEWHERE.iter().any(|note| line.ends_with(note));
        let default = is_setting(line) && !line.ends_with("# no default") && !apart;
        uncommented += usize::from(default);
        if default { &line[1..] } else { line }
    });
    let spelled_out = lines.collect::<Vec<_>>().join("\n");
    assert!(uncommented >= 14, "{uncommented}");
    assert_eq!(parse(&spelled_out), parse(EXAMPLE));
}

#[test]
fn what_has_no_default_is_accepted_too() {
    let text = EXAMPLE.lines().map(|line| {
        let example =
            is_setting(line) && line.ends_with("# no default") && !line.contains("_file") && !line.contains("username");
        if example { &line[1..] } else { line }
    });
    let config = parse(&text.collect::<Vec<_>>().join("\n"));
    assert_eq!(config.vips[0].name, "primary");
    assert_eq!(config.cluster.unwrap().patroni.group, Some(0));
}

/// The example without what only VIPs that follow the primary have, and with the VIP following nobody.
fn plain() -> String {
    let (_, vip) = EXAMPLE.split_once("[[vip]]").expect("the example has a VIP");
    format!(
        "node = \"db1\"\ninterface = \"eth0\"\n[[vip]]{}",
        vip.replace("#follows = \"primary\"", "follows = \"none\"")
    )
}

/// The settings with this note behind them, uncommented.
fn uncomment(text: &str, note: &str) -> String {
    let lines = text.lines().map(|line| if is_setting(line) && line.ends_with(note) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_defaults_of_plain_vrrp() {
    let spelled_out = uncomment(&plain(), ELSEWHERE[0]);
    let priority = spelled_out.lines().any(|line| line.starts_with("priority = "));
    assert!(priority, "{spelled_out}");
    assert_eq!(parse(&spelled_out), parse(&plain()));
    assert_eq!(parse(&plain()).cluster, None);
}

#[test]
fn addresses_instead_of_an_address() {
    let text = uncomment(EXAMPLE, ELSEWHERE[1]).replace("\naddress = ", "\n#address = ");
    assert_eq!(parse(&text).vips[0].addresses.len(), 3);
}

#[test]
fn plain_vrrp_by_its_example() {
    let config = parse(include_str!("../../packaging/plain.toml"));
    assert!(!config.follows_primary());
    let [gateway, both] = config.vips.as_slice() else { panic!("{:?}", config.vips) };
    assert!(gateway.addresses.iter().all(|net| net.addr().is_ipv4()));
    for vip in [gateway, both] {
        assert!(!vip.follows.is_primary(), "{vip:?}");
    }
    let families = |is: fn(&IpAddr) -> bool| both.addresses.iter().filter(|net| is(&net.addr())).count();
    assert_eq!((families(IpAddr::is_ipv4), families(IpAddr::is_ipv6)), (1, 2));
}

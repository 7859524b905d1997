//! `packaging/pgvrrp.toml` tells the truth about defaults. That it has every key is tested beside the schema.

use std::path::Path;

use pgvrrp_config::Config;

const EXAMPLE: &str = include_str!("../../packaging/pgvrrp.toml");

fn parse(text: &str) -> Config {
    Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/etc/pgvrrp")).expect("the example is right")
}

/// A commented-out setting: `#key = value`, with no space behind the `#`, which prose has.
fn is_setting(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = "))
}

#[test]
fn the_commented_defaults_are_the_defaults() {
    let mut uncommented = 0;
    let lines = EXAMPLE.lines().map(|line| {
        let default = is_setting(line) && !line.ends_with("# no default");
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
    assert_eq!(config.patroni.group, Some(0));
    assert_eq!(config.vips[0].name, "primary");
}

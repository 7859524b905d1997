//! What is shown for files that are wrong: the whole text, as the operator sees it.

mod plain;
mod shape;
mod tls;
mod values;
mod vips;

use std::path::Path;

use pgvrrp_config::Config;

const FILE: &str = "/etc/pgvrrp/pgvrrp.toml";

const RIGHT: &str = r#"node = "db1"
interface = "eth0"
[patroni]
scope = "odoo"
[etcd]
endpoints = ["http://10.0.20.13:2379"]
[postgres]
timeout = "500ms"
[http]
listen = "off"
[policy]
paused = "hold"
[log]
level = "info"
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
"#;

fn refuse(text: &str) -> String {
    match Config::parse(Path::new(FILE), text, Path::new("/nonexistent")) {
        Ok(config) => panic!("accepted: {text}\n{config:?}"),
        Err(problems) => problems.to_string(),
    }
}

/// [`RIGHT`] with a line in place of the one that has its key, or else at the end of its table, which is made if it is not
/// there; and its number.
fn with(header: &str, line: &str) -> (String, usize) {
    let key = line.split(" =").next().unwrap_or(line);
    let mut lines: Vec<&str> = RIGHT.lines().collect();
    if !header.is_empty() && !lines.contains(&header) {
        let first = lines.iter().position(|line| line.starts_with('[')).unwrap_or(lines.len());
        lines.insert(first, header);
    }
    let begin = lines.iter().position(|line| *line == header).map_or(0, |at| at + 1);
    let end = lines.iter().skip(begin).position(|line| line.starts_with('[')).map_or(lines.len(), |at| begin + at);
    let same_key = |line: &&str| line.split(" =").next() == Some(key);
    match lines[begin..end].iter().position(same_key) {
        Some(at) => {
            lines[begin + at] = line;
            (lines.join("\n"), begin + at + 1)
        }
        None => {
            lines.insert(end, line);
            (lines.join("\n"), end + 1)
        }
    }
}

/// One mistake in one line: what `«»` encloses in the line is underlined, and this and the help are all that is shown.
#[track_caller]
fn one(header: &str, marked: &str, message: &str, help: &str) {
    let line = marked.replace(['«', '»'], "");
    let (text, number) = with(header, &line);
    let start = marked.chars().position(|c| c == '«').expect("the start is marked");
    let len = marked.chars().position(|c| c == '»').expect("the end is marked") - start - 1;
    let gutter = " ".repeat(number.to_string().len());
    let expected = format!(
        "error: {message}\n{gutter}--> {FILE}:{number}:{}\n{gutter} |\n{number} | {line}\n{gutter} | {}{}\n\
         {gutter} = help: {help}\n\n1 error",
        start + 1,
        " ".repeat(start),
        "^".repeat(len),
    );
    assert_eq!(refuse(&text), expected);
}

#[test]
fn the_base_of_these_tests_is_right() {
    assert!(Config::parse(Path::new(FILE), RIGHT, Path::new("/")).is_ok());
}

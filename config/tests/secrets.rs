//! No password gets into what is shown, whatever else is wrong with the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pgvrrp_config::Config;
use proptest::prelude::*;

const SECRET: &str = "hunter2";

fn shown(text: &str) -> String {
    match Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/nonexistent")) {
        Ok(config) => format!("{config:?} {config:#?}"),
        Err(problems) => format!("{problems} {problems:?} {problems:#?}"),
    }
}

#[test]
fn a_password_in_the_file() {
    let text = "[etcd]\nusername = \"u\"\npassword = \"hunter2\"\nendpoints = []\n[postgres]\n\
                connection = \"host=/tmp password='hunter2' user=u\"\n";
    let problems = Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/")).unwrap_err();
    let expected = r#"error: unknown key `password` in [etcd]
 --> pgvrrp.toml:3:1
  |
3 | password = ***
  | ^^^^^^^^
  = help: put it into a file that only pgvrrp may read, and name that: password_file = "etcd.password"
"#;
    assert!(problems.to_string().contains(expected), "{problems}");
    let expected = r#"error: connection must not hold a password
 --> pgvrrp.toml:6:14
  |
6 | connection = ***
  |              ^^^
  = help: let pg_hba.conf trust the system user (method `peer`), or put the password into a file and name that: password_file = "postgres.password"
"#;
    assert!(problems.to_string().contains(expected), "{problems}");
}

#[test]
fn a_password_in_an_endpoint() {
    let text = "[etcd]\nendpoints = [\"http://u:hunter2@db3:2379\"]\n";
    let problems = Config::parse(Path::new("pgvrrp.toml"), text, Path::new("/")).unwrap_err();
    let expected = r#"error: an endpoint must not hold a user or a password
 --> pgvrrp.toml:2:14
  |
2 | endpoints = [***]
  |              ^^^
  = help: they belong into `username` and `password_file`
"#;
    assert!(problems.to_string().contains(expected), "{problems}");
}

#[test]
fn password_files_that_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("world", b"hunter2\n", 0o644);
    write("writable", b"hunter2\n", 0o602);
    write("empty", b"\n", 0o600);
    write("lines", b"user\nhunter2\n", 0o600);
    write("binary", b"hunter2\xff", 0o600);
    write("long", &[b'x'; 5000], 0o600);
    fs::create_dir(dir.path().join("dir")).unwrap();
    make_fifo(&dir.path().join("fifo"));
    let base = dir.path().display();
    let nothing_else = "put the password, and nothing else, into it";
    for (name, message, help) in [
        ("world", "is open to every user", format!("chmod o= {base}/world")),
        ("writable", "is open to every user", format!("chmod o= {base}/writable")),
        ("empty", "is empty", "put the password into it".to_owned()),
        ("lines", "has more than one line of text", nothing_else.to_owned()),
        ("binary", "is not UTF-8 text", nothing_else.to_owned()),
        ("long", "is longer than 4096 bytes", nothing_else.to_owned()),
        ("dir", "is not a regular file", "put the password, and nothing else, into a file".to_owned()),
        ("fifo", "is not a regular file", "put the password, and nothing else, into a file".to_owned()),
        (
            "missing",
            "cannot be read: No such file or directory (os error 2)",
            "it must be a file that the user who runs pgvrrp may read".to_owned(),
        ),
    ] {
        let text = format!("[postgres]\npassword_file = \"{name}\"\n");
        let problems = Config::parse(Path::new("pgvrrp.toml"), &text, dir.path()).unwrap_err().to_string();
        let expected = format!(
            "error: password file {base}/{name} {message}\n --> pgvrrp.toml:2:17\n  |\n2 | password_file = \"{name}\"\n  \
             |                 {}\n  = help: {help}\n",
            "^".repeat(name.len() + 2)
        );
        assert!(problems.contains(&expected), "{problems}");
        assert!(!problems.contains(SECRET), "{problems}");
    }
}

/// Opening it for reading would block for ever.
fn make_fifo(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status();
    assert!(status.is_ok_and(|status| status.success()), "mkfifo");
}

#[test]
fn a_user_and_a_password_come_together() {
    let text = "[etcd]\nendpoints = [\"http://db3:2379\"]\npassword_file = \"/nonexistent\"\n";
    let problems = shown(text);
    assert!(problems.contains("error: password_file without username\n --> pgvrrp.toml:3:1\n"), "{problems}");
    assert!(problems.contains("error: password file /nonexistent cannot be read"), "{problems}");
}

/// Places where a password may turn up.
fn secret_line() -> impl Strategy<Value = String> {
    let lines = [
        "password = \"hunter2\"",
        "password=\"hunter2\" # x",
        "\"password\" = 'hunter2'",
        "PASSWORD = hunter2",
        "password \"hunter2\"",
        "password: hunter2",
        "password = \"\"\"\nhunter2\n\"\"\"",
        "password = '''hunter2",
        "password =\n  \"hunter2\"",
        "password = [\"x\",\n  \"hunter2\"\n]",
        "pasword = \"hunter2\"",
        "etcd-token = \"hunter2\"",
        "# password = hunter2",
        "etcd = { username = \"u\", password = \"hunter2\" }",
        "connection = \"host=/x password=hunter2 user=u\"",
        "connection = \"host=/x password='a hunter2' port=x\"",
        "connection = \"\"\"\nhost=/x\npassword = hunter2\n\"\"\"",
        "connection = \"postgresql://u:hunter2@/x\"",
        "connection = \"postgresql:///x?user=u&password=hunter2\"",
        "endpoints = [\"http://a:1\", \"http://u:hunter2@h:1\"]",
        "endpoints = [\"https://u:x@hunter2@h:1\"",
        "endpoints = \"http://u:hunter2@h:1/v3\"",
    ];
    prop::sample::select(lines.map(str::to_owned).to_vec())
}

fn other_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[etcd]".to_owned()),
        Just("[postgres]".to_owned()),
        Just("[[vip]]".to_owned()),
        Just("virtual_router_id = 300".to_owned()),
        Just("x = \"\"\"".to_owned()),
        "[a-z_]{1,8} = [0-9a-z\"'\\[{=]{0,8}",
        "\\PC{0,30}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_has_no_password(
        before in prop::collection::vec(other_line(), 0..6),
        secret in prop::collection::vec(secret_line(), 1..3),
        after in prop::collection::vec(other_line(), 0..4),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let mut secret = secret.join("\n");
        // A quote or a bracket is forgotten.
        for index in lost {
            let marks: Vec<_> = secret.match_indices(['"', '\'', '[', ']', '{', '}', ',']).map(|(at, _)| at).collect();
            if !marks.is_empty() {
                secret.remove(*index.get(&marks));
            }
        }
        let text = [before.join("\n"), secret, after.join("\n")].join("\n");
        let shown = shown(&text);
        prop_assert!(!shown.contains(SECRET), "{}\n---\n{}", text, shown);
    }
}

//! Whatever is in the file, there is an answer.

use proptest::prelude::*;

use super::{Made, import_with};

const WHOLE: &str = r#"
$A=10.0.0
global_defs { router_id "db 1"
  vrrp_version 3
}
@db1 include other.conf
~SEQ(X, 1, 3) x { }
vrrp_script chk { script "/bin/curl -f 'http://127.0.0.1:8008/primary'" }
vrrp_sync_group g { group { a
 b }
 notify "/bin/true 'x y'" }
vrrp_instance a {
  interface eth0 # x
  virtual_router_id 1
  use_vmac
  advert_int 0.3
  unicast_peer { ${A}.9 }
  virtual_ipaddress { ${A}.1/24 dev eth0
    10.0.0.2 }
  virtual_ipaddress_excluded { 10.0.0.3/32 label x }
  track_script { chk weight 2 }
  notify_master "/bin/true \"it's\" \\x41" nobody
  notify_backup /bin/false
}
vrrp_instance b { virtual_router_id 1
  interface eth0
  priority 255
  virtual_ipaddress { fd00::2/64 } }
virtual_server 10.0.0.1 80 { real_server 10.0.0.2 80 { weight 1 } }
"#;

/// Without a panic, and with something that pgvrrp takes.
fn answered(text: &str) {
    let files = Made::with(&[("/etc/keepalived/other.conf", "vrrp_instance o {\n}\n")]);
    for patroni in [None, Some(text)] {
        let _ = import_with(text, patroni, &files);
    }
}

#[test]
fn the_whole_cut_off_anywhere() {
    let imported = import_with(WHOLE, None, &Made::default()).unwrap();
    assert!(imported.toml.is_some());
    for (at, _) in WHOLE.char_indices() {
        answered(&WHOLE[..at]);
        answered(&WHOLE[at..]);
    }
}

#[test]
fn the_whole_without_any_one_line_or_word() {
    let lines: Vec<&str> = WHOLE.lines().collect();
    for left_out in 0..lines.len() {
        let rest: Vec<_> = lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        answered(&rest.join("\n"));
    }
    let words: Vec<&str> = WHOLE.split(' ').collect();
    for left_out in 0..words.len() {
        let rest: Vec<_> = words.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, word)| *word).collect();
        answered(&rest.join(" "));
    }
}

/// What happens to a file in an editor: something is taken out, put elsewhere, or typed.
fn edited(text: &mut Vec<char>, at: usize, length: usize, typed: Option<char>) {
    let from = at % (text.len() + 1);
    let to = (from + length).min(text.len());
    match typed {
        Some(c) => text.insert(from, c),
        None if at.is_multiple_of(2) => {
            text.drain(from..to);
        }
        None => {
            let copied = text[from..to].to_vec();
            let into = (at / 7) % (text.len() + 1);
            text.splice(into..into, copied);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        answered(&text);
    }

    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WHOLE.split_inclusive(char::is_whitespace).collect::<Vec<_>>()), 0..60)) {
        answered(&words.concat());
    }

    #[test]
    fn any_edits(edits in prop::collection::vec(
        (any::<usize>(), 0_usize..40, prop::option::of(prop::sample::select("{}\"'\\$#!@~=/.:- \n\0\u{1b}\u{feff}\u{e4}0aZ".chars().collect::<Vec<_>>()))),
        1..12,
    )) {
        let mut text: Vec<char> = WHOLE.chars().collect();
        for (at, length, typed) in edits {
            edited(&mut text, at, length, typed);
        }
        answered(&text.into_iter().collect::<String>());
    }
}

//! Keepalived's syntax: what is put together, and what is refused.

use pgvrrp_config::import::{Failure, Verdict};

use super::{Made, config, import_with, imported, says};

/// An instance around these lines.
fn instance(lines: &str) -> String {
    format!("vrrp_instance a {{\n interface eth0\n virtual_router_id 7\n{lines}\n}}\n")
}

const ADDRESS: &str = " virtual_ipaddress {\n 10.0.0.1\n }\n";

#[test]
fn braces_and_comments_anywhere() {
    let text = "! a comment\nvrrp_instance a # here too\n{\ninterface eth0 ! and here\nvirtual_router_id 7\n\
                virtual_ipaddress{10.0.0.1}\n}\n";
    let config = config(&imported(text));
    assert_eq!((config.vips[0].virtual_router_id.get(), config.vips[0].name.as_str()), (7, "a"));
}

#[test]
fn a_line_goes_on() {
    let text = instance(" priority \\\n 77\n virtual_ipaddress {\n 10.0.0.1\n }");
    says(&imported(&text), "priority", Verdict::Converted, "77");
}

#[test]
fn lines_for_some_hosts() {
    let text = instance(&format!("@db1 priority 101\n@db2 priority 102\n@^db1 version 2\n@^db2 version 3\n{ADDRESS}"));
    let imported = imported(&text);
    says(&imported, "priority", Verdict::Converted, "101");
    says(&imported, "version", Verdict::Converted, "version 3");
    says(&imported, "@db2", Verdict::NotNeeded, "for another node");
    assert!(imported.is_complete(), "{}", imported.explanation());
}

#[test]
fn parameters() {
    let text = format!(
        "$NET=10.0.${{SUB}}\n$SUB=20\n$ID=7\n@db2 $ID=8\n$VI= \\\n vrrp_instance ${{NAME}}_1 {{ \\\n version 3 \\\n interface eth0 \\\n \
         virtual_router_id $ID \\\n priority 10 # ten \\\n virtual_ipaddress {{ \\\n ${{NET}}.1 \\\n }} \\\n }}\n$NAME=x\n$VI\n{}",
        "$UNUSED\n"
    );
    let imported = imported(&text.replace(" # ten", ""));
    let config = config(&imported);
    assert_eq!(
        (config.vips[0].name.as_str(), config.vips[0].addresses[0].to_string().as_str()),
        ("x_1", "10.0.20.1/32")
    );
    assert_eq!(config.vips[0].virtual_router_id.get(), 7);
    says(&imported, "$UNUSED", Verdict::Unknown, "not known");
}

#[test]
fn what_cannot_be_expanded_is_said() {
    let text = instance(
        " priority ${_ENV PRIORITY}\n virtual_ipaddress {\n 10.0.0.1\n ~SEQ(N, 2, 9) 10.0.0.${N}\n }\n ~LST({A,B}, {1,2}) unicast_peer {\n 10.0.0.9\n }",
    );
    let imported = imported(&text);
    says(&imported, "${_ENV}", Verdict::ByHand, "write the value in its place");
    says(&imported, "priority", Verdict::ByHand, "is no number");
    says(&imported, "~LST", Verdict::ByHand, "is not expanded");
    assert_eq!(config(&imported).vips[0].addresses.len(), 1);
}

#[test]
fn included_files() {
    let files = Made::with(&[
        ("/etc/keepalived/conf.d/10-a.conf", "include sub/virtual.conf\n"),
        (
            "/etc/keepalived/conf.d/20-b.conf",
            "vrrp_instance b {\n virtual_router_id 8\n virtual_ipaddress {\n 10.0.0.2\n }\n}\n",
        ),
        ("/etc/keepalived/conf.d/30-c.conf~", "this { is not read"),
        (
            "/etc/keepalived/conf.d/sub/virtual.conf",
            "vrrp_instance a {\n virtual_router_id 7\n nonsense\n virtual_ipaddress {\n 10.0.0.1\n }\n}\n",
        ),
    ]);
    let text = "global_defs {\n default_interface eth0\n vrrp_version 3\n}\nincluder conf.d/*.conf\ninclude /nowhere/*\ninclude {a,b}.conf\ninclude missing\n";
    let imported = import_with(text, None, &files).unwrap();
    let config = config(&imported);
    assert_eq!(config.vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let nonsense = super::note(&imported, "nonsense");
    assert_eq!((nonsense.file.to_str(), nonsense.line), (Some("/etc/keepalived/conf.d/sub/virtual.conf"), 3));
    let said: Vec<_> = imported.notes.iter().filter(|note| note.keyword.starts_with("include")).collect();
    assert_eq!(said.len(), 6, "{said:?}");
    assert_eq!(said.iter().filter(|note| note.verdict == Verdict::ByHand).count(), 2);
}

fn refused(text: &str, files: &Made) -> (usize, String) {
    match import_with(text, None, files) {
        Err(Failure::Syntax { line, message, .. }) => (line, message),
        other => panic!("{other:?}\n{text}"),
    }
}

#[test]
fn what_breaks_the_syntax_is_told_with_its_line() {
    for (text, line, message) in [
        ("vrrp_instance a {\n interface eth0\n", 1, "the block of `vrrp_instance` is not closed"),
        ("vrrp_instance a {\n}\n}\n", 3, "without a `{`"),
        ("{\n}\n", 1, "without a keyword"),
        ("vrrp_instance a {\n notify \"/x\n}\n", 2, "the quote \" is not closed"),
        (&"a {\n".repeat(100), 33, "nested too deeply"),
        ("$A=${B} ${B}\n$B=${A} ${A}\n$A\n", 3, "has no end"),
    ] {
        let (told, why) = refused(text, &Made::default());
        assert!(told == line && why.contains(message), "{told}: {why}");
    }
}

#[test]
fn files_that_include_each_other() {
    let files = Made::with(&[("/etc/keepalived/a", "include b"), ("/etc/keepalived/b", "include a")]);
    assert!(refused("include a\n", &files).1.contains("without end"));
}

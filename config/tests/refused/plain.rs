//! Plain VRRP: its election, and what has no meaning with it or without it.

use pgvrrp_config::Config;

use crate::{FILE, RIGHT, one, refuse};

/// A file of plain VRRP. What is added to it begins on line 7.
const PLAIN: &str = r#"node = "db1"
interface = "eth0"
[[vip]]
address = "10.0.20.155"
virtual_router_id = 155
follows = "none"
"#;

/// One mistake in one line that is added to [`PLAIN`], and nothing but it.
#[track_caller]
fn plain(marked: &str, message: &str, help: &str) {
    let line = marked.replace(['«', '»'], "");
    let (start, len) = marks(marked);
    let expected = format!(
        "error: {message}\n --> {FILE}:7:{}\n  |\n7 | {line}\n  | {}{}\n  = help: {help}\n\n1 error",
        start + 1,
        " ".repeat(start),
        "^".repeat(len),
    );
    assert_eq!(refuse(&format!("{PLAIN}{line}\n")), expected);
}

fn marks(marked: &str) -> (usize, usize) {
    let at = |mark| marked.chars().position(|c| c == mark).expect("both are marked");
    (at('«'), at('»') - at('«') - 1)
}

fn is_right(text: &str) -> bool {
    Config::parse(FILE.as_ref(), text, "/".as_ref()).is_ok()
}

#[test]
fn the_base_of_these_tests_is_right() {
    assert!(is_right(PLAIN));
}

// RFC9568: 5.2.4-2-
#[test]
fn priority() {
    let help = "the node with the highest one holds the VIP; the default is 100";
    for number in ["0", "256", "-1", "99999999999999999999"] {
        plain(&format!("priority = «{number}»"), "priority must be 1 to 254", help);
    }
    plain("priority = «\"100\"»", "priority must be a whole number, not a string", help);
    let owner = "255 is the priority of the address owner, which only a VIP that follows the primary has; write 254 for the highest";
    for number in ["255", "0xff"] {
        plain(&format!("priority = «{number}»"), "priority must be 1 to 254", owner);
    }
}

#[test]
fn preemption() {
    plain(
        "preempt = «\"no\"»",
        "preempt must be true or false, not a string",
        "write preempt = true, which is the default",
    );
    for value in ["1001s", "1000s 1ns", "1h"] {
        plain(&format!("preempt_delay = «\"{value}\"»"), "preempt_delay must be 0s to 1000s", "the default is \"0s\"");
    }
    plain(
        "preempt_delay = «5»",
        "preempt_delay must be a duration in quotes, not a whole number",
        "write preempt_delay = \"0s\", which is the default",
    );
    plain(
        "preempt_delay = «\"5\"»",
        "preempt_delay is not a duration",
        "write a number and a unit: preempt_delay = \"0s\"",
    );
    let expected = format!(
        "error: preempt_delay, and preempt is false\n --> {FILE}:8:1\n  |\n8 | preempt_delay = \"0s\"\n  | ^^^^^^^^^^^^^\n  = \
         help: remove it, or remove preempt = false: a holder that is not relieved at all is not relieved later\n\n1 error"
    );
    assert_eq!(refuse(&format!("{PLAIN}preempt = false\npreempt_delay = \"0s\"\n")), expected);
    assert!(is_right(&format!("{PLAIN}preempt = true\npreempt_delay = \"5s\"\n")));
}

#[test]
fn tracked_interfaces() {
    let link = "`ip -brief link` lists the names";
    plain("track_interfaces = [«\"\"», \"eth1\"]", "an interface must not be empty", link);
    plain("track_interfaces = [«\"eth0/1\"»]", "an interface must not contain a slash or a colon", link);
    plain(
        "track_interfaces = «\"eth1\"»",
        "track_interfaces must be a list of strings, not a string",
        "write track_interfaces = [\"eth1\"]",
    );
    let own = "track_interfaces has the interface of the VIP itself";
    plain("track_interfaces = [«\"eth0\"»]", own, "remove it: that one is always tracked");
    let shown = refuse(&format!("{PLAIN}interface = \"eth1\"\ntrack_interfaces = [\"eth0\", \"eth1\"]\n"));
    assert!(shown.starts_with(&format!("error: {own}\n --> {FILE}:8:29\n")), "{shown}");
    assert!(shown.ends_with("\n1 error"), "{shown}");
    let expected = format!(
        "error: the same interface twice\n --> {FILE}:7:29\n  |\n7 | track_interfaces = [\"eth1\", \"eth1\"]\n  |             \
         {}^^^^^^\n  = note: the first one is on line 7\n  = help: name each one once\n\n1 error",
        " ".repeat(16)
    );
    assert_eq!(refuse(&format!("{PLAIN}track_interfaces = [\"eth1\", \"eth1\"]\n")), expected);
}

#[test]
fn what_a_vip_that_follows_the_primary_has_no_use_for() {
    let help = "remove it: etcd decides who holds this VIP, and the holder advertises priority 255; or write follows = \
                \"none\" for plain VRRP";
    for (key, value) in [
        ("priority", "100"),
        ("preempt", "true"),
        ("preempt_delay", "\"0s\""),
        ("track_interfaces", "[]"),
        // Once is enough.
        ("priority", "255"),
    ] {
        let message = format!("`{key}`, and this [[vip]] follows the primary");
        one("[[vip]]", &format!("«{key}» = {value}"), &message, help);
    }
    let shown = refuse(&format!("{RIGHT}follows = \"primary\"\npriority = 100\npreempt = false\n"));
    assert!(shown.ends_with("\n2 errors"), "{shown}");
}

#[test]
fn a_cluster_that_no_vip_needs() {
    let text = RIGHT.replace("[patroni]", "fence = \"lock\"\n[patroni]") + "follows = \"none\"\n";
    let told = |line: usize, column: usize, text: &str, what: &str| {
        let (gutter, carets) =
            (" ".repeat(line.to_string().len()), "^".repeat(what.trim_matches(['[', ']', '`']).len()));
        format!(
            "error: no [[vip]] follows the primary, so {what} means nothing\n{gutter}--> {FILE}:{line}:{column}\n{gutter} \
             |\n{line} | {text}\n{gutter} | {}{carets}\n{gutter} = help: remove it, or write follows = \"primary\" in a \
             [[vip]]\n\n",
            " ".repeat(column - 1)
        )
    };
    let expected = [
        told(3, 1, "fence = \"lock\"", "`fence`"),
        told(4, 2, "[patroni]", "[patroni]"),
        told(6, 2, "[etcd]", "[etcd]"),
        told(8, 2, "[postgres]", "[postgres]"),
        told(12, 2, "[policy]", "[policy]"),
        "5 errors".to_owned(),
    ];
    assert_eq!(refuse(&text), expected.concat());
    // What is in it need not be right as well.
    let shown = refuse(&format!("{PLAIN}[etcd]\nendpoints = []\n"));
    assert!(shown.ends_with("\n1 error"), "{shown}");
}

/// What is not known to follow nobody is not told to do so, nor is a cluster missed for it.
#[test]
fn a_slip_in_follows_is_one_mistake() {
    for (wrong, message) in [
        ("follows = \"nnoe\"", "follows must be \"primary\" or \"none\""),
        ("follows = \"replica\"", "follows = \"replica\" is not available in this version"),
        ("follows = 0", "follows must be a string, not a whole number"),
        ("folows = \"none\"", "unknown key `folows` in [[vip]]"),
    ] {
        let election = format!("{wrong}\npriority = 100");
        let plain = PLAIN.replace("follows = \"none\"", &election);
        let cluster = format!("{RIGHT}{election}\n");
        for text in [plain, cluster] {
            let shown = refuse(&text);
            assert!(shown.starts_with(&format!("error: {message}\n")) && shown.ends_with("\n1 error"), "{shown}");
        }
    }
    // What is there of a cluster is looked at all the same, and by that it is to be one.
    let slip = PLAIN.replace("none", "nnoe");
    let shown = refuse(&format!("{slip}[etcd]\nendpoints = []\n"));
    assert!(shown.contains("error: endpoints must not be empty\n"), "{shown}");
    assert!(shown.contains("error: [patroni] is missing\n") && shown.ends_with("\n3 errors"), "{shown}");
    let shown = refuse(&format!("{slip}[patron]\nscope = \"odoo\"\n"));
    assert!(shown.contains("error: [etcd] is missing\n") && shown.ends_with("\n3 errors"), "{shown}");
    // Other mistakes in a VIP leave no doubt about what it follows.
    let shown = refuse(&format!("{PLAIN}priority = 0\n[log]\nlevel = \"info\"\n"));
    assert!(shown.ends_with("\n1 error"), "{shown}");
    let shown = refuse(&format!("{PLAIN}priority = 0\n[etcd]\nendpoints = [\"http://db3:2379\"]\n"));
    assert!(shown.contains("so [etcd] means nothing") && shown.ends_with("\n2 errors"), "{shown}");
}

#[test]
fn a_slip_beside_a_vip_that_follows_the_primary() {
    let slip = "[[vip]]\naddress = \"10.0.20.156\"\nvirtual_router_id = 156\nfollows = \"nnoe\"\n";
    let primary = "[[vip]]\naddress = \"10.0.20.155\"\nvirtual_router_id = 155\n";
    for vips in [[slip, primary], [primary, slip]] {
        let shown = refuse(&format!("node = \"db1\"\ninterface = \"eth0\"\n{}", vips.concat()));
        assert!(
            shown.contains("error: [patroni] is missing\n") && shown.contains("error: [etcd] is missing\n"),
            "{shown}"
        );
        assert!(shown.ends_with("\n3 errors"), "{shown}");
    }
}

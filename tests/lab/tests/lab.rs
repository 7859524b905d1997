//! The lab itself, tried without the daemon: here the test moves the VIP by hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
#![allow(clippy::disallowed_methods, reason = "the environment tells the copy of this program that is to be killed")]

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use lab::analysis::{Analysis, Distribution};
use lab::history::{Event, Frame, Observation, Role};
use lab::{Direction, Lab, Node, Options, Probes, Time, Traffic};

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

fn vip(lab: &Lab, node: Node, verb: &str) {
    lab.namespace(node).ip(&["address", verb, "10.0.20.155/32", "dev", "eth0"]).unwrap();
}

/// In place of the announcement that a holder would send.
fn forget_neighbours(lab: &Lab) {
    lab.namespace(Node::Client).ip(&["neigh", "flush", "all"]).unwrap();
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Time::now();
    while !condition() {
        assert!(start.elapsed() < SHORT, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_switchover_is_seen_by_every_probe() {
    let start = Time::now();
    let lab = Lab::start(Options::default()).unwrap();
    println!("cluster up after {:?}", start.elapsed());
    let mut probes = Probes::watch(&lab).unwrap();
    vip(&lab, Node::Db1, "add");
    probes.add_hasty_client().unwrap();
    probes.add_patient_client().unwrap();
    assert_eq!(probes.open_sessions(5).unwrap(), 0..5);
    thread::sleep(Duration::from_millis(500));

    let begun = probes.history().mark("switchover to db2");
    let answered = thread::scope(|scope| {
        let request = scope.spawn(|| lab.switchover(Node::Db2).unwrap());
        wait_for("db1 to stop", || {
            Analysis::of(probes.history())
                .events()
                .iter()
                .any(|e| matches!(e.what, Observation::Role { node: Node::Db1, role, .. } if role != Role::Primary))
        });
        vip(&lab, Node::Db1, "del");
        lab.database(Node::Db2).wait_writable(LONG).unwrap();
        vip(&lab, Node::Db2, "add");
        forget_neighbours(&lab);
        request.join().unwrap().answered
    });
    lab.wait_settled(Node::Db2, LONG).unwrap();
    thread::sleep(Duration::from_millis(500));
    println!("switchover answered after {:?}, settled after {:?}", answered.since(begun), begun.elapsed());

    let history = probes.history().clone();
    println!("{}", history.to_text(begun));
    let analysis = Analysis::of(&history);
    assert_eq!(analysis.violations(), Vec::<String>::new());
    let moves = analysis.moves();
    let moved = moves.last().unwrap();
    println!("{}", moved.timeline(begun));
    assert_eq!((moved.from, moved.to), (Some(Node::Db1), Node::Db2));
    assert!(moved.old_down < moved.vip_gone && moved.key_gone < Some(moved.key_taken), "{moved:?}");
    let writable = moved.writable.unwrap();
    let bracket = writable.latest.since(writable.earliest);
    println!("the end of recovery is known to {bracket:?}");
    let questions = |e: &Event| match e.what {
        Observation::RoleConfirmed { node: Node::Db2, questions, .. } => Some(questions),
        _ => None,
    };
    let rate = Distribution::of(analysis.events().iter().filter_map(questions).map(f64::from)).unwrap();
    println!("questions to PostgreSQL per 100 ms: {rate}");
    assert!(bracket < Duration::from_millis(50), "the role was asked too rarely: {bracket:?}");
    assert!(moved.lag().is_some_and(|l| l.at_most > 0.0 && l.at_least <= l.at_most), "{moved:?}");
    assert!(moved.first_write > moved.vip_bound, "{moved:?}");
    let (_, gap) = analysis.longest_write_gap(begun).unwrap();
    assert!(gap > Duration::from_millis(100) && gap < SHORT, "{gap:?}");
    let patient = analysis.patient(begun, Time::now());
    println!("patient client: {patient}; write gap {gap:?}");
    assert!(patient.attempts > 20, "{patient}");
    let arp = |w: &Observation| matches!(w, Observation::Frame { frame: Frame::Arp { .. }, .. });
    assert!(analysis.events().iter().any(|e| arp(&e.what)), "no ARP seen");

    // What must not happen is seen when it happens.
    vip(&lab, Node::Db1, "add");
    wait_for("the violations", || Analysis::of(&history).violations().len() >= 2);
    let violations = Analysis::of(&history).violations().join("\n");
    assert!(violations.contains("both had the VIP") && violations.contains("while in recovery"), "{violations}");
    vip(&lab, Node::Db1, "del");

    // The address left before PostgreSQL on db1 said goodbye, or after: killed servers tell in any case.
    probes.open_sessions(3).unwrap();
    let killed = lab.database(Node::Db2).kill_all().unwrap();
    wait_for("three connections to be told", || {
        Analysis::of(&history).session_ends().filter(|s| s.0 >= 5).count() == 3
    });
    println!("connections told {:?} after the kill", killed.elapsed());
    let (dir, namespace) = (lab.dir(), lab.namespace(Node::Db1).name().to_owned());
    drop(probes.stop());
    drop(lab);
    assert_nothing_left(&dir, &namespace);
}

#[test]
fn three_etcd_members_with_passwords_survive_cuts_and_a_kill() {
    let options = Options { etcd: lab::etcd::EtcdLayout::Spread, etcd_auth: true, ..Options::default() };
    let lab = Lab::start(options).unwrap();
    let reaches = |from: Node, to: Node| {
        let server = SocketAddr::from((to.ip(), 2379));
        let connect = || TcpStream::connect_timeout(&server, Duration::from_millis(300)).is_ok();
        lab.namespace(from).run(connect).unwrap()
    };
    assert!(reaches(Node::Db1, Node::Dcs));
    for direction in [Direction::In, Direction::Out, Direction::Both] {
        lab.cut(Node::Db1, Traffic::Etcd, direction).unwrap();
        assert!(!reaches(Node::Db1, Node::Dcs), "{direction:?}");
        assert!(reaches(Node::Db1, Node::Db1), "a node's own member must stay in reach");
        lab.heal(Node::Db1).unwrap();
        assert!(reaches(Node::Db1, Node::Dcs));
    }
    lab.cut(Node::Db1, Traffic::EtcdMember(Node::Dcs), Direction::Both).unwrap();
    assert!(!reaches(Node::Db1, Node::Dcs) && reaches(Node::Db1, Node::Db2));
    lab.cut_vrrp_everywhere().unwrap();
    lab.heal_all().unwrap();
    assert!(reaches(Node::Db1, Node::Dcs));

    let probes = Probes::watch(&lab).unwrap();
    let member = lab.members().iter().find(|m| m.node() == Node::Dcs).unwrap();
    member.kill();
    // If it was etcd's leader, the others need a second or two for an election.
    wait_for("the others to accept writes", || lab.etcd().put("/pgvrrp/test", "one").is_ok());
    let seen = |value: Option<&str>| {
        let matches = |w: &Observation| matches!(w, Observation::Key { key, value: v, .. } if key == "/pgvrrp/test" && v.as_deref() == value);
        probes.history().events().iter().any(|e| matches(&e.what))
    };
    wait_for("the key, from another member", || seen(Some("one")));
    member.start().unwrap();
    lab.etcd().delete("/pgvrrp/test").unwrap();
    wait_for("the deletion", || seen(None));
    // The member that was started again may be asked first, before it has caught up.
    let lists_users = || lab.etcd().etcdctl(&["user", "list"]).is_ok_and(|users| users.contains("patroni"));
    wait_for("etcdctl to list the users", lists_users);

    lab.patch_config(&serde_json::json!({"ttl": 33})).unwrap();
    assert_eq!(lab.etcd().get("/service/odoo/config").unwrap().map(|kv| kv.value.contains("\"ttl\":33")), Some(true));
    lab.pause(true).unwrap();
    lab.pause(false).unwrap();
}

/// The other half of the next test: a program that starts a lab and is killed.
#[test]
fn a_machine_without_power_says_nothing_and_can_come_back() {
    let lab = Lab::start(Options::default()).unwrap();
    let mut probes = Probes::watch(&lab).unwrap();
    vip(&lab, Node::Db1, "add");
    assert_eq!(probes.open_sessions(5).unwrap(), 0..5);
    lab.power_off(Node::Db1).unwrap();
    assert!(lab.namespace(Node::Db1).pids().unwrap().is_empty());
    lab.wait_primary(Node::Db2, LONG).unwrap();
    vip(&lab, Node::Db2, "add");
    assert_eq!(lab.forgotten_connections(Node::Db2).unwrap().len(), 5);
    lab.power_on(Node::Db1).unwrap();
    lab.database(Node::Db1).start().unwrap();
    lab.wait_settled(Node::Db2, LONG).unwrap();
    // Nor does what was on it speak when it is back.
    assert_eq!(Analysis::of(&probes.stop()).session_ends().count(), 0);
}

#[test]
fn start_a_lab_to_be_killed() {
    if std::env::var("LAB_TO_BE_KILLED").is_err() {
        return;
    }
    let lab = Lab::start(Options::default()).unwrap();
    println!("\nLAB {} {}", lab.dir().display(), lab.namespace(Node::Db1).name());
    thread::sleep(LONG);
}

#[test]
fn nothing_survives_a_killed_program() {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "start_a_lab_to_be_killed", "--nocapture"]).env("LAB_TO_BE_KILLED", "1");
    let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let line = output.lines().map_while(Result::ok).find(|l| l.starts_with("LAB ")).unwrap();
    let mut words = line.split(' ').skip(1);
    let (dir, namespace) = (words.next().unwrap(), words.next().unwrap());
    assert!(Path::new(dir).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the guardian", || !Path::new(dir).exists());
    assert_nothing_left(Path::new(dir), namespace);
}

fn assert_nothing_left(dir: &Path, namespace: &str) {
    assert!(!dir.exists(), "{dir:?} is still there");
    let label = namespace.strip_suffix("-db1").unwrap();
    let listing = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&listing.stdout).contains(label), "namespaces are still there");
    let uses_dir = |pid: &u32| {
        let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command_line).contains(dir.to_str().unwrap())
    };
    let left: Vec<u32> = lab::process::all_pids().into_iter().filter(uses_dir).collect();
    assert!(left.is_empty(), "processes are still there: {left:?}");
}

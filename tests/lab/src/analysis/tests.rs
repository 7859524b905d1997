use super::*;
use crate::patroni::LEADER_KEY;

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

fn address(history: &History, millis: u64, node: Node, present: bool) {
    history.record_at(at(millis), Observation::Address { node, address: VIP.into(), present });
}

/// A role whose answer came at `millis`, asked for one millisecond earlier; the old one was last asked two earlier.
fn role(history: &History, millis: u64, node: Node, role: Role) {
    let what = Observation::Role { node, role, asked: at(millis - 1), before: Some(at(millis - 2)) };
    history.record_at(at(millis), what);
}

fn leader(history: &History, millis: u64, node: Option<Node>) {
    let value = node.map(|n| n.name().to_owned());
    let what = Observation::Key { key: LEADER_KEY.to_owned(), value, revision: millis as i64, lease: 1 };
    history.record_at(at(millis), what);
}

fn write(history: &History, millis: u64, node: Node, from_replica: bool) {
    let attempt = Attempt { started: at(millis - 5), node: Some(node), from_replica, error: None, value: None };
    history.record_at(at(millis), Observation::Write(attempt));
}

/// A clean switchover from db1 to db2: entitled at 1100, bound at 1103.
fn switchover() -> History {
    let history = History::new();
    leader(&history, 10, Some(Node::Db1));
    role(&history, 11, Node::Db1, Role::Primary);
    role(&history, 12, Node::Db2, Role::Standby);
    address(&history, 20, Node::Db1, true);
    write(&history, 490, Node::Db1, false);
    role(&history, 500, Node::Db1, Role::Down);
    address(&history, 530, Node::Db1, false);
    leader(&history, 900, None);
    leader(&history, 950, Some(Node::Db2));
    role(&history, 1100, Node::Db2, Role::Primary);
    address(&history, 1103, Node::Db2, true);
    write(&history, 1110, Node::Db2, false);
    history
}

#[test]
fn a_clean_switchover_breaks_no_promise() {
    assert_eq!(Analysis::of(&switchover()).violations(), Vec::<String>::new());
}

#[test]
fn a_move_is_found_with_all_its_steps() {
    let moves = Analysis::of(&switchover()).moves();
    // The first owner counts as a move from nobody.
    let [_, found] = &moves[..] else { panic!("{moves:?}") };
    assert_eq!((found.from, found.to), (Some(Node::Db1), Node::Db2));
    assert_eq!((found.old_down, found.vip_gone), (Some(at(500)), Some(at(530))));
    assert_eq!((found.key_gone, found.key_taken), (Some(at(900)), at(950)));
    assert_eq!((found.vip_bound, found.first_write), (Some(at(1103)), Some(at(1110))));
    assert_eq!(found.lag(), Some(Lag { at_least: 3.0, at_most: 5.0 }));
    assert_eq!(found.release_lag(), Some(30.0));
}

#[test]
fn the_lag_counts_from_the_key_when_that_comes_last() {
    let history = History::new();
    leader(&history, 10, Some(Node::Db1));
    role(&history, 20, Node::Db2, Role::Primary);
    leader(&history, 30, Some(Node::Db2));
    address(&history, 34, Node::Db2, true);
    let moves = Analysis::of(&history).moves();
    assert_eq!(moves[1].lag(), Some(Lag { at_least: 4.0, at_most: 4.0 }));
}

#[test]
fn two_holders_are_seen() {
    let history = switchover();
    address(&history, 1000, Node::Db1, true);
    address(&history, 1104, Node::Db1, false);
    let overlaps = Analysis::of(&history).overlaps();
    assert_eq!(overlaps.len(), 1);
    assert_eq!(overlaps[0].2, Duration::from_millis(1));
}

#[test]
fn a_holding_that_goes_on_overlaps_too() {
    let history = History::new();
    address(&history, 10, Node::Db1, true);
    address(&history, 20, Node::Db2, true);
    history.record_at(at(50), Observation::Mark { text: "end".to_owned() });
    assert_eq!(Analysis::of(&history).overlaps()[0].2, Duration::from_millis(30));
}

#[test]
fn another_address_is_nobodys_vip() {
    let history = History::new();
    address(&history, 10, Node::Db1, true);
    let own = Node::Db2.ip().into();
    history.record_at(at(20), Observation::Address { node: Node::Db2, address: own, present: true });
    assert_eq!(Analysis::of(&history).holdings().len(), 1);
}

#[test]
fn the_vip_on_a_node_in_recovery_is_seen() {
    let history = History::new();
    role(&history, 10, Node::Db2, Role::Standby);
    address(&history, 100, Node::Db2, true);
    role(&history, 200, Node::Db2, Role::Primary);
    let found = Analysis::of(&history).held_in_recovery();
    // Certain until the last question that was answered "in recovery": 198.
    assert_eq!(found.iter().map(|f| f.2).collect::<Vec<_>>(), [Duration::from_millis(98)]);
}

#[test]
fn inside_the_bracket_of_a_promotion_nothing_is_certain() {
    let history = History::new();
    role(&history, 10, Node::Db2, Role::Standby);
    address(&history, 199, Node::Db2, true);
    role(&history, 200, Node::Db2, Role::Primary);
    assert_eq!(Analysis::of(&history).held_in_recovery(), []);
}

#[test]
fn a_role_that_is_confirmed_lasts_until_then() {
    let history = History::new();
    role(&history, 10, Node::Db1, Role::Standby);
    history.record_at(at(101), Observation::RoleConfirmed { node: Node::Db1, asked: at(100), questions: 90 });
    assert_eq!(Analysis::of(&history).certain(Node::Db1, Role::Standby), [(at(10), at(100))]);
}

#[test]
fn a_read_from_a_replica_and_a_blind_probe_are_violations() {
    let history = switchover();
    write(&history, 1200, Node::Db1, true);
    history.record_at(at(1300), Observation::Blind { reason: "overrun".to_owned() });
    assert_eq!(Analysis::of(&history).violations().len(), 2);
}

#[test]
fn the_write_gap_spans_the_move() {
    let gap = Analysis::of(&switchover()).longest_write_gap(at(0));
    assert_eq!(gap, Some((at(490), Duration::from_millis(620))));
}

#[test]
fn patient_failures_are_counted_by_error() {
    let history = History::new();
    for (begun, error) in
        [(100, None), (150, Some("refused")), (200, Some("refused")), (250, Some(STILL_WAITING)), (900, Some("late"))]
    {
        let attempt = Attempt {
            started: at(begun),
            node: None,
            from_replica: false,
            error: error.map(ToOwned::to_owned),
            value: None,
        };
        history.record_at(at(begun + 40), Observation::Patient(attempt));
    }
    let patient = Analysis::of(&history).patient(at(100), at(900));
    assert_eq!((patient.attempts, patient.waiting, patient.failed()), (4, 1, 2));
    assert_eq!(patient.failures["refused"], 2);
}

#[test]
fn percentiles_are_values_that_were_measured() {
    let distribution = Distribution::of((1..=10).rev().map(f64::from)).unwrap();
    let found = [distribution.min(), distribution.median(), distribution.percentile(90.0), distribution.max()];
    assert_eq!(found, [1.0, 5.0, 9.0, 10.0]);
    assert_eq!(Distribution::of([]), None);
}

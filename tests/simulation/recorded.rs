//! The models are true, as far as the order of events goes: in whatever order the daemon of a real cluster learned of a
//! move, a node of the simulator learns of one too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use pgvrrp::node::io::Input;
use pgvrrp::recording::{Step, replay};

use super::clock::{Nanos, S};
use super::dice::Dice;
use super::milestones::{Milestone, Move, Order, Whose, orders};
use super::plan::{Fault, Plan, config};
use super::world::World;

/// Histories of each kind of move.
const SEEDS: u64 = 60;

/// When it happens: everything is at rest by then. And the time by which everything is again.
const HAPPENS: Nanos = 30 * S;
const OVER: Nanos = 200 * S;

/// What happens to a world at rest.
type Happening = fn(&mut World);

/// What is recorded in `tests/recordings/<name>-*.jsonl`, and the same in the simulator.
const KINDS: [(&str, Happening); 3] =
    [("switchovers", switchover), ("primary-dies", primary_dies), ("daemon-killed", daemon_killed)];

fn switchover(world: &mut World) {
    world.befall(Fault::Switchover, 0, 0);
}

/// PostgreSQL and Patroni at once; an operator starts them again.
fn primary_dies(world: &mut World) {
    world.befall(Fault::PatroniKilled, 0, 60 * S);
    world.befall(Fault::PostgresCrash, 0, 0);
}

/// And nobody starts it again before the switchover.
fn daemon_killed(world: &mut World) {
    world.kill(0);
    world.after(6 * S, |world| world.befall(Fault::Switchover, 0, 0));
}

/// The orders in the recordings of one kind, and where each is from.
fn recorded(kind: &str) -> BTreeMap<Order, Vec<String>> {
    let mut found: BTreeMap<Order, Vec<String>> = BTreeMap::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    for entry in fs::read_dir(dir).expect("there are recordings") {
        let entry = entry.expect("the directory is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(kind) {
            continue;
        }
        let (mut member, mut inputs) = (String::new(), Vec::new());
        let file = File::open(entry.path()).expect("the recording is readable");
        let result = replay(BufReader::new(file), |step| match step {
            Step::Start(header) => member.clone_from(&header.settings.me.member),
            Step::Pass { pass, .. } => inputs.push(pass.input.clone()),
        });
        result.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        for order in orders(&member, &inputs) {
            found.entry(order).or_default().push(name.clone());
        }
    }
    found
}

/// What the nodes are told in one history in which nothing else goes wrong.
fn told(seed: u64, happen: Happening) -> Vec<(usize, Input)> {
    let mut plan = Plan::calm(2);
    (plan.trouble, plan.members) = (OVER, 1);
    plan.config = if seed.is_multiple_of(2) { config(20, 1, 3) } else { config(30, 10, 10) };
    let mut world = World::new(plan, Dice::new(seed), false);
    world.told = Some(Vec::new());
    world.run_until(HAPPENS);
    happen(&mut world);
    world.run_until(OVER);
    assert_eq!(world.broken, None, "seed {seed}");
    world.told.take().unwrap_or_default()
}

/// The orders in such a history.
fn simulated(seed: u64, happen: Happening) -> BTreeSet<Order> {
    let told = told(seed, happen);
    let of = |h: usize| told.iter().filter(move |(of, _)| *of == h).map(|(_, input)| input);
    ["db1", "db2"].into_iter().enumerate().flat_map(|(h, member)| orders(member, of(h))).collect()
}

#[test]
fn every_recorded_order_of_events_is_one_of_the_models() {
    for (kind, happen) in KINDS {
        let modelled: BTreeSet<Order> = (1..=SEEDS).flat_map(|seed| simulated(seed, happen)).collect();
        let recorded = recorded(kind);
        assert!(recorded.keys().any(|(way, _)| *way == Move::Here), "no recorded {kind} moves the VIP");
        println!("{kind}: {} orders recorded, {} modelled", recorded.len(), modelled.len());
        let strange: Vec<_> = recorded.iter().filter(|(order, _)| !modelled.contains(order)).collect();
        assert!(strange.is_empty(), "{kind}: in no model: {strange:?}\nthe models have {modelled:?}");
    }
}

/// The comparison sees what it is for: an order that no cluster can have is in no model.
#[test]
fn an_order_that_is_wrong_is_in_no_model() {
    use Milestone::{Advert, Bound, Down, Goodbye, Leader, Lock, Primary, Standby, Unbound};
    use Whose::{Anothers, Mine, Nobodys};
    let modelled: BTreeSet<Order> = (1..=10).flat_map(|seed| simulated(seed, switchover)).collect();
    let here = [Goodbye, Lock(Nobodys), Leader(Nobodys), Leader(Mine), Lock(Mine), Primary, Bound];
    let away = [Down, Unbound, Lock(Nobodys), Leader(Nobodys), Leader(Anothers), Lock(Anothers), Advert, Standby];
    for (way, order, first, later) in [(Move::Here, &here[..], 5, 6), (Move::Away, &away[..], 1, 2)] {
        let mut order = order.to_vec();
        assert!(modelled.contains(&(way, order.clone())), "{order:?} is not in {modelled:#?}");
        // Bound before the role was known; V revoked before the address was gone.
        order.swap(first, later);
        assert!(!modelled.contains(&(way, order.clone())), "{order:?}");
    }
}

/// An order goes from rest to rest, and what is repeated is no milestone.
#[test]
fn hearing_everything_twice_changes_no_order() {
    let told = told(3, switchover);
    let inputs: Vec<_> = told.iter().filter(|(h, _)| *h == 0).map(|(_, input)| input).collect();
    let once = orders("db1", inputs.iter().copied());
    assert_eq!(once.len(), 1, "{once:?}");
    assert_eq!(once, orders("db1", inputs.iter().flat_map(|input| [*input, *input])));
    // The end of it alone is no move.
    assert_eq!(orders("db1", inputs[inputs.len() / 2..].iter().copied()), BTreeSet::new());
}

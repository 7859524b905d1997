//! etcd is set up anew while a peer still trusts the former one, and its configuration has changed shortly before: whoever
//! takes the VIP next waits for the longest lock that a peer may have, not for what the new configuration makes of it.

use super::clock::{MS, S};
use super::dice::Dice;
use super::plan::{Fault, Plan, config};
use super::world::World;

/// What becomes of the configuration before etcd is set up anew.
#[derive(Clone, Copy, Debug)]
enum Before {
    Unchanged,
    /// It cannot be read.
    Missing,
    /// Shorter times, of which the peer does not learn.
    Shortened,
}

fn history(before: Before) -> World {
    let mut plan = Plan::calm(2);
    // The peer's clock is slow, the next holder's is fast.
    (plan.trouble, plan.rates) = (100 * S, vec![0.9, 1.1]);
    // The longest lock that there is by Patroni's default times.
    plan.config = config(30, 10, 10);
    plan.config.failsafe_mode = true;
    let mut world = World::new(plan, Dice::new(7), false);
    world.at(30 * S + 500 * MS, move |w| {
        w.befall(Fault::PatroniKilled, 0, 90 * S);
        w.befall(Fault::CutEtcd, 0, 60 * S);
        let revision = w.etcd.state.revision;
        match before {
            Before::Unchanged => {}
            Before::Missing => w.befall(Fault::Unconfigured, 0, 60 * S),
            Before::Shortened => {
                w.etcd.state.config = config(20, 1, 3);
                w.etcd.state.config.failsafe_mode = true;
            }
        }
        let mut backup = w.etcd.state.clone();
        backup.leader = None;
        backup.locks.clear();
        w.etcd.backup = Some(Box::new(backup));
        w.etcd.state.revision += 1;
        w.etcd_changed(revision);
    });
    world.at(32 * S, |w| {
        let revision = w.etcd.state.revision;
        w.etcd.restore(w.now, true);
        w.etcd.state.revision += 1000;
        w.etcd_changed(revision);
    });
    world.run_until(90 * S);
    world
}

#[test]
fn a_quarantine_outlasts_every_lock_of_the_former_etcd() {
    for before in [Before::Unchanged, Before::Missing, Before::Shortened] {
        let world = history(before);
        assert_eq!(world.broken, None, "{before:?}");
        assert!(world.hosts[1].kernel.holds(world.now), "{before:?}: the next holder has it in the end");
    }
}

//! The lab itself, tried without the daemon.

use lab::{Lab, Node, Options, Time};
use std::time::Duration;

#[test]
fn comes_up() {
    let start = Time::now();
    let lab = Lab::start(Options::default()).unwrap();
    println!("up after {:?}", start.elapsed());
    let s = lab.switchover(Node::Db2).unwrap();
    println!("switchover {:?}", s.answered.since(s.asked));
    lab.wait_settled(Node::Db2, Duration::from_secs(30)).unwrap();
    println!("settled {:?}", s.asked.elapsed());
    let t = Time::now();
    drop(lab);
    println!("dropped {:?}", t.elapsed());
}

//! Binding in a network namespace, with time running out.

mod clients;

use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::thread;

use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use pgvrrp_netlink::{Event, Monitor, SynDrop};
use vrrp::router::{ChecksumPolicy, Preempt};
use vrrp::types::{Interval, Priority, Vrid};

use super::*;
use crate::gate::policy::Policy;
use crate::node::{Follows, Identity, Rules};

const LO: u32 = 1;
const VIP: VipId = VipId(0);
const LIFETIME: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Without a word from the kernel for as long, there is none left.
const QUIET: Duration = Duration::from_millis(100);

/// A VIP of as many addresses as one advertisement can name.
fn settings() -> Settings {
    let addresses =
        (1..=255).map(|last| Ipv4Addr::new(10, 0, 30, last)).map(|address| IpNet::from(IpAddr::from(address)));
    Settings {
        me: Identity { member: "db1".to_owned(), boot_id: String::new(), incarnation: String::new() },
        interfaces: vec!["lo".to_owned()],
        policy: Policy::default(),
        vips: vec![VipSettings {
            name: "many".to_owned(),
            addresses: addresses.collect(),
            virtual_router_id: Vrid::new(1).unwrap(),
            interface: InterfaceId(0),
            virtual_mac: None,
            interval: Interval::DEFAULT,
            checksum: ChecksumPolicy::Auto,
            unicast_peers: Vec::new(),
            follows: Follows::None(Rules {
                priority: Priority::new(100).unwrap(),
                preempt: Preempt::Never,
                track: Vec::new(),
            }),
            drained: false,
            former: Vec::new(),
            retired: false,
        }],
    }
}

/// An actuator in a network namespace that goes with the test's thread, and one who listens to the kernel there.
fn with_actuator(test: impl AsyncFnOnce(Actuator, Monitor) + Send + 'static) {
    with_book(Arc::new(Mutex::new(Book::new([]))), test);
}

fn with_book(book: Arc<Mutex<Book>>, test: impl AsyncFnOnce(Actuator, Monitor) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let askers = Askers {
                etcd: mpsc::unbounded_channel().0,
                cadence: watch::channel(QUIET).0,
                patroni: watch::channel(None).0,
            };
            let reach = Reach {
                sockets: SockDiag::open().unwrap(),
                newcomers: SynDrop::open().ok().map(|kernel| Doorkeeper::start(kernel).unwrap()),
                tickler: Tickler::open(),
                book,
            };
            let kernel = Kernel::open().unwrap();
            let actuator = Actuator::new(kernel, reach, Announcer::open().unwrap(), &settings(), askers);
            test(actuator, Monitor::open().unwrap()).await;
        });
    });
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// How many addresses have been bound since this was asked last, whatever became of them.
async fn bound(monitor: &mut Monitor) -> usize {
    let mut count = 0;
    while let Ok(events) = tokio::time::timeout(QUIET, monitor.next()).await {
        let events = events.unwrap();
        assert!(!events.contains(&Event::Lost));
        count += events.iter().filter(|event| matches!(event, Event::AddressAdded(_))).count();
    }
    count
}

fn bind(actuator: &mut Actuator, within: Duration) -> Outcome {
    let not_after = clock::now() + within;
    actuator.carry_out(vec![Output::Bind { vip: VIP, link: LO, lifetime: LIFETIME, not_after }]).remove(0)
}

#[test]
fn a_list_is_bound_whole_in_time() {
    with_actuator(async |mut actuator, mut monitor| {
        let outcome = bind(&mut actuator, Duration::from_secs(60));
        assert!(matches!(outcome, Outcome::Bound { vip: VIP, .. }), "{outcome:?}");
        assert_eq!((bound(&mut monitor).await, actuator.kernel().addresses().unwrap().len()), (255, 255));
    });
}

/// What is certain of one call that comes late is not of 255: the rest is not bound any more, and what was is removed.
#[test]
fn a_list_that_becomes_late_goes_no_further() {
    with_actuator(async |mut actuator, mut monitor| {
        let mut whole = Duration::MAX;
        for _ in 0..3 {
            let begun = clock::now();
            bind(&mut actuator, Duration::from_secs(60));
            whole = whole.min(clock::now().since(begun));
            actuator.carry_out(vec![Output::Unbind { vip: VIP }]);
        }
        bound(&mut monitor).await;

        let outcome = bind(&mut actuator, whole / 10);
        assert!(matches!(outcome, Outcome::Late { vip: VIP, .. }), "{outcome:?}");
        let bound = bound(&mut monitor).await;
        assert!(bound < 255, "all of them, in a tenth of the time");
        assert_eq!(actuator.kernel().addresses().unwrap(), []);
    });
}

#[test]
fn what_comes_late_binds_nothing() {
    with_actuator(async |mut actuator, mut monitor| {
        let not_after = clock::now();
        while clock::now() <= not_after {}
        let late = Output::Bind { vip: VIP, link: LO, lifetime: LIFETIME, not_after };
        let outcomes = actuator.carry_out(vec![late]);
        assert_eq!(outcomes, [Outcome::Late { vip: VIP, removed: false }]);
        assert_eq!(bound(&mut monitor).await, 0);
    });
}

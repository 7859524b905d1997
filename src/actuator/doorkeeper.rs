//! Keeps new connections waiting, from a thread of its own.
//!
//! To change a rule the kernel takes a lock that whoever else changes a firewall's rules may hold for long, tens of
//! milliseconds for a small tool and more for a large one, and nothing ends that wait. An address that has to go does not wait
//! for it: what is not done in time is done later, or not at all.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use pgvrrp_netlink::{Error, SynDrop};
use tracing::warn;
use vrrp::time::Instant;

use crate::{clock, realtime};

/// How long the kernel may take for one order, so that it ends some time.
const KERNEL: Duration = Duration::from_secs(1);

/// Orders that may wait for the thread. There are two a second for each VIP at most.
const QUEUE: usize = 64;

/// Gives the orders.
#[derive(Debug)]
pub struct Doorkeeper {
    orders: SyncSender<Order>,
    answers: Receiver<(u64, bool)>,
    /// Of the last order that has an answer.
    number: u64,
}

/// What is to be done.
#[derive(Debug)]
enum Order {
    /// Drop SYNs to these addresses, unless it is later than that already.
    Shut { number: u64, addresses: Vec<IpAddr>, lifetime: Duration, not_after: Instant },
    /// Let them in again.
    Open(Vec<IpAddr>),
}

impl Doorkeeper {
    /// Starts the thread, in the network namespace of the calling one.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(mut kernel: SynDrop) -> io::Result<Self> {
        Self::with(move |order| match order {
            Order::Shut { addresses, lifetime, .. } => kernel.begin(addresses, *lifetime, KERNEL),
            Order::Open(addresses) => kernel.end(addresses, KERNEL),
        })
    }

    fn with(mut obey: impl FnMut(&Order) -> Result<(), Error> + Send + 'static) -> io::Result<Self> {
        let (orders, waiting) = sync_channel::<Order>(QUEUE);
        let (answer, answers) = sync_channel(QUEUE);
        thread::Builder::new().name("pgvrrp-newcomers".to_owned()).spawn(move || {
            realtime::prioritise_thread();
            for order in waiting {
                let late = matches!(order, Order::Shut { not_after, .. } if clock::now() > not_after);
                let done = if late { None } else { Some(obey(&order)) };
                if let Some(Err(error)) = &done {
                    warn!(%error, "new connections to a VIP that leaves");
                }
                if let Order::Shut { number, .. } = order {
                    // Nobody waits for it any more if there is no room.
                    let _ = answer.try_send((number, matches!(done, Some(Ok(())))));
                }
            }
        })?;
        Ok(Self { orders, answers, number: 0 })
    }

    /// From now on, for `lifetime`, new connections to these addresses are dropped. `false` if that is not certain `within`
    /// the time given.
    pub fn shut(&mut self, addresses: Vec<IpAddr>, lifetime: Duration, within: Duration) -> bool {
        self.number += 1;
        let begun = clock::now();
        let order = Order::Shut { number: self.number, addresses, lifetime, not_after: begun + lifetime };
        if self.orders.try_send(order).is_err() {
            return false;
        }
        let until = begun + within;
        while let Ok((number, done)) = self.answers.recv_timeout(until.since(clock::now())) {
            // Another one is that of an order that was not waited for any more.
            if number == self.number {
                return done;
            }
        }
        false
    }

    /// Lets them in again, soon.
    pub fn open(&mut self, addresses: Vec<IpAddr>) {
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Open(addresses)) {
            warn!("new connections are let in a second later: the kernel does not answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One whose orders take so long, each less than the one before.
    fn doorkeeper(mut takes: Vec<Duration>) -> (Doorkeeper, Arc<Mutex<Vec<String>>>) {
        let obeyed = Arc::new(Mutex::new(Vec::new()));
        let log = obeyed.clone();
        let doorkeeper = Doorkeeper::with(move |order| {
            thread::sleep(takes.pop().unwrap_or_default());
            log.lock().unwrap().push(if matches!(order, Order::Open(_)) {
                "open".to_owned()
            } else {
                "shut".to_owned()
            });
            Ok(())
        });
        (doorkeeper.unwrap(), obeyed)
    }

    #[test]
    fn an_order_that_takes_long_is_not_waited_for_and_its_answer_is_nobody_elses() {
        let (mut doorkeeper, obeyed) = doorkeeper(vec![Duration::ZERO, SECOND]);
        let begun = clock::now();
        assert!(!doorkeeper.shut(vec![], SECOND, Duration::from_millis(10)));
        assert!(clock::now().since(begun) < SECOND / 2, "it was waited for");
        assert!(doorkeeper.shut(vec![], 60 * SECOND, 30 * SECOND));
        assert_eq!(*obeyed.lock().unwrap(), ["shut", "shut"]);
    }

    #[test]
    fn an_order_whose_time_is_over_is_not_obeyed() {
        let (mut doorkeeper, obeyed) = doorkeeper(vec![SECOND / 5]);
        doorkeeper.open(vec![]);
        assert!(!doorkeeper.shut(vec![], Duration::from_millis(20), 30 * SECOND));
        assert_eq!(*obeyed.lock().unwrap(), ["open"]);
    }
}

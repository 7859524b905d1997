//! A datagram of the kernel's answer to a request: dumps, refusals, acknowledgements. An address that is put back is the
//! one that was there.

use pgvrrp_netlink::fuzzing::{Entry, addresses, connections, events, links};
use pgvrrp_netlink::{Address, Event, dependents};

pub fn run(bytes: &[u8]) {
    match addresses(bytes) {
        Ok(entries) => {
            let all: Vec<_> = entries.iter().map(|entry| entry.address.clone()).collect();
            for Entry { address, restoration, deletion } in &entries {
                let _ = dependents(&all, address).count();
                if let Some(restoration) = restoration {
                    assert_eq!(only(restoration), Event::AddressAdded(address.clone()));
                }
                let Event::AddressRemoved(deleted) = only(deletion) else { panic!("it deletes") };
                let place = |address: &Address| (address.link, address.address, address.peer, address.prefix_len);
                assert_eq!(place(&deleted), place(address));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = links(bytes);
    let _ = connections(bytes);
}

/// The one event that a request would be if it were a notification.
fn only(request: &[u8]) -> Event {
    let mut events = events(request).expect("what is written can be read");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

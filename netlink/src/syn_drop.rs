//! New TCP connections to an address that leaves are dropped, not refused: the client's kernel repeats its SYN, and the
//! repetition meets the next holder of the address. A refusal would be final.
//!
//! The means is a table of nf_tables of our own, which is there only while something is dropped. It ends by itself in every
//! case: each address in it has a lifetime that the kernel keeps, and the table belongs to the socket, so that the kernel
//! deletes it when the process is gone.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Failure};
use crate::nftables::{Batch, Hook, Key, Rule};

/// The set of each kind of address.
const SETS: [(Key, &str); 2] = [(Key::Ipv4, "ipv4"), (Key::Ipv6, "ipv6")];

const CHAIN: &str = "syn-drop";

/// That of the table `raw`: before connection tracking (-200), behind the reassembly of fragments (-400).
const PRIORITY: i32 = -300;

/// The bits of TCP's flags.
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Below a tick of the slowest kernel (`CONFIG_HZ=100`) some take a lifetime for none, which means for ever.
const SHORTEST: Duration = Duration::from_millis(10);

/// Nobody should have to do without an address for longer because of a number that is wrong.
const LONGEST: Duration = Duration::from_secs(60);

/// What a kernel has to have (Linux 5.12 and `CONFIG_NF_TABLES`, `CONFIG_NF_TABLES_INET`).
const REQUIREMENT: &str = "nf_tables with tables that belong to a socket";

/// Drops the SYNs to some addresses of this network namespace: one netlink socket, one request at a time.
///
/// Nothing of it is in the host's firewall while nothing is dropped, and no other table is ever touched. The table is called
/// `pgvrrp-` and the number of its socket, which is that of the process unless another socket has it (as happens when two
/// containers share the host's network).
///
/// Dropping it closes the socket, for which the kernel waits until no packet is in the table any more if there is one: some
/// ms up to some tens of ms.
#[derive(Debug)]
pub struct SynDrop {
    channel: Channel,
    /// The socket that the table belongs to, if there is one.
    table: Option<u32>,
    /// What is in the table, each until its end.
    dropping: Vec<(IpAddr, Deadline)>,
}

impl SynDrop {
    /// Opens the socket, in the network namespace of the calling thread. Installs nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`], and [`Error::Unsupported`] where the kernel has no netfilter. No rights are needed to open it.
    pub fn open() -> Result<Self, Error> {
        const WHAT: &str = "open a netfilter socket";
        let channel = Channel::open(NETLINK_NETFILTER).map_err(|failure| match failure {
            Failure::Socket(source) if source.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
                unsupported(WHAT, source)
            }
            failure => failure.during(WHAT),
        })?;
        Ok(Self { channel, table: None, dropping: Vec::new() })
    }

    /// Whether this kernel can do it, found out without doing it: it is asked to examine all that [`begin`](Self::begin)
    /// asks for. Loads the kernel's modules where they are modules, so that `begin` need not wait for that. Takes some 10 ms or
    /// more, and lets nobody change the rules of a firewall meanwhile: to be asked once, when nothing depends on it.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`] without `CAP_NET_ADMIN`, and those that any request can meet.
    pub fn supported(&mut self, within: Duration) -> Result<bool, Error> {
        const WHAT: &str = "find out whether new connections can be dropped";
        let deadline = Deadline::after(within);
        let nowhere = [IpAddr::from([0, 0, 0, 0]), IpAddr::from([0; 16])].map(|address| (address, SHORTEST));
        // Not the name of the table that may be there.
        let batch = with_table("pgvrrp-examination".into(), &nowhere);
        let outcome = self.channel.batch(|sequence| batch.draft(sequence), deadline);
        match outcome.map_err(|failure| named(failure, WHAT)) {
            Ok(()) => Ok(true),
            Err(Error::Unsupported { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// From now on, for `lifetime`, SYNs to these addresses are dropped: to any TCP port, over IPv4 and IPv6, from anywhere,
    /// this host included, before connection tracking and before the local stack; on a router those that it would forward,
    /// too. Connections that are established go on, as does everything else.
    ///
    /// For an address that is dropping already the lifetime begins anew; others go on as they were. It is at least 10 ms
    /// and at most a minute, whatever is asked for, may end by one of the kernel's ticks (1 to 10 ms) sooner, and ends no later
    /// when this process is stopped or killed.
    ///
    /// It is done when this returns: after some 0.1 to 0.4 ms where the table has to be made, some 0.03 ms where it is there.
    /// Nothing in it waits for the packets under way. Where somebody else changes the rules of the firewall at that moment it is
    /// some 10 to 40 ms, since the kernel lets nobody change them while a tool such as `nft` ends. That time is spent in the
    /// kernel and cannot be cut short; an answer that is late is better than none.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel has no nf_tables, or none with owned tables; [`Error::NotPermitted`] without
    /// `CAP_NET_ADMIN`; and those that any request can meet. All is as it was before then, but after [`Error::Timeout`] and
    /// [`Error::Socket`] these addresses may or may not be dropping, at most until the next call or for `lifetime`.
    pub fn begin(&mut self, addresses: &[IpAddr], lifetime: Duration, within: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(within);
        let end = Deadline::after(lifetime.clamp(SHORTEST, LONGEST));
        let mut wanted = self.remaining(addresses);
        for address in addresses.iter().map(IpAddr::to_canonical) {
            if !wanted.iter().any(|(other, _)| *other == address) {
                wanted.push((address, end));
            }
        }
        self.make_it(wanted, deadline).map_err(|failure| named(failure, "drop new connections"))
    }

    /// New connections to these addresses are let in again. When no address is left, the whole table goes; that takes some
    /// 0.1 ms. Without a [`begin`](Self::begin), or twice, it does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`], if the capability was given up meanwhile, and those that any request can meet. The lifetime
    /// ends all the same.
    pub fn end(&mut self, addresses: &[IpAddr], within: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(within);
        let wanted = self.remaining(addresses);
        self.make_it(wanted, deadline).map_err(|failure| named(failure, "let in new connections again"))
    }

    /// What is dropping now, but for these.
    fn remaining(&self, without: &[IpAddr]) -> Vec<(IpAddr, Deadline)> {
        let unwanted = |address: &IpAddr| without.iter().any(|other| other.to_canonical() == *address);
        self.dropping.iter().filter(|(address, end)| !unwanted(address) && !end.passed()).copied().collect()
    }

    /// Makes the table hold just these, or go if there are none.
    fn make_it(&mut self, wanted: Vec<(IpAddr, Deadline)>, deadline: Deadline) -> Result<(), Failure> {
        let port = self.channel.port()?;
        // The table of a socket that had to be replaced went with it.
        let mut exists = self.table == Some(port);
        let name = || format!("pgvrrp-{port}");
        loop {
            let elements: Vec<_> = wanted.iter().map(|(address, end)| (*address, end.left().max(SHORTEST))).collect();
            let batch = match (exists, elements.is_empty()) {
                (false, true) => break,
                (false, false) => with_table(name(), &elements),
                (true, true) => Batch::about(name()).delete_table(),
                // All of them anew: so it does not matter which the kernel has let expire by now.
                (true, false) => with_elements(
                    SETS.iter().fold(Batch::about(name()), |batch, (_, set)| batch.flush_set(set)),
                    &elements,
                ),
            };
            match self.channel.batch(|sequence| batch.written(sequence), deadline) {
                // Nobody else can have removed it; but if it is not there, then it is not.
                Err(failure) if exists && failure.is(libc::ENOENT) => exists = false,
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        self.table = if wanted.is_empty() { None } else { Some(port) };
        self.dropping = wanted;
        Ok(())
    }
}

/// Makes the whole table, with these addresses in it.
fn with_table(name: String, elements: &[(IpAddr, Duration)]) -> Batch {
    let mut batch = Batch::about(name).new_owned_table();
    for (id, (key, set)) in (1..).zip(SETS) {
        batch = batch.new_address_set(set, key, id);
    }
    batch = batch.new_chain(CHAIN, Hook::Prerouting, PRIORITY);
    for (key, set) in SETS {
        let rule = Rule::tcp_to(key, set).with_flags(FIN | SYN | RST | ACK, SYN).drop_it();
        batch = batch.new_rule(CHAIN, &rule);
    }
    with_elements(batch, elements)
}

fn with_elements(batch: Batch, elements: &[(IpAddr, Duration)]) -> Batch {
    SETS.iter().fold(batch, |batch, (key, set)| {
        let own: Vec<_> = elements.iter().filter(|(address, _)| Key::of(*address) == *key).copied().collect();
        batch.add_to_set(set, &own)
    })
}

/// Tells a kernel that cannot do it from one that would not.
fn named(failure: Failure, what: &str) -> Error {
    match failure {
        // No nf_tables (EOPNOTSUPP), no tables for both families (EAFNOSUPPORT, EOPNOTSUPP), none with an owner (EINVAL,
        // EOPNOTSUPP), no such kind of chain or expression (ENOENT). A table that has vanished is not among them: see above.
        Failure::Refused {
            errno: errno @ (libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EINVAL | libc::ENOENT),
            ..
        } => unsupported(what, io::Error::from_raw_os_error(errno)),
        failure => failure.during(what),
    }
}

fn unsupported(what: &str, source: io::Error) -> Error {
    Error::Unsupported { what: what.to_owned(), lacks: REQUIREMENT, source }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    const AMPLE: Duration = Duration::from_secs(5);

    fn rules() -> String {
        let output = Command::new("nft").args(["list", "ruleset"]).output().expect("run nft (nftables)");
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn an_answer_that_does_not_come_is_waited_for_no_longer_than_allowed_and_the_next_call_starts_afresh() {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
            let (first, second) = (IpAddr::from([10, 0, 20, 155]), IpAddr::from([10, 0, 20, 156]));
            let mut drop = SynDrop::open().unwrap();
            drop.begin(&[first], AMPLE, AMPLE).unwrap();
            let table = drop.table.unwrap();

            let waiting = Deadline::after(AMPLE);
            let to_nobody = Batch::about("unknown".into()).delete_table();
            let allowed = Duration::from_millis(20);
            let outcome = drop.channel.batch(|sequence| to_nobody.written(sequence + 1), Deadline::after(allowed));
            assert!(matches!(outcome, Err(Failure::Timeout(time)) if time == allowed), "{outcome:?}");
            assert!(AMPLE - waiting.left() < Duration::from_millis(100));

            drop.begin(&[second], AMPLE, AMPLE).unwrap();
            assert_ne!(drop.table, Some(table), "another socket, another table");
            let rules = rules();
            assert!(!rules.contains(&format!("pgvrrp-{table} ")), "{rules}");
            assert!(rules.contains("10.0.20.155") && rules.contains("10.0.20.156"), "{rules}");
        };
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn a_batch_of_which_a_part_is_refused_leaves_nothing() {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace (needs root)");
            let mut channel = Channel::open(NETLINK_NETFILTER).unwrap();
            let elements = [(IpAddr::from([10, 0, 20, 155]), AMPLE)];
            let batch =
                with_table("pgvrrp-test".into(), &elements).flush_set("unknown").add_to_set(SETS[0].1, &elements);
            let refused = channel.batch(|sequence| batch.written(sequence), Deadline::after(AMPLE)).unwrap_err();
            assert!(refused.is(libc::ENOENT), "{refused:?}");
            assert_eq!(rules(), "");
        };
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn what_the_kernel_cannot_do_is_told_apart_from_what_it_would_not() {
        let told = |errno| named(Failure::Refused { errno, explanation: None }, "drop new connections");
        for errno in [libc::EOPNOTSUPP, libc::EAFNOSUPPORT, libc::EINVAL, libc::ENOENT] {
            let error = told(errno);
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            assert!(error.to_string().contains("cannot drop new connections: this kernel has no nf_tables"), "{error}");
        }
        assert!(matches!(told(libc::EPERM), Error::NotPermitted { .. }));
        assert!(matches!(told(libc::EBUSY), Error::Kernel { .. }));
    }
}

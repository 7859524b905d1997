//! Binding, unbinding and listing, synchronously.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::address::{Address, Row, binding, family, listing};
use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::error::{Error, Failure};
use crate::link::{self, Link};

/// The limit for one request with all its repetitions. It is long because time spent in the kernel, waiting for the RTNL
/// lock, cannot be cut short anyway: an answer that comes late is better than none. A kernel that says nothing is given
/// up after 200 ms, see `channel`.
pub(crate) const REQUEST: Duration = Duration::from_secs(2);

/// How often an address that reappears is removed before that is an error.
const REMOVALS: u32 = 3;

/// Lifetime in seconds of an address that stands in for another one while that is away for some microseconds.
const STAND_IN: u32 = 2;

/// The kernel's addresses and links: one netlink socket, one request at a time.
///
/// Each method blocks for as long as the kernel works on it: usually some tens of microseconds, more while somebody else
/// holds the kernel's RTNL lock. Answers that fail to appear are waited for 200 ms. After an error the next call starts
/// afresh; there is no state to repair.
#[derive(Debug)]
pub struct Kernel {
    pub(crate) channel: Channel,
}

impl Kernel {
    /// Opens the socket, in the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`]. No rights are needed to open it and to list; binding and unbinding need `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, Error> {
        let channel = Channel::open(NETLINK_ROUTE).map_err(|e| e.during("open a route socket"))?;
        Ok(Self { channel })
    }

    /// Binds `address/prefix_len` to interface number `link` for `lifetime` seconds, or renews it for so long if it is
    /// bound there with that prefix length; one that was to stay for ever is not any more.
    ///
    /// The kernel removes the address when the lifetime is over: at the earliest then, normally within 0.13 s, at most
    /// about 1 s later, since it looks no more than once a second. Whether this process runs makes no difference.
    ///
    /// An IPv4 address is in service when this returns. IPv6 is put into service by the kernel on its own, some tens of
    /// microseconds later; it is not probed for duplicates. It is deprecated: never the source of a connection of the node's
    /// own, unless there is no other address or somebody asks for it by name.
    ///
    /// The same address with another prefix length, or on another interface, is a second address, which neither is
    /// renewed nor expires with this one; see the `keep` of [`unbind`](Self::unbind).
    ///
    /// # Errors
    ///
    /// [`Error::NotPermitted`], [`Error::NoSuchInterface`], [`Error::Ipv6Disabled`], [`Error::Kernel`] with EINVAL for an
    /// address or a prefix length that cannot be, and those that any request can meet. After [`Error::Timeout`] it may
    /// or may not be bound.
    pub fn bind(&mut self, link: u32, address: IpAddr, prefix_len: u8, lifetime: NonZeroU32) -> Result<(), Error> {
        let message = binding(link, address, prefix_len, lifetime.get());
        let mut outcome = self.add(&message, NLM_F_CREATE | NLM_F_REPLACE);
        if matches!(&outcome, Err(failure) if failure.is(libc::EEXIST)) {
            // Somebody added it between the kernel's look and its insertion. It is there, but not with our lifetime: an
            // address that never goes away would be worse than an error, so renew it now that it exists.
            outcome = self.add(&message, NLM_F_CREATE | NLM_F_REPLACE);
        }
        outcome.map_err(|e| e.during(format!("bind {address}/{prefix_len} to interface {link}")))
    }

    /// Removes `address` from every interface and at every prefix length, except where `keep` says (interface number
    /// and prefix length), and makes sure by reading the table anew that it is gone. Returns how many were removed; none
    /// is success.
    ///
    /// No other address is lost: an IPv4 address that is the primary of its subnet takes that subnet's other addresses
    /// on the interface with it where `promote_secondaries` is off. Those are put back as they were, in their order.
    /// While they are away, for some microseconds, a /32 of each stands in, so that neither the routes that name one as
    /// their source nor, if there is no other address, all routes of the interface vanish with them.
    ///
    /// # Errors
    ///
    /// [`Error::StillBound`] if it reappears each time, [`Error::TookOthers`] if it is gone but others are too,
    /// [`Error::NotPermitted`], and those that any request can meet. After any error but `TookOthers` take it that the
    /// address is still bound.
    pub fn unbind(&mut self, address: IpAddr, keep: Option<(u32, u8)>) -> Result<usize, Error> {
        self.unbind_from(None, address, keep)
    }

    /// The same on some interfaces only, if they are named, and wherever it has a lifetime: a link-local address is another one
    /// on each link, and where it stays for ever it may be somebody else's.
    ///
    /// # Errors
    ///
    /// As [`unbind`](Self::unbind).
    pub fn unbind_from(
        &mut self,
        only: Option<&[u32]>,
        address: IpAddr,
        keep: Option<(u32, u8)>,
    ) -> Result<usize, Error> {
        let what = || format!("remove {address}");
        let unwanted = |row: &&Row| {
            row.address.address == address
                && keep != Some((row.address.link, row.address.prefix_len))
                && only.is_none_or(|links| links.contains(&row.address.link) || row.address.lifetime.is_some())
        };
        let mut removed = 0;
        let mut others = Ok(());
        let mut rows = self.rows(family(address)).map_err(|e| e.during(what()))?;
        for _ in 0..REMOVALS {
            let doomed: Vec<&Row> = rows.iter().filter(unwanted).collect();
            if doomed.is_empty() {
                break;
            }
            let dependents: Vec<&Row> =
                doomed.iter().flat_map(|row| row.dependents(&rows)).filter(|row| !unwanted(row)).collect();
            let stand_ins = self.stand_in_for(&dependents);
            // An error ends this only after the others have been looked after.
            let deleted: Result<Vec<bool>, Failure> = doomed.iter().map(|row| self.delete(row)).collect();
            let after = self.rows(family(address));
            let put_back = self.put_back(&dependents, after.as_deref().unwrap_or_default(), address);
            others = others.and(put_back);
            for row in stand_ins {
                // It expires anyway.
                let _ = self.delete(&row);
            }
            removed += deleted.map_err(|e| e.during(what()))?.into_iter().filter(|was_there| *was_there).count();
            rows = after.map_err(|e| e.during(what()))?;
        }
        match rows.iter().find(unwanted) {
            None => others.map(|()| removed),
            Some(row) => Err(Error::StillBound { address, link: row.address.link, attempts: REMOVALS }),
        }
    }

    /// All IPv4 and IPv6 addresses of this network namespace, in the kernel's order: within a subnet of an interface
    /// the primary comes first.
    ///
    /// # Errors
    ///
    /// [`Error::Unsettled`] if the table changed during each of several readings, and those that any request can meet.
    pub fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let rows = self.rows(AddressFamily::Unspec).map_err(|e| e.during("list the addresses"))?;
        Ok(rows.into_iter().map(|row| row.address).collect())
    }

    /// All interfaces of this network namespace.
    ///
    /// # Errors
    ///
    /// As [`addresses`](Self::addresses).
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let message = RouteNetlinkMessage::GetLink(link::listing(None));
        self.channel
            .dump(message, Deadline::after(REQUEST), |kind, payload| match kind {
                libc::RTM_NEWLINK => Link::decode(payload),
                _ => Ok(None),
            })
            .map_err(|e| e.during("list the interfaces"))
    }

    /// The interface with this name, or with this as one of its alternative names (then [`Link::name`] differs); none
    /// if there is no such interface.
    ///
    /// # Errors
    ///
    /// Those that any request can meet.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        if name.is_empty() || name.len() > link::NAME_MAX {
            return Ok(None);
        }
        let mut found = None;
        let message = RouteNetlinkMessage::GetLink(link::listing(Some(name)));
        let outcome = self.channel.request(message, 0, Deadline::after(REQUEST), |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                found = Link::decode(payload)?;
            }
            Ok(())
        });
        match outcome {
            Ok(()) => Ok(found),
            Err(failure) if failure.is(libc::ENODEV) => Ok(None),
            Err(failure) => Err(failure.during(format!("look up interface {name}"))),
        }
    }

    fn rows(&mut self, family: AddressFamily) -> Result<Vec<Row>, Failure> {
        let message = RouteNetlinkMessage::GetAddress(listing(family));
        self.channel.dump(message, Deadline::after(REQUEST), |kind, payload| match kind {
            libc::RTM_NEWADDR => Row::decode(payload),
            _ => Ok(None),
        })
    }

    fn add(&mut self, message: &AddressMessage, flags: u16) -> Result<(), Failure> {
        let message = RouteNetlinkMessage::NewAddress(message.clone());
        self.channel.request(message, flags, Deadline::after(REQUEST), |_, _| Ok(()))
    }

    /// Whether this call removed it; it may have gone before, alone or with its interface.
    fn delete(&mut self, row: &Row) -> Result<bool, Failure> {
        let message = RouteNetlinkMessage::DelAddress(row.deletion());
        match self.channel.request(message, 0, Deadline::after(REQUEST), |_, _| Ok(())) {
            Ok(()) => Ok(true),
            Err(failure) if failure.is(libc::EADDRNOTAVAIL) || failure.is(libc::ENODEV) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Adds a short-lived /32 for each of these; returns those that were added.
    fn stand_in_for(&mut self, rows: &[&Row]) -> Vec<Row> {
        let mut added = Vec::new();
        for row in rows {
            let stand_in = row.stand_in(STAND_IN);
            // Where it fails there is one already, or the removal is about to fail for the same reason.
            if self.add(stand_in.addition(), NLM_F_CREATE | NLM_F_EXCL).is_ok() {
                added.push(stand_in);
            }
        }
        added
    }

    fn put_back(&mut self, dependents: &[&Row], after: &[Row], removed: IpAddr) -> Result<(), Error> {
        let mut lost = Vec::new();
        let mut first = None;
        for row in dependents.iter().filter(|row| !after.iter().any(|other| row.address.is(&other.address))) {
            let Some(message) = row.restoration() else { continue };
            match self.add(&message, NLM_F_CREATE) {
                Ok(()) => {}
                // Its owner was faster.
                Err(failure) if failure.is(libc::EEXIST) => {}
                Err(failure) => {
                    let Address { address, prefix_len, link, .. } = row.address;
                    lost.push((address, prefix_len));
                    first.get_or_insert_with(|| {
                        failure.during(format!("put back {address}/{prefix_len} on interface {link}"))
                    });
                }
            }
        }
        match first {
            None => Ok(()),
            Some(source) => Err(Error::TookOthers { address: removed, lost, source: Box::new(source) }),
        }
    }
}

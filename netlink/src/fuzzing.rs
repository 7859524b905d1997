//! The way of the kernel's bytes, without a kernel: for the fuzz targets, and no part of the interface.

use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_sock_diag::constants::SOCK_DIAG_BY_FAMILY;

use crate::address::{Address, Row};
use crate::channel::{Answer, Each, Ending, written};
use crate::error::{Error, Failure};
use crate::link::Link;
use crate::monitor::{self, Event};
use crate::sock_diag::Connection;

/// The number of the request that the answers are to.
pub const SEQUENCE: u32 = 1;

/// The changes in a datagram, as [`Monitor`](crate::Monitor) understands them.
///
/// # Errors
///
/// [`Error::Malformed`].
pub fn events(datagram: &[u8]) -> Result<Vec<Event>, Error> {
    let mut events = Vec::new();
    monitor::decode(datagram, &mut events).map_err(named)?;
    Ok(events)
}

/// An address, and what would be asked about it.
#[derive(Debug)]
pub struct Entry {
    /// The address.
    pub address: Address,
    /// The request to put it back; none if it has expired.
    pub restoration: Option<Vec<u8>>,
    /// The request to delete it.
    pub deletion: Vec<u8>,
}

/// The addresses in an answer.
///
/// # Errors
///
/// [`Error::Malformed`], and whatever the answer says was refused.
pub fn addresses(answer: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut rows = Vec::new();
    read(answer, &mut |kind, payload| {
        rows.extend(if kind == libc::RTM_NEWADDR { Row::decode(payload)? } else { None });
        Ok(())
    })?;
    let entry = |row: &Row| {
        // What `Kernel::unbind` would do as well.
        row.dependents(&rows).for_each(|row| drop(row.stand_in(1)));
        Entry {
            address: row.address.clone(),
            restoration: row.restoration().map(|message| request(RouteNetlinkMessage::NewAddress(message))),
            deletion: request(RouteNetlinkMessage::DelAddress(row.deletion())),
        }
    };
    Ok(rows.iter().map(entry).collect())
}

/// The interfaces in an answer.
///
/// # Errors
///
/// As [`addresses`].
pub fn links(answer: &[u8]) -> Result<Vec<Link>, Error> {
    let mut links = Vec::new();
    read(answer, &mut |kind, payload| {
        links.extend(if kind == libc::RTM_NEWLINK { Link::decode(payload)? } else { None });
        Ok(())
    })?;
    Ok(links)
}

/// The connections in an answer: the requests to reset them.
///
/// # Errors
///
/// As [`addresses`].
pub fn connections(answer: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let mut requests = Vec::new();
    read(answer, &mut |kind, payload| {
        if kind == SOCK_DIAG_BY_FAMILY {
            requests.push(request(Connection::decode(payload)?.destruction()));
        }
        Ok(())
    })?;
    Ok(requests)
}

fn read(answer: &[u8], each: Each<'_>) -> Result<(), Error> {
    match Answer::to(SEQUENCE).take(answer, each) {
        Ok(Some(Ending::Refused(failure))) | Err(failure) => Err(named(failure)),
        Ok(Some(Ending::Complete | Ending::Interrupted) | None) => Ok(()),
    }
}

fn request(message: impl NetlinkSerializable) -> Vec<u8> {
    written(&mut NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message)))
}

fn named(failure: Failure) -> Error {
    failure.during("understand the kernel")
}

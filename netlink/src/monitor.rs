//! What changes, as it changes.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use crate::address::{Address, Row};
use crate::channel::{DATAGRAM, Messages, Received, receive};
use crate::error::{Error, Failure};
use crate::link::Link;

/// Datagrams taken per call of [`Monitor::next`]; the kernel puts one event into each. Keeps a storm of events from
/// starving whatever else runs on the thread.
const DATAGRAMS_PER_CALL: usize = 64;

/// Bytes of events that may wait, bookkeeping included: about a thousand of them.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// More datagrams than a socket of any sensible buffer size can hold.
const DRAINED: usize = 65_536;

const GROUPS: u32 = (libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR) as u32;

/// A change in the kernel's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An address was bound, or one that is bound was renewed or changed otherwise.
    AddressAdded(Address),
    /// An address was removed, by somebody or at the end of its lifetime.
    AddressRemoved(Address),
    /// An interface appeared or changed.
    LinkChanged(Link),
    /// The interface with this index is gone. Its addresses are, too, and each was reported before.
    LinkRemoved(u32),
    /// Events were lost. Read the tables anew ([`Kernel::addresses`](crate::Kernel::addresses),
    /// [`Kernel::links`](crate::Kernel::links)); events that follow are newer than the loss.
    Lost,
}

/// A subscription to the changes of addresses and links of one network namespace.
///
/// Open it before reading the tables: then a change shows in the tables, as an event, or in both. An event may be older
/// than the table that was read after it; going through the events in order always ends at the present state.
pub struct Monitor {
    socket: TokioSocket,
    input: Vec<u8>,
}

impl Monitor {
    /// Subscribes, in the network namespace of the calling thread. Needs no rights.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub fn open() -> Result<Self, Error> {
        Self::with_buffer(RECEIVE_BUFFER)
    }

    /// As [`open`](Self::open), with room for `bytes` of waiting events (the kernel doubles it and counts some 0.8 KiB
    /// per event). Beyond the limit of `net.core.rmem_max` only with `CAP_NET_ADMIN`; without it that limit is used.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Panics
    ///
    /// As [`open`](Self::open).
    pub fn with_buffer(bytes: usize) -> Result<Self, Error> {
        let subscribe = || -> Result<Self, Failure> {
            let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
            let fd = socket.socket_ref().as_fd();
            if setsockopt(&fd, sockopt::RcvBufForce, &bytes).is_err() {
                setsockopt(&fd, sockopt::RcvBuf, &bytes).map_err(io::Error::from)?;
            }
            socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
            Ok(Self { socket, input: Vec::with_capacity(DATAGRAM) })
        };
        subscribe().map_err(|e| e.during("subscribe to address and link changes"))
    }

    /// Waits for changes and returns those that have arrived, in order: at least one, at most some hundred.
    ///
    /// Cancel-safe: it waits only while it has taken nothing, so a dropped call loses no event.
    ///
    /// # Errors
    ///
    /// [`Error::Socket`]. Overruns and unintelligible messages are no errors but [`Event::Lost`].
    pub async fn next(&mut self) -> Result<Vec<Event>, Error> {
        loop {
            let mut events = Vec::new();
            let mut received = self.first().await;
            for taken in 1.. {
                match received {
                    Ok(Received::Foreign) => {}
                    Ok(Received::Datagram) if decode(&self.input, &mut events).is_ok() => {}
                    Ok(Received::Datagram | Received::Truncated) => return self.lost(),
                    Err(error) => match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        Some(libc::EAGAIN) => break,
                        Some(libc::ENOBUFS) => return self.lost(),
                        _ => return Err(failed(error)),
                    },
                }
                if taken == DATAGRAMS_PER_CALL {
                    break;
                }
                received = receive(self.socket.socket_ref(), &mut self.input);
            }
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }

    /// Waits for a datagram; the others that are there already can be had without waiting.
    async fn first(&mut self) -> io::Result<Received> {
        let sender = poll_fn(|cx| {
            self.input.clear();
            self.socket.poll_recv_from(cx, &mut self.input)
        })
        .await?;
        // This way of receiving does not tell the size of the datagram: a full buffer may be a part of it.
        Ok(Received::of(self.input.len(), self.input.capacity() - 1, &sender))
    }

    /// Empties the socket, then reports the loss.
    ///
    /// After an overrun the kernel drops *every* event, without another error, until the queue has been empty once. Were
    /// the loss reported earlier, a change after the reader's dump could still be lost unnoticed. What is thrown away
    /// here the dump will show.
    fn lost(&mut self) -> Result<Vec<Event>, Error> {
        for _ in 0..DRAINED {
            match receive(self.socket.socket_ref(), &mut self.input) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR | libc::ENOBUFS) => {}
                    Some(libc::EAGAIN) => break,
                    _ => return Err(failed(error)),
                },
            }
        }
        Ok(vec![Event::Lost])
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

fn failed(source: io::Error) -> Error {
    Failure::Socket(source).during("wait for address and link changes")
}

pub(crate) fn decode(datagram: &[u8], events: &mut Vec<Event>) -> Result<(), Failure> {
    for message in Messages::new(datagram) {
        let message = message?;
        let payload = message.payload();
        let address =
            |event: fn(Address) -> Event| Ok::<_, Failure>(Row::decode(payload)?.map(|row| event(row.address)));
        events.extend(match message.message_type() {
            libc::RTM_NEWADDR => address(Event::AddressAdded)?,
            libc::RTM_DELADDR => address(Event::AddressRemoved)?,
            libc::RTM_NEWLINK => Link::decode(payload)?.map(Event::LinkChanged),
            libc::RTM_DELLINK => Link::decode(payload)?.map(|link| Event::LinkRemoved(link.index)),
            _ => None,
        });
    }
    Ok(())
}

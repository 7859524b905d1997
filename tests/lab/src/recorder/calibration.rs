//! An address bound by one system call, to measure how late the recorder is.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::AddressFamily as Family;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, send, socket};

use crate::clock::Time;

/// Binds an address in the namespace of the calling thread and removes it 5 ms later. Returns the moments before and after
/// the call that binds; it is over when the kernel has bound it.
///
/// # Errors
/// When the kernel has no such interface, or no socket.
pub fn bind_for_calibration(interface: &str, address: [u8; 4]) -> Result<(Time, Time)> {
    let index = if_nametoindex(interface).context("no such interface")?;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let mut body = AddressMessage::default();
    body.header.family = Family::Inet;
    body.header.prefix_len = 32;
    body.header.index = index;
    let address = IpAddr::from(Ipv4Addr::from(address));
    body.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    let ask = |inner: RouteNetlinkMessage| -> Result<Vec<u8>> {
        let mut message = NetlinkMessage::from(inner);
        message.header.flags = NLM_F_REQUEST | NLM_F_CREATE;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        Ok(bytes)
    };
    let (bind, unbind) =
        (ask(RouteNetlinkMessage::NewAddress(body.clone()))?, ask(RouteNetlinkMessage::DelAddress(body))?);
    let begun = Time::now();
    send(socket.as_raw_fd(), &bind, MsgFlags::empty())?;
    let bound = Time::now();
    thread::sleep(Duration::from_millis(5));
    send(socket.as_raw_fd(), &unbind, MsgFlags::empty())?;
    Ok((begun, bound))
}

//! What the kernel reports of its own accord, in whatever namespace.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt,
};

use crate::netns::Namespace;

/// `RTMGRP_LINK` of linux/rtnetlink.h.
pub(crate) const LINKS: u32 = 0x1;

/// `RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
pub(crate) const ADDRESSES: u32 = 0x10 | 0x100;

/// A socket that hears of everything in these groups from now on.
pub(crate) fn subscribe(namespace: &Namespace, groups: u32) -> Result<OwnedFd> {
    let open = || -> Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(socket)
    };
    namespace.run(open)?.context("cannot subscribe to the kernel's reports")
}

/// Hands over every message of a datagram.
pub(crate) fn for_each_message(mut bytes: &[u8], mut take: impl FnMut(&RouteNetlinkMessage)) {
    while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        if let NetlinkPayload::InnerMessage(inner) = &message.payload {
            take(inner);
        }
        // Messages are aligned to four bytes.
        let length = (message.header.length as usize).next_multiple_of(4);
        if length == 0 || length >= bytes.len() {
            return;
        }
        bytes = &bytes[length..];
    }
}

/// Which address a message is about.
pub(crate) fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    // IPv6 has no local attribute unless there is a peer.
    let plain = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    local.or(plain)
}

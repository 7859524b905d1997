//! The question for the connections of an address, which the kernel answers with those alone: a host may have many thousands
//! of others.
//!
//! The filter is a program in the bytecode of `linux/inet_diag.h`: at each condition it goes on by one distance or another,
//! and who arrives exactly at the end is reported. Only a condition that every kernel with sock_diag knows is used.

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NetlinkSerializable};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::InetRequest;

/// `INET_DIAG_REQ_BYTECODE`: the attribute behind the request.
const BYTECODE: u16 = 1;

/// `INET_DIAG_BC_JMP` and `INET_DIAG_BC_S_COND`.
const JUMP: u8 = 1;
const SOURCE_IS: u8 = 7;

/// The sizes of `struct inet_diag_bc_op`, and of `struct inet_diag_hostcond` without its address.
const OPERATION: u8 = 4;
const CONDITION: u8 = 8;

/// With more ports than this the kernel is asked for those of the address alone: each costs it a comparison per socket, and
/// its distances have no more than 16 bits.
const PORTS: usize = 64;

/// A request that is followed by a filter; by none if that is empty.
pub(crate) struct Filtered {
    pub(crate) request: InetRequest,
    pub(crate) filter: Vec<u8>,
}

impl NetlinkSerializable for Filtered {
    fn message_type(&self) -> u16 {
        SOCK_DIAG_BY_FAMILY
    }

    fn buffer_len(&self) -> usize {
        self.request.buffer_len() + attribute(&self.filter).len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (request, rest) = buffer.split_at_mut(self.request.buffer_len());
        self.request.emit(request);
        rest.copy_from_slice(&attribute(&self.filter));
    }
}

/// Its length is a multiple of 4 as it is.
fn attribute(filter: &[u8]) -> Vec<u8> {
    match u16::try_from(filter.len() + 4) {
        Ok(length) if !filter.is_empty() => [&length.to_ne_bytes(), &BYTECODE.to_ne_bytes(), filter].concat(),
        _ => Vec::new(),
    }
}

/// Lets pass the sockets with this local address and one of these local ports; with any, if none are named.
pub(crate) fn local(address: IpAddr, ports: &[u16]) -> Vec<u8> {
    // As the kernel has it: -1 is any port.
    let ports: Vec<i32> = match ports {
        ports if ports.is_empty() || ports.len() > PORTS => vec![-1],
        ports => ports.iter().copied().map(i32::from).collect(),
    };
    let mut program = Vec::new();
    // From the last to the first, since each jumps over those behind it.
    for port in ports.into_iter().rev() {
        if let Ok(behind) = u16::try_from(program.len() + usize::from(OPERATION))
            && !program.is_empty()
        {
            // It was this port: to the end. This operation is never true, and goes on by its second distance.
            program.splice(0..0, operation(JUMP, OPERATION, behind));
        }
        program.splice(0..0, condition(address, port));
    }
    program
}

/// Goes on behind itself where it holds, and behind the jump that follows where it does not; which is beyond the end, and so
/// nowhere, where no jump follows.
fn condition(address: IpAddr, port: i32) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let (bytes, bits) = if address.is_ipv4() { (4, 32) } else { (16, 128) };
    let length = OPERATION + CONDITION + bytes;
    let mut condition = operation(SOURCE_IS, length, u16::from(length + OPERATION)).to_vec();
    condition.extend([family, bits, 0, 0]);
    condition.extend(port.to_ne_bytes());
    condition.extend(octets);
    condition
}

fn operation(code: u8, yes: u8, no: u16) -> [u8; OPERATION as usize] {
    let no = no.to_ne_bytes();
    [code, yes, no[0], no[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program (`inet_diag_bc_run`), for `SOURCE_IS` and `JUMP`.
    fn passes(program: &[u8], address: IpAddr, port: u16) -> bool {
        let mut at = 0;
        while at < program.len() {
            let [code, yes, low, high] = program[at..at + 4] else { unreachable!() };
            let holds = code == SOURCE_IS && {
                let wanted = i32::from_ne_bytes(program[at + 8..at + 12].try_into().unwrap());
                let octets = match address {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                (wanted == -1 || wanted == i32::from(port)) && program[at + 12..].starts_with(&octets)
            };
            at += usize::from(if holds { u16::from(yes) } else { u16::from_ne_bytes([low, high]) });
        }
        at == program.len()
    }

    #[test]
    fn the_address_and_one_of_the_ports() {
        for (mine, other) in [("10.0.20.155", "10.0.20.156"), ("fd00::155", "fd00::156")] {
            let (mine, other): (IpAddr, IpAddr) = (mine.parse().unwrap(), other.parse().unwrap());
            for ports in [&[][..], &[5432], &[5432, 6432, 1]] {
                let program = local(mine, ports);
                for port in [5432, 6432, 1, 2] {
                    assert_eq!(passes(&program, mine, port), ports.is_empty() || ports.contains(&port), "{ports:?}");
                    assert!(!passes(&program, other, port), "{ports:?}");
                }
            }
        }
    }

    #[test]
    fn too_many_ports_are_left_to_the_reader() {
        let address = IpAddr::from([10, 0, 20, 155]);
        let ports: Vec<u16> = (0..=64).collect();
        assert_eq!(local(address, &ports), local(address, &[]));
        assert!(passes(&local(address, &ports[1..]), address, 64));
    }

    #[test]
    fn no_filter_is_no_attribute() {
        assert_eq!(attribute(&[]), [0; 0]);
        assert_eq!(attribute(&[1, 4, 4, 0]).len(), 8);
    }
}

//! Programs for the kernel's socket filter (classic BPF), so that what is of no use neither waits nor wakes the protocol thread.
//!
//! A conditional jump reaches 255 instructions at most, so none goes far here: behind each comparison stands the verdict. And
//! a program may take no more than `net.core.optmem_max`, 20 KiB before Linux 6.8, in the kernel's own instructions, of
//! which it makes several for loading from a frame. So a frame's address is loaded once, and of IPv6 only the last 32 bits
//! are compared. That lets hardly anything else pass, and whoever reads compares the rest.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// Bytes of an IPv6 header.
const IPV6: u32 = 40;

/// Lets nothing pass.
pub(super) fn nothing() -> Vec<SockFilter> {
    vec![verdict(false)]
}

/// Lets ARP frames pass in which one of `addresses` is the sender, for a socket that gets nothing but ARP.
pub(super) fn arp_senders(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    let mut program = vec![load(libc::BPF_W, ETHERNET + 14)];
    one_of(addresses.iter().map(|address| address.to_bits()), &mut program);
    program
}

/// Lets neighbour advertisements pass whose target ends like one of `addresses`, for a socket that gets nothing but IPv6.
pub(super) fn ndisc_targets(addresses: &[Ipv6Addr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    // The header is followed by ICMPv6, and that begins with the type.
    for (at, value) in [(ETHERNET + 6, 58), (ETHERNET + IPV6, 136)] {
        program.extend([load(libc::BPF_B, at), equal(value, 1, 0), verdict(false)]);
    }
    program.push(load(libc::BPF_W, ETHERNET + IPV6 + 8 + 12));
    one_of(addresses.iter().map(|address| address.to_bits() as u32), &mut program);
    program
}

/// The verdict on what was loaded: whether it is one of these.
fn one_of(values: impl Iterator<Item = u32>, program: &mut Vec<SockFilter>) {
    let mut values: Vec<u32> = values.collect();
    values.sort_unstable();
    values.dedup();
    program.extend(values.into_iter().flat_map(|value| [equal(value, 0, 1), verdict(true)]));
    program.push(verdict(false));
}

fn load(size: u32, at: u32) -> SockFilter {
    SockFilter::new((libc::BPF_LD | size | libc::BPF_ABS) as u16, 0, 0, at)
}

/// Skips so many instructions if it is equal, and so many if not.
fn equal(value: u32, then: u8, otherwise: u8) -> SockFilter {
    SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, then, otherwise, value)
}

fn verdict(pass: bool) -> SockFilter {
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, if pass { u32::MAX } else { 0 })
}

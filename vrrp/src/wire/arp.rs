//! ARP over Ethernet (RFC 826): announcing an address, and reading who claims one.

use core::net::Ipv4Addr;

/// Bytes of an ARP frame over Ethernet for IPv4, without padding.
pub const LENGTH: usize = 42;

/// EtherType 0x0806, hardware type Ethernet, protocol type IPv4, address lengths 6 and 4.
const FIXED: [u8; 8] = [0x08, 0x06, 0x00, 0x01, 0x08, 0x00, 6, 4];

const BROADCAST: [u8; 6] = [0xff; 6];

/// The two forms of an announcement; some devices heed only one of them (RFC 5227 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Operation 1.
    Request,
    /// Operation 2.
    Reply,
}

/// Somebody says that an address is theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Sender protocol address.
    pub address: Ipv4Addr,
    /// Sender hardware address.
    pub mac: [u8; 6],
}

/// A gratuitous ARP frame: sender and target protocol address are the announced one (RFC 9568 errata 7947 and 7949).
pub fn announcement(mac: [u8; 6], address: Ipv4Addr, form: Form) -> [u8; LENGTH] {
    let operation = match form {
        Form::Request => 1,
        Form::Reply => 2,
    };
    let mut frame = [0; LENGTH];
    frame[0..6].copy_from_slice(&BROADCAST);
    frame[6..12].copy_from_slice(&mac);
    frame[12..20].copy_from_slice(&FIXED);
    frame[20..22].copy_from_slice(&[0, operation]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&address.octets());
    frame[32..38].copy_from_slice(&mac);
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// Reads a claim from an Ethernet frame. `None` for anything else, a probe (sender address 0.0.0.0) included.
pub fn parse_claim(frame: &[u8]) -> Option<Claim> {
    let frame = frame.first_chunk::<LENGTH>()?;
    let operation = u16::from_be_bytes([frame[20], frame[21]]);
    if frame[12..20] != FIXED || !matches!(operation, 1 | 2) {
        return None;
    }
    let address = Ipv4Addr::new(frame[28], frame[29], frame[30], frame[31]);
    let mac = [frame[22], frame[23], frame[24], frame[25], frame[26], frame[27]];
    (!address.is_unspecified()).then_some(Claim { address, mac })
}

//! A list of clients on the wire: datagrams of at most 1,400 bytes, so that none is fragmented.
//!
//! ```text
//!  0  4   "PGVC"
//!  4  1   format, 1
//!  5  1   family, 4 or 6
//!  6  8   V's mod_revision
//! 14  8   number of the list, growing while V is the same
//! 22  2   position of this part
//! 24  2   number of parts
//! 26  2   number of clients in this part
//! 28  4|16  the VIP
//!     8|20  each client: the VIP's port, the client's address, the client's port
//! end-32    HMAC-SHA256 of all before it, with V's secret
//! ```
//!
//! Numbers are in network byte order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::hmac;

use super::{Client, MOST};
use crate::evidence::etcd::keyring::Secret;

/// Bytes of a datagram at most.
pub(super) const LONGEST: usize = 1400;

const MAGIC: &[u8; 4] = b"PGVC";
const FORMAT: u8 = 1;
const TAG: usize = 32;

/// Clients that fit into one datagram.
const V4: usize = (LONGEST - 28 - 4 - TAG) / 8;
const V6: usize = (LONGEST - 28 - 16 - TAG) / 20;

/// The most parts that a list can have: full ones of IPv6, and one more for each address.
const MOST_PARTS: usize = MOST / V6 + 512;

/// Whose list this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// V's.
    pub revision: i64,
    /// Grows with each list of the same V.
    pub number: u64,
}

/// Some clients of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which list.
    pub header: Header,
    /// Position, below `parts`.
    pub part: u16,
    /// In how many parts the list came.
    pub parts: u16,
    /// The VIP's end is the same address in all of them.
    pub clients: Vec<Client>,
}

/// Why a datagram is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no list of clients, or of another format.
    #[error("it is no list of clients")]
    Malformed,
    /// It names a V that this node does not know, or its own.
    #[error("it is of a lock that no other node holds")]
    OtherLock,
    /// It does not come from an address of the member that holds V.
    #[error("it does not come from the lock's holder")]
    Stranger,
    /// It is not signed with V's secret.
    #[error("it is not signed by the lock's holder")]
    Forged,
    /// It names an address that is not the VIP's.
    #[error("it is of an address that is not the VIP's")]
    OtherAddress,
    /// A newer list was heard before it.
    #[error("a newer one was heard before it")]
    Old,
}

impl Refusal {
    /// As a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherLock => "other_lock",
            Self::Stranger => "stranger",
            Self::Forged => "forged",
            Self::OtherAddress => "other_address",
            Self::Old => "old",
        }
    }
}

/// The datagrams of a list. One at least: that there are no clients is worth knowing, too. Clients whose ends are of two
/// families, and those beyond the [most](MOST), are left out.
pub fn write(header: Header, vip: IpAddr, secret: &Secret, clients: &[Client]) -> Vec<Vec<u8>> {
    let mut addresses: Vec<IpAddr> = clients.iter().map(|client| client.local.ip()).chain([vip]).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let mut chunks: Vec<(IpAddr, Vec<&Client>)> = Vec::new();
    for address in addresses {
        let (most, is_v4) = if address.is_ipv4() { (V4, true) } else { (V6, false) };
        let of_it = |client: &&Client| client.local.ip() == address && client.remote.is_ipv4() == is_v4;
        let of_it: Vec<_> = clients.iter().take(MOST).filter(of_it).collect();
        chunks.extend(of_it.chunks(most).map(|chunk| (address, chunk.to_vec())));
    }
    if chunks.is_empty() {
        chunks.push((vip, Vec::new()));
    }
    chunks.truncate(MOST_PARTS);
    let parts = chunks.len() as u16;
    let bodies = (0..).zip(chunks).map(|(part, (address, chunk))| body(header, (part, parts), address, &chunk));
    bodies.map(|body| sign(body, secret)).collect()
}

fn body(header: Header, (part, parts): (u16, u16), address: IpAddr, clients: &[&Client]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LONGEST);
    bytes.extend(MAGIC);
    bytes.extend([FORMAT, if address.is_ipv4() { 4 } else { 6 }]);
    bytes.extend(header.revision.to_be_bytes());
    bytes.extend(header.number.to_be_bytes());
    bytes.extend(part.to_be_bytes());
    bytes.extend(parts.to_be_bytes());
    bytes.extend((clients.len() as u16).to_be_bytes());
    write_address(&mut bytes, address);
    for client in clients {
        bytes.extend(client.local.port().to_be_bytes());
        write_address(&mut bytes, client.remote.ip());
        bytes.extend(client.remote.port().to_be_bytes());
    }
    bytes
}

fn write_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend(address.octets()),
        IpAddr::V6(address) => bytes.extend(address.octets()),
    }
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

/// A datagram of these bytes.
pub fn sign(mut bytes: Vec<u8>, secret: &Secret) -> Vec<u8> {
    let tag = hmac::sign(&key(secret), &bytes);
    bytes.extend(tag.as_ref());
    bytes
}

/// Reads a datagram. `secret` says by which secret lists of this V are signed, or why none of them is wanted: it is asked
/// before anything else is looked at, so that what strangers send costs little.
///
/// # Errors
/// See [`Refusal`].
pub fn read(datagram: &[u8], secret: impl FnOnce(Header) -> Result<Secret, Refusal>) -> Result<Part, Refusal> {
    let (bytes, tag) = datagram.split_last_chunk::<TAG>().ok_or(Refusal::Malformed)?;
    let mut reader = Reader(bytes);
    if reader.take::<4>()? != *MAGIC || reader.take::<1>()? != [FORMAT] {
        return Err(Refusal::Malformed);
    }
    let [family] = reader.take()?;
    let header = Header { revision: i64::from_be_bytes(reader.take()?), number: u64::from_be_bytes(reader.take()?) };
    let secret = secret(header)?;
    hmac::verify(&key(&secret), bytes, tag).map_err(|_| Refusal::Forged)?;
    let (part, parts, count) = (reader.number()?, reader.number()?, reader.number()?);
    if part >= parts || usize::from(parts) > MOST_PARTS {
        return Err(Refusal::Malformed);
    }
    let vip = reader.address(family)?;
    let mut clients = Vec::with_capacity(usize::from(count).min(V4));
    for _ in 0..count {
        let local = SocketAddr::new(vip, reader.number()?);
        let remote = SocketAddr::new(reader.address(family)?, reader.number()?);
        clients.push(Client { local, remote });
    }
    if !reader.0.is_empty() {
        return Err(Refusal::Malformed);
    }
    Ok(Part { header, part, parts, clients })
}

/// What is left of a datagram.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u16, Refusal> {
        self.take().map(u16::from_be_bytes)
    }

    fn address(&mut self, family: u8) -> Result<IpAddr, Refusal> {
        match family {
            4 => Ok(Ipv4Addr::from(self.take::<4>()?).into()),
            6 => Ok(Ipv6Addr::from(self.take::<16>()?).into()),
            _ => Err(Refusal::Malformed),
        }
    }
}

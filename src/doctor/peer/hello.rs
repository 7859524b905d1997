//! What two doctors say to each other, several times a second and by every way there is: which ways each of them tries, and
//! what it has received of the other. So whoever hears anything at all knows what became of its own packets, too.

use std::net::{IpAddr, Ipv6Addr};

use super::ways::Ways;

/// What it begins with: no other program's datagram on the same port is taken for one. The last byte is the format.
const BEGIN: [u8; 8] = *b"pgvdoc\0\x01";

/// Bytes of one.
pub(super) const LENGTH: usize = BEGIN.len() + 8 + 8 + 16 + 5;

/// One word of a doctor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// A number that the speaker has drawn for this run.
    pub(super) mine: u64,
    /// The number of whom it listens to; 0 as long as it has heard nothing. What it says of what it received is about that one.
    pub(super) yours: u64,
    /// The address by which the speaker wants to be named. Over IPv6 its packets have another one.
    pub(super) here: IpAddr,
    /// The ways that its configuration has, and by which it sends.
    pub(super) tries: Ways,
    /// Of these, where its own kernel refuses to send.
    pub(super) refused: Ways,
    /// Where the other's packets have come as far as its interface.
    pub(super) seen: Ways,
    /// Where a daemon would have been given them.
    pub(super) heard: Ways,
    /// Where a router has passed them on, so that a daemon would discard them.
    pub(super) routed: Ways,
}

impl Hello {
    /// The first word, when nothing has been heard yet.
    pub(super) fn first(mine: u64, here: IpAddr, tries: Ways) -> Self {
        let none = Ways::default();
        Self { mine, yours: 0, here, tries, refused: none, seen: none, heard: none, routed: none }
    }

    pub(super) fn emit(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let (begin, rest) = bytes.split_at_mut(BEGIN.len());
        begin.copy_from_slice(&BEGIN);
        rest[..8].copy_from_slice(&self.mine.to_be_bytes());
        rest[8..16].copy_from_slice(&self.yours.to_be_bytes());
        let here = match self.here {
            IpAddr::V4(here) => here.to_ipv6_mapped(),
            IpAddr::V6(here) => here,
        };
        rest[16..32].copy_from_slice(&here.octets());
        let ways = [self.tries, self.refused, self.seen, self.heard, self.routed];
        rest[32..].copy_from_slice(&ways.map(Ways::bits));
        bytes
    }

    /// Nobody vouches for what comes in: anybody on the segment can say anything. Exactly these bytes, or nothing.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let rest = bytes.strip_prefix(&BEGIN)?;
        let (mine, rest) = rest.split_first_chunk::<8>()?;
        let (yours, rest) = rest.split_first_chunk::<8>()?;
        let (here, rest) = rest.split_first_chunk::<16>()?;
        let here = Ipv6Addr::from(*here).to_canonical();
        let &[tries, refused, seen, heard, routed] = rest else { return None };
        let [tries, refused, seen, heard, routed] = [tries, refused, seen, heard, routed].map(Ways::from_bits);
        let (mine, yours) = (u64::from_be_bytes(*mine), u64::from_be_bytes(*yours));
        // 0 is nobody's number.
        (mine != 0).then_some(Self { mine, yours, here, tries, refused, seen, heard, routed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ways::Way;
    use super::*;

    fn first(mine: u64) -> Hello {
        Hello::first(mine, [10, 0, 20, 11].into(), Ways::default())
    }

    #[test]
    fn there_and_back() {
        let ways = |ways: &[Way]| ways.iter().copied().collect::<Ways>();
        let hello = Hello {
            mine: u64::MAX - 1,
            yours: 7,
            here: [10, 0, 20, 11].into(),
            tries: ways(&Way::ALL),
            refused: ways(&[Way::GroupV4]),
            seen: ways(&[Way::PeerV4]),
            heard: ways(&[Way::GroupV6]),
            routed: ways(&[Way::PeerV6]),
        };
        assert_eq!(Hello::read(&hello.emit()), Some(hello));
        let hello = Hello { here: "fe80::11".parse().unwrap(), ..hello };
        assert_eq!(Hello::read(&hello.emit()), Some(hello));
    }

    #[test]
    fn what_is_no_hello_is_nothing() {
        let whole = first(1).emit();
        for length in 0..whole.len() {
            assert_eq!(Hello::read(&whole[..length]), None);
        }
        assert_eq!(Hello::read(&[&whole[..], &[0]].concat()), None, "a byte more");
        let mut other = whole;
        other[7] = 2;
        assert_eq!(Hello::read(&other), None, "another format");
        assert_eq!(Hello::read(&first(0).emit()), None, "nobody's number");
        let mut odd = whole;
        odd[LENGTH - 1] = 0xff;
        assert_eq!(Hello::read(&odd).map(|hello| hello.routed), Some(Way::ALL.into_iter().collect()));
    }
}

//! What two doctors say to each other, several times a second and by every way there is: which ways each of them tries, and
//! what it has received of the other. So whoever hears anything at all knows what became of its own packets, too.

use super::ways::Ways;

/// What it begins with: no other program's datagram on the same port is taken for one. The last byte is the format.
const BEGIN: [u8; 8] = *b"pgvdoc\0\x01";

/// Bytes of one.
pub(super) const LENGTH: usize = BEGIN.len() + 8 + 8 + 5;

/// One word of a doctor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// A number that the speaker has drawn for this run.
    pub(super) mine: u64,
    /// The number of whom it listens to; 0 as long as it has heard nothing. What it says of what it received is about that one.
    pub(super) yours: u64,
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
    pub(super) fn emit(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let (begin, rest) = bytes.split_at_mut(BEGIN.len());
        begin.copy_from_slice(&BEGIN);
        rest[..8].copy_from_slice(&self.mine.to_be_bytes());
        rest[8..16].copy_from_slice(&self.yours.to_be_bytes());
        let ways = [self.tries, self.refused, self.seen, self.heard, self.routed];
        rest[16..].copy_from_slice(&ways.map(Ways::bits));
        bytes
    }

    /// Nobody vouches for what comes in: anybody on the segment can say anything. Exactly these bytes, or nothing.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let rest = bytes.strip_prefix(&BEGIN)?;
        let (mine, rest) = rest.split_first_chunk::<8>()?;
        let (yours, rest) = rest.split_first_chunk::<8>()?;
        let &[tries, refused, seen, heard, routed] = rest else { return None };
        let [tries, refused, seen, heard, routed] = [tries, refused, seen, heard, routed].map(Ways::from_bits);
        let (mine, yours) = (u64::from_be_bytes(*mine), u64::from_be_bytes(*yours));
        // 0 is nobody's number.
        (mine != 0).then_some(Self { mine, yours, tries, refused, seen, heard, routed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::ways::Way;
    use super::*;

    #[test]
    fn there_and_back() {
        let ways = |ways: &[Way]| ways.iter().copied().collect::<Ways>();
        let hello = Hello {
            mine: u64::MAX - 1,
            yours: 7,
            tries: ways(&Way::ALL),
            refused: ways(&[Way::GroupV4]),
            seen: ways(&[Way::PeerV4]),
            heard: ways(&[Way::GroupV6]),
            routed: ways(&[Way::PeerV6]),
        };
        assert_eq!(Hello::read(&hello.emit()), Some(hello));
    }

    #[test]
    fn what_is_no_hello_is_nothing() {
        let whole = Hello { mine: 1, ..Hello::default() }.emit();
        for length in 0..whole.len() {
            assert_eq!(Hello::read(&whole[..length]), None);
        }
        assert_eq!(Hello::read(&[&whole[..], &[0]].concat()), None, "a byte more");
        let mut other = whole;
        other[7] = 2;
        assert_eq!(Hello::read(&other), None, "another format");
        assert_eq!(Hello::read(&Hello::default().emit()), None, "nobody's number");
        let mut odd = whole;
        odd[LENGTH - 1] = 0xff;
        assert_eq!(Hello::read(&odd).map(|hello| hello.routed), Some(Way::ALL.into_iter().collect()));
    }
}

//! Which form of checksum to send over IPv4. Keepalived accepts one form only, by default the one with a pseudo-header, and
//! discards the other without a word; so does FRR.

use crate::wire::advert::ChecksumForm;

/// Which checksum form to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ChecksumPolicy {
    /// Each form in which a router of this VRID was heard; while none was, both. A Backup is silent and may be one that
    /// understands either form alone: to the other one it would be as if nobody were there.
    #[default]
    Auto,
    /// Always RFC 9568's.
    Rfc9568,
    /// Always with the pseudo-header.
    Rfc5798,
}

/// The forms in which one advertisement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Checksums {
    /// RFC 9568's alone.
    Rfc9568,
    /// With the pseudo-header alone.
    Rfc5798,
    /// Once in each.
    Both,
}

impl Checksums {
    /// The forms, RFC 9568's first: one packet each. Over IPv6 there is the RFC's only, and whatever this says, one packet.
    pub fn forms(self) -> impl Iterator<Item = ChecksumForm> {
        let forms: &'static [ChecksumForm] = match self {
            Self::Rfc9568 => &[ChecksumForm::Rfc9568],
            Self::Rfc5798 => &[ChecksumForm::Rfc5798],
            Self::Both => &[ChecksumForm::Rfc9568, ChecksumForm::Rfc5798],
        };
        forms.iter().copied()
    }

    /// This one as well.
    pub(super) fn and(self, form: ChecksumForm) -> Self {
        if self.forms().any(|known| known == form) { self } else { Self::Both }
    }
}

impl From<ChecksumForm> for Checksums {
    fn from(form: ChecksumForm) -> Self {
        match form {
            ChecksumForm::Rfc9568 => Self::Rfc9568,
            ChecksumForm::Rfc5798 => Self::Rfc5798,
        }
    }
}

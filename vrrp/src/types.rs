//! The protocol's small numbers, each valid by construction.

use core::fmt;
use core::num::NonZeroU8;
use core::time::Duration;

/// A Virtual Router Identifier, 1 to 255 (RFC 9568 section 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// `None` for 0, which no virtual router may have.
    pub const fn new(id: u8) -> Option<Self> {
        match NonZeroU8::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The identifier as it stands in the packet.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A virtual router's own priority, 1 to 255 (RFC 9568 section 5.2.4). 0 exists on the wire only ("I stop being Active").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The priority of the router that owns the addresses.
    pub const OWNER: Self = Self(NonZeroU8::MAX);

    /// `None` for 0.
    pub const fn new(priority: u8) -> Option<Self> {
        match NonZeroU8::new(priority) {
            Some(priority) => Some(Self(priority)),
            None => None,
        }
    }

    /// The priority as it stands in the packet.
    pub const fn get(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the address owner's priority, 255.
    pub const fn is_owner(self) -> bool {
        self.0.get() == 255
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An Advertisement_Interval: 1 to 4095 centiseconds, that is 10 ms to 40.95 s (RFC 9568 section 5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "u16"))]
pub struct Interval(u16);

impl Interval {
    /// The RFC's default, one second.
    pub const DEFAULT: Self = Self(100);

    /// `None` outside 1 to 4095.
    pub const fn from_centis(centis: u16) -> Option<Self> {
        if centis >= 1 && centis <= 4095 { Some(Self(centis)) } else { None }
    }

    /// The interval as it stands in the packet, in centiseconds.
    pub const fn centis(self) -> u16 {
        self.0
    }

    /// The interval as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

#[cfg(feature = "serde")]
impl TryFrom<u16> for Interval {
    type Error = &'static str;

    fn try_from(centis: u16) -> Result<Self, Self::Error> {
        Self::from_centis(centis).ok_or("an advertisement interval has 1 to 4095 centiseconds")
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}

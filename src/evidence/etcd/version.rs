//! Which etcd can be relied on, and how far.

/// The version of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// The first of which pgvrrp knows that it works.
    pub(crate) const OLDEST: Self = Self(3, 4, 0);

    /// From here on no former leader revokes leases early.
    pub(crate) const LEASES_LAST: Self = Self(3, 5, 13);

    /// From which on linearizable reads are never stale either.
    const SOUND: [Self; 2] = [Self(3, 5, 28), Self(3, 6, 9)];

    /// Reads `3.5.28` and `3.7.0-rc.1`; what is no number counts as 0.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        Self(next(), next(), next())
    }

    /// Whether linearizable reads are never stale and leases are never revoked early.
    pub(crate) fn is_sound(self) -> bool {
        let [_, newest] = Self::SOUND;
        Self::SOUND.iter().any(|sound| (self.0, self.1) == (sound.0, sound.1) && self >= *sound) || self > newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (version, sound) in [
            ("3.4.23", false),
            ("3.5.27", false),
            ("3.5.28", true),
            ("3.6.0", false),
            ("3.6.8", false),
            ("3.6.9", true),
            ("3.7.0-rc.1", true),
            ("4.0.0", true),
            ("nonsense", false),
        ] {
            assert_eq!(Version::parse(version).is_sound(), sound, "{version}");
        }
        assert!(Version::parse("3.3.27") < Version::OLDEST && Version::parse("3.4.0-rc.4") >= Version::OLDEST);
    }
}

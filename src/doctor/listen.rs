//! Does PostgreSQL accept connections on a VIP? What `listen_addresses` means for an address that comes and goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What `listen_addresses` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listen {
    /// Every IPv4 address, whenever it comes.
    all_ipv4: bool,
    /// Every IPv6 address.
    all_ipv6: bool,
    /// These, if they were there when PostgreSQL started.
    addresses: Vec<IpAddr>,
    /// Names, not yet resolved.
    pub(super) names: Vec<String>,
}

/// Whether a VIP is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    /// Whenever it comes.
    Yes,
    /// It is listed by itself: only if PostgreSQL could bind it when it started.
    IfBoundAtStart,
    /// It is not listed.
    No,
}

impl Listen {
    /// Reads the setting: a list with commas, whose entries may have double quotes. `*` is all addresses, `0.0.0.0` all
    /// of IPv4; `::` is all IPv6 addresses only, since PostgreSQL sets IPV6_V6ONLY.
    pub(super) fn parse(setting: &str) -> Self {
        let mut listen = Self::default();
        for entry in setting.split(',').map(|entry| entry.trim().trim_matches('"')).filter(|entry| !entry.is_empty()) {
            match entry.parse() {
                _ if entry == "*" => (listen.all_ipv4, listen.all_ipv6) = (true, true),
                Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => listen.all_ipv4 = true,
                Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => listen.all_ipv6 = true,
                Ok(address) => listen.addresses.push(address),
                Err(_) => listen.names.push(entry.to_owned()),
            }
        }
        listen
    }

    /// Adds what a name resolved to.
    pub(super) fn add(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.addresses.extend(addresses);
    }

    pub(super) fn serves(&self, vip: IpAddr) -> Served {
        if if vip.is_ipv4() { self.all_ipv4 } else { self.all_ipv6 } {
            Served::Yes
        } else if self.addresses.contains(&vip) {
            Served::IfBoundAtStart
        } else {
            Served::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses() {
        let vip = IpAddr::from([10, 0, 20, 155]);
        for (setting, served) in [
            ("*", Served::Yes),
            ("0.0.0.0", Served::Yes),
            ("localhost, *", Served::Yes),
            ("10.0.20.11,10.0.20.155", Served::IfBoundAtStart),
            ("\"10.0.20.155\"", Served::IfBoundAtStart),
            ("10.0.20.11,127.0.0.1", Served::No),
            ("localhost", Served::No),
            ("::", Served::No),
            ("", Served::No),
        ] {
            assert_eq!(Listen::parse(setting).serves(vip), served, "{setting}");
        }
        let mut listen = Listen::parse("vip.lan, ::1");
        assert_eq!(listen.names, ["vip.lan"]);
        listen.add([vip]);
        assert_eq!(listen.serves(vip), Served::IfBoundAtStart);
    }
}

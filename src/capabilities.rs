//! What a process may do: its effective capabilities, see capabilities(7).

use std::{fs, io};

use crate::process::Process;

/// Those that the daemon cannot do without, each with its bit.
const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW")];

/// CAP_SYS_NICE, with which real-time priority needs no limit to allow it.
const SYS_NICE: u32 = 23;

/// The effective capabilities of a process, or of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    /// Those of the calling thread.
    ///
    /// # Errors
    /// If `/proc` is not there.
    pub(crate) fn own() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/thread-self/status")?))
    }

    /// Those of another process.
    ///
    /// # Errors
    /// If there is none, or `/proc` hides it.
    pub(crate) fn of(process: Process) -> io::Result<Self> {
        let pid = process.number().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self::parse(&fs::read_to_string(format!("/proc/{pid}/status"))?))
    }

    /// Nothing, where the file does not say: then nothing can be relied on.
    fn parse(status: &str) -> Self {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
        Self(u64::from_str_radix(effective.trim(), 16).unwrap_or(0))
    }

    fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// The names of those that the daemon needs and are not there.
    pub(crate) fn missing(self) -> Vec<&'static str> {
        NEEDED.into_iter().filter(|(bit, _)| !self.has(*bit)).map(|(_, name)| name).collect()
    }

    /// Whether real-time priority is to be had without a limit that allows it.
    pub(crate) fn sys_nice(self) -> bool {
        self.has(SYS_NICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proc_says() {
        let missing =
            |mask: &str| Capabilities::parse(&format!("Name:\tx\nCapEff:\t{mask}\nCapBnd:\tffff\n")).missing();
        assert_eq!(missing("0000000000003000"), [""; 0]);
        assert_eq!(missing("000001ffffffffff"), [""; 0]);
        assert_eq!(missing("0000000000001000"), ["CAP_NET_RAW"]);
        assert_eq!(missing("0000000000000000"), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert_eq!(Capabilities::parse("nonsense").missing(), ["CAP_NET_ADMIN", "CAP_NET_RAW"]);
        assert!(Capabilities::parse("CapEff:\t0000000000800000").sys_nice());
    }
}

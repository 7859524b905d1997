//! Another process, as the kernel names it at the end of a Unix socket.

use std::fmt;

/// Of this host, by the number that it has here. None if it has none: the kernel gives 0 for a process of a PID namespace that
/// is not below this one, such as that of another container, or of the host seen from one. All of those look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(Option<i32>);

impl Process {
    /// By what SO_PEERCRED says.
    pub(crate) fn new(pid: i32) -> Self {
        Self((pid > 0).then_some(pid))
    }

    /// Its number, by which it can be told from others for as long as it lives.
    pub(crate) fn number(self) -> Option<i32> {
        self.0
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("outside this container"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_another_container_has_no_number() {
        assert_eq!(Process::new(0).number(), None);
        assert_eq!(Process::new(7).number(), Some(7));
        assert_eq!(Process::new(7).to_string(), "process 7");
    }
}

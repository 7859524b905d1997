//! Files of sections and `key=value` lines, as systemd and NetworkManager have them.

/// One assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assignment<'a> {
    /// Empty before the first section.
    pub(super) section: &'a str,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// From 1.
    pub(super) line: usize,
}

/// All of them, in order. What is no assignment is skipped.
pub(super) fn assignments(text: &str) -> impl Iterator<Item = Assignment<'_>> {
    let mut section = "";
    (1..).zip(text.lines()).filter_map(move |(number, line)| {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some(Assignment { section, key: key.trim(), value: value.trim(), line: number })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_nonsense() {
        let text =
            "A=0\n[Network]\n# B=1\n ; C=2\nKeepConfiguration = yes\r\n[Address\nAddress=10.0.20.11/24=x\n[]\nD\n=\n";
        let all: Vec<_> = assignments(text).map(|a| (a.section, a.key, a.value, a.line)).collect();
        assert_eq!(
            all,
            [
                ("", "A", "0", 1),
                ("Network", "KeepConfiguration", "yes", 5),
                ("Network", "Address", "10.0.20.11/24=x", 7),
                ("", "", "", 10),
            ]
        );
    }
}

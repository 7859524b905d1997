//! Prometheus' text format 0.0.4, from OpenMetrics'. They differ in what a counter's family is called, and in the end.

use std::collections::BTreeSet;

/// The same metrics in the other format.
pub(super) fn from_openmetrics(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let counters: BTreeSet<_> = types.filter(|(_, kind)| *kind == "counter").map(|(name, _)| name).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        match described(line).filter(|(_, name, _)| counters.contains(name)) {
            Some((keyword, name, rest)) => out.extend([keyword, name, "_total ", rest]),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// A line about a family: its keyword with the space behind it, the family's name, and the rest.
fn described(line: &str) -> Option<(&str, &str, &str)> {
    let keyword = ["# HELP ", "# TYPE "].into_iter().find(|keyword| line.starts_with(keyword))?;
    let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
    Some((keyword, name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_called_by_its_whole_name_and_nothing_else_changes() {
        let openmetrics = "# HELP a_x How many.\n# TYPE a_x counter\na_x_total{b=\"c\"} 1.0\n# HELP d Much.\n# TYPE d gauge\nd 2.0\n# EOF\n";
        let classic = "# HELP a_x_total How many.\n# TYPE a_x_total counter\na_x_total{b=\"c\"} 1.0\n# HELP d Much.\n# TYPE d gauge\nd 2.0\n";
        assert_eq!(from_openmetrics(openmetrics), classic);
    }
}

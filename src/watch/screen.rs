//! A text in the place of the one before, as much of it as fits.

/// What to write for that: from the upper left corner on, line by line, and nothing that was there before.
pub(super) fn frame(text: &str, size: Option<(usize, usize)>) -> String {
    let (rows, columns) = size.unwrap_or((usize::MAX, usize::MAX));
    let mut out = "\u{1b}[H".to_owned();
    let mut left = rows.saturating_sub(1);
    for line in text.lines() {
        let taken = width(line).div_ceil(columns).max(1);
        if taken > left {
            out += "\u{2026}\u{1b}[K";
            break;
        }
        left -= taken;
        out += line;
        out += "\u{1b}[K\n";
    }
    out + "\u{1b}[J"
}

/// How many characters are seen of a line. Its only sequences are those of colours, which end with an m.
fn width(line: &str) -> usize {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().chars().count();
    let others = parts.map(|part| part.split_once('m').map_or(0, |(_, shown)| shown.chars().count()));
    first + others.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(frame("a\nb\n", None), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
        assert_eq!(frame("a\nb\nc\n", Some((3, 80))), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{2026}\u{1b}[K\u{1b}[J");
        // A line of 12 takes two rows of 10, and one of 10 with colours takes one.
        let long = "123456789012\n\u{1b}[1;32m1234567890\u{1b}[0m\nlast\n";
        assert!(frame(long, Some((5, 10))).contains("last"));
        assert!(!frame(long, Some((4, 10))).contains("last"));
    }
}

//! Tables of a page.

/// The rows of a table of this header: the cells of each.
pub(crate) fn rows<'a>(text: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let tables = text.split(header).skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

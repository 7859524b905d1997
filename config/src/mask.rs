//! Finds what must never be shown: the parts of the file that may be a secret.
//!
//! Too much is masked rather than too little. The text alone is looked at first, since a file with a syntax error has
//! no reliable values; what the parser made of it adds the secrets that are written with escapes.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Keys (of this file, of libpq, of other programs) whose value is a secret have one of these in their name.
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "passphrase", "pwd", "secret", "token"];

/// The byte ranges of `text` that may hold a secret, sorted, none overlapping another.
pub(crate) fn secret_spans(text: &str, document: &DeTable<'_>) -> Vec<Range<usize>> {
    let mut spans = secrets_of_text(text);
    secrets_of_table(document, false, &mut spans);
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Whether the value of a key or option of this name is a secret. That of `password_file` is not.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "pass" || SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("file")
}

fn secrets_of_text(text: &str) -> Vec<Range<usize>> {
    let names = words(text).filter(|word| is_secret_name(&text[word.clone()])).map(|word| after_name(text, word.end));
    let urls = text.match_indices("://").filter_map(|(at, scheme)| user_info(text, at + scheme.len()));
    names.chain(urls).collect()
}

/// The runs of characters that a bare key or an option name can consist of.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_letter = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        let start = at + bytes.get(at..)?.iter().position(is_letter)?;
        let len = bytes[start..].iter().position(|b| !is_letter(b)).unwrap_or(bytes.len() - start);
        at = start + len;
        Some(start..at)
    })
}

/// What follows a secret's name: the rest of its line behind the `=`, and more lines where the value has more.
fn after_name(text: &str, name_end: usize) -> Range<usize> {
    let end_of_line = |from: usize| text[from..].find('\n').map_or(text.len(), |len| from + len);
    let line = &text[name_end..end_of_line(name_end)];
    let behind_name = line.trim_start_matches(['"', '\'', ' ', '\t']);
    let value = behind_name.strip_prefix(['=', ':']).unwrap_or(behind_name).trim_start();
    let start = name_end + line.len() - value.len();
    for quotes in ["\"\"\"", "'''"] {
        if value.starts_with(quotes) {
            let content = start + quotes.len();
            let end = text[content..].find(quotes).map_or(text.len(), |len| content + len + quotes.len());
            return start..end_of_line(end);
        }
    }
    if !value.is_empty() {
        return start..start + value.len();
    }
    // Nothing behind the `=`: in a connection string the value may stand on the next line that has one.
    let rest = &text[start..];
    start..end_of_line(text.len() - rest.trim_start().len())
}

/// The part of a URL in front of the `@`. `start` is where the scheme ends; a password may hold any character.
fn user_info(text: &str, start: usize) -> Option<Range<usize>> {
    let rest = text[start..].lines().next()?;
    rest.rfind('@').map(|len| start..start + len)
}

fn secrets_of_table(table: &DeTable<'_>, inside_secret: bool, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        secrets_of_value(value, inside_secret || is_secret_name(key.get_ref()), spans);
    }
}

fn secrets_of_value(value: &toml::Spanned<DeValue<'_>>, is_secret: bool, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => secrets_of_table(table, is_secret, spans),
        DeValue::Array(values) => values.iter().for_each(|value| secrets_of_value(value, is_secret, spans)),
        DeValue::String(text) if is_secret || !secrets_of_text(text).is_empty() => spans.push(value.span()),
        _ if is_secret => spans.push(value.span()),
        _ => {}
    }
}

/// Whether the text has a name in it behind which a secret may stand, or a URL with a user in it.
pub(crate) fn may_hold_secret(text: &str) -> bool {
    !secrets_of_text(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with each secret span replaced by `***`.
    fn masked(text: &str) -> String {
        let (document, _) = DeTable::parse_recoverable(text);
        let spans = secret_spans(text, document.get_ref());
        spans.iter().rev().fold(text.to_owned(), |mut masked, span| {
            masked.replace_range(span.clone(), "***");
            masked
        })
    }

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        for (text, expected) in [
            ("password = \"hunter2\" # mine\nnode = \"db1\"", "password = ***\nnode = \"db1\""),
            ("[etcd]\nPassword=hunter2", "[etcd]\nPassword=***"),
            ("password \"hunter2\"", "password \"***"),
            ("etcd = { password = \"hunter2\", username = \"u\" }", "etcd = { password = ***"),
            ("\"password\" = 'hunter2'", "\"password\" = ***"),
            ("password = \"\"\"\nhunter2\n\"\"\" # x\ny = 1", "password = ***\ny = 1"),
            ("password = '''\nhunter2\nand no end", "password = ***"),
            ("password = [\n  \"hunter2\",\n]", "password = ***\n  ***,\n]"),
            ("c = \"host=/x password=hunter2 user=u\"\n", "c = ***\n"),
            ("c = \"\"\"host=/x password =\n hunter2\"\"\"\nx = 1", "c = ***\nx = 1"),
            ("c = \"p\\u0061ssword=hunter2\"", "c = ***"),
            ("\"p\\u0061ssword\" = \"hunter2\"", "\"p\\u0061ssword\" = ***"),
            ("[secret]\nvalue = \"hunter2\"", "[secret***\nvalue = ***"),
            ("e = [\"http://a:1\", \"http://u:h/u@n'ter2@b:1\"]", "e = [\"http://***]"),
            ("e = http://u:hunter2@b:1", "e = ***"),
            ("pass = hunter2", "pass = ***"),
            ("password_file = \"/etc/x\"", "password_file = \"/etc/x\""),
            ("e = [\"http://a:1\"]\nnode = \"db1\"", "e = [\"http://a:1\"]\nnode = \"db1\""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }
}

//! Finds what must never be shown: the parts of the file that may be a secret.
//!
//! Too much is masked rather than too little. The text alone is looked at first, since a file with a syntax error has
//! no reliable values; what the parser made of it adds the secrets that are written with escapes.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::suggest::nearest;

/// Keys (of this file, of libpq, of other programs) whose value is a secret have one of these in their name.
const SECRET_WORDS: [&str; 4] = ["pass", "pwd", "secret", "token"];

/// What a misspelt name may be meant to be.
const SPELT_RIGHT: [&str; 3] = ["password", "secret", "token"];

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
    let is_secret =
        |part: &str| SECRET_WORDS.iter().any(|word| part.contains(word)) || nearest(part, SPELT_RIGHT).is_some();
    !name.ends_with("file") && name.split(['_', '-']).any(is_secret)
}

fn secrets_of_text(text: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for word in words(text) {
        let known = spans.last().is_some_and(|last| word.start < last.end);
        if !known && is_secret_name(&text[word.clone()]) {
            spans.push(after_name(text, word.end));
        }
    }
    spans.extend(
        text.split_inclusive('\n')
            .scan(0, |at, line| {
                let start = *at;
                *at += line.len();
                Some(user_info(line).map(|span| start + span.start..start + span.end))
            })
            .flatten(),
    );
    spans
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

/// What follows a secret's name: the rest of its line behind the `=`, and the lines after it up to one that begins
/// another setting. A value may go on there, the more so where a quote was forgotten.
fn after_name(text: &str, name_end: usize) -> Range<usize> {
    let line = text[name_end..].split('\n').next().unwrap_or_default();
    let behind_name = line.trim_start_matches(['"', '\'', ' ', '\t']);
    let value = behind_name.strip_prefix(['=', ':']).unwrap_or(behind_name).trim_start();
    let mut end = name_end + line.len();
    let start = end - value.len();
    for line in text[end..].split_inclusive('\n').skip(1) {
        if begins_setting(line) {
            break;
        }
        end += 1 + line.strip_suffix('\n').unwrap_or(line).len();
    }
    start..end.min(text.len())
}

/// Whether a line is a table's header, or has a key and a `=`.
fn begins_setting(line: &str) -> bool {
    let line = line.trim();
    let name = match line.strip_prefix('[').and_then(|header| header.strip_suffix(']')) {
        Some(header) => header.trim_matches(['[', ']']),
        None => line.split_once('=').map_or("", |(key, _)| key.trim().trim_matches(['"', '\''])),
    };
    words(name).next() == Some(0..name.len())
}

/// The part of a URL in front of the `@`, in a line. A password may hold any character.
fn user_info(line: &str) -> Option<Range<usize>> {
    let start = line.find("://")? + "://".len();
    line[start..].rfind('@').map(|len| start..start + len)
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
            ("password = \"\"\nhunter2\n\"\"\"\n[a]", "password = ***\n[a]"),
            ("password = '''\na = hunter2\n'''\nb = 1", "password = ***\nb = 1"),
            ("password = [\n  \"hunter2\",\n]\nx = 1", "password = ***\nx = 1"),
            ("password =\n\n \"hunter2\"\nx = 1", "password =***\nx = 1"),
            ("pasword = hunter2\nclient_secert = hunter2", "pasword = ***\nclient_secert = ***"),
            ("c = \"host=/x password=hunter2 user=u\"\n", "c = ***\n"),
            ("c = host=/x password=hunter2\nx = 1", "c = host=/x password=***\nx = 1"),
            ("c = \"\"\"host=/x password =\n hunter2\"\"\"\nx = 1", "c = ***\nx = 1"),
            ("c = \"p\\u0061ssword=hunter2\"", "c = ***"),
            ("\"p\\u0061ssword\" = \"hunter2\"", "\"p\\u0061ssword\" = ***"),
            ("[secret]\nvalue = \"hunter2\"", "[secret***\nvalue = ***"),
            ("e = [\"http://a:1\", \"http://u:h/u@n'ter2@b:1\"]", "e = [\"http://***]"),
            ("e = http://u:hunter2@b:1", "e = ***"),
            ("e = [http://u:hunter2@b:1", "e = [***"),
            ("x http://u:hunter2@b:1", "x http://***@b:1"),
            ("pass = hunter2", "pass = ***"),
            ("password_file = \"/etc/x\"", "password_file = \"/etc/x\""),
            ("e = [\"http://a:1\"]\nnode = \"db1\"", "e = [\"http://a:1\"]\nnode = \"db1\""),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }
}

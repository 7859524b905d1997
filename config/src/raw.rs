//! The file as keys and values of the right type. Whatever is not goes into the report, and the walk goes on.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use crate::diagnose::{Report, Reported, Span};
use crate::schema::{self, Foreign, Schema};
use crate::suggest::nearest;

/// One table of the file, or one that was left out.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    schema: &'static Schema,
    table: Option<&'a DeTable<'a>>,
    /// Its header.
    span: Option<Span>,
    /// Keys that it has under a wrong name, which has been told.
    misnamed: Vec<(&'static str, Reported)>,
}

/// What a word means as a value.
pub(crate) enum Meaning<T> {
    /// This.
    Is(T),
    /// Something that this version cannot do; and what to do instead.
    NotYet(&'static str),
}

/// Says what a value should be if it is none of the right type.
struct Wanted {
    what: &'static str,
    help: String,
}

impl<'a> Section<'a> {
    /// The top of the file.
    pub(crate) fn top(table: &'a DeTable<'a>, report: &mut Report) -> Self {
        Self::new(&schema::TOP, table, None, report)
    }

    fn new(schema: &'static Schema, table: &'a DeTable<'a>, span: Option<Span>, report: &mut Report) -> Self {
        let misnamed = table.iter().filter_map(|(key, _)| schema.check_key(key, report)).collect();
        Self { schema, table: Some(table), span, misnamed }
    }

    /// A table of this one. Left out, it is one in which every key is left out.
    pub(crate) fn section(&self, key: &str, schema: &'static Schema, report: &mut Report) -> Result<Self, Reported> {
        let Some(value) = self.value(key) else {
            self.told_of(key)?;
            return Ok(Section { schema, table: None, span: None, misnamed: Vec::new() });
        };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Section::new(schema, table, Some(value.span()), report)),
            DeValue::Array(tables) if tables.iter().all(|table| table.get_ref().is_table()) => {
                let help = format!("write {} with single brackets, once", schema.header);
                Err(report.add(value.span(), format!("{key} must be one table, not a list of tables"), help))
            }
            _ => Err(self.wrong_type(
                key,
                value,
                &Wanted { what: "a table", help: format!("write {}", schema.header) },
                report,
            )),
        }
    }

    /// A list of tables of this one.
    pub(crate) fn sections(
        &self,
        key: &str,
        schema: &'static Schema,
        report: &mut Report,
    ) -> Result<Vec<Self>, Reported> {
        let header = schema.header;
        let Some(value) = self.value(key) else {
            self.told_of(key)?;
            return Ok(Vec::new());
        };
        let DeValue::Array(values) = value.get_ref() else {
            let help = format!("write {header}, with double brackets, for each");
            return Err(self.wrong_type(key, value, &Wanted { what: "a list of tables", help }, report));
        };
        let sections: Vec<_> = values
            .iter()
            .map(|value| match value.get_ref() {
                DeValue::Table(table) => Ok(Section::new(schema, table, Some(value.span()), report)),
                _ => {
                    let wanted = Wanted { what: "a list of tables", help: format!("write {header} for each") };
                    Err(self.wrong_type(key, value, &wanted, report))
                }
            })
            .collect();
        sections.into_iter().collect()
    }

    /// Where a key is that is there.
    pub(crate) fn key_span(&self, key: &str) -> Option<Span> {
        self.table.and_then(|table| table.get_key_value(key)).map(|(key, _)| key.span())
    }

    /// Where the value of a key is that is there.
    pub(crate) fn value_span(&self, key: &str) -> Option<Span> {
        self.value(key).map(Spanned::span)
    }

    /// A string that must be there.
    pub(crate) fn required_text(
        &self,
        key: &str,
        example: &str,
        report: &mut Report,
    ) -> Result<Spanned<&'a str>, Reported> {
        match self.text(key, example, report)? {
            Some(text) => Ok(text),
            None => Err(self.missing(key, example, report)),
        }
    }

    /// A string.
    pub(crate) fn text(
        &self,
        key: &str,
        example: &str,
        report: &mut Report,
    ) -> Result<Option<Spanned<&'a str>>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wanted = Wanted { what: "a string", help: format!("write {key} = {example}") };
        self.text_of(key, value, &wanted, report).map(Some)
    }

    fn text_of(
        &self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        wanted: &Wanted,
        report: &mut Report,
    ) -> Result<Spanned<&'a str>, Reported> {
        match value.get_ref().as_str() {
            Some(text) => Ok(Spanned::new(value.span(), text)),
            None => Err(self.wrong_type(key, value, wanted, report)),
        }
    }

    /// A list of strings that must be there.
    pub(crate) fn required_texts(
        &self,
        key: &str,
        example: &str,
        report: &mut Report,
    ) -> Result<Spanned<Vec<Spanned<&'a str>>>, Reported> {
        match self.texts(key, example, report)? {
            Some(texts) => Ok(texts),
            None => Err(self.missing(key, example, report)),
        }
    }

    /// A list of strings.
    pub(crate) fn texts(
        &self,
        key: &str,
        example: &str,
        report: &mut Report,
    ) -> Result<Option<Spanned<Vec<Spanned<&'a str>>>>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wanted = || Wanted { what: "a list of strings", help: format!("write {key} = {example}") };
        let Some(values) = value.get_ref().as_array() else {
            return Err(self.wrong_type(key, value, &wanted(), report));
        };
        let texts: Vec<_> = values.iter().map(|value| self.text_of(key, value, &wanted(), report)).collect();
        Ok(Some(Spanned::new(value.span(), texts.into_iter().collect::<Result<_, _>>()?)))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&self, key: &str, default: bool, report: &mut Report) -> Result<bool, Reported> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let help = format!("write {key} = {default}, which is the default");
        let wanted = Wanted { what: "true or false", help };
        value.get_ref().as_bool().ok_or_else(|| self.wrong_type(key, value, &wanted, report))
    }

    /// Whether a key is there and has this number.
    pub(crate) fn is_number(&self, key: &str, number: u32) -> bool {
        self.value(key).and_then(|value| value.get_ref().as_integer()).and_then(to_number) == Some(number)
    }

    /// A whole number in `range`.
    pub(crate) fn integer(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        help: &str,
        report: &mut Report,
    ) -> Result<Option<Spanned<u32>>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let Some(integer) = value.get_ref().as_integer() else {
            let wanted = Wanted { what: "a whole number", help: help.to_owned() };
            return Err(self.wrong_type(key, value, &wanted, report));
        };
        match to_number(integer).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(Spanned::new(value.span(), number))),
            None => {
                let message = format!("{key} must be {} to {}", range.start(), range.end());
                Err(report.add(value.span(), message, help))
            }
        }
    }

    /// A list of whole numbers in `range`.
    pub(crate) fn integers(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        example: &str,
        report: &mut Report,
    ) -> Result<Option<Vec<Spanned<u32>>>, Reported> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let help = format!("write {key} = {example}");
        let wanted = Wanted { what: "a list of whole numbers", help: help.clone() };
        let Some(values) = value.get_ref().as_array() else {
            return Err(self.wrong_type(key, value, &wanted, report));
        };
        let numbers = values.iter().map(|value| {
            let Some(integer) = value.get_ref().as_integer() else {
                return Err(self.wrong_type(key, value, &wanted, report));
            };
            match to_number(integer).filter(|number| range.contains(number)) {
                Some(number) => Ok(Spanned::new(value.span(), number)),
                None => {
                    let message = format!("each of {key} must be {} to {}", range.start(), range.end());
                    Err(report.add(value.span(), message, help.as_str()))
                }
            }
        });
        // Every one is looked at before the first that is wrong ends it.
        let numbers: Vec<_> = numbers.collect();
        numbers.into_iter().collect::<Result<_, _>>().map(Some)
    }

    /// A duration in `range`.
    pub(crate) fn duration(
        &self,
        key: &str,
        default: Duration,
        range: &RangeInclusive<Duration>,
        report: &mut Report,
    ) -> Result<Duration, Reported> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let usual = text_of_duration(default);
        let help = format!("write {key} = \"{usual}\", which is the default");
        let wanted = Wanted { what: "a duration in quotes", help };
        let text = self.text_of(key, value, &wanted, report)?;
        let Ok(duration) = humantime::parse_duration(text.get_ref()) else {
            let help = format!("write a number and a unit: {key} = \"{usual}\"");
            return Err(report.add(text.span(), format!("{key} is not a duration"), help));
        };
        if range.contains(&duration) {
            Ok(duration)
        } else {
            let (least, most) = (text_of_duration(*range.start()), text_of_duration(*range.end()));
            let message = format!("{key} must be {least} to {most}");
            Err(report.add(text.span(), message, format!("the default is \"{usual}\"")))
        }
    }

    /// One of some words.
    pub(crate) fn choice<T>(
        &self,
        key: &str,
        default: T,
        choices: impl IntoIterator<Item = (&'static str, Meaning<T>)>,
        report: &mut Report,
    ) -> Result<T, Reported> {
        let Some(value) = self.value(key) else { return Ok(default) };
        let choices: Vec<_> = choices.into_iter().collect();
        let words: Vec<_> =
            choices.iter().filter(|(_, meaning)| matches!(meaning, Meaning::Is(_))).map(|(word, _)| *word).collect();
        let list = one_of(&words);
        let wanted = Wanted { what: "a string", help: format!("write {key} = {list}") };
        let text = self.text_of(key, value, &wanted, report)?;
        let near = nearest(text.get_ref(), choices.iter().map(|(word, _)| *word));
        match choices.into_iter().find(|(word, _)| word == text.get_ref()) {
            Some((_, Meaning::Is(value))) => Ok(value),
            Some((word, Meaning::NotYet(help))) => {
                let message = format!("{key} = \"{word}\" is not available in this version");
                Err(report.add(text.span(), message, help))
            }
            None => {
                let help = near.map_or(wanted.help, |near| format!("did you mean \"{near}\"?"));
                Err(report.add(text.span(), format!("{key} must be {list}"), help))
            }
        }
    }

    /// Reports a key that is not there, unless it has been told to be there under a wrong name: at the table's header, or
    /// without a place where there is none.
    pub(crate) fn missing(&self, key: &str, example: &str, report: &mut Report) -> Reported {
        if let Err(reported) = self.told_of(key) {
            return reported;
        }
        let header = self.schema.header;
        match &self.span {
            Some(span) => {
                report.add(span.clone(), format!("{header} has no `{key}`"), format!("add {key} = {example}"))
            }
            None if header.is_empty() => report
                .add_without_place(format!("`{key}` is missing"), format!("add {key} = {example} above all tables")),
            None => {
                report.add_without_place(format!("{header} is missing"), format!("add {header} with {key} = {example}"))
            }
        }
    }

    /// `Err` if the key has been told to be there under a wrong name.
    pub(crate) fn told_of(&self, key: &str) -> Result<(), Reported> {
        let misnamed = self.misnamed.iter().find(|(meant, _)| *meant == key);
        misnamed.map_or(Ok(()), |(_, reported)| Err(*reported))
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(self.schema.keys.contains(&key), "{key} is missing from the schema");
        self.table.and_then(|table| table.get(key))
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &Wanted, report: &mut Report) -> Reported {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        report.add(value.span(), format!("{key} must be {}, not {found}", wanted.what), wanted.help.as_str())
    }
}

impl Schema {
    /// Reports a key that is not in it. `Some` if it is likely to be one of ours under a wrong name.
    fn check_key(&self, key: &Spanned<DeString<'_>>, report: &mut Report) -> Option<(&'static str, Reported)> {
        let name: &str = key.get_ref();
        if self.keys.contains(&name) {
            return None;
        }
        let place = if self.header.is_empty() { String::new() } else { format!(" in {}", self.header) };
        let find = |list: &'static [Foreign]| list.iter().find(|foreign| foreign.keys.contains(&name));
        if let Some(Foreign { means, help, .. }) = find(self.not_yet) {
            let reported = report.add(key.span(), format!("`{name}`{place} is not available in this version"), *help);
            return means.map(|means| (means, reported));
        }
        let (means, help) = if let Some(Foreign { means, help, .. }) = find(self.known_elsewhere) {
            (*means, (*help).to_owned())
        } else if let Some(near) = nearest(name, self.keys.iter().copied()) {
            (Some(near), format!("did you mean `{near}`?"))
        } else {
            (None, home_of(name).unwrap_or_else(|| format!("the keys{place} are {}", self.keys.join(", "))))
        };
        let reported = report.add(key.span(), format!("unknown key `{name}`{place}"), help);
        means.map(|means| (means, reported))
    }
}

/// The table that a key belongs to.
fn home_of(key: &str) -> Option<String> {
    let home = schema::ALL.iter().find(|schema| schema.keys.contains(&key))?;
    Some(match home.header {
        "" => format!("`{key}` stands at the top of the file, above all tables"),
        header => format!("`{key}` belongs to {header}"),
    })
}

fn to_number(integer: &DeInteger<'_>) -> Option<u32> {
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// As one would write it.
fn text_of_duration(duration: Duration) -> String {
    if duration.is_zero() { "0s".to_owned() } else { format!("{duration:?}") }
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

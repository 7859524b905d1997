//! For tests: the fields of what is printed as JSON, and those that docs/STATUS.md names.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// The names of all fields: `[]` behind those of lists of objects, `{}` behind those of `maps`, whose keys are no fields. Of
/// everything there has to be something.
pub(crate) fn of(picture: &impl Serialize, maps: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    add(&serde_json::to_value(picture).expect("it is JSON"), "", maps, &mut found);
    found
}

fn add(json: &Value, path: &str, maps: &[&str], found: &mut BTreeSet<String>) {
    assert!(!json.is_null(), "{path} is null, so that what may be in it is not seen");
    match json {
        Value::Object(object) => {
            for (name, value) in object {
                let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let is_list = value.as_array().is_some_and(|list| list.first().is_none_or(Value::is_object));
                let is_map = maps.contains(&name.as_str());
                let path = name
                    + if is_list {
                        "[]"
                    } else if is_map {
                        "{}"
                    } else {
                        ""
                    };
                let first = value.as_object().filter(|_| is_map).map(|map| map.values().next());
                let value = first.unwrap_or(Some(value)).unwrap_or_else(|| panic!("{path} is empty"));
                add(value, &path, maps, found);
                found.insert(path);
            }
        }
        Value::Array(list) => {
            assert!(!list.is_empty(), "{path} is empty");
            list.iter().filter(|value| value.is_object()).for_each(|value| add(value, path, maps, found));
        }
        _ => {}
    }
}

/// What a table of the document names in its first column; `head` is that column's name.
pub(crate) fn documented(head: &str) -> BTreeSet<String> {
    let document = include_str!("../docs/STATUS.md");
    let (_, table) = document.split_once(&format!("| {head} |")).expect("there is such a table");
    let rows = table.lines().skip(2).map_while(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').expect("the name ends").0.to_owned()).collect()
}

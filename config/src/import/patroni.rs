//! What pgvrrp needs to know of the cluster, from Patroni's configuration.

use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

use super::note::{Notes, Place};

/// etcd's port, where none is given.
const PORT: &str = "2379";

/// `patroni.yml`, as far as it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Patroni {
    pub(super) scope: Option<String>,
    pub(super) namespace: Option<String>,
    /// The member's name, which is the node's.
    pub(super) name: Option<String>,
    pub(super) group: Option<u32>,
    /// URLs.
    pub(super) endpoints: Vec<String>,
    pub(super) ca_file: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key_file: Option<String>,
    /// Patroni's user in etcd. There is no password: it is to stay where it is.
    pub(super) username: Option<String>,
}

/// Reads what is there, and says what was found. JSON is YAML as well.
pub(super) fn read(path: &Path, text: &str, notes: &mut Notes) -> Patroni {
    let place = Place { file: notes.file(path.to_owned()), line: 0 };
    let document = match YamlLoader::load_from_str(text) {
        Ok(documents) => documents.into_iter().next().unwrap_or(Yaml::BadValue),
        Err(error) => {
            notes.by_hand(place, "patroni", format!("is no YAML ({error}), so nothing is taken from it"));
            return Patroni::default();
        }
    };
    let mut take = |key: &str, value: &Yaml, into: &str| {
        let value = scalar(value)?;
        notes.converted(place, key, format!("{into} = \"{value}\""));
        Some(value)
    };
    let mut patroni = Patroni {
        scope: take("scope", &document["scope"], "[patroni] scope"),
        namespace: take("namespace", &document["namespace"], "[patroni] namespace"),
        name: take("name", &document["name"], "node"),
        group: take("citus.group", &document["citus"]["group"], "[patroni] group").and_then(|group| group.parse().ok()),
        ..Patroni::default()
    };
    let (key, etcd) =
        if document["etcd3"].is_badvalue() { ("etcd", &document["etcd"]) } else { ("etcd3", &document["etcd3"]) };
    if etcd.is_badvalue() {
        let text = "there is no etcd3 section: pgvrrp needs Patroni on etcd, by its `etcd3` backend";
        notes.by_hand(place, "etcd3", text);
        return patroni;
    }
    if key == "etcd" {
        let text =
            "is the API of etcd 2, whose keys are not those of `etcd3`: move Patroni to its `etcd3` backend first";
        notes.by_hand(place, key, text);
    }
    patroni.endpoints = endpoints(etcd);
    let hosts = format!("{key}.hosts");
    if patroni.endpoints.is_empty() {
        notes.by_hand(place, &hosts, "it names no member of etcd: write them into [etcd] endpoints");
    } else {
        notes.converted(place, &hosts, format!("[etcd] endpoints = {:?}", patroni.endpoints));
    }
    for key in ["srv", "srv_suffix", "proxy"] {
        if !etcd[key].is_badvalue() {
            notes.by_hand(place, &format!("etcd3.{key}"), "not read: name each member of etcd in [etcd] endpoints");
        }
    }
    let mut file = |key: &str, into: &str| {
        let value = scalar(&etcd[key])?;
        notes.converted(
            place,
            &format!("etcd3.{key}"),
            format!("[etcd] {into} = \"{value}\": the user pgvrrp has to be able to read it"),
        );
        Some(value)
    };
    patroni.ca_file = file("cacert", "ca_file");
    patroni.cert_file = file("cert", "cert_file");
    patroni.key_file = file("key", "key_file");
    patroni.username = scalar(&etcd["username"]);
    patroni
}

/// A text or a number, as text. Not empty.
fn scalar(value: &Yaml) -> Option<String> {
    let text = match value {
        Yaml::String(text) | Yaml::Real(text) => text.trim().to_owned(),
        Yaml::Integer(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// `hosts`, a list or one text with commas; `host`; or `url`.
fn endpoints(etcd: &Yaml) -> Vec<String> {
    let protocol = scalar(&etcd["protocol"]).unwrap_or_else(|| "http".to_owned());
    let mut hosts: Vec<String> = match &etcd["hosts"] {
        Yaml::Array(list) => list.iter().filter_map(scalar).collect(),
        other => {
            scalar(other).map_or_else(Vec::new, |text| text.split(',').map(|host| host.trim().to_owned()).collect())
        }
    };
    if hosts.is_empty() {
        hosts.extend(scalar(&etcd["host"]));
    }
    if hosts.is_empty() {
        hosts.extend(scalar(&etcd["url"]));
    }
    let mut urls: Vec<String> = hosts.iter().filter(|host| !host.is_empty()).map(|host| url(host, &protocol)).collect();
    let mut seen = std::collections::BTreeSet::new();
    urls.retain(|url| seen.insert(url.clone()));
    urls
}

/// `host`, `host:port`, `[address]:port` or a URL.
fn url(host: &str, protocol: &str) -> String {
    let (scheme, authority) = host.split_once("://").unwrap_or((protocol, host));
    let authority = authority.split('/').next().unwrap_or_default();
    // A user and a password in a URL are not repeated.
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match (has_port, authority.contains(':') && !authority.starts_with('[')) {
        (true, _) => format!("{scheme}://{authority}"),
        (false, true) => format!("{scheme}://[{authority}]:{PORT}"),
        (false, false) => format!("{scheme}://{authority}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Patroni {
        super::read(Path::new("patroni.yml"), text, &mut Notes::default())
    }

    #[test]
    fn what_people_write() {
        let text = "scope: odoo\nname: db1\nnamespace: /db/\netcd3:\n  hosts:\n  - 10.0.0.1:2379\n  - etcd2\n  \
                    protocol: https\n  cacert: /etc/ca.pem\n  username: patroni\n  password: secret\n";
        let patroni = read(text);
        assert_eq!(patroni.endpoints, ["https://10.0.0.1:2379", "https://etcd2:2379"]);
        assert_eq!((patroni.scope.as_deref(), patroni.name.as_deref()), (Some("odoo"), Some("db1")));
        assert_eq!((patroni.ca_file.as_deref(), patroni.username.as_deref()), (Some("/etc/ca.pem"), Some("patroni")));
        assert!(!format!("{patroni:?}").contains("secret"));
    }

    #[test]
    fn endpoints_of_every_form() {
        for (etcd, expected) in [
            ("host: 127.0.0.1:2379", &["http://127.0.0.1:2379"][..]),
            ("hosts: a:1, b:2 ,a:1", &["http://a:1", "http://b:2"]),
            ("hosts: [\"a:1\", 'b']", &["http://a:1", "http://b:2379"]),
            ("url: https://root:pw@etcd.example:2379/", &["https://etcd.example:2379"]),
            ("host: '[fd00::1]:2379'", &["http://[fd00::1]:2379"]),
            ("host: 'fd00::1'", &["http://[fd00::1]:2379"]),
            ("host: '[fd00::1]'", &["http://[fd00::1]:2379"]),
            ("retry: 1", &[]),
        ] {
            assert_eq!(
                read(&format!("etcd3: {{{etcd}}}").replace("a:1, b:2 ,a:1", "'a:1, b:2 ,a:1'")).endpoints,
                expected,
                "{etcd}"
            );
        }
    }

    #[test]
    fn what_is_no_patroni_yml() {
        for text in ["", "[", "a: [", "- 1", "scope: {}", "\t", "etcd3: 5", "{\"scope\": \"odoo\"}"] {
            read(text);
        }
        assert_eq!(read("{\"scope\": \"odoo\"}").scope.as_deref(), Some("odoo"));
    }
}

//! A keepalived.conf: what is made of it is a configuration that is taken, and what is said of it can be shown.

use std::io;
use std::path::Path;

use pgvrrp_config::Config;
use pgvrrp_config::import::{Files, Request, import};

/// There are no other files, but the one that is looked for includes itself.
struct Itself<'a>(&'a str);

impl Files for Itself<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path.ends_with("itself") { Ok(self.0.to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn names(&self, _: &Path) -> Vec<String> {
        vec!["itself".to_owned()]
    }
}

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let path = Path::new("/etc/keepalived/keepalived.conf");
    let request = Request { path, text: &text, config_id: "a", host: "a", patroni: None };
    match import(&request, &Itself(&text)) {
        Ok(imported) => {
            if let Some(toml) = &imported.toml {
                let config = Config::parse(Path::new("pgvrrp.toml"), toml, Path::new("/nonexistent"));
                assert!(config.is_ok_and(|config| !config.vips.is_empty()), "{toml}");
            }
            let shown = imported.explanation();
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
        Err(failure) => assert!(!failure.to_string().chars().any(char::is_control), "{failure:?}"),
    }
}

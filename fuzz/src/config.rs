//! A configuration file: taken, or refused with a report that can be shown.

use std::path::Path;

use pgvrrp_config::Config;

pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(Path::new("pgvrrp.toml"), &text, Path::new("/nonexistent")) {
        Ok(config) => assert!(!config.vips.is_empty() && !format!("{config:?}").is_empty()),
        Err(problems) => {
            let (shown, count) = (problems.to_string(), problems.count());
            assert!(count > 0);
            assert_eq!(shown.lines().filter(|line| line.starts_with("error: ")).count(), count.min(100), "{shown}");
            assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

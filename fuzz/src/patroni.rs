//! What Patroni's REST API answers to `GET /patroni`.

use pgvrrp::evidence::patroni::{Settings, parse};

pub fn run(bytes: &[u8]) {
    let settings = Settings { scope: "odoo".to_owned(), member: "db1".to_owned() };
    if let Err(why) = parse(bytes, &settings) {
        assert!(!why.is_empty());
    }
}

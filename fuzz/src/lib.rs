//! The fuzz targets. Each takes any bytes, as they could come from outside, and panics where pgvrrp does, or where what it
//! makes of them cannot be right.
//!
//! `fuzz_targets/` hands libFuzzer's bytes to them, and `tests/fuzzed.rs`, which includes this file, those that are kept
//! in `corpus/` and `regressions/`.

pub mod advert;
pub mod arp;
pub mod clients;
pub mod config;
pub mod etcd;
pub mod heard;
pub mod import;
pub mod kernel_answer;
pub mod kernel_events;
pub mod ndisc;
pub mod node;
pub mod patroni;
pub mod recording;

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 13] = [
    ("advert", advert::run),
    ("arp", arp::run),
    ("clients", clients::run),
    ("config", config::run),
    ("etcd", etcd::run),
    ("heard", heard::run),
    ("import", import::run),
    ("kernel_answer", kernel_answer::run),
    ("kernel_events", kernel_events::run),
    ("ndisc", ndisc::run),
    ("node", node::run),
    ("patroni", patroni::run),
    ("recording", recording::run),
];

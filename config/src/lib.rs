//! pgvrrp's configuration file.
//!
//! [`Config::load`] turns the TOML file into values that are valid by construction, or into [`Problems`]: every mistake
//! of the file at once, each with its line, a caret and a way out. Nothing in here is a secret's way to a screen: what a
//! password may hide in is masked in what is shown, and [`Secret`] does not print itself.
//!
//! The way through: `raw` walks the parsed TOML and knows keys and types, `schema` lists which keys there are, `read`
//! turns them into the [`model`](Config), `diagnose` renders what is wrong. [`import`] makes such a file from another
//! program's.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod diagnose;
mod file;
pub mod import;
mod load;
mod mask;
mod model;
mod raw;
mod read;
mod schema;
mod secret;
mod suggest;
mod tls;

pub use diagnose::Problems;
pub use file::Unusable;
pub use model::{
    Checksum, Clients, Cluster, Config, Election, Etcd, Failsafe, Fence, Follows, ForeignActive, Hooks, Http, Log,
    LogFormat, LogLevel, Mac, Patroni, Paused, Policy, Postgres, PostgresDown, SslMode, Vip,
};
pub use secret::Secret;
pub use tls::{Identity, Pem, Tls};

//! A VIP that follows nobody, on one node (`host`).

mod address;
mod hindrances;
mod host;
mod several;
mod states;

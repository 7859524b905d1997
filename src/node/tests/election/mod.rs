//! A VIP that follows nobody, on one node (`host`).

mod address;
mod adverts;
mod announcements;
mod hindrances;
mod host;
mod neighbours;
mod several;
mod states;

//! A VIP that follows nobody, on one node (`host`) and on three that hear each other (`lan`).

mod address;
mod adverts;
mod announcements;
mod hindrances;
pub(super) mod host;
mod lan;
mod neighbours;
mod several;
mod states;

//! README.md and docs/ tell the truth, as far as that can be told without a cluster: every configuration in them passes `check`,
//! every command is one that exists, every key has its right default and limits, what an operator is said to see is what the
//! program says, and what a page refers to is there. `tests/scenarios/documented.rs` runs the commands.

mod commands;
mod configuration;
mod host;
mod links;
mod pages;
mod parts;
mod sayings;
mod table;
mod text;
mod tried;

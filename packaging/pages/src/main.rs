//! `pages DIRECTORY` writes what is packaged beside the program and made from it: manual pages and shell completions.
//!
//! A program of its own since it contains the daemon, which `xtask` has to do without: that installs what the daemon's build
//! needs.

mod command;
mod configuration;

use std::path::PathBuf;
use std::{env, fs};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let directory = env::args_os().nth(1).map(PathBuf::from).context("usage: pages DIRECTORY")?;
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    command::manual(&directory)?;
    command::completions(&directory)?;
    configuration::manual(&directory)
}

//! `cargo xtask dist`: what is given to others, below `target/dist`. A Debian package, and a tarball for everybody else.

mod debian;
mod licences;
mod tarball;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, cargo};

pub(crate) use debian::Debian;

/// What every package has beside the program.
#[derive(Debug)]
struct Made {
    /// Manual pages and completions, `changelog.Debian` and `third-party.txt.gz`.
    dir: PathBuf,
    /// The workspace's version, with a mark of the commit where that is no release: it sorts before the release.
    version: String,
    /// In seconds since 1970: that of the newest commit, so that the same sources make the same files.
    date: u64,
}

/// Builds both, and says where they are.
pub(crate) fn run(options: &Debian) -> Result<()> {
    let program = workspace::build_release()?;
    let made = make()?;
    let package = debian::build(&made, options, &dir())?;
    let tarball = tarball::build(&made, &program)?;
    for file in [package, tarball] {
        println!("{}", file.strip_prefix(workspace::root()).unwrap_or(&file).display());
    }
    Ok(())
}

/// The Debian package alone, once for each version, in a directory of their own: they are for a test.
pub(crate) fn packages<const N: usize>(versions: [&str; N]) -> Result<[PathBuf; N]> {
    workspace::build_release()?;
    let made = make()?;
    let built = versions.iter().map(|version| debian::build(&made, &Debian::of(version), &dir().join("test")));
    let built: Vec<_> = built.collect::<Result<_>>()?;
    built.try_into().ok().context("a package is missing")
}

fn dir() -> PathBuf {
    workspace::root().join("target/dist")
}

fn make() -> Result<Made> {
    let dir = dir().join("made");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    workspace::run(cargo(["run", "--quiet", "--package", "pages", "--"]).arg(&dir))?;
    licences::write(&dir.join("third-party.txt"))?;
    let (version, date) = version()?;
    Ok(Made { dir, version, date })
}

/// A release is a commit with the tag `v` and the version. Sources without their history are taken for one.
fn version() -> Result<(String, u64)> {
    let version = env!("CARGO_PKG_VERSION");
    let Ok(commit) = git(&["show", "--no-patch", "--date=format-local:%Y%m%d%H%M%S", "--format=%ct %cd %h"]) else {
        let now = output(Command::new("date").arg("+%s"))?;
        return Ok((version.to_owned(), now.parse()?));
    };
    let mut words = commit.split(' ');
    let mut word = || words.next().context("git show says something else than it was asked for");
    let (seconds, time, hash) = (word()?, word()?, word()?);
    let tags = git(&["tag", "--points-at", "HEAD"])?;
    let version = match tags.lines().any(|tag| tag.strip_prefix('v') == Some(version)) {
        true => version.to_owned(),
        false => format!("{version}~git{time}.{hash}"),
    };
    Ok((version, seconds.parse()?))
}

fn git(args: &[&str]) -> Result<String> {
    output(Command::new("git").args(args).current_dir(workspace::root()).env("TZ", "UTC"))
}

/// What a command prints, without the last newline.
fn output(command: &mut Command) -> Result<String> {
    let shown = workspace::shown(command);
    let output = command.output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn is_on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("no directory")?)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

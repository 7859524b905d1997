//! The tarball: what belongs below /usr/local, for systems that are not Debian. Its name says what it needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Made, copy, dir, is_on_path, output};
use crate::workspace::{self, ROOT_PACKAGE, cargo};

const ARCH: &str = std::env::consts::ARCH;

/// Compiles the little that is not Rust for musl.
const MUSL_GCC: &str = "musl-gcc";

/// With a static program if one can be built here, and else with that of `target/release`.
pub(super) fn build(made: &Made, program: &Path) -> Result<PathBuf> {
    let (program, needs) = match cannot_be_static()? {
        None => (build_static()?, "static".to_owned()),
        Some(why) => {
            println!("not static: {why}");
            (program.to_owned(), format!("glibc{}", glibc_needed(&fs::read(program)?).context("no glibc in it")?))
        }
    };
    let name = format!("{ROOT_PACKAGE}-{}-{ARCH}-linux-{needs}", made.version);
    let top = dir().join(&name);
    if top.exists() {
        fs::remove_dir_all(&top)?;
    }
    fill(&top, made, &program)?;
    let tarball = dir().join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    // The same sources make the same file.
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--use-compress-program=gzip --no-name"]);
    tar.arg(format!("--mtime=@{}", made.date)).arg("--directory").arg(dir()).arg("--create").arg("--file");
    output(tar.arg(&tarball).arg(&name))?;
    fs::remove_dir_all(&top)?;
    Ok(tarball)
}

fn fill(top: &Path, made: &Made, program: &Path) -> Result<()> {
    let root = workspace::root();
    let doc = top.join("share/doc/pgvrrp");
    copy(program, &top.join("bin/pgvrrp"))?;
    let unit = top.join("lib/systemd/system/pgvrrp.service");
    copy(&root.join("packaging/pgvrrp.service"), &unit)?;
    fs::write(&unit, fs::read_to_string(&unit)?.replace("/usr/", "/usr/local/"))?;
    for path in entries(&made.dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let to = match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("1") => "share/man/man1",
            Some("5") => "share/man/man5",
            Some("fish") => "share/fish/vendor_completions.d",
            _ => continue,
        };
        copy(&path, &top.join(to).join(&*name))?;
    }
    copy(&made.dir.join("pgvrrp.bash"), &top.join("share/bash-completion/completions/pgvrrp"))?;
    copy(&made.dir.join("_pgvrrp"), &top.join("share/zsh/site-functions/_pgvrrp"))?;
    copy(&made.dir.join("third-party.txt"), &doc.join("third-party.txt"))?;
    for name in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&root.join(name), &doc.join(name))?;
    }
    for path in entries(&root.join("docs"))? {
        copy(&path, &doc.join("docs").join(path.file_name().unwrap_or_default()))?;
    }
    let monitoring = ["prometheus/scrape.yml", "prometheus/pgvrrp.rules.yml", "grafana/pgvrrp.json"];
    for name in ["pgvrrp.toml", "plain.toml"].into_iter().chain(monitoring) {
        copy(&root.join("packaging").join(name), &doc.join("examples").join(name))?;
    }
    Ok(())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn musl() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Why not, in words.
fn cannot_be_static() -> Result<Option<String>> {
    let target = musl();
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace::root()))?;
    if !Path::new(&sysroot).join("lib/rustlib").join(&target).exists() {
        return Ok(Some(format!("Rust's target {target} is not installed (rustup target add {target})")));
    }
    Ok((!is_on_path(MUSL_GCC)).then(|| format!("there is no {MUSL_GCC} (Debian package musl-tools)")))
}

fn build_static() -> Result<PathBuf> {
    let target = musl();
    let args = ["build", "--release", "--package", ROOT_PACKAGE, "--bin", "pgvrrp", "--target", &target];
    workspace::run(&mut cargo(args))?;
    Ok(workspace::target_dir()?.join(target).join("release/pgvrrp"))
}

/// The newest version of glibc's symbols that a program names.
fn glibc_needed(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_";
    let names = program.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    let versions = names.filter_map(|(at, _)| {
        let rest = program.get(at + MARK.len()..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        let numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.').map(str::parse::<u32>);
        numbers.collect::<Result<Vec<_>, _>>().ok()
    });
    let newest = versions.max()?;
    Some(newest.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts_by_number() {
        let program = b"\x7fELF\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0";
        assert_eq!(glibc_needed(program).as_deref(), Some("2.34"));
        assert_eq!(glibc_needed(b"\x7fELF\0nothing of that kind"), None);
    }
}

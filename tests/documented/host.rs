//! The files that the pages' configurations name, in a directory of their own.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use lab::certificates::Authority;
use lab::process::Account;
use tempfile::TempDir;

/// Where configurations name files.
const DIRECTORIES: [&str; 2] = ["/etc/pgvrrp/", "/etc/keepalived/"];

/// Stands for `/`.
pub(crate) struct Host {
    dir: TempDir,
    authority: Authority,
}

impl Host {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let authority = Authority::new(&dir.path().join("tls")).expect("an authority can be made");
        Self { dir, authority }
    }

    /// The same text with each file that it names in here, and made: certificates that are some, passwords, programs.
    pub(crate) fn at_home(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for directory in DIRECTORIES {
            let home = format!("{}{directory}", self.dir.path().display());
            text = text.replace(&format!("\"{directory}"), &format!("\"{home}"));
            for rest in text.split(&format!("\"{home}")).skip(1) {
                let name = rest.split('"').next().unwrap_or_default();
                self.make(&PathBuf::from(format!("{home}{name}")));
            }
        }
        text
    }

    fn make(&self, path: &Path) {
        fs::create_dir_all(path.parent().expect("it is below a directory")).expect("a directory can be made");
        let name = path.file_name().and_then(|name| name.to_str()).expect("it has a name");
        match name.rsplit_once('.') {
            Some((name, "pem")) if name.ends_with("ca") => {
                fs::copy(self.authority.certificate(), path).expect("a certificate can be copied");
            }
            Some((name, "pem" | "key")) => {
                let owner = Account { uid: nix::unistd::geteuid().as_raw(), gid: nix::unistd::getegid().as_raw() };
                let files = self.authority.files(name);
                let files = if files.cert.exists() {
                    files
                } else {
                    self.authority.issue(name, &["db1"], owner).expect("issued")
                };
                let file = if path.extension().is_some_and(|end| end == "key") { files.key } else { files.cert };
                fs::copy(file, path).expect("a file can be copied");
            }
            Some((_, "password")) => write(path, "secret\n", 0o600),
            _ => write(path, "#!/bin/sh\n", 0o755),
        }
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    let file = File::options().create(true).write(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file can be written");
}

//! The files that a keepalived.conf names: included ones, and check scripts.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// No file is longer. Keeps a mistaken path from being read for ever.
const MAX_LEN: u64 = 1 << 20;

/// Where files come from.
pub trait Files {
    /// The text of a regular file, with U+FFFD for what is not UTF-8.
    ///
    /// # Errors
    /// When it cannot be read, is no regular file, or is longer than 1 MiB.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a directory, in no particular order. Empty if it cannot be read.
    fn names(&self, dir: &Path) -> Vec<String>;
}

/// The file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        if !std::fs::metadata(path)?.is_file() {
            // Opening a FIFO would wait for its writer.
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 1 MiB"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// The files that a pattern with `*`, `?` and `[...]` names, sorted as glob(3) does. One without these names itself.
pub(super) fn matching(files: &dyn Files, pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(&*name));
            continue;
        }
        let pattern: Vec<char> = name.chars().collect();
        let in_dir = |dir: &PathBuf| {
            let mut names = files.names(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
            // As in the shell: a hidden file has to be asked for.
            names.retain(|name| {
                (!name.starts_with('.') || pattern.first() == Some(&'.'))
                    && is_match(&pattern, &name.chars().collect::<Vec<_>>())
            });
            names.sort_unstable();
            names.into_iter().map(|name| dir.join(name)).collect::<Vec<_>>()
        };
        found = found.iter().flat_map(in_dir).collect();
    }
    found
}

/// Goes back to the last `*` alone, which is enough, and takes time in proportion to the product of the lengths.
fn is_match(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star = None;
    while in_name < name.len() {
        match one(&pattern[at..], name[in_name]) {
            Some(length) => {
                at += length;
                in_name += 1;
            }
            None if pattern.get(at) == Some(&'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            None => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, in_name) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// How much of the pattern this one character matches.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', set @ ..] => {
            let negated = matches!(set, ['!' | '^', ..]);
            let set = &set[usize::from(negated)..];
            // A bracket that comes first is one of the set.
            let end = 1 + set.iter().skip(1).position(|c| *c == ']')?;
            let mut rest = &set[..end];
            let mut is_in = false;
            while let [first, tail @ ..] = rest {
                rest = match tail {
                    ['-', last, tail @ ..] => {
                        is_in |= (first..=last).contains(&&c);
                        tail
                    }
                    _ => {
                        is_in |= *first == c;
                        tail
                    }
                };
            }
            (is_in != negated).then_some(end + 2 + usize::from(negated))
        }
        ['*', ..] | [] => None,
        [first, ..] => (*first == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let is = |pattern: &str, name: &str| {
            is_match(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
        };
        for (pattern, name) in [
            ("*.conf", "a.conf"),
            ("*", ""),
            ("a*b*c", "aXbYbZc"),
            ("?.conf", "a.conf"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
            ("[]]x", "]x"),
            ("vrrp_[0-9]*", "vrrp_12"),
        ] {
            assert!(is(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.conf", "a.conf~"), ("?", ""), ("[a-c]x", "dx"), ("[!a]x", "ax"), ("[a", "a"), ("", "a")]
        {
            assert!(!is(pattern, name), "{pattern} {name}");
        }
        assert!(!is(&"*a".repeat(50), &"a".repeat(49)));
    }

    #[test]
    fn the_disk() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "c.txt", ".hidden.conf"] {
            std::fs::write(dir.path().join(name), b"x\xff").unwrap();
        }
        let found = matching(&Disk, &dir.path().join("*.conf"));
        assert_eq!(found, [dir.path().join("a.conf"), dir.path().join("b.conf")]);
        assert_eq!(Disk.read(&found[0]).unwrap(), "x\u{fffd}");
        assert!(Disk.read(dir.path()).is_err());
        assert!(Disk.names(&dir.path().join("nowhere")).is_empty());
    }
}

//! From a keepalived.conf to a configuration of pgvrrp's: text in, text and an explanation out.
//!
//! The way through: `lines` puts the file together (comments, `include`, parameters, `@id`), `tokens` and `tree` know
//! Keepalived's syntax, `read` what its keywords hold, `check` what a check script asks, `keywords` has an answer for
//! whatever is not converted, `patroni` reads what keepalived.conf does not have, `vips` decides, `render` writes.
//! Nothing is written that [`Config::parse`](crate::Config::parse) refuses (`accept`), and nothing is run.

mod accept;
mod check;
mod files;
mod keywords;
mod lines;
mod note;
mod patroni;
mod read;
mod render;
mod tokens;
mod tree;
mod vips;

use std::path::{Path, PathBuf};

pub use self::files::{Disk, Files};
pub use self::note::{Note, Verdict};

use self::note::Notes;

/// What is to be imported, and what is known beside it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the text comes from: `include` starts there, and messages name it.
    pub path: &'a Path,
    /// Its content.
    pub text: &'a str,
    /// What lines that begin with `@` are compared with: `keepalived --config-id`, by default this host's name up to
    /// the first dot.
    pub config_id: &'a str,
    /// The name of this host, where nothing else names the node.
    pub host: &'a str,
    /// Patroni's configuration, with where it comes from.
    pub patroni: Option<(&'a Path, &'a str)>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// pgvrrp's configuration, which `pgvrrp check` takes. `None` if not one instance can be converted.
    pub toml: Option<String>,
    /// What became of each keyword, in the order of the files.
    pub notes: Vec<Note>,
    /// What stands in the configuration as a placeholder, and where its value is found.
    pub to_fill_in: Vec<String>,
}

impl Imported {
    /// Whether nothing is left to be done by hand.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.toml.is_some() && self.to_fill_in.is_empty() && !self.notes.iter().any(|note| note.verdict.needs_a_hand())
    }

    /// The explanation, for people: a line for each keyword, and what is left to be done.
    #[must_use]
    pub fn explanation(&self) -> String {
        note::explain(self)
    }
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The text breaks Keepalived's syntax.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file, which may be an included one.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong, and what to do.
        message: String,
    },
    /// There is not one block of Keepalived's in it.
    #[error("{}: this is no keepalived.conf: it has none of its blocks, such as vrrp_instance", path.display())]
    NotKeepalived {
        /// The file.
        path: PathBuf,
    },
    /// It is a keepalived.conf without VRRP.
    #[error("{}: there is no vrrp_instance in it, so there is nothing for pgvrrp to do", path.display())]
    NoInstance {
        /// The file.
        path: PathBuf,
    },
}

/// Converts it.
///
/// # Errors
/// [`Failure`] if there is nothing that could be converted.
pub fn import(request: &Request<'_>, files: &dyn Files) -> Result<Imported, Failure> {
    if request.text.contains('\0') {
        return Err(Failure::NotKeepalived { path: request.path.to_owned() });
    }
    let mut notes = Notes::default();
    let lines = lines::gather(request, files, &mut notes)?;
    let statements = tree::parse(&lines, &notes)?;
    if !statements.iter().any(|statement| keywords::is_top(statement.keyword())) {
        return Err(Failure::NotKeepalived { path: request.path.to_owned() });
    }
    let source = read::source(&statements, &mut notes);
    if source.instances.is_empty() {
        return Err(Failure::NoInstance { path: request.path.to_owned() });
    }
    let patroni = request.patroni.map(|(path, text)| patroni::read(path, text, &mut notes));
    let vips = vips::all(&source, files, &mut notes);
    let rendered = render::render(request, &source, patroni.as_ref(), vips, &mut notes);
    Ok(Imported { toml: rendered.toml, notes: notes.finish(), to_fill_in: rendered.to_fill_in })
}

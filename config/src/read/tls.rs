//! `ca_file`, `cert_file` and `key_file`, in whichever table they stand.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::diagnose::{Report, Reported};
use crate::raw::Section;
use crate::tls::{Identity, Tls, read_authorities};

/// The keys of a TLS client.
pub(super) const KEYS: [&str; 3] = ["ca_file", "cert_file", "key_file"];

/// Reads the keys and looks into the files.
pub(super) fn read(section: &Section<'_>, base_dir: &Path, report: &mut Report) -> Result<Tls, Reported> {
    let ca_file = file(section, "ca_file", base_dir, report).and_then(|file| {
        let Some(file) = file else { return Ok(None) };
        let (span, path) = (file.span(), file.into_inner());
        match read_authorities(&path) {
            Ok(_) => Ok(Some(path)),
            Err(unusable) => Err(report.add(span, unusable.message, unusable.help)),
        }
    });
    let cert_file = file(section, "cert_file", base_dir, report);
    let key_file = file(section, "key_file", base_dir, report);
    let identity = match (cert_file?, key_file?) {
        (None, None) => None,
        (Some(cert_file), Some(key_file)) => {
            let span = key_file.span();
            let identity = Identity { cert_file: cert_file.into_inner(), key_file: key_file.into_inner() };
            match identity.read() {
                Ok(_) => Some(identity),
                Err(unusable) => return Err(report.add(span, unusable.message, unusable.help)),
            }
        }
        (Some(alone), None) => return Err(half(section, "cert_file", "key_file", &alone, report)),
        (None, Some(alone)) => return Err(half(section, "key_file", "cert_file", &alone, report)),
    };
    Ok(Tls { ca_file: ca_file?, identity })
}

/// A certificate is shown by proving to have its key.
fn half(section: &Section<'_>, has: &str, lacks: &str, alone: &Spanned<PathBuf>, report: &mut Report) -> Reported {
    if let Err(reported) = section.told_of(lacks) {
        return reported;
    }
    let span = section.key_span(has).unwrap_or_else(|| alone.span());
    report.add(span, format!("{has} without {lacks}"), format!("add {lacks}, or remove {has}"))
}

fn file(
    section: &Section<'_>,
    key: &str,
    base_dir: &Path,
    report: &mut Report,
) -> Result<Option<Spanned<PathBuf>>, Reported> {
    let Some(text) = section.text(key, &format!("\"/etc/pgvrrp/{key}.pem\""), report)? else { return Ok(None) };
    if text.get_ref().is_empty() {
        return Err(report.add(text.span(), format!("{key} must not be empty"), "write a path, or remove the key"));
    }
    Ok(Some(Spanned::new(text.span(), base_dir.join(text.get_ref()))))
}

//! The web page: one document without anything from elsewhere, which asks `/status` once a second and shows what it says.
//!
//! Its policy names the hashes of its own script and style, so a browser runs and applies nothing else, whatever somebody
//! has written into etcd; and the script makes nothing but text nodes of what it is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

/// Inside `<style>`.
const STYLE: &str = include_str!("page/page.css");

/// Inside `<script>`.
const SCRIPT: &str = include_str!("page/page.js");

/// The document.
pub(super) const HTML: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script>\n"
);

/// What a browser may do with it: run this script, apply this style, ask this daemon. Nobody may frame it.
pub(super) fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(digest(&SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser is given has to be what was hashed, and nothing in it may ask for more than the policy allows.
    #[test]
    fn the_document_needs_nothing_from_elsewhere() {
        let between = |open: &str, close: &str| {
            let (_, rest) = HTML.split_once(open).unwrap();
            rest.split_once(close).unwrap().0
        };
        assert_eq!((between("<script>", "</script>"), between("<style>", "</style>")), (SCRIPT, STYLE));
        assert_eq!((HTML.matches("<script").count(), HTML.matches("<style").count()), (1, 1));
        for foreign in ["http://", "https://", "src=", "@import", "url(", "style=", "innerHTML", "eval(", " on"] {
            let found = HTML.split("<script>").next().unwrap().contains(foreign) && foreign == " on"
                || foreign != " on" && HTML.contains(foreign);
            assert!(!found, "{foreign}");
        }
    }

    /// The hash of the empty text is well known.
    #[test]
    fn the_policy_has_the_hashes() {
        assert_eq!(STANDARD.encode(digest(&SHA256, b"")), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(policy().matches("'sha256-").count(), 2);
    }
}

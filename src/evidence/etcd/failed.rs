//! Why etcd did not answer: what kind of failure it is, and in which words.

use etcd_client::Error;

use crate::evidence::tls::{self, Trouble};

/// Why a question came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) words: String,
    pub(super) cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The token is not good any more: its time is over, or the users have changed since.
    Login,
    /// There was no connection, or it broke.
    Connection,
    /// Anything else.
    Other,
}

impl From<String> for Failed {
    fn from(words: String) -> Self {
        Self { words, cause: Cause::Other }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let cause = match &error {
            // gRPC code 16, Unauthenticated.
            Error::GRpcStatus(status) if status.code() as i32 == 16 || is_outdated(status.message()) => Cause::Login,
            error if is_broken(error) => Cause::Connection,
            _ => Cause::Other,
        };
        Self { words: describe(&error), cause }
    }
}

/// Whether a signed token is from before the last change of a user or role. etcd has no code for that of its own: as of 3.5
/// it is InvalidArgument, before that Unknown.
fn is_outdated(words: &str) -> bool {
    ["auth: revision in header is old", "revision of auth store is old"].iter().any(|old| words.contains(old))
}

/// Whether it is the connection that failed: what etcd itself says comes without a source.
pub(crate) fn is_broken(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if std::error::Error::source(status).is_some())
}

/// etcd's own words, without the client's wrapping.
pub(crate) fn describe(error: &Error) -> String {
    if let Some(trouble) = tls_trouble(error) {
        return trouble.words;
    }
    match error {
        Error::GRpcStatus(status) => {
            // gRPC code 7, PermissionDenied.
            let help = if status.code() as i32 == 7 {
                ": this etcd user lacks a right, see the README for the role it needs"
            } else {
                ""
            };
            format!("{}{help}", status.message())
        }
        Error::InvalidArgs(words) => words.clone(),
        other => other.to_string(),
    }
}

/// What is wrong with TLS, if that is what is wrong.
pub(crate) fn tls_trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::GRpcStatus(status) => tls::explain(status),
        Error::TransportError(error) => tls::explain(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_from_before_a_change_in_the_words_of_each_version() {
        assert!(is_outdated("auth: revision in header is old"));
        assert!(is_outdated("etcdserver: revision of auth store is old"));
        assert!(!is_outdated("etcdserver: permission denied"));
    }
}

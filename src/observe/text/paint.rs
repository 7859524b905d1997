//! A terminal's colours, of those eight that every one has; or none.

/// Whether there are colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// As it should be.
    pub(super) fn good(self, text: &str) -> String {
        self.with("1;32", text)
    }

    /// Not here, which is as it should be on most nodes.
    pub(super) fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// To be looked at.
    pub(super) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// To be looked at now.
    pub(super) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// What the eye may pass over.
    pub(super) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

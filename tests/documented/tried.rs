//! Where each command of the pages is run.

use super::pages::Typed;

/// How a line that the pages have is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// On a node of a cluster, in the order of the pages, by `tests/scenarios/documented.rs`, which expects success.
    OnANode,
    /// The same; it goes on until it is ended.
    Endless,
    /// It takes a system that is booted, which `cargo xtask package-test` has: `tests/scenarios/package.rs`.
    Booted,
    /// The same, after everything else, since it moves the VIP; what it asks is answered.
    AtLast,
    /// By another test, of this file.
    By(&'static str),
    /// Not at all, for this reason.
    Never(&'static str),
}

/// By how a line begins; the first that fits.
pub(crate) const LINES: [(&str, Tried); 25] = [
    ("pgvrrp watch", Tried::Endless),
    ("pgvrrp listen", Tried::Endless),
    ("ip monitor", Tried::Endless),
    ("/usr/bin/pgvrrp handover", Tried::Booted),
    ("pgvrrp doctor --peer", Tried::By("tests/interop/doctor.rs")),
    ("pgvrrp ", Tried::OnANode),
    ("sudo -u pgvrrp pgvrrp ", Tried::OnANode),
    ("curl ", Tried::OnANode),
    ("grep ", Tried::OnANode),
    ("install ", Tried::OnANode),
    ("useradd --system --uid ", Tried::By("tests/scenarios/container.rs")),
    ("useradd ", Tried::OnANode),
    ("podman ", Tried::By("tests/scenarios/container.rs")),
    ("tar ", Tried::By("tests/scenarios/container.rs")),
    ("sed ", Tried::OnANode),
    ("cat > ", Tried::OnANode),
    ("journalctl ", Tried::OnANode),
    ("patronictl list", Tried::OnANode),
    ("etcdctl --endpoints ", Tried::OnANode),
    ("etcdctl ", Tried::By("tests/scenarios/rights.rs")),
    ("patronictl switchover", Tried::AtLast),
    ("apt ", Tried::Booted),
    ("rm ", Tried::Booted),
    ("systemctl ", Tried::Booted),
    ("cargo ", Tried::Never("it is what runs the tests")),
];

/// How this line is tried. Nothing if nobody does.
pub(crate) fn tried(typed: &Typed) -> Option<Tried> {
    LINES.iter().find(|(begin, _)| typed.line.starts_with(begin)).map(|(_, tried)| *tried)
}

//! Standard output, where it is a terminal.

use std::env::var_os;
use std::io::{IsTerminal, stdout};

use clap::ColorChoice;

/// Whether to write in colours: `auto` does on a terminal that has them, unless NO_COLOR is set (no-color.org).
pub(crate) fn has_colours(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let is_set = var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let is_dumb = var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
            stdout().is_terminal() && !is_set && !is_dumb
        }
    }
}

/// Rows and columns; `None` if it is not known.
pub(crate) fn size() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes one winsize through a pointer to one, which lives through it.
    #[allow(unsafe_code, reason = "nix does not wrap this call")]
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_row > 0 && size.ws_col > 0).then(|| (size.ws_row.into(), size.ws_col.into()))
}

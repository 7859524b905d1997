//! `pgvrrp listen`: what is said on protocol 112, by whomever, one line each. It needs no configuration and disturbs nobody:
//! neither a daemon that runs here nor its neighbours.

pub(crate) mod ears;
mod line;

use std::io::{self, Write};

use pgvrrp_netlink::{Kernel, Link};
use vrrp::wire::heard::Heard;

use ears::Ears;

/// Why there is nothing to hear.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The kernel does not tell which interfaces there are.
    #[error("{0}")]
    Interfaces(#[from] pgvrrp_netlink::Error),
    /// No interface of that name.
    #[error("there is no interface {wanted} here; there are {there}")]
    NoInterface {
        /// What was asked for.
        wanted: String,
        /// The names that there are.
        there: String,
    },
    /// The packet socket.
    #[error("cannot listen: {0}. Listening takes CAP_NET_RAW: run this as root")]
    Socket(io::Error),
    /// Standard output.
    #[error("standard output: {0}")]
    Print(io::Error),
}

/// Prints what is heard on an interface, or on all of them, until it is ended by a signal or nobody reads any more.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn run(interface: Option<&str>, json: bool) -> Result<(), Failure> {
    let mut links = Kernel::open()?.links()?;
    let only = interface.map(|wanted| find(&links, wanted)).transpose()?;
    links.retain(|link| only.is_none_or(|only| link.index == only));
    let ears = Ears::open(only, &links).map_err(Failure::Socket)?;
    let mut out = io::stdout();
    loop {
        let frame = ears.hear().map_err(Failure::Socket)?;
        let Some(heard) = Heard::read(&frame.bytes) else { continue };
        // An interface that came later has a name, too.
        let name = nix::net::if_::if_indextoname(frame.link)
            .map_or_else(|_| frame.link.to_string(), |name| name.to_string_lossy().into_owned());
        let line = line::Line { interface: &name, ours: frame.ours, heard: &heard };
        let text = if json { line.json() } else { line.text() };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            done => done.map_err(Failure::Print)?,
        }
    }
}

fn find(links: &[Link], wanted: &str) -> Result<u32, Failure> {
    links.iter().find(|link| link.name == wanted).map(|link| link.index).ok_or_else(|| {
        let there: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        Failure::NoInterface { wanted: wanted.to_owned(), there: there.join(", ") }
    })
}

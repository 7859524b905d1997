//! Asks the kernel itself, which needs no program: has it nf_tables, and is there any table?

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

/// What the kernel says of nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NfTables {
    /// It has it, with so many tables.
    Tables(usize),
    /// It has not.
    Absent,
    /// This user may not ask.
    NotPermitted,
    /// It did not say.
    Unknown(String),
}

const HEADER: usize = 16;
/// NFNL_SUBSYS_NFTABLES in the upper byte.
const NEW_TABLE: u16 = 10 << 8;
const GET_TABLE: u16 = NEW_TABLE | 1;

/// The same question as that of `nft list tables`. Where nf_tables is a module, the kernel loads it to answer.
pub(super) fn ask() -> NfTables {
    match dump() {
        Ok(tables) => NfTables::Tables(tables),
        Err(Errno::EPERM | Errno::EACCES) => NfTables::NotPermitted,
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOENT) => NfTables::Absent,
        Err(error) => NfTables::Unknown(io::Error::from(error).to_string()),
    }
}

fn dump() -> Result<usize, Errno> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
    send(socket.as_raw_fd(), &question(), MsgFlags::empty())?;
    let mut buffer = vec![0; 64 << 10];
    let mut tables = 0;
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let (more, done) = count(&buffer[..length.min(buffer.len())])?;
        tables += more;
        if done || length == 0 {
            return Ok(tables);
        }
    }
}

/// An nlmsghdr and an nfgenmsg of no family: tables of all.
fn question() -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
    let mut bytes = Vec::from(20_u32.to_ne_bytes());
    bytes.extend(GET_TABLE.to_ne_bytes());
    bytes.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
    bytes.resize(20, 0);
    bytes
}

/// How many tables a datagram has, and whether it ends the answer.
fn count(mut datagram: &[u8]) -> Result<(usize, bool), Errno> {
    let mut tables = 0;
    while let Some((header, _)) = datagram.split_first_chunk::<HEADER>() {
        let [a, b, c, d, e, f, ..] = *header;
        let (length, kind) = (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok((tables, true)),
            libc::NLMSG_ERROR => {
                let code = datagram.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
                match code.map_or(0, i32::from_ne_bytes) {
                    0 => return Ok((tables, true)),
                    code => return Err(Errno::from_raw(code.wrapping_neg())),
                }
            }
            kind if kind == i32::from(NEW_TABLE) => tables += 1,
            _ => {}
        }
        if length < HEADER {
            return Err(Errno::EBADMSG);
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok((tables, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn tables_are_counted() {
        let table = message(NEW_TABLE, &[0; 12]);
        let done = message(u16::try_from(libc::NLMSG_DONE).unwrap(), &[0; 4]);
        assert_eq!(count(&[]), Ok((0, false)));
        assert_eq!(count(&table), Ok((1, false)));
        assert_eq!(count(&[table.clone(), table, done].concat()), Ok((2, true)));
    }

    #[test]
    fn errors_and_nonsense() {
        let error = |code: i32| message(u16::try_from(libc::NLMSG_ERROR).unwrap(), &code.to_ne_bytes());
        assert_eq!(count(&error(-libc::EPERM)), Err(Errno::EPERM));
        assert_eq!(count(&error(0)), Ok((0, true)));
        assert_eq!(count(&[0; HEADER]), Err(Errno::EBADMSG));
        let mut long = message(7, &[]);
        long[0..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(count(&long), Ok((0, false)));
    }
}

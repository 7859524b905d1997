//! One request to the kernel at a time, and all of its answer.
//!
//! The kernel carries out a netlink request inside `send` (that is where it may wait for its RTNL lock), so by the time
//! `recv` is called the answer is normally there. The receive time-out is for the case that it is not.
//!
//! An exchange that ends early, on a time-out or an error, leaves answers behind, and the rest of a dump, during which
//! the kernel refuses another one on the same socket (EBUSY). The next exchange therefore begins on a new socket.
//! That one belongs to the network namespace of the thread that makes it: threads that share a channel must share the
//! namespace.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::deadline::Deadline;
use crate::error::Failure;

/// The kernel fills dumps to the size of the reader's buffer, but never beyond 32 KiB.
pub(crate) const DATAGRAM: usize = 32 * 1024;

/// The longest that a single `recv` waits for a kernel that says nothing.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

/// How often a dump that was interrupted by changes, or an exchange that overran the socket, is begun anew.
const ATTEMPTS: u32 = 8;

/// `NLMSGERR_ATTR_MSG`: the attribute of an extended acknowledgement that holds the kernel's words.
const EXPLANATION: u16 = 1;

/// One message of an answer: its type and what follows its header.
pub(crate) type Each<'a> = &'a mut dyn FnMut(u16, &[u8]) -> Result<(), Failure>;

#[derive(Debug)]
pub(crate) struct Channel {
    socket: Socket,
    port: u32,
    protocol: isize,
    sequence: u32,
    /// Whether the last exchange was read to its end.
    clean: bool,
    input: Vec<u8>,
}

/// How one attempt at an exchange ended without an answer.
enum Broken {
    /// Worth beginning anew.
    Again,
    Failed(Failure),
}

impl<T: Into<Failure>> From<T> for Broken {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

impl Channel {
    pub(crate) fn open(protocol: isize) -> Result<Self, Failure> {
        let (socket, port) = open_socket(protocol)?;
        Ok(Self { socket, port, protocol, sequence: 0, clean: true, input: Vec::with_capacity(DATAGRAM) })
    }

    /// Sends one request, reports each message of the answer, returns when it is acknowledged.
    ///
    /// May send the request again after an overrun, so it must be harmless when carried out twice.
    pub(crate) fn request(
        &mut self,
        message: impl NetlinkSerializable,
        flags: u16,
        deadline: Deadline,
        mut each: impl FnMut(u16, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        repeat(deadline, || self.exchange(|sequence| numbered(&mut message, sequence), deadline, &mut each))
    }

    /// Sends several messages as one datagram, returns when the last of them is acknowledged or the first refused.
    ///
    /// `write` is given the number that they all have to bear, and asks for an acknowledgement in the last one only. What
    /// they do must depend on nothing that a socket before [`port`](Self::port) was asked for did; it is sent only once.
    pub(crate) fn batch(&mut self, write: impl FnOnce(u32) -> Vec<u8>, deadline: Deadline) -> Result<(), Failure> {
        self.ready()?;
        // A kernel that answers at all has answered when it has been sent; there is no need to wait longer than allowed.
        set_receive_timeout(&self.socket, deadline.left().clamp(Duration::from_millis(1), RECEIVE_TIMEOUT))?;
        match self.exchange(write, deadline, &mut |_, _| Ok(())) {
            Ok(()) => Ok(()),
            Err(Broken::Failed(Failure::Timeout(_))) => Err(Failure::Timeout(deadline.within().min(RECEIVE_TIMEOUT))),
            Err(Broken::Failed(failure)) => Err(failure),
            // The answer did not fit; there is no table here that could have been interrupted.
            Err(Broken::Again) => Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
        }
    }

    /// The kernel's number of the socket that the next exchange uses: another one than before if that has become useless.
    pub(crate) fn port(&mut self) -> Result<u32, Failure> {
        self.ready()?;
        Ok(self.port)
    }

    /// Reads a whole table; `decode` turns a message into a row, or into nothing if it is of no interest.
    pub(crate) fn dump<M: NetlinkSerializable, T>(
        &mut self,
        message: M,
        deadline: Deadline,
        mut decode: impl FnMut(u16, &[u8]) -> Result<Option<T>, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(message));
        message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        repeat(deadline, || {
            let mut rows = Vec::new();
            self.exchange(|sequence| numbered(&mut message, sequence), deadline, &mut |kind, payload| {
                rows.extend(decode(kind, payload)?);
                Ok(())
            })?;
            Ok(rows)
        })
    }

    /// A socket on which nothing is left of an exchange that ended early.
    fn ready(&mut self) -> Result<(), Failure> {
        if !self.clean {
            (self.socket, self.port) = open_socket(self.protocol)?;
            self.clean = true;
        }
        Ok(())
    }

    /// `write` makes the request, all of whose messages bear the number that it is given.
    fn exchange(
        &mut self,
        write: impl FnOnce(u32) -> Vec<u8>,
        deadline: Deadline,
        each: Each<'_>,
    ) -> Result<(), Broken> {
        self.ready()?;
        self.clean = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send_to(&write(self.sequence), &SocketAddr::new(0, 0), 0)?;

        let mut answer = Answer::to(self.sequence);
        loop {
            match receive(&self.socket, &mut self.input) {
                Ok(Received::Datagram) => {}
                Ok(Received::Foreign) => self.input.clear(),
                Ok(Received::Truncated) => return Err(Failure::Malformed("a datagram beyond 32 KiB".into()).into()),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => return Err(Failure::Timeout(RECEIVE_TIMEOUT).into()),
                    Some(libc::ENOBUFS) => return Err(Broken::Again),
                    _ => return Err(error.into()),
                },
            }
            if let Some(ending) = answer.take(&self.input, each)? {
                self.clean = true;
                return match ending {
                    Ending::Complete => Ok(()),
                    Ending::Interrupted => Err(Broken::Again),
                    Ending::Refused(failure) => Err(failure.into()),
                };
            }
            if deadline.passed() {
                return Err(Failure::Timeout(deadline.within()).into());
            }
        }
    }
}

fn numbered<M: NetlinkSerializable>(message: &mut NetlinkMessage<M>, sequence: u32) -> Vec<u8> {
    message.header.sequence_number = sequence;
    written(message)
}

/// A message as it goes to the kernel.
pub(crate) fn written<M: NetlinkSerializable>(message: &mut NetlinkMessage<M>) -> Vec<u8> {
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The answer to one request, as far as it has been read.
pub(crate) struct Answer {
    sequence: u32,
    interrupted: bool,
}

/// How an answer ended.
pub(crate) enum Ending {
    Complete,
    /// It was a dump, and the table changed meanwhile: what was read may be neither the old nor the new one.
    Interrupted,
    Refused(Failure),
}

impl Answer {
    pub(crate) fn to(sequence: u32) -> Self {
        Self { sequence, interrupted: false }
    }

    /// Reports each message of a datagram; how the answer ended, if this was the end of it.
    pub(crate) fn take(&mut self, datagram: &[u8], each: Each<'_>) -> Result<Option<Ending>, Failure> {
        for message in Messages::new(datagram) {
            let message = message?;
            // Left over from an exchange that was given up: not ours.
            if message.sequence_number() != self.sequence {
                continue;
            }
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            if let NLMSG_DONE | NLMSG_ERROR = message.message_type() {
                return Ok(Some(match refusal(&message)? {
                    Some(failure) => Ending::Refused(failure),
                    None if self.interrupted => Ending::Interrupted,
                    None => Ending::Complete,
                }));
            }
            each(message.message_type(), message.payload())?;
        }
        Ok(None)
    }
}

fn repeat<T>(deadline: Deadline, mut attempt: impl FnMut() -> Result<T, Broken>) -> Result<T, Failure> {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Ok(answer) => return Ok(answer),
            Err(Broken::Failed(failure)) => return Err(failure),
            Err(Broken::Again) if deadline.passed() => break,
            Err(Broken::Again) => {}
        }
    }
    Err(Failure::Unsettled)
}

/// A socket and the number that the kernel knows it by: that of the process, if no other socket has it.
fn open_socket(protocol: isize) -> Result<(Socket, u32), Failure> {
    let mut socket = Socket::new(protocol)?;
    let port = socket.bind_auto()?.port_number();
    // Short acknowledgements, and with the kernel's words in them where it has any.
    socket.set_cap_ack(true)?;
    socket.set_ext_ack(true)?;
    set_receive_timeout(&socket, RECEIVE_TIMEOUT)?;
    Ok((socket, port))
}

/// In whole milliseconds; none at all would mean to wait for ever.
fn set_receive_timeout(socket: &Socket, timeout: Duration) -> Result<(), Failure> {
    let timeout = TimeVal::milliseconds(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
    Ok(setsockopt(socket, sockopt::ReceiveTimeout, &timeout).map_err(io::Error::from)?)
}

/// What one `recv` brought.
pub(crate) enum Received {
    /// A whole datagram from the kernel, now in the buffer.
    Datagram,
    /// One from the kernel that is larger than the buffer.
    Truncated,
    /// One from another process, to be ignored: whoever may send it could as well change the addresses, but it is not
    /// the kernel's word.
    Foreign,
}

impl Received {
    pub(crate) fn of(length: usize, limit: usize, sender: &SocketAddr) -> Self {
        if sender.port_number() != 0 {
            Self::Foreign
        } else if length > limit {
            Self::Truncated
        } else {
            Self::Datagram
        }
    }
}

/// Receives one datagram into `buffer`, whose capacity is the limit.
pub(crate) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<Received> {
    buffer.clear();
    let (length, sender) = socket.recv_from(buffer, libc::MSG_TRUNC)?;
    Ok(Received::of(length, buffer.len(), &sender))
}

/// The messages of one datagram, each with its length checked.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match NetlinkBuffer::new_checked(self.rest) {
            Ok(message) => {
                // NLMSG_ALIGN; the last one need not be padded.
                let aligned = (message.length() as usize).next_multiple_of(4).min(self.rest.len());
                self.rest = &self.rest[aligned..];
                Some(Ok(message))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error.into()))
            }
        }
    }
}

/// The kernel's verdict in an NLMSG_ERROR or NLMSG_DONE: nothing when all is well. Both begin with a negative errno or 0.
fn refusal(message: &NetlinkBuffer<&[u8]>) -> Result<Option<Failure>, Failure> {
    let payload = message.payload();
    if payload.is_empty() && message.message_type() == NLMSG_DONE {
        return Ok(None);
    }
    let Some(code) = ErrorBuffer::new_checked(payload)?.code() else {
        return Ok(None);
    };
    // Attributes follow the code, and in an NLMSG_ERROR first the header of the request.
    let attributes = if message.message_type() == NLMSG_ERROR { 4 + 16 } else { 4 };
    let explanation = payload
        .get(attributes..)
        .filter(|_| message.flags() & NLM_F_ACK_TLVS != 0)
        .and_then(|attributes| {
            NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == EXPLANATION)
        })
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    Ok(Some(Failure::Refused { errno: code.get().saturating_abs(), explanation }))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_sys::protocols::NETLINK_ROUTE;

    use super::*;
    use crate::link;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A message of this type and sequence number, padded to a multiple of 4.
    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 16 + payload.len()];
        bytes[16..].copy_from_slice(payload);
        let mut header = NetlinkBuffer::new(&mut bytes);
        header.set_length(16 + u32::try_from(payload.len()).unwrap());
        header.set_message_type(kind);
        header.set_flags(flags);
        header.set_sequence_number(sequence);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// Asks for the loopback interface; the names that were answered.
    fn ask(channel: &mut Channel) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        let question = RouteNetlinkMessage::GetLink(link::listing(Some("lo")));
        channel.request(question, 0, Deadline::after(LIMIT), |_, payload| {
            names.extend(link::Link::decode(payload)?.map(|link| link.name));
            Ok(())
        })?;
        Ok(names)
    }

    #[test]
    fn a_datagram_is_cut_into_its_messages() {
        let mut datagram = message(20, 0, 1, b"abcde");
        datagram.extend(message(21, 0, 2, b""));
        datagram.extend(&message(22, 0, 3, b"xyz")[..19]);
        let messages: Vec<_> = Messages::new(&datagram).map(|m| m.unwrap()).collect();
        let seen: Vec<_> = messages.iter().map(|m| (m.message_type(), m.sequence_number(), m.payload())).collect();
        assert_eq!(seen, [(20, 1, &b"abcde"[..]), (21, 2, b""), (22, 3, b"xyz")]);
    }

    #[test]
    fn a_wrong_length_ends_the_datagram_with_an_error() {
        let whole = message(20, 0, 1, b"abcd");
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut datagram = whole.clone();
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            let messages: Vec<_> = Messages::new(&datagram).collect();
            assert!(matches!(&messages[..], [Err(Failure::Malformed(_))]), "length {length}");
        }
        for cut in 1..whole.len() {
            assert!(Messages::new(&whole[..cut]).all(|m| m.is_err()), "cut to {cut}");
        }
    }

    #[test]
    fn a_refusal_is_read_with_the_kernels_words() {
        let mut payload = (-22_i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend([8, 0, 1, 0, b'n', b'o', b'!', 0]);
        let verdict = |flags, payload: &[u8]| {
            let bytes = message(NLMSG_ERROR, flags, 1, payload);
            refusal(&NetlinkBuffer::new_checked(&bytes[..]).unwrap())
        };
        let explained = |flags| match verdict(flags, &payload) {
            Ok(Some(Failure::Refused { errno: 22, explanation })) => explanation,
            other => panic!("{other:?}"),
        };
        assert_eq!(explained(NLM_F_ACK_TLVS).as_deref(), Some("no!"));
        assert_eq!(explained(0), None);
        assert!(matches!(verdict(NLM_F_ACK_TLVS, &payload[..4]), Ok(Some(Failure::Refused { errno: 22, .. }))));
        assert!(matches!(verdict(0, &[0; 4]), Ok(None)));
        assert!(verdict(0, &[0; 3]).is_err());
    }

    #[test]
    fn late_answers_to_an_earlier_request_are_passed_over() {
        let mut channel = Channel::open(NETLINK_ROUTE).unwrap();
        assert_eq!(ask(&mut channel).unwrap(), ["lo"]);
        // A request that is refused, one that is answered, and nobody who reads what came of them.
        for (kind, payload) in [(libc::RTM_DELADDR, &[2, 32, 0, 0, 0, 0, 0, 0][..]), (libc::RTM_GETLINK, &[0; 16])] {
            let stale = message(kind, NLM_F_REQUEST | NLM_F_ACK, 7_000_000, payload);
            channel.socket.send_to(&stale, &SocketAddr::new(0, 0), 0).unwrap();
        }
        assert_eq!(ask(&mut channel).unwrap(), ["lo"]);
    }

    #[test]
    fn nobody_but_the_kernel_is_believed() {
        let mut channel = Channel::open(NETLINK_ROUTE).unwrap();
        let mut victim = SocketAddr::new(0, 0);
        channel.socket.get_address(&mut victim).unwrap();
        let forged = message(NLMSG_ERROR, 0, channel.sequence + 1, &(-libc::EPERM).to_ne_bytes());
        let other = Socket::new(NETLINK_ROUTE).unwrap();
        other.send_to(&forged, &victim, 0).expect("send to another process (needs CAP_NET_ADMIN)");
        assert_eq!(ask(&mut channel).unwrap(), ["lo"]);
    }

    #[test]
    fn an_exchange_that_was_given_up_does_not_disturb_the_next() {
        let mut channel = Channel::open(NETLINK_ROUTE).unwrap();
        assert!(matches!(
            channel.request(
                RouteNetlinkMessage::GetLink(link::listing(Some("lo"))),
                0,
                Deadline::after(LIMIT),
                |_, _| Err(Failure::Malformed("given up in the middle".into())),
            ),
            Err(Failure::Malformed(_))
        ));
        assert!(!channel.clean);
        assert_eq!(ask(&mut channel).unwrap(), ["lo"]);
        assert!(channel.clean);
    }
}

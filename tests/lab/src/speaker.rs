//! A voice without a router: advertisements of IPv4 with whatever is in them, again and again.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::recorder::Form;
use crate::segment::Segment;

/// The group of VRRP over IPv4: RFC 9568, section 5.1.1.2.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// VRRP's IP protocol number.
const VRRP: u8 = 112;

/// What is said.
#[derive(Clone, Debug)]
pub struct Speech {
    /// The virtual router.
    pub id: u8,
    /// The sender's priority.
    pub priority: u8,
    /// What it says of its interval.
    pub interval: Duration,
    /// The virtual addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// What the checksum covers.
    pub checksum: Form,
}

impl Speech {
    /// The message from this address to the group, by RFC 9568, section 5.2.
    fn message(&self, source: Ipv4Addr) -> Vec<u8> {
        let centiseconds = (self.interval.as_millis() / 10) as u16;
        let mut message = vec![0x31, self.id, self.priority, self.addresses.len() as u8];
        message.extend(centiseconds.to_be_bytes());
        message.extend([0, 0]);
        message.extend(self.addresses.iter().flat_map(Ipv4Addr::octets));
        let mut sum: u32 = match self.checksum {
            Form::Message => 0,
            Form::PseudoHeader => {
                let ends = [source.octets(), GROUP.octets()].concat();
                words(&ends) + u32::from(VRRP) + message.len() as u32
            }
            Form::Wrong => 1,
        };
        sum += words(&message);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        message[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        message
    }
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

/// Speaks until it is dropped.
#[derive(Debug)]
pub struct Speaker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// Says this from a place of the segment, at once and then every so often.
    ///
    /// # Errors
    /// When there is no socket for it.
    pub fn start(segment: &Segment, place: usize, speech: &Speech, every: Duration) -> Result<Self> {
        let open = || -> Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))))?;
            socket.set_multicast_ttl_v4(255)?;
            socket.set_multicast_if_v4(&Segment::ip(place))?;
            socket.set_multicast_loop_v4(false)?;
            Ok(socket)
        };
        let socket = segment.namespace(place).run(open)?.context("cannot speak VRRP")?;
        let message = speech.message(Segment::ip(place));
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = thread::Builder::new().name("speaker".to_owned()).spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                // A cut cable is for the listener to find.
                let _ = socket.send_to(&message, &SocketAddrV4::new(GROUP, 0).into());
                thread::sleep(every);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

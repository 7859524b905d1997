//! What the client's interface hears of who is where.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};

use crate::stage::{CLIENT, Stage};

/// What a frame says.
#[derive(Debug)]
pub(crate) enum Frame {
    /// An advertisement of VRRP left with this MAC.
    Advert { ipv4: bool, mac: String },
    /// An address is at this MAC: an ARP message's sender, a neighbour advertisement's target, a solicitation's source.
    Claim { address: IpAddr, mac: String },
}

/// All that has been heard since it was begun.
pub(crate) struct Frames(Receiver<Vec<u8>>);

impl Frames {
    pub(crate) fn watch(stage: &Stage) -> Self {
        let all = Protocol::from(i32::from(u16::try_from(libc_eth_p_all()).unwrap().to_be()));
        let mut socket = stage.on(CLIENT, || Socket::new(Domain::PACKET, Type::RAW, Some(all)).unwrap());
        let (heard, all) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length) = socket.read(&mut buffer) {
                if heard.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self(all)
    }

    pub(crate) fn all(&self) -> Vec<Frame> {
        self.0.try_iter().flat_map(|bytes| parse(&bytes)).collect()
    }
}

/// `ETH_P_ALL`.
const fn libc_eth_p_all() -> i32 {
    3
}

fn parse(frame: &[u8]) -> Vec<Frame> {
    let mac = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let source = || mac(&frame[6..12]);
    let v6 = |at: usize| IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap()));
    match (&frame[12..14], frame.get(54)) {
        ([0x08, 0x06], _) => {
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[28..32]).unwrap());
            vec![Frame::Claim { address: address.into(), mac: mac(&frame[22..28]) }]
        }
        ([0x08, 0x00], _) if frame[23] == 112 => vec![Frame::Advert { ipv4: true, mac: source() }],
        ([0x86, 0xdd], _) if frame[20] == 112 => vec![Frame::Advert { ipv4: false, mac: source() }],
        // The target with its option, or the sender's own MAC where there is none.
        ([0x86, 0xdd], Some(136)) if frame[20] == 58 => {
            vec![Frame::Claim { address: v6(62), mac: frame.get(80..86).map_or_else(source, mac) }]
        }
        ([0x86, 0xdd], Some(135)) if frame[20] == 58 && frame.len() >= 86 => {
            vec![Frame::Claim { address: v6(22), mac: mac(&frame[80..86]) }]
        }
        _ => Vec::new(),
    }
}

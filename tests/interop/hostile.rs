//! A neighbour that means harm: what it sends changes no state, is counted under what is wrong with it, and does not keep the
//! Active from advertising in time.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use lab::plain::Plain;
use lab::router::{Make, Router};
use lab::{Segment, Time};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{MsgFlags, sendto};
use pgvrrp::transport::link_address;
use socket2::{Domain, Socket, Type};

use crate::cells::{Cell, Family};
use crate::stage::{SECOND, Stage, binary, is_ours, play};

/// The virtual router that is attacked.
const ID: u8 = 51;

/// Where the neighbour is.
const HOSTILE: usize = 2;

/// Packets of each kind, when they come one by one.
const FEW: usize = 20;

/// A picture is published at least this often.
const PUBLISHED: Duration = Duration::from_millis(350);

/// In a flood, for so long and so many a second.
const FLOOD: Duration = Duration::from_secs(4);
const RATE: u32 = 50_000;

/// An IPv4 packet in a frame to the group, which is right unless it is bent: 14 bytes of Ethernet, 20 of IPv4, 8 of VRRP and
/// an address.
fn frame(bend: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0x01, 0x00, 0x5e, 0x00, 0x00, 0x12, 2, 0, 0, 0, 0, 0x66, 0x08, 0x00];
    frame.extend([0x45, 0xc0, 0, 32, 0, 1, 0, 0, 255, 112, 0, 0]);
    frame.extend(Segment::ip(HOSTILE).octets());
    frame.extend([224, 0, 0, 18]);
    frame.extend([0x31, ID, 50, 1, 0, 10, 0, 0, 10, 0, 20, ID]);
    // Right before it is bent: what is bent afterwards is one thing alone.
    sign(&mut frame);
    bend(&mut frame);
    let header = 14..14 + usize::from(frame[14] & 0x0f) * 4;
    frame[24..26].fill(0);
    let sum = checksum(&frame[header]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The message's own checksum, RFC 9568's form.
fn sign(frame: &mut [u8]) {
    let message = 14 + usize::from(frame[14] & 0x0f) * 4;
    frame[message + 6..message + 8].fill(0);
    let sum = checksum(&frame[message..]);
    frame[message + 6..message + 8].copy_from_slice(&sum.to_be_bytes());
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn set_length(frame: &mut [u8], length: u8) {
    frame[17] = length;
}

/// What is wrong with it, by the metric's label, and the frame.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let signed = |bend: &dyn Fn(&mut Vec<u8>)| {
        frame(|frame| {
            bend(frame);
            sign(frame);
        })
    };
    vec![
        ("ttl", frame(|frame| frame[22] = 254)),
        ("checksum", frame(|frame| frame[36] = 255)),
        ("version", signed(&|frame| frame[34] = 0x41)),
        ("version2", signed(&|frame| frame[34] = 0x21)),
        ("type", signed(&|frame| frame[34] = 0x32)),
        (
            "truncated",
            frame(|frame| {
                frame.truncate(14 + 20 + 7);
                set_length(frame, 27);
            }),
        ),
        (
            "length",
            frame(|frame| {
                frame.extend([0; 4]);
                set_length(frame, 36);
            }),
        ),
        (
            "no_addresses",
            signed(&|frame| {
                frame[37] = 0;
                frame.truncate(14 + 20 + 8);
                set_length(frame, 28);
            }),
        ),
        ("interval_zero", signed(&|frame| frame[39] = 0)),
        ("vrid_zero", signed(&|frame| frame[35] = 0)),
        ("other_virtual_router", signed(&|frame| frame[35] = ID + 1)),
    ]
}

/// Right in every way but that they are no friend's: a lower priority, with padding behind the packet or options in front of
/// the message, and a goodbye in another's name.
fn right() -> Vec<Vec<u8>> {
    let options = frame(|frame| {
        frame[14] = 0x46;
        set_length(frame, 36);
        frame.splice(34..34, [1, 1, 1, 0]);
    });
    let goodbye = frame(|frame| {
        frame[36] = 0;
        sign(frame);
    });
    vec![frame(|_| {}), frame(|frame| frame.extend([0; 14])), options, goodbye]
}

/// Sends from the hostile place: `count` frames in turn, `rate` a second.
fn send(segment: &Segment, frames: &[Vec<u8>], count: usize, rate: u32) -> Result<()> {
    let namespace = segment.namespace(HOSTILE);
    namespace.run(|| -> Result<()> {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let to = link_address(0, if_nametoindex("eth0")?)?;
        let start = Time::now();
        for (sent, frame) in frames.iter().cycle().take(count).enumerate() {
            let due = Duration::from_secs(1) * u32::try_from(sent)? / rate;
            // A thousand to a slice of sleep at the most.
            let early = due.saturating_sub(start.elapsed());
            if early > Duration::from_millis(1) {
                thread::sleep(early);
            }
            sendto(std::os::fd::AsRawFd::as_raw_fd(&socket), frame, &to, MsgFlags::empty())?;
        }
        let reached = count as f64 / start.elapsed().as_secs_f64();
        println!("{count} frames, {reached:.0} a second");
        // A machine with much else to do cannot send more.
        ensure!(reached > 0.1 * f64::from(rate), "too slow to be a flood: {reached:.0} a second");
        Ok(())
    })?
}

fn vip() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 20, ID)
}

fn held() -> String {
    format!("pgvrrp_vip_held{{vip=\"{}\"}}", vip())
}

fn transitions() -> String {
    format!("pgvrrp_vrrp_master_transitions_total{{vip=\"{}\"}}", vip())
}

fn discarded(reason: &str) -> String {
    format!("pgvrrp_packets_discarded_total{{reason=\"{reason}\"}}")
}

fn metric(stage: &Stage, place: usize, series: &str) -> Result<f64> {
    stage.router(place, |router| match router {
        Router::Pgvrrp(plain) => plain.metric(series),
        _ => Ok(0.0),
    })
}

/// Ours in two places, the first one Active.
fn begin(stage: &Stage) -> Result<Cell> {
    let cell = Cell::new(ID, Family::V4, Duration::from_millis(100));
    stage.start(0, Make::Pgvrrp, &[cell.with_priority(200)])?;
    stage.wait_holder(std::slice::from_ref(&cell), 0, 5 * SECOND)?;
    stage.start(1, Make::Pgvrrp, &[cell.with_priority(100)])?;
    stage.calm(std::slice::from_ref(&cell), 0)?;
    Ok(cell)
}

#[test]
fn what_is_wrong_is_counted_and_changes_nothing() {
    if !is_ours() {
        return;
    }
    play(3, |stage| {
        let cell = begin(stage)?;
        for (reason, frame) in kinds() {
            let count = |place| metric(stage, place, &discarded(reason));
            let before = [count(0)?, count(1)?];
            send(&stage.segment, &[frame], FEW, 1000)?;
            thread::sleep(PUBLISHED);
            for place in [0, 1] {
                let more = count(place)? - before[place];
                ensure!(more == FEW as f64, "place {place} counts {more} of {FEW} for {reason}");
            }
        }
        // What is right has its effect: the Active answers, and stays what it is.
        send(&stage.segment, &right(), 4 * FEW, 1000)?;
        thread::sleep(SECOND);
        stage.wait_holder(std::slice::from_ref(&cell), 0, SECOND)?;
        let became = |place| metric(stage, place, &transitions());
        ensure!((became(0)?, became(1)?) == (1.0, 0.0), "a state has changed");
        Ok(())
    });
}

/// Without a recorder: it would hear the flood as well, and take half of a small machine for that.
#[test]
fn a_flood_keeps_no_advert_back_and_wakes_no_backup() -> Result<()> {
    if !is_ours() {
        return Ok(());
    }
    let segment = Segment::start(3)?;
    let cell = Cell::new(ID, Family::V4, Duration::from_millis(100));
    let start = |place, priority| Plain::start(&segment, place, &[cell.with_priority(priority)], &binary());
    let (active, began) = (start(0, 200)?, Time::now());
    while active.metric(&held()).unwrap_or_default() != 1.0 {
        ensure!(began.elapsed() < 5 * SECOND, "nobody is Active");
        thread::sleep(Duration::from_millis(20));
    }
    let routers = [active, start(1, 100)?];
    let [active, backup] = &routers;
    let frames: Vec<_> = kinds().into_iter().map(|(_, frame)| frame).collect();
    let sent = || active.metric(&format!("pgvrrp_adverts_total{{vip=\"{}\",kind=\"sent\"}}", vip()));
    thread::sleep(PUBLISHED);
    let (before, since) = (sent()?, Time::now());
    send(&segment, &frames, (RATE * u32::try_from(FLOOD.as_secs())?) as usize, RATE)?;
    let flooded = since.elapsed().as_secs_f64();
    thread::sleep(PUBLISHED);
    let (more, passed) = (sent()? - before, since.elapsed().as_secs_f64());
    let due = passed / cell.interval.as_secs_f64();
    println!("{more} adverts in {passed:.2} s, a flood in {flooded:.2} s of them");
    // The pictures at either end are up to two intervals old.
    ensure!(more >= due - 3.0, "{more} adverts where {due:.1} were due");
    for router in &routers {
        ensure!(
            router.metric(&transitions())? == f64::from(u8::from(std::ptr::eq(router, active))),
            "a state has changed"
        );
    }
    let counted = |router: &Plain| router.metric(&discarded("checksum"));
    println!("wrong checksums counted: {} and {}", counted(active)?, counted(backup)?);
    ensure!(backup.metric(&held())? == 0.0 && active.metric(&held())? == 1.0, "it has moved");
    Ok(())
}

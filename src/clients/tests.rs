//! Lists on the wire and in the book.

use std::net::IpAddr;
use std::time::Duration;

use vrrp::time::Instant;

use super::*;
use crate::evidence::etcd::keyring::Secret;

const VIP: &str = "10.0.20.155";

fn client(number: u32) -> Client {
    let [_, _, high, low] = number.to_be_bytes();
    Client {
        local: SocketAddr::new(VIP.parse().unwrap(), 5432),
        remote: SocketAddr::new(IpAddr::from([10, 0, high, low]), 40_000),
    }
}

fn client_v6(number: u16) -> Client {
    Client {
        local: "[fd00:20::155]:6432".parse().unwrap(),
        remote: SocketAddr::new(IpAddr::from([0xfd00, 0x20, 0, 0, 0, 0, 1, number]), 40_000),
    }
}

fn header(number: u64) -> Header {
    Header { revision: 70, number }
}

fn book() -> Book {
    Book::new([vec![VIP.parse().unwrap(), "fd00:20::155".parse().unwrap()]])
}

fn at(second: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(second)
}

/// The parts of a list of these clients.
fn parts(number: u64, clients: &[Client]) -> Vec<Part> {
    let secret = Secret::random().unwrap();
    let datagrams = write(header(number), VIP.parse().unwrap(), &secret, clients);
    assert!(datagrams.iter().all(|datagram| datagram.len() <= message::LONGEST));
    datagrams.iter().map(|datagram| read(datagram, |_| Ok(secret.clone())).unwrap()).collect()
}

#[test]
fn a_list_is_read_as_it_was_written() {
    let clients: Vec<_> = (0..1000).map(client).chain((0..200).map(client_v6)).collect();
    let parts = parts(7, &clients);
    assert!(parts.iter().all(|part| part.header == header(7) && usize::from(part.parts) == parts.len()));
    let mut read: Vec<_> = parts.into_iter().flat_map(|part| part.clients).collect();
    read.sort_by_key(|client| (client.remote.is_ipv6(), client.remote));
    assert_eq!(read, clients);
}

#[test]
fn that_there_is_nobody_is_told() {
    let [part] = parts(1, &[]).try_into().unwrap();
    assert_eq!((part.part, part.parts, part.clients), (0, 1, vec![]));
}

#[test]
fn no_more_than_the_most_are_listed() {
    let clients: Vec<_> = (0..20_000).map(client).collect();
    let mut book = book();
    for part in parts(1, &clients) {
        book.take(0, "db1", part, at(1)).unwrap();
    }
    assert_eq!(book.heirloom(0).len(), MOST);
}

#[test]
fn only_the_secret_of_the_lock_signs() {
    let (right, wrong) = (Secret::random().unwrap(), Secret::random().unwrap());
    let [datagram] = write(header(1), VIP.parse().unwrap(), &right, &[client(1)]).try_into().unwrap();
    assert!(read(&datagram, |_| Ok(right.clone())).is_ok());
    assert_eq!(read(&datagram, |_| Ok(wrong)), Err(Refusal::Forged));
    for position in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[position] ^= 1;
        let refused = read(&changed, |_| Ok(right.clone()));
        assert!(matches!(refused, Err(Refusal::Forged | Refusal::Malformed)), "byte {position}: {refused:?}");
    }
}

#[test]
fn no_bytes_are_too_odd() {
    let secret = Secret::random().unwrap();
    let whole = write(header(1), VIP.parse().unwrap(), &secret, &[client(1), client(2)]).remove(0);
    for length in 0..whole.len() {
        assert!(read(&whole[..length], |_| Ok(secret.clone())).is_err(), "cut off after {length} bytes");
    }
    assert_eq!(read(&[0xff; 1400], |_| Ok(secret.clone())), Err(Refusal::Malformed));
    let asked = read(&whole, |header| Err(if header.number == 1 { Refusal::Stranger } else { Refusal::Old }));
    assert_eq!(asked, Err(Refusal::Stranger), "who may sign is asked first");
}

#[test]
fn a_list_counts_when_it_is_whole_and_what_came_of_the_next_counts_beside_it() {
    let mut book = book();
    let (first, second): (Vec<_>, Vec<_>) = ((0..300).map(client).collect(), (200..500).map(client).collect());
    for part in parts(1, &first) {
        book.take(0, "db1", part, at(1)).unwrap();
    }
    assert_eq!(book.received(0).1.unwrap().clients, 300);
    let mut next = parts(2, &second);
    let last = next.pop().unwrap();
    let missing = last.clients.len();
    next.into_iter().for_each(|part| book.take(0, "db1", part, at(2)).unwrap());
    assert_eq!(
        book.received(0),
        (1, Some(crate::node::io::ReceivedList { from: "db1".into(), clients: 300, at: at(1) }))
    );
    assert_eq!(book.heirloom(0).len(), 300 + 200 - missing, "each once, from both");
    book.take(0, "db1", last, at(3)).unwrap();
    assert_eq!(book.heirloom(0).as_ref(), second);
    assert_eq!(book.received(0).0, 2);
    book.told(0);
    assert!(book.heirloom(0).is_empty() && book.received(0).1.is_none());
}

#[test]
fn what_is_old_changes_nothing() {
    let mut book = book();
    let take = |book: &mut Book, number, revision, clients: &[Client]| {
        let mut part = parts(number, clients).remove(0);
        part.header.revision = revision;
        book.take(0, "db1", part, at(number))
    };
    take(&mut book, 5, 70, &[client(5)]).unwrap();
    assert_eq!(take(&mut book, 4, 70, &[client(4)]), Err(Refusal::Old));
    assert_eq!(take(&mut book, 5, 70, &[client(4)]), Err(Refusal::Old), "the same again");
    assert_eq!(book.heirloom(0).as_ref(), [client(5)]);
    take(&mut book, 1, 71, &[client(1)]).unwrap();
    assert_eq!(book.heirloom(0).as_ref(), [client(1)], "another lock's numbers begin anew");
}

#[test]
fn nobody_is_told_of_from_an_address_that_is_not_the_vips() {
    let mut book = book();
    let mut part = parts(1, &[client(1), client(2)]).remove(0);
    part.clients[1].local = "10.0.20.11:5432".parse().unwrap();
    assert_eq!(book.take(0, "db1", part, at(1)), Err(Refusal::OtherAddress));
    assert!(book.heirloom(0).is_empty());
    assert_eq!(book.take(1, "db1", parts(1, &[]).remove(0), at(1)), Err(Refusal::OtherAddress), "no such VIP");
}

//! Lists of clients, as datagrams. They are signed here, so that what is behind the signature is looked at.

use std::net::IpAddr;
use std::time::Duration;

use pgvrrp::clients::{Book, Header, MOST, read, sign, write};
use pgvrrp::evidence::etcd::keyring::Secret;
use vrrp::time::Instant;

/// Takes the bytes for a datagram, and again for one without its signature.
pub fn run(bytes: &[u8]) {
    let secret = Secret::from([7; 32]);
    assert!(read(bytes, |_| Ok(secret.clone())).is_err(), "nobody guesses a signature");
    let Ok(part) = read(&sign(bytes.to_vec(), &secret), |_| Ok(secret.clone())) else { return };
    let vip = part.clients.first().map_or_else(|| IpAddr::from([10, 0, 20, 155]), |client| client.local.ip());
    let again = write(part.header, vip, &secret, &part.clients);
    let read = again.iter().map(|datagram| read(datagram, |_| Ok(secret.clone())).expect("it was written here"));
    let clients: Vec<_> = read.flat_map(|part| part.clients).collect();
    assert_eq!(clients, part.clients);
    // Whatever comes after another, the book stays within its bounds.
    let mut book = Book::new([vec![vip]]);
    let now = Instant::ZERO + Duration::from_secs(1);
    for number in 0..3 {
        let header = Header { number: part.header.number.saturating_add(number), ..part.header };
        let _ = book.take(0, "db1", pgvrrp::clients::Part { header, ..part.clone() }, now);
        assert!(book.heirloom(0).len() <= 2 * MOST);
    }
}

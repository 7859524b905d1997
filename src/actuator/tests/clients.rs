//! Whom it tells that a former holder is gone, and whom it keeps waiting.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use super::*;
use crate::clients::{Header, Part};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 30, 1));

fn up() {
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
}

/// A book with these clients in it.
fn book(clients: Vec<Client>) -> Arc<Mutex<Book>> {
    let mut book = Book::new([vec![ADDRESS]]);
    write(&mut book, clients);
    Arc::new(Mutex::new(book))
}

fn write(book: &mut Book, clients: Vec<Client>) {
    let part = Part { header: Header { revision: 70, number: 1 }, part: 0, parts: 1, clients };
    book.take(0, "db2", part, clock::now()).unwrap();
}

fn phantom(port: u16) -> Client {
    Client { local: SocketAddr::new(ADDRESS, 5432), remote: SocketAddr::from(([127, 0, 0, 1], port)) }
}

fn tickle(actuator: &mut Actuator, first: usize, last: bool, within: Duration) -> Vec<Outcome> {
    let not_after = clock::now() + within;
    while within.is_zero() && clock::now() <= not_after {}
    actuator.carry_out(vec![Output::Tickle { vip: VIP, first, count: 16, last, not_after }])
}

#[test]
fn who_is_served_here_is_not_told() {
    let shared = book(vec![phantom(1)]);
    let book = shared.clone();
    with_book(shared, async move |mut actuator, _| {
        up();
        bind(&mut actuator, Duration::from_secs(60));
        let listener = TcpListener::bind(SocketAddr::new(ADDRESS, 5432)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        let known = Client { local: served.local_addr().unwrap(), remote: client.local_addr().unwrap() };
        *book.lock().unwrap() = Book::new([vec![ADDRESS]]);
        write(&mut book.lock().unwrap(), vec![phantom(1), known, phantom(2)]);
        let outcomes = tickle(&mut actuator, 0, false, Duration::from_secs(1));
        assert_eq!(outcomes, [Outcome::Tickled { vip: VIP, sent: 2, failed: 0, total: 3 }]);
        drop((client, served));
    });
}

#[test]
fn nobody_is_told_too_late() {
    with_book(book(vec![phantom(1)]), async |mut actuator, _| {
        up();
        bind(&mut actuator, Duration::from_secs(60));
        assert_eq!(tickle(&mut actuator, 0, true, Duration::ZERO), []);
    });
}

#[test]
fn the_list_is_forgotten_when_all_have_been_told_for_the_last_time() {
    let shared = book((1..=20).map(phantom).collect());
    let book = shared.clone();
    with_book(shared, async move |mut actuator, _| {
        up();
        bind(&mut actuator, Duration::from_secs(60));
        let told = |sent| [Outcome::Tickled { vip: VIP, sent, failed: 0, total: 20 }];
        assert_eq!(tickle(&mut actuator, 0, false, Duration::from_secs(1)), told(16));
        assert_eq!(tickle(&mut actuator, 16, false, Duration::from_secs(1)), told(4));
        assert_eq!(book.lock().unwrap().heirloom(0).len(), 20);
        assert_eq!(tickle(&mut actuator, 0, true, Duration::from_secs(1)), told(16));
        assert_eq!(tickle(&mut actuator, 16, true, Duration::from_secs(1)), told(4));
        assert_eq!(book.lock().unwrap().heirloom(0).len(), 0);
    });
}

#[test]
fn new_connections_wait_and_are_let_in_again() {
    with_actuator(async |mut actuator, _| {
        up();
        bind(&mut actuator, Duration::from_secs(60));
        let listener = TcpListener::bind(SocketAddr::new(ADDRESS, 5432)).unwrap();
        let address = listener.local_addr().unwrap();
        let connects = || TcpStream::connect_timeout(&address, QUIET).map(drop).map_err(|error| error.kind());
        let drop_syns = Output::DropSyns { vip: VIP, lifetime: Duration::from_secs(60) };
        assert_eq!(actuator.carry_out(vec![drop_syns]), [Outcome::SynsDropped { vip: VIP, works: true }]);
        assert_eq!(connects(), Err(io::ErrorKind::TimedOut));
        assert_eq!(actuator.carry_out(vec![Output::AcceptSyns { vip: VIP }]), []);
        // Soon: by another thread.
        assert!((0..50).any(|_| connects() == Ok(())));
    });
}

//! Between the daemon and a real server: what the server says comes late, in pieces, changed, or is something else.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// How often a connection looks whether the manner has changed.
const LOOK: Duration = Duration::from_millis(10);

/// What becomes of a connection, also of those that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Both ways as it comes.
    Faithful,
    /// Accepted, and then nothing passes in either direction, until the manner is another: then all that had to wait does.
    Stalled,
    /// The server's bytes come singly, so long after one another.
    Bytewise(Duration),
    /// One in so many of the server's bytes is another one.
    Garbled(u32),
    /// The server is not asked. The client gets this, once or for as long as it reads, and is hung up on.
    Says(&'static [u8], bool),
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    ended: AtomicBool,
}

impl Shared {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits while nothing may pass; then says how what was read is to pass.
    fn wait_turn(&self) -> Manner {
        while self.manner() == Manner::Stalled && !self.ended() {
            thread::sleep(LOOK);
        }
        self.manner()
    }
}

/// A port of the loopback interface of one node that leads to a server. Ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on `port` of 127.0.0.1; each connection leads to `server`. Faithful at first.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(namespace: &Namespace, port: u16, server: SocketAddr) -> Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = namespace.run(listen)?.with_context(|| format!("cannot listen on port {port}"))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { manner: Mutex::new(Manner::Faithful), ended: AtomicBool::new(false) });
        let (of, namespace) = (Arc::clone(&shared), namespace.clone());
        let accepts = thread::spawn(move || {
            let mut connections = Vec::new();
            while !of.ended() {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(LOOK);
                    continue;
                };
                let (of, namespace) = (Arc::clone(&of), namespace.clone());
                connections.retain(|connection: &JoinHandle<()>| !connection.is_finished());
                // A client or server that hangs up is nobody's concern here.
                connections.push(thread::spawn(move || drop(serve(client, server, &namespace, &of))));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Ok(Self { shared, accepts: Some(accepts) })
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = self.accepts.take().map(JoinHandle::join);
    }
}

fn serve(mut client: TcpStream, server: SocketAddr, namespace: &Namespace, shared: &Shared) -> io::Result<()> {
    client.set_nonblocking(false)?;
    prepare(&client)?;
    if let Manner::Says(words, again) = shared.manner() {
        client.write_all(words)?;
        while again && !shared.ended() && matches!(shared.manner(), Manner::Says(..)) {
            client.write_all(words)?;
        }
        return Ok(());
    }
    let connect = || TcpStream::connect_timeout(&server, Duration::from_secs(1));
    let server = namespace.run(connect).map_err(io::Error::other)??;
    prepare(&server)?;
    thread::scope(|scope| {
        let asks = scope.spawn(|| pump(&client, &server, shared, false));
        let answered = pump(&server, &client, shared, true);
        asks.join().unwrap_or(Ok(())).and(answered)
    })
}

fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(LOOK))?;
    socket.set_write_timeout(Some(Duration::from_secs(1)))
}

/// One direction, until somebody hangs up; then both are over.
fn pump(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, is_answer: bool) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    let result = loop {
        if shared.ended() || matches!(shared.manner(), Manner::Says(..)) {
            break Ok(());
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => break Err(error),
        };
        let bytes = &mut buffer[..length];
        let passed = match shared.wait_turn() {
            Manner::Bytewise(pause) if is_answer => bytes.chunks(1).try_for_each(|byte| {
                thread::sleep(pause);
                to.write_all(byte)
            }),
            Manner::Garbled(one_in) if is_answer => {
                for byte in bytes.iter_mut() {
                    if fastrand::u32(..one_in) == 0 {
                        *byte = fastrand::u8(..);
                    }
                }
                to.write_all(bytes)
            }
            _ => to.write_all(bytes),
        };
        if passed.is_err() {
            break passed;
        }
    };
    // What was written is still delivered.
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
    result
}

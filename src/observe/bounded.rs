//! A listener that serves so many connections at a time and no more, each for so long and no longer: whoever opens
//! thousands keeps others from looking for a while, and takes no descriptor from the daemon.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// The listener.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
    longest: Duration,
}

/// A connection, and its place among those that are served.
#[derive(Debug)]
pub(super) struct Admitted {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Bounded {
    /// Serves `most` connections at a time, each for `longest`.
    pub(super) fn new(listener: TcpListener, most: usize, longest: Duration) -> Self {
        Self { listener, permits: Arc::new(Semaphore::new(most)), longest }
    }
}

impl Listener for Bounded {
    type Io = Admitted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Admitted, SocketAddr) {
        loop {
            // Never closed, so this only waits.
            let Ok(permit) = self.permits.clone().acquire_owned().await else { continue };
            let (stream, from) = Listener::accept(&mut self.listener).await;
            return (Admitted { stream, end: Box::pin(sleep(self.longest)), _permit: permit }, from);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Admitted {
    /// `Err` once its time is over. Asked in both directions: whoever reads nothing leaves the server writing, not reading.
    fn in_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Admitted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;
    use std::path::Path;
    use std::thread;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::Builder;
    use tokio::sync::watch;

    use super::*;
    use crate::history::Keeper;
    use crate::hooks::Board;
    use crate::node::status::Status;
    use crate::observe::{Observed, http};

    const MOST: usize = 4;
    const LONGEST: Duration = Duration::from_millis(700);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The daemon's HTTP server on a thread of its own, until the tests end.
    fn serve(longest: Duration) -> SocketAddr {
        let (told, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                told.send(listener.local_addr().expect("its address")).expect("the test waits");
                let (_status, status) = watch::channel(Arc::new(Status::default()));
                let history = Arc::new(Keeper::open(Path::new("/nonexistent"), "", "db1", std::iter::empty()));
                let app = http::app(Observed { status, history, hooks: Board::default() });
                let _ = axum::serve(Bounded::new(listener, MOST, longest), app).await;
            });
        });
        address.recv().expect("the server has started")
    }

    fn connect(to: SocketAddr) -> Client {
        let client = Client::connect(to).expect("the server listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        client.set_write_timeout(Some(LONGEST / 2)).expect("a time limit");
        client
    }

    fn ask(to: SocketAddr, request: &str) -> String {
        let mut client = connect(to);
        let mut answer = Vec::new();
        client.write_all(request.as_bytes()).expect("a request");
        client.read_to_end(&mut answer).expect("an answer, and its end");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn is_served(to: SocketAddr) {
        let answer = ask(to, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("pgvrrp_"), "{answer}");
    }

    #[test]
    fn a_time_that_is_over_is_so_in_both_directions() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let _client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("it listens");
            let (mut admitted, _) = Bounded::new(listener, MOST, Duration::from_millis(20)).accept().await;
            admitted.write_all(b"in time").await.expect("there is time left");
            sleep(Duration::from_millis(40)).await;
            assert_eq!(admitted.write_all(b"late").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert_eq!(admitted.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn whoever_reads_nothing_is_left() {
        let server = serve(LONGEST);
        let readers: Vec<_> = (0..MOST).map(|_| connect(server)).collect();
        for mut reader in readers.iter() {
            // As many questions as it takes until the server cannot write any more, and so reads no more.
            let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
            while reader.write_all(many.as_bytes()).is_ok() {}
        }
        is_served(server);
        drop(readers);
    }

    #[test]
    fn whoever_says_nothing_is_left() {
        let server = serve(Duration::from_millis(50));
        // Each of them gets its turn, and its time, before the one that asks.
        let silent: Vec<_> = (0..200).map(|_| connect(server)).collect();
        is_served(server);
        drop(silent);
    }

    #[test]
    fn a_request_without_an_end_is_refused() {
        let server = serve(LONGEST);
        let mut client = connect(server);
        let line = format!("X-Long: {}\r\n", "x".repeat(10_000));
        let _ = client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n");
        let sent = (0..2000).take_while(|_| client.write_all(line.as_bytes()).is_ok()).count();
        assert!(sent < 2000, "20 MB of headers were taken");
        is_served(server);
    }

    #[test]
    fn nothing_can_be_changed() {
        let server = serve(LONGEST);
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let request =
                format!("{method} /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            assert!(ask(server, &request).starts_with("HTTP/1.1 405"), "{method}");
        }
    }
}

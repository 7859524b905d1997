//! A connection on which only so much is read for a question. A message of the protocol names its own length, up to 2 GB,
//! and is kept until it is complete: whatever it is that listens where PostgreSQL should could have all of our memory.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// For a question or the greeting, TLS included. What PostgreSQL has to say is a hundredth of it.
pub(crate) const LIMIT: usize = 256 * 1024;

/// What is left of [`LIMIT`]; shared by the connection, which uses it up, and the session, which asks.
#[derive(Clone, Debug)]
pub(crate) struct Allowance(Arc<AtomicUsize>);

impl Allowance {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(LIMIT)))
    }

    /// The next question has all of it again.
    pub(crate) fn renew(&self) {
        self.0.store(LIMIT, Ordering::Relaxed);
    }
}

/// Fails once more was read than is allowed.
#[derive(Debug)]
pub(crate) struct Bounded<S> {
    stream: S,
    allowance: Allowance,
}

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S, allowance: Allowance) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        let left = self.allowance.0.load(Ordering::Relaxed);
        if read > left {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("more than {LIMIT} bytes of answer: this is no PostgreSQL"),
            )));
        }
        // A question that is asked meanwhile has less than all of it, by what came before: nobody is the worse for it.
        self.allowance.0.store(left - read, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
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
    use tokio::io::{AsyncReadExt, repeat};

    use super::*;

    #[tokio::test]
    async fn no_more_than_is_allowed_until_the_next_question() {
        let allowance = Allowance::new();
        let mut stream = Bounded::new(repeat(b'Z'), allowance.clone());
        let mut answer = vec![0; LIMIT];
        stream.read_exact(&mut answer).await.unwrap();
        assert!(stream.read_u8().await.is_err());
        allowance.renew();
        stream.read_exact(&mut answer).await.unwrap();
        assert!(stream.read_u8().await.is_err());
    }
}

//! A small HTTP/1.1 client for etcd's gateway, Patroni's REST API and the daemon's own port: one request per connection,
//! over a socket that the caller may have opened in another network namespace.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer with its whole body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

/// What to ask.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// From the slash on.
    pub path: &'a str,
    /// JSON, or nothing.
    pub body: &'a str,
    /// An etcd token, sent as `Authorization`.
    pub token: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// A GET.
    #[must_use]
    pub const fn get(path: &'a str) -> Self {
        Self { method: "GET", path, body: "", token: None }
    }

    /// A POST of JSON.
    #[must_use]
    pub const fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: "POST", path, body, token: None }
    }
}

/// Asks `server` and waits for the whole answer. `limit` holds for the connection and for each wait for data.
///
/// # Errors
/// Whatever the network does, and an answer that is not HTTP. A status such as 503 is an answer, not an error.
pub fn request(server: SocketAddr, request: Request<'_>, limit: Duration) -> io::Result<Response> {
    let mut stream = open(server, request, limit)?;
    let mut body = Vec::new();
    stream.body.read_to_end(&mut body)?;
    Ok(Response { status: stream.status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// An answer that never ends, read line by line (etcd's watch).
#[derive(Debug)]
pub struct Stream {
    /// The status code.
    pub status: u16,
    body: Body,
    line: Vec<u8>,
}

impl Stream {
    /// The next line. `Ok(None)` means that the server has ended the answer.
    ///
    /// # Errors
    /// `WouldBlock` when `limit` has passed without a byte; the part of a line that is there already is kept.
    pub fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut byte = [0];
        while self.body.read(&mut byte)? > 0 {
            if byte == *b"\n" {
                let line = String::from_utf8_lossy(&self.line).into_owned();
                self.line.clear();
                return Ok(Some(line));
            }
            self.line.extend(byte);
        }
        Ok(None)
    }
}

/// Asks `server` and returns as soon as the head of the answer is there.
///
/// # Errors
/// As [`request`].
pub fn open(server: SocketAddr, request: Request<'_>, limit: Duration) -> io::Result<Stream> {
    let mut socket = TcpStream::connect_timeout(&server, limit)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(limit))?;
    socket.set_write_timeout(Some(limit))?;
    let Request { method, path, body, token } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    if !body.is_empty() {
        head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    if let Some(token) = token {
        head += &format!("Authorization: {token}\r\n");
    }
    socket.write_all(format!("{head}\r\n{body}").as_bytes())?;

    let mut reader = BufReader::new(socket);
    let status_line = read_line(&mut reader)?;
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| strange(&status_line))?;
    let mut framing = Framing::UntilClose;
    loop {
        let line = read_line(&mut reader)?.to_ascii_lowercase();
        let Some((name, value)) = line.split_once(':') else { break };
        match (name, value.trim()) {
            ("transfer-encoding", "chunked") => framing = Framing::Chunked { left: 0, first: true },
            ("content-length", n) => framing = Framing::Exact(n.parse().map_err(|_| strange(&line))?),
            _ => {}
        }
    }
    Ok(Stream { status, body: Body { reader, framing }, line: Vec::new() })
}

#[derive(Debug)]
enum Framing {
    UntilClose,
    Exact(u64),
    Chunked { left: u64, first: bool },
}

/// The body of an answer, freed of its framing.
#[derive(Debug)]
struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
}

impl Read for Body {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.framing {
            Framing::UntilClose => self.reader.read(buf),
            Framing::Exact(left) => {
                let n = self.reader.by_ref().take(*left).read(buf)?;
                *left -= n as u64;
                Ok(n)
            }
            Framing::Chunked { left, first } => {
                if *left == 0 {
                    if !std::mem::take(first) {
                        // The line end that closes a chunk.
                        read_line(&mut self.reader)?;
                    }
                    let size = read_line(&mut self.reader)?;
                    let digits = size.split(';').next().unwrap_or_default().trim();
                    *left = u64::from_str_radix(digits, 16).map_err(|_| strange(&size))?;
                    if *left == 0 {
                        self.framing = Framing::Exact(0);
                        return Ok(0);
                    }
                }
                let n = self.reader.by_ref().take(*left).read(buf)?;
                *left -= n as u64;
                Ok(n)
            }
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}

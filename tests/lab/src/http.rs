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
            ("transfer-encoding", "chunked") => framing = Framing::Chunked { left: 0, at: ChunkPart::Size },
            ("content-length", n) => framing = Framing::Exact(n.parse().map_err(|_| strange(&line))?),
            _ => {}
        }
    }
    Ok(Stream { status, body: Body { reader, framing, line: Vec::new() }, line: Vec::new() })
}

#[derive(Debug)]
enum Framing {
    UntilClose,
    Exact(u64),
    Chunked { left: u64, at: ChunkPart },
}

/// What comes next of an answer in chunks.
#[derive(Clone, Copy, Debug)]
enum ChunkPart {
    Size,
    Data,
    /// The line end that closes a chunk.
    End,
}

/// The body of an answer, freed of its framing. A wait that was in vain loses nothing, wherever in the framing it was.
#[derive(Debug)]
struct Body {
    reader: BufReader<TcpStream>,
    framing: Framing,
    /// The part of a line of the framing that has come.
    line: Vec<u8>,
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
            Framing::Chunked { left, at } => loop {
                match at {
                    ChunkPart::Size => {
                        let size = whole_line(&mut self.reader, &mut self.line)?;
                        let digits = size.split(';').next().unwrap_or_default().trim();
                        *left = u64::from_str_radix(digits, 16).map_err(|_| strange(&size))?;
                        if *left == 0 {
                            self.framing = Framing::Exact(0);
                            return Ok(0);
                        }
                        *at = ChunkPart::Data;
                    }
                    ChunkPart::Data => {
                        let n = self.reader.by_ref().take(*left).read(buf)?;
                        *left -= n as u64;
                        if *left == 0 {
                            *at = ChunkPart::End;
                        }
                        return Ok(n);
                    }
                    ChunkPart::End => {
                        whole_line(&mut self.reader, &mut self.line)?;
                        *at = ChunkPart::Size;
                    }
                }
            },
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    whole_line(reader, &mut Vec::new())
}

/// A line, of which `begun` may have come already; there it stays if the rest does not come now.
fn whole_line(reader: &mut impl BufRead, begun: &mut Vec<u8>) -> io::Result<String> {
    if reader.read_until(b'\n', begun)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = String::from_utf8_lossy(begun).trim_end().to_owned();
    begun.clear();
    Ok(line)
}

fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::WouldBlock;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// etcd's watch is silent between two events, and a wait can end anywhere in the framing.
    #[test]
    fn waits_in_vain_lose_nothing_of_an_answer_in_chunks() {
        const CHUNKS: &str = "6\r\nfirst\n\r\n7\r\nsecond\n\r\n4\r\nthi\n\r\n0\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let limit = Duration::from_millis(20);
        let serves = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for byte in CHUNKS.bytes() {
                thread::sleep(2 * limit);
                socket.write_all(&[byte]).unwrap();
            }
        });
        let mut stream = open(server, Request::get("/"), limit).unwrap();
        let (mut lines, mut vain) = (Vec::new(), 0);
        loop {
            match stream.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(e) if e.kind() == WouldBlock => vain += 1,
                Err(e) => panic!("after {lines:?}: {e}"),
            }
        }
        assert_eq!(lines, ["first", "second", "thi"]);
        assert!(vain > CHUNKS.len() / 2, "{vain} waits in vain are too few for a test of them");
        serves.join().unwrap();
    }
}

//! The control socket: `pgvrrp status` connects, names a form, and is sent the picture in it.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::text;
use crate::node::status::Status;

/// How long a client may take to ask, and to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients served at a time; more wait in the listen queue.
const CLIENTS: usize = 8;

/// The forms in which the picture is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Form {
    fn byte(self) -> u8 {
        match self {
            Self::Text => b't',
            Self::Json => b'j',
        }
    }
}

/// Where the socket is.
pub fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

/// Opens the socket, in place of one that a predecessor left. The caller holds the runtime directory's lock, so nobody
/// listens on that any more. Readable and writable by owner and group.
///
/// # Errors
/// As the file system reports them.
pub fn listen(runtime_dir: &Path) -> io::Result<UnixListener> {
    let path = path(runtime_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves clients for ever.
pub async fn serve(listener: UnixListener, status: watch::Receiver<Arc<Status>>) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let status = status.borrow().clone();
        tokio::spawn(async move {
            // A client that asks nothing or reads nothing is left; it learns so from the end of the stream.
            let _ = timeout(PATIENCE, answer(stream, &status)).await;
            drop(permit);
        });
    }
}

async fn answer(mut stream: UnixStream, status: &Status) -> io::Result<()> {
    let mut form = [0];
    stream.read_exact(&mut form).await?;
    let answer = match form {
        [b'j'] => json(status),
        _ => text::render(status),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The picture as JSON, with a newline.
pub(super) fn json(status: &Status) -> String {
    // Numbers, strings, lists and maps with string keys: there is nothing that JSON could refuse.
    let mut json = serde_json::to_string_pretty(status).unwrap_or_default();
    json.push('\n');
    json
}

/// Asks a running daemon.
///
/// # Errors
/// If none runs there, or it does not answer within 2 s.
pub fn ask(runtime_dir: &Path, form: Form) -> io::Result<String> {
    let mut stream = StdUnixStream::connect(path(runtime_dir))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&[form.byte()])?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection without an answer"));
    }
    Ok(answer)
}

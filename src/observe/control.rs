//! The control socket: a client connects and sends one byte. `pgvrrp status` names the form in which it wants the picture;
//! `pgvrrp handover` asks the process to make room for the next one; `pgvrrp drain` and `undrain` name a VIP behind it, and
//! end that with a newline. So does `pgvrrp log-level` with a level.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{UnixCredentials, getsockopt};
use pgvrrp_config::LogLevel;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::info;

use super::text::{self, Look};
use super::{Observed, logging};
use crate::history::Keeper;
use crate::node::status::Status;
use crate::process::Process;
use crate::reactor::Command;
use crate::reload::{self, Wanted};
use crate::{clock, drained};

/// How long a client may take to ask, and to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Clients served at a time; more wait in the listen queue.
const CLIENTS: usize = 8;

/// Longest name of a VIP that is listened to, in bytes.
const LONGEST_NAME: u64 = 4096;

/// Stands for the level of the start.
const RESET: &str = "reset";

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The picture, for people.
    Text,
    /// The same in a terminal's colours. A daemon that does not know this one answers without.
    Colour,
    /// The picture, for programs.
    Json,
    /// The moves that are remembered, in JSON. A daemon that does not know the question answers with the picture for people.
    History,
    /// That the process ends and leaves the VIP for the next one. Answered by a line that begins with [`ACCEPTED`] or
    /// [`REFUSED`]; a daemon that does not know the question answers with the picture.
    HandOver,
    /// That the VIP of this name leaves this node and stays away until [`Ask::Undrain`], or the daemon's end if it is not to
    /// be kept over that. Answered by a line that begins with [`DRAINING`], [`UNDRAINING`] or [`REFUSED`].
    Drain {
        /// Which VIP.
        name: String,
        /// Over a restart of the daemon, too.
        keep: bool,
    },
    /// That it may come back.
    Undrain {
        /// Which VIP.
        name: String,
    },
    /// That the configuration is read again. Answered by [`RELOADED`] and a line for each thing that changes, or by
    /// [`REFUSED`].
    Reload,
    /// From which level on lines are logged; to be changed first, unless it is `Show`. Answered by a line that begins with
    /// [`LEVEL`] or [`REFUSED`].
    LogLevel(LevelChange),
}

/// What is to become of the log's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelChange {
    /// It stays.
    Show,
    /// This one.
    Set(LogLevel),
    /// As at the start.
    Reset,
}

/// Begins the answer to [`Ask::HandOver`].
pub const ACCEPTED: &str = "handing over";
/// Begins the answer to [`Ask::Drain`].
pub const DRAINING: &str = "draining";
/// Begins the answer to [`Ask::Undrain`].
pub const UNDRAINING: &str = "undraining";
/// Begins the answer to [`Ask::LogLevel`].
pub const LEVEL: &str = "log level ";
/// Begins the answer to [`Ask::Reload`].
pub const RELOADED: &str = "reloaded\n";
/// Begins the other one; why, follows.
pub const REFUSED: &str = "refused: ";

impl Ask {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text => b"t".into(),
            Self::Colour => b"c".into(),
            Self::Json => b"j".into(),
            Self::History => b"m".into(),
            Self::HandOver => b"h".into(),
            Self::Drain { name, keep: false } => format!("d{name}\n").into(),
            Self::Drain { name, keep: true } => format!("D{name}\n").into(),
            Self::Undrain { name } => format!("u{name}\n").into(),
            Self::LogLevel(LevelChange::Show) => b"l\n".into(),
            Self::LogLevel(LevelChange::Set(level)) => format!("l{}\n", level.as_str()).into(),
            Self::LogLevel(LevelChange::Reset) => format!("l{RESET}\n").into(),
            Self::Reload => b"r".into(),
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
pub async fn serve(
    listener: UnixListener,
    runtime_dir: PathBuf,
    observed: Observed,
    commands: mpsc::Sender<Command>,
    reloads: mpsc::Sender<Wanted>,
) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (status, history) = (observed.seen(), observed.history.clone());
        let (runtime_dir, commands, reloads) = (runtime_dir.clone(), commands.clone(), reloads.clone());
        tokio::spawn(async move {
            // A client that asks nothing or reads nothing is left; it learns so from the end of the stream.
            let (mut stream, mut ask) = (stream, [0]);
            if let Ok(Ok(_)) = timeout(PATIENCE, stream.read_exact(&mut ask)).await {
                let answer = answer(ask, stream, &runtime_dir, &status, &history, &commands, &reloads);
                let _ = timeout(patience(ask), answer).await;
            }
            drop(permit);
        });
    }
}

/// How long one answer may take.
fn patience(ask: [u8; 1]) -> Duration {
    if ask == [b'r'] { reload::PATIENCE } else { PATIENCE }
}

async fn answer(
    ask: [u8; 1],
    mut stream: UnixStream,
    runtime_dir: &Path,
    status: &Status,
    history: &Keeper,
    commands: &mpsc::Sender<Command>,
    reloads: &mpsc::Sender<Wanted>,
) -> io::Result<()> {
    let asked = match ask {
        [b'h'] => may_ask(&stream).and_then(|()| status.is_fit_for_handover()).map(|()| (ACCEPTED, Command::HandOver)),
        [kind @ (b'd' | b'D' | b'u')] => {
            let name = rest(&mut stream).await?;
            may_ask(&stream).and_then(|()| drain(runtime_dir, status, &name, kind))
        }
        [b'l'] => {
            let word = rest(&mut stream).await?;
            let answer = match log_level(&stream, &word) {
                Ok(level) => format!("{LEVEL}{level}\n"),
                Err(why) => format!("{REFUSED}{why}\n"),
            };
            stream.write_all(answer.as_bytes()).await?;
            return stream.shutdown().await;
        }
        [b'r'] => {
            let reloaded = match may_ask(&stream) {
                Ok(()) => reload::ask(reloads).await,
                Err(why) => Err(why),
            };
            let answer = reloaded.map_or_else(|why| format!("{REFUSED}{why}\n"), |what| format!("{RELOADED}{what}"));
            stream.write_all(answer.as_bytes()).await?;
            return stream.shutdown().await;
        }
        _ => {
            let look = Look { now: clock::time_of_day(), colour: ask == [b'c'] };
            let picture = match ask {
                [b'j'] => json(status),
                [b'm'] => history.json(),
                _ => text::render(status, look),
            };
            stream.write_all(picture.as_bytes()).await?;
            return stream.shutdown().await;
        }
    };
    let answer = match &asked {
        Ok((accepted, _)) => format!("{accepted}\n"),
        Err(why) => format!("{REFUSED}{why}\n"),
    };
    // What is noted is done, whether anybody still wants to hear of it or not.
    if let Ok((_, command @ Command::Drain(..))) = &asked {
        let _ = commands.send(command.clone()).await;
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // The process ends of this, so the answer goes first. One that is under way is answer enough to a second one.
    if let Ok((_, command @ Command::HandOver)) = asked {
        let _ = commands.try_send(command);
    }
    Ok(())
}

/// What follows the byte, to the end of its line.
async fn rest(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    let _ = BufReader::new(stream.take(LONGEST_NAME)).read_line(&mut line).await?;
    Ok(line.trim_end_matches('\n').to_owned())
}

/// Changes the log's level, if a word says so; what it is then, and what it was at the start if that is another one.
fn log_level(stream: &UnixStream, word: &str) -> Result<String, String> {
    let wanted = match word {
        "" => None,
        RESET => Some(logging::configured_level()),
        word => {
            let known = LogLevel::ALL.into_iter().find(|level| level.as_str() == word);
            Some(known.ok_or_else(|| format!("there is no level {word:?}"))?)
        }
    };
    if let Some(level) = wanted {
        may_ask(stream)?;
        logging::set_level(level);
        info!(level = level.as_str(), "the log's level, by hand");
    }
    let (level, configured) = (logging::level(), logging::configured_level());
    let until = match level == configured {
        true => String::new(),
        false => format!(" until the daemon ends or `pgvrrp log-level --reset`; at its start: {}", configured.as_str()),
    };
    Ok(format!("{}{until}", level.as_str()))
}

/// Notes what is to last, and says what is to be done now.
fn drain(runtime_dir: &Path, status: &Status, name: &str, kind: u8) -> Result<(&'static str, Command), String> {
    let Some(vip) = status.vips.iter().find(|vip| vip.name == name) else {
        let names: Vec<_> = status.vips.iter().map(|vip| vip.name.as_str()).collect();
        return Err(format!("there is no VIP {name:?} here; there are {}", names.join(", ")));
    };
    // One that is to be kept stays so until it is undrained.
    if kind != b'd' {
        let note = drained::note(runtime_dir, name, kind == b'D');
        note.map_err(|error| format!("{}: {error}", drained::path(runtime_dir).display()))?;
    }
    let drained = kind != b'u';
    Ok((if drained { DRAINING } else { UNDRAINING }, Command::Drain(vip.id, drained)))
}

/// The socket's group may look. To end the daemon, or to move a VIP, is for root and for the daemon's own user.
fn may_ask(stream: &UnixStream) -> Result<(), String> {
    let user = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    let ours = nix::unistd::geteuid().as_raw();
    match user == 0 || user == ours {
        true => Ok(()),
        false => Err("only root and the daemon's own user may ask for that".to_owned()),
    }
}

/// The picture as JSON, with a newline.
pub(super) fn json(status: &Status) -> String {
    // Numbers, strings, lists and maps with string keys: there is nothing that JSON could refuse.
    let mut json = serde_json::to_string_pretty(status).unwrap_or_default();
    json.push('\n');
    json
}

/// A daemon that answers. In a container it may be no other process than the one before it, as far as numbers go; but each
/// makes its own socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Its process.
    pub process: Process,
    /// Device, inode, and when that was made.
    socket: (u64, u64, i64, i64),
}

impl Daemon {
    /// One with this number.
    #[cfg(test)]
    pub(crate) fn numbered(pid: i32) -> Self {
        Self { process: Process::new(pid), socket: (0, 0, 0, 0) }
    }

    fn behind(stream: &StdUnixStream, path: &Path) -> io::Result<Self> {
        let process = Process::new(getsockopt(stream, PeerCredentials)?.pid());
        let file = fs::symlink_metadata(path)?;
        Ok(Self { process, socket: (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()) })
    }
}

/// Who listens: the daemon's process, user and group, even if it is stopped and answers nobody.
///
/// # Errors
/// If none runs there, or this user may not reach it.
pub(crate) fn listener(runtime_dir: &Path) -> io::Result<UnixCredentials> {
    let stream = StdUnixStream::connect(path(runtime_dir))?;
    Ok(getsockopt(&stream, PeerCredentials)?)
}

/// Asks a running daemon. Returns the answer, and who gave it.
///
/// # Errors
/// If none runs there, or it does not answer within 2 s, or 10 s where it has to ask others first.
pub fn ask(runtime_dir: &Path, ask: &Ask) -> io::Result<(String, Daemon)> {
    let path = path(runtime_dir);
    let mut stream = StdUnixStream::connect(&path)?;
    let daemon = Daemon::behind(&stream, &path)?;
    let asked = ask.bytes();
    let patience = asked.first().map_or(PATIENCE, |kind| patience([*kind]));
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&asked)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed the connection without an answer"));
    }
    Ok((answer, daemon))
}

//! A daemon in a namespace, and a PostgreSQL that says what it likes.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::process::Process;
use lab::{Segment, Time};
use nix::sys::signal::Signal;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A test that takes longer than this has hung.
const LONGEST: Duration = Duration::from_secs(120);

const PORT: u16 = 9155;

/// What would change the page's title if a browser took it for more than text.
pub(crate) const HOSTILE_NODE: &str = "<script>document.title='pwned'";
pub(crate) const HOSTILE_NAME: &str = "web</h2><script>document.title='pwned'</script>";
pub(crate) const HOSTILE_ANSWER: &str = "<svg onload=document.title='pwned'>\u{1b}[2J";

/// The VIP that is elected, by its name.
pub(crate) const PLAIN: &str = "plain";

pub(crate) struct Stage {
    daemon: RefCell<Option<Process>>,
    pub(crate) segment: Segment,
}

/// Plays a test beside a daemon that holds the elected VIP. It is not there when the test begins to look.
pub(crate) fn play(act: impl FnOnce(&Stage) -> Result<()>) {
    let (done, is_done) = sync_channel::<()>(0);
    let name = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if is_done.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{name} has hung for {LONGEST:?}");
            lab::clean_up_all();
            std::process::exit(1);
        }
    });
    let result = perform(act);
    drop(done);
    if let Err(error) = result {
        panic!("{error:?}");
    }
}

fn perform(act: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let segment = Segment::start(1)?;
    let stage = Stage { daemon: RefCell::new(None), segment };
    fs::write(stage.config(), stage.configuration())?;
    answer_as_postgres(&stage.dir().join(".s.PGSQL.5432"))?;
    act(&stage).with_context(|| fs::read_to_string(stage.dir().join("pgvrrp.log")).unwrap_or_default())
}

impl Stage {
    pub(crate) fn dir(&self) -> PathBuf {
        self.segment.dir(0)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir().join("pgvrrp.toml")
    }

    /// Nobody listens where etcd is said to be.
    fn configuration(&self) -> String {
        let dir = self.dir();
        let dir = dir.display();
        format!(
            "node = {HOSTILE_NODE:?}\ninterface = \"eth0\"\nruntime_dir = \"{dir}/run\"\n\
             [patroni]\nscope = \"odoo\"\n[etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n\
             [postgres]\nconnection = \"host={dir} user=pgvrrp dbname=postgres\"\n\
             [[vip]]\nname = {HOSTILE_NAME:?}\naddress = \"10.0.20.155\"\nvirtual_router_id = 155\nfollows = \"primary\"\n\
             [[vip]]\nname = \"{PLAIN}\"\naddress = \"10.0.20.200\"\nvirtual_router_id = 200\nfollows = \"none\"\n\
             advertisement_interval = \"100ms\"\n"
        )
    }

    /// Starts the daemon, and waits until it holds what is elected.
    pub(crate) fn start(&self) -> Result<()> {
        // The former one first: two cannot have the same files.
        self.daemon.replace(None);
        let log = File::options().create(true).append(true).open(self.dir().join("pgvrrp.log"))?;
        let mut command = self.program();
        command.arg("run").arg("--config").arg(self.config()).stdout(log.try_clone()?).stderr(log);
        self.daemon.replace(Some(Process::spawn("pgvrrp", command)?));
        wait(10 * SECOND, "the elected VIP to be here", || Ok(self.status()?.contains("(plain): HERE")))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.daemon.borrow().as_ref().context("there is no daemon")?.signal(signal)
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&self) -> Result<()> {
        let daemon = self.daemon.take().context("there is no daemon")?;
        daemon.terminate(5 * SECOND).map(drop)
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.daemon.replace(None);
    }

    /// The program, in the daemon's namespace.
    pub(crate) fn program(&self) -> Command {
        let binary = std::env::var_os("PGVRRP_BINARY");
        self.segment.namespace(0).command(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_pgvrrp").into()))
    }

    /// What a command prints, with its exit code and what it complains of.
    pub(crate) fn run(&self, args: &[&str]) -> Result<(Option<i32>, String, String)> {
        let mut command = self.program();
        command.arg(args[0]).arg("--config").arg(self.config()).args(&args[1..]);
        let Output { status, stdout, stderr } = command.output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((status.code(), text(stdout), text(stderr)))
    }

    pub(crate) fn status(&self) -> Result<String> {
        Ok(self.run(&["status"])?.1)
    }

    /// A command that has to succeed, without a word to standard error.
    pub(crate) fn said(&self, args: &[&str]) -> Result<String> {
        let (code, out, err) = self.run(args)?;
        ensure!((code, err.as_str()) == (Some(0), ""), "{args:?}: {code:?}: {err}");
        Ok(out)
    }

    /// Head and body of the answer to an HTTP GET.
    pub(crate) fn get(&self, path: &str) -> Result<(String, String)> {
        self.segment.namespace(0).run(|| {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
            let mut stream = TcpStream::connect_timeout(&server, SECOND)?;
            stream.set_read_timeout(Some(5 * SECOND))?;
            let origin = "Origin: http://elsewhere.example";
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{origin}\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
            Ok((head.to_owned(), body.to_owned()))
        })?
    }

    pub(crate) fn url() -> String {
        format!("http://127.0.0.1:{PORT}/")
    }
}

/// Waits until something is so.
pub(crate) fn wait(limit: Duration, what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Time::now();
    while !is()? {
        ensure!(start.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Refuses every session with a message that a browser or a terminal might act on.
fn answer_as_postgres(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let fields = format!("SFATAL\0VFATAL\0C28000\0M{HOSTILE_ANSWER}\0\0");
    let mut refusal = vec![b'E'];
    refusal.extend((fields.len() as u32 + 4).to_be_bytes());
    refusal.extend(fields.as_bytes());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            // Whatever it asks. One that has gone already needs no answer.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&refusal);
        }
    });
    Ok(())
}

//! Child processes that cannot outlive the lab, and signals to any process.

use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock::Time;
use crate::reaper;

/// The account of an unprivileged child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Numeric user.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
}

/// A long-running child: etcd, Patroni, the daemon. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `command` in a session of its own, so that a Ctrl-C in the terminal does not reach it, and tied to this
    /// program's life: when it dies, by whatever cause, the kernel kills the child.
    ///
    /// # Errors
    /// Whatever `execve` says, with the name in front.
    pub fn spawn(name: &str, command: Command) -> Result<Self> {
        let child = spawn_tied(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), pid: child.id(), child: Mutex::new(child) })
    }

    /// The name it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Its exit status, if it has ended (it is reaped by asking).
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.lock().try_wait().ok().flatten()
    }

    /// Whether it still runs or is stopped.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Under the lock nobody reaps it, so the number cannot have passed to another process.
        let mut child = self.lock();
        if let Some(status) = child.try_wait()? {
            bail!("{} has ended already ({status})", self.name);
        }
        kill(Pid::from_raw(self.pid as i32), signal).with_context(|| format!("{signal} to {}", self.name))
    }

    /// SIGKILL, and waits until the process is gone. Nothing happens if it has ended already.
    pub fn kill(&self) {
        let mut child = self.lock();
        // Fails only if the child has been reaped.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Waits until the process ends by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let start = Time::now();
        loop {
            if let Some(status) = self.exit_status() {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!("{} still runs after {limit:?}", self.name);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// SIGTERM, then waits; returns how long the process took.
    ///
    /// # Errors
    /// When it has ended already, still runs after `limit`, or ends with anything but exit code 0.
    pub fn terminate(&self, limit: Duration) -> Result<Duration> {
        let start = Time::now();
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(limit)?;
        if !status.success() {
            bail!("{} ended with {status} (signal {:?})", self.name, status.signal());
        }
        Ok(start.elapsed())
    }

    /// Resident memory in bytes (`VmRSS`).
    ///
    /// # Errors
    /// When the process has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most that it ever had resident, in bytes (`VmHWM`).
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let line = line.with_context(|| format!("no {what} the process has ended"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }

    /// CPU time used so far by all its threads, user and system (resolution: one tick, 10 ms).
    ///
    /// # Errors
    /// When the process has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = stat_fields(self.pid).context("the process has ended")?;
        Ok(Duration::from_millis(stat.ticks * 10))
    }

    fn lock(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        reaper::owned().remove(&self.pid);
    }
}

/// Sends `signal` to a process that need not be a child; a process that is gone is not an error.
///
/// # Errors
/// When the kernel refuses for another reason.
pub fn signal_pid(pid: u32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid as i32), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(e) => Err(e).with_context(|| format!("{signal} to process {pid}")),
    }
}

/// Whether a process exists and is more than a zombie.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    stat_fields(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// Gives a process or thread more of a busy machine (nice -10). A request: refused, it runs as everybody does.
pub(crate) fn favour(id: u32) {
    let mut renice = Command::new("renice");
    renice.args(["-n", "-10", "-p", &id.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = renice.status();
}

/// Lets a thread run before everything that is not of the kernel. For one that only reads and sleeps: it shortens what
/// others do by nothing but its own microseconds. Refused, it runs as everybody does.
pub(crate) fn favour_above_all(id: u32) {
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", "90", &id.to_string()]);
    chrt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = chrt.status();
}

/// All processes on the machine, in the order of /proc.
pub fn all_pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The direct children of a process that are more than zombies.
#[must_use]
pub fn children_of(pid: u32) -> Vec<u32> {
    let is_child = |p: &u32| stat_fields(*p).is_some_and(|stat| stat.parent == pid && stat.state != 'Z');
    all_pids().into_iter().filter(is_child).collect()
}

/// What the lab needs of /proc/PID/stat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) session: i32,
    /// User and system time in ticks.
    ticks: u64,
}

pub(crate) fn stat_fields(pid: u32) -> Option<Stat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold spaces: count from behind it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    Some(Stat {
        state: rest.chars().next()?,
        parent: number(1)? as u32,
        session: number(3)? as i32,
        ticks: number(11)? + number(12)?,
    })
}

/// Lets `command` drop to `account` and go on from there. To be called after everything that needs root was added.
pub(crate) fn run_as(command: &mut Command, account: Account) {
    let drop_privileges = move || {
        nix::unistd::setgroups(&[])?;
        nix::unistd::setgid(account.gid.into())?;
        nix::unistd::setuid(account.uid.into())?;
        Ok(())
    };
    before_exec(command, drop_privileges);
}

/// Runs `step` in the child, between fork and exec.
#[allow(unsafe_code, reason = "Command::pre_exec is the only way to act between fork and exec")]
pub(crate) fn before_exec(command: &mut Command, step: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: every caller in this crate makes plain system calls only: no allocation, no lock.
    unsafe {
        command.pre_exec(step);
    }
}

/// The thread that starts all children. The kernel's parent-death signal is sent when the *thread* that forked ends, so
/// it must be one that lives as long as the program.
fn spawn_tied(mut command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::SyncSender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let mut owned = reaper::owned();
                let child = command.spawn();
                owned.extend(child.as_ref().map(Child::id).ok());
                // The asker waits for this one answer: it cannot be gone.
                let _ = answer.send(child);
            }
        });
        Mutex::new(jobs)
    });
    before_exec(&mut command, || {
        nix::unistd::setsid()?;
        // Last of all: a change of user would clear it.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    });
    let (answer, result) = mpsc::sync_channel(1);
    let jobs = spawner.lock().unwrap_or_else(PoisonError::into_inner);
    jobs.send((command, answer)).map_err(io::Error::other)?;
    drop(jobs);
    result.recv().map_err(io::Error::other)?
}

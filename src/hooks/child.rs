//! One run of a hook: a process group of its own, without rights, descriptors and terminal, for so long and no longer.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use super::output::Output;
use crate::async_fd::{self, Owner};
use crate::clock;

/// How long a hook whose time is over may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// What is left to a group that was killed.
const KILLED: Duration = Duration::from_secs(1);

/// What is run.
#[derive(Debug)]
pub(super) struct Job {
    /// The program, and its arguments.
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) limit: Duration,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result: Ended,
    pub(super) exit_code: Option<i32>,
    pub(super) took: Duration,
    /// For people.
    pub(super) text: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With exit code 0.
    Ok,
    /// With another one, or by a signal.
    Failed,
    /// Its time was over.
    Timeout,
    /// The system did not start it.
    NotStarted,
}

impl Ended {
    /// As in status and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::NotStarted => "not_started",
        }
    }
}

/// Runs it. Dropped before its end, it is killed, with all that it has started.
pub(super) async fn run(job: &Job, vip: &str, hook: &str) -> Outcome {
    let begun = clock::now();
    let outcome = |result, exit_code, text| Outcome { result, exit_code, took: clock::now().since(begun), text };
    let (mut group, mut output) = match start(job) {
        Ok(started) => started,
        Err(error) => return outcome(Ended::NotStarted, None, format!("cannot be started: {error}")),
    };
    let in_time = group.ends_within(job.limit, &mut output).await;
    if !in_time {
        group.signal(Signal::SIGTERM);
        let ended = group.ends_within(GRACE, &mut output).await;
        if !ended {
            group.signal(Signal::SIGKILL);
            let _ = group.ends_within(KILLED, &mut output).await;
        }
    }
    // What it has left behind ends with it.
    group.signal(Signal::SIGKILL);
    output.take_what_is_there();
    output.tell(vip, hook);
    match group.child.try_wait() {
        _ if !in_time => outcome(Ended::Timeout, None, format!("was ended, since it took more than {:?}", job.limit)),
        Ok(Some(status)) if status.success() => outcome(Ended::Ok, Some(0), "has run".to_owned()),
        Ok(Some(status)) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            outcome(Ended::Failed, status.code(), format!("failed: {how}"))
        }
        Ok(None) | Err(_) => outcome(Ended::Failed, None, "failed: its end is not known".to_owned()),
    }
}

fn start(job: &Job) -> io::Result<(Group, Output)> {
    let Some((program, arguments)) = job.command.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let (reader, writer) = io::pipe()?;
    let output = Output::new(Receiver::from_owned_fd(OwnedFd::from(reader))?);
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(job.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It has our place in the queue of those that are killed when memory runs out, and is not worth it.
    let _ = fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
    let pid = rustix::process::Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from).and_then(|fd| async_fd::readable(ProcessFd(fd)))
    {
        Ok(end) => Ok((Group { child, end }, output)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// A process, as a descriptor that is readable when it has ended.
#[derive(Debug)]
struct ProcessFd(OwnedFd);

impl AsRawFd for ProcessFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Owner for ProcessFd {}

/// The process, and its group, which has its number. That is nobody else's as long as its end has not been asked for.
#[derive(Debug)]
struct Group {
    child: Child,
    end: tokio::io::unix::AsyncFd<ProcessFd>,
}

impl Group {
    /// Whether it ends by then; what it says meanwhile is taken.
    async fn ends_within(&self, limit: Duration, output: &mut Output) -> bool {
        let ends = async {
            loop {
                tokio::select! {
                    biased;
                    ended = self.end.readable() => {
                        drop(ended);
                        return;
                    }
                    () = output.take(), if !output.is_over => {}
                }
            }
        };
        timeout(limit, ends).await.is_ok()
    }

    fn signal(&self, signal: Signal) {
        // Nobody is left in it: that is what is wanted.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not if its end was asked for: the number may be another's by now.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.try_wait();
        }
    }
}

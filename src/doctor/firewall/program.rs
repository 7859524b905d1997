//! Runs a program for what it prints, with an end to how long and how much.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The limit of a run.
const LIMIT: Duration = Duration::from_secs(2);

/// The most that is read: a list of addresses as long as that is not looked through.
const MOST: u64 = 8 << 20;

/// Where administrators' programs are. The daemon's user may well have a `PATH` without them.
const DIRS: [&str; 6] = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin", "/bin", "/run/current-system/sw/bin"];

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such program.
    NotInstalled,
    /// It failed, or took too long, or said too much.
    Failed(String),
    /// What it printed.
    Printed(String),
}

impl Answer {
    pub(super) fn printed(&self) -> Option<&str> {
        match self {
            Self::Printed(text) => Some(text),
            Self::NotInstalled | Self::Failed(_) => None,
        }
    }
}

/// Runs it without a shell.
pub(super) fn run(name: &str, args: &[&str]) -> Answer {
    match DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file()) {
        Some(path) => run_path(&path, args, LIMIT),
        None => Answer::NotInstalled,
    }
}

fn run_path(path: &Path, args: &[&str], limit: Duration) -> Answer {
    let mut command = Command::new(path);
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Answer::Failed(error.to_string()),
    };
    let (said, hears) = mpsc::channel();
    if let (Some(printed), Some(complained)) = (child.stdout.take(), child.stderr.take()) {
        // A descriptor that nobody closes keeps the thread, not this program.
        let reads = thread::Builder::new().spawn(move || {
            let _ = said.send((read(printed), read(complained)));
        });
        if let Err(error) = reads {
            end(&mut child);
            return Answer::Failed(error.to_string());
        }
    }
    let heard = hears.recv_timeout(limit);
    let status = end(&mut child);
    let Ok((printed, complaint)) = heard else {
        return Answer::Failed(format!("took longer than {limit:.0?}"));
    };
    if printed.len() as u64 > MOST {
        return Answer::Failed(format!("more than {} MiB of rules", MOST >> 20));
    }
    match status {
        Some(status) if status.success() => Answer::Printed(String::from_utf8_lossy(&printed).into_owned()),
        status => Answer::Failed(failure(&complaint, status)),
    }
}

fn read(from: impl Read) -> Vec<u8> {
    let mut read = Vec::new();
    // What was read before an error is what there is.
    let _ = from.take(MOST + 1).read_to_end(&mut read);
    read
}

/// Leaves it a moment to end by itself.
fn end(child: &mut Child) -> Option<ExitStatus> {
    const LOOKS: u32 = 20;
    for _ in 0..LOOKS {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.try_wait().ok().flatten()
}

fn failure(complaint: &[u8], status: Option<ExitStatus>) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    match (complaint.lines().find(|line| !line.trim().is_empty()), status) {
        (Some(line), _) => line.trim().chars().take(200).collect(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "it did not end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Answer {
        run_path(Path::new("/bin/sh"), &["-c", script], Duration::from_millis(300))
    }

    #[test]
    fn what_a_program_says() {
        assert_eq!(run("no-such-program", &[]), Answer::NotInstalled);
        assert_eq!(sh("echo rules"), Answer::Printed("rules\n".to_owned()));
        assert_eq!(sh("echo; echo 'not permitted' >&2; exit 1"), Answer::Failed("not permitted".to_owned()));
        assert_eq!(sh("exit 3"), Answer::Failed("exit status: 3".to_owned()));
    }

    #[test]
    fn neither_too_long_nor_too_much() {
        assert_eq!(sh("sleep 5"), Answer::Failed("took longer than 300ms".to_owned()));
        let much = run_path(Path::new("/bin/sh"), &["-c", "cat /dev/zero"], Duration::from_secs(20));
        assert_eq!(much, Answer::Failed("more than 8 MiB of rules".to_owned()));
    }
}

//! The command line: runs the command that it names.

mod definition;

use std::io::{self, ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use pgvrrp_config::{Config, Follows, LogLevel, Mac, Vip};

use definition::{Cli, Command, ConfigFile};

use crate::failure::Failure;
use crate::history::show;
use crate::observe::control::{self, Ask, LevelChange, REFUSED, RELOADED};
use crate::observe::logging;
use crate::settings::postgres_settings;
use crate::terminal::has_colours;
use crate::{cluster, daemon, doctor, drain, handover, import, listen, recording, replay, watch};

/// Exit codes, from `sysexits.h`.
const EX_USAGE: u8 = 64;
const EX_DATAERR: u8 = 65;
const EX_NOINPUT: u8 = 66;
const EX_UNAVAILABLE: u8 = 69;
const EX_OSERR: u8 = 71;
const EX_CANTCREAT: u8 = 73;
const EX_TEMPFAIL: u8 = 75;
const EX_NOPERM: u8 = 77;
const EX_CONFIG: u8 = 78;

/// What the command line may be, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are answers, not mistakes.
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Run { config, record, observe } => run(&config, record.as_deref(), observe),
        Command::Check { file } => check(&file),
        Command::Status { config, cluster: true, json, .. } => cluster(&config, json),
        Command::Status { config, json: true, .. } => status(&config, &Ask::Json),
        Command::Status { config, colour, .. } if has_colours(colour.when) => status(&config, &Ask::Colour),
        Command::Status { config, .. } => status(&config, &Ask::Text),
        Command::Watch { config, colour } => watch(&config, has_colours(colour.when)),
        Command::History { config, json, n } => history(&config, n, json),
        Command::Replay { file, verbose } => replay(&file, verbose),
        Command::Handover(file) => hand_over(&file),
        Command::Reload(file) => reload(&file),
        Command::Drain { config, name, keep } => drain(&config, Ask::Drain { name, keep }),
        Command::Undrain { config, name } => drain(&config, Ask::Undrain { name }),
        Command::LogLevel { config, level, reset } => log_level(&config, level, reset),
        Command::Listen { interface, json } => listen(interface.as_deref(), json),
        Command::Doctor { config, json, peer, wait } => {
            let peer = peer.map(|address| doctor::Peer { address, wait: Duration::from_secs(wait) });
            doctor(&config, json, peer)
        }
        Command::Import { file, output, force, patroni, config_id } => {
            let ask = import::Ask { file: &file, patroni: patroni.as_deref(), config_id: config_id.as_deref() };
            import(&ask, output.as_deref(), force)
        }
    }
}

fn load(path: &Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|problems| {
        say(&format!("{problems}\n"));
        ExitCode::from(EX_CONFIG)
    })
}

/// Where the daemon of this file is, which goes on by what the file said before, whatever is wrong with it now.
fn runtime_dir(path: &Path) -> Result<PathBuf, ExitCode> {
    Config::runtime_dir(path).map_err(|problems| {
        say(&format!("{problems}\n"));
        ExitCode::from(EX_CONFIG)
    })
}

fn run(file: &ConfigFile, record: Option<&Path>, observe: bool) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let outcome = daemon::run(config, &file.path, record, observe);
    logging::finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            failure.exit_code()
        }
    }
}

fn check(file: &Path) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(code) = check_postgres(&config) {
        return code;
    }
    let cluster = config.cluster.as_ref().map(|cluster| format!(", cluster {}", doctor::cluster(cluster)));
    let node = format!("node {}{}", config.node, cluster.unwrap_or_default());
    let vips: Vec<_> = config.vips.iter().map(|vip| format!("  {}\n", describe(vip))).collect();
    print(&format!("{}: OK\n  {node}\n{}", file.display(), vips.concat()))
}

/// A VIP in a line.
fn describe(vip: &Vip) -> String {
    let addresses: Vec<_> = vip.addresses.iter().map(ToString::to_string).collect();
    let follows = match &vip.follows {
        Follows::Primary => "follows the primary".to_owned(),
        Follows::None(election) => format!("elected by VRRP, priority {}", election.priority),
    };
    let (interface, id) = (&vip.interface, vip.virtual_router_id);
    let mac = if vip.mac == Mac::Virtual { " with its own MAC" } else { "" };
    format!("VIP {} on {interface}, virtual router {id}{mac}, {follows}", addresses.join(", "))
}

/// The connection string has to be one that PostgreSQL's client understands.
fn check_postgres(config: &Config) -> Result<(), ExitCode> {
    match config.cluster.as_ref().map(postgres_settings).transpose().map_err(Failure::Config) {
        Ok(_) => Ok(()),
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            Err(failure.exit_code())
        }
    }
}

fn status(file: &ConfigFile, ask: &Ask) -> ExitCode {
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    match control::ask(&runtime_dir, ask) {
        Ok((answer, _)) => print(&answer),
        Err(error) => no_daemon(&runtime_dir, &error),
    }
}

fn cluster(file: &ConfigFile, json: bool) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match cluster::run(&config, json) {
        Ok((text, true)) => print(&text),
        Ok((text, false)) => {
            print(&text);
            ExitCode::FAILURE
        }
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            ExitCode::from(match failure {
                cluster::Failure::System(_) => EX_OSERR,
                cluster::Failure::Nobody(_) => EX_UNAVAILABLE,
            })
        }
    }
}

fn no_daemon(runtime_dir: &Path, error: &io::Error) -> ExitCode {
    say(&format!("error: {}\n", unanswered(runtime_dir, error)));
    ExitCode::from(EX_UNAVAILABLE)
}

/// That the daemon does not answer, and what may be the matter.
fn unanswered(runtime_dir: &Path, error: &io::Error) -> String {
    let path = control::path(runtime_dir);
    let help = match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => ": no pgvrrp runs here with this runtime_dir",
        ErrorKind::PermissionDenied => ": run this as root, or as a member of the daemon's group",
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ": the daemon does not answer; is it stopped?",
        _ => "",
    };
    format!("{}: {error}{help}", path.display())
}

fn watch(file: &ConfigFile, colour: bool) -> ExitCode {
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    match watch::run(&runtime_dir, colour, |error| unanswered(&runtime_dir, error)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stdout_failed(&error),
    }
}

fn history(file: &ConfigFile, most: usize, json: bool) -> ExitCode {
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    match show::run(&runtime_dir, most, json) {
        Ok(text) => print(&text),
        Err(show::Failure::NoDaemon(error)) => no_daemon(&runtime_dir, &error),
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

/// The configuration is looked at first, by the program that is to be started: what it refuses, the next daemon would.
fn hand_over(file: &ConfigFile) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(code) = check_postgres(&config) {
        return code;
    }
    if let Err(code) = check_as_the_daemon(&config, &file.path) {
        return code;
    }
    match handover::run(&config.runtime_dir) {
        Ok(text) => print(&text),
        Err(handover::Failure::NoDaemon(error)) => no_daemon(&config.runtime_dir, &error),
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            match failure {
                handover::Failure::Refused { .. } => ExitCode::from(EX_TEMPFAIL),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The daemon reads its own file; this one says what is wrong with the file as this user sees it, and finds out where the daemon is.
/// That is asked even so: what it refuses it tells in its status, metrics and log.
fn reload(file: &ConfigFile) -> ExitCode {
    let wrong = load(&file.path).err();
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    let answer = match control::ask(&runtime_dir, &Ask::Reload) {
        Ok((answer, _)) => answer,
        Err(error) => {
            let nobody = no_daemon(&runtime_dir, &error);
            return wrong.unwrap_or(nobody);
        }
    };
    if let Some(what) = answer.strip_prefix(RELOADED) {
        let Some(wrong) = wrong else { return print(what) };
        say("error: the running daemon has read its own configuration, which is right and is not this one\n");
        return wrong;
    }
    if wrong.is_none() {
        let why = answer.strip_prefix(REFUSED).map(str::trim_end);
        say(why.unwrap_or("the daemon is of a version that cannot do this: use `pgvrrp handover`"));
        say("\n");
    }
    say("error: the daemon goes on with the former configuration\n");
    wrong.unwrap_or_else(|| ExitCode::from(EX_TEMPFAIL))
}

/// Root may read what the next daemon may not, and would end for: a password file, say. So `check` is run as its user.
fn check_as_the_daemon(config: &Config, file: &Path) -> Result<(), ExitCode> {
    let daemon = control::listener(&config.runtime_dir).map_err(|error| no_daemon(&config.runtime_dir, &error))?;
    let (user, group) = (daemon.uid(), daemon.gid());
    if !nix::unistd::geteuid().is_root() || user == 0 {
        return Ok(());
    }
    let mut check = std::process::Command::new("/proc/self/exe");
    let checked = check.arg("check").arg(file).uid(user).gid(group).output();
    match checked {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            say(&String::from_utf8_lossy(&output.stderr));
            say(&format!(
                "error: the next daemon would end for this, since it runs as user {user}; this one goes on\n"
            ));
            Err(ExitCode::from(EX_CONFIG))
        }
        Err(error) => {
            say(&format!("error: cannot check the configuration as user {user}: {error}; the daemon goes on\n"));
            Err(ExitCode::from(EX_OSERR))
        }
    }
}

fn drain(file: &ConfigFile, ask: Ask) -> ExitCode {
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    match drain::run(&runtime_dir, &ask) {
        Ok(text) => print(&text),
        Err(drain::Failure::NoDaemon(error)) => no_daemon(&runtime_dir, &error),
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            match failure {
                drain::Failure::Refused(_) => ExitCode::from(EX_TEMPFAIL),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn log_level_of(word: &str) -> Result<LogLevel, String> {
    let known = LogLevel::ALL.into_iter().find(|level| level.as_str() == word);
    known.ok_or_else(|| "it is one of error, warn, info, debug and trace".to_owned())
}

fn log_level(file: &ConfigFile, level: Option<LogLevel>, reset: bool) -> ExitCode {
    let runtime_dir = match runtime_dir(&file.path) {
        Ok(runtime_dir) => runtime_dir,
        Err(code) => return code,
    };
    let change = match level {
        Some(level) => LevelChange::Set(level),
        None if reset => LevelChange::Reset,
        None => LevelChange::Show,
    };
    let answer = match control::ask(&runtime_dir, &Ask::LogLevel(change)) {
        Ok((answer, _)) => answer,
        Err(error) => return no_daemon(&runtime_dir, &error),
    };
    if let Some(level) = answer.strip_prefix(control::LEVEL) {
        return print(level);
    }
    let why = answer.strip_prefix(REFUSED).unwrap_or("the daemon is of a version that cannot do this\n");
    say(&format!("error: nothing has changed: {why}"));
    ExitCode::from(EX_TEMPFAIL)
}

fn listen(interface: Option<&str>, json: bool) -> ExitCode {
    let Err(failure) = listen::run(interface, json) else { return ExitCode::SUCCESS };
    say(&format!("error: {failure}\n"));
    ExitCode::from(match failure {
        listen::Failure::NoInterface { .. } => EX_NOINPUT,
        listen::Failure::Socket(error) if error.kind() == ErrorKind::PermissionDenied => EX_NOPERM,
        _ => EX_OSERR,
    })
}

fn doctor(file: &ConfigFile, json: bool, peer: Option<doctor::Peer>) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(code) = check_postgres(&config) {
        return code;
    }
    let report = match doctor::run(&config, &file.path, peer, &|progress| say(&format!("{progress}\n"))) {
        Ok(report) => report,
        Err(error) => {
            say(&format!("error: cannot ask anything: {error}\n"));
            return ExitCode::from(EX_OSERR);
        }
    };
    let printed = print(&if json { report.json() } else { report.text() });
    if report.problems == 0 { printed } else { ExitCode::FAILURE }
}

fn import(ask: &import::Ask<'_>, output: Option<&Path>, force: bool) -> ExitCode {
    let refuse = |failure: &import::Failure| {
        say(&format!("error: {failure}\n"));
        ExitCode::from(match failure {
            import::Failure::Read { .. } => EX_NOINPUT,
            import::Failure::Import(_) => EX_DATAERR,
            import::Failure::Exists(_) | import::Failure::Write { .. } => EX_CANTCREAT,
        })
    };
    let (imported, explanation) = match import::run(ask) {
        Ok(imported) => imported,
        Err(failure) => return refuse(&failure),
    };
    say(&explanation);
    if let Some(toml) = &imported.toml {
        let written = match output {
            Some(path) => {
                import::write(path, toml, force).map_or_else(|failure| refuse(&failure), |()| ExitCode::SUCCESS)
            }
            None => print(toml),
        };
        if written != ExitCode::SUCCESS {
            return written;
        }
    }
    if imported.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(file: &Path, verbose: bool) -> ExitCode {
    match replay::run(file, verbose) {
        Ok(text) => print(&text),
        Err(replay::Failure::Print(error)) => stdout_failed(&error),
        Err(replay::Failure::Recording(failure)) => {
            say(&format!("error: {}: {failure}\n", file.display()));
            match failure {
                recording::Failure::Differs(_) => ExitCode::FAILURE,
                recording::Failure::Read(_) => ExitCode::from(EX_NOINPUT),
                _ => ExitCode::from(EX_DATAERR),
            }
        }
    }
}

/// To standard output. Whoever closes it has seen enough.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) => stdout_failed(&error),
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn stdout_failed(error: &io::Error) -> ExitCode {
    if error.kind() == ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    say(&format!("error: standard output: {error}\n"));
    ExitCode::FAILURE
}

/// To standard error, which may be closed as well.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

//! The command line.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use pgvrrp_config::Config;

use crate::daemon;
use crate::observe::control::{self, Form};

/// Exit codes, from `sysexits.h`.
const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;
const EX_CONFIG: u8 = 78;

/// A virtual IP that is where the writable PostgreSQL primary is, and nowhere else.
#[derive(Debug, Parser)]
#[command(name = "pgvrrp", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground. SIGTERM and SIGINT release the VIP and end it.
    ///
    /// Exit codes: 0 after a signal, 64 wrong usage, 71 the system refused something, 75 another pgvrrp runs on this
    /// host, 77 a right is missing, 78 the configuration is wrong.
    Run(ConfigFile),
    /// Check a configuration file, and touch nothing. Exits with 78 if it is wrong.
    Check {
        /// The file to check.
        #[arg(value_name = "FILE", default_value = "/etc/pgvrrp/pgvrrp.toml")]
        file: PathBuf,
    },
    /// Say where the VIP is, and why, as the daemon on this node sees it.
    ///
    /// Exits with 69 if no daemon answers.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = "/etc/pgvrrp/pgvrrp.toml")]
    path: PathBuf,
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
        Command::Run(file) => run(&file),
        Command::Check { file } => check(&file),
        Command::Status { config, json } => status(&config, if json { Form::Json } else { Form::Text }),
    }
}

fn load(path: &std::path::Path) -> Result<Config, ExitCode> {
    Config::load(path).map_err(|problems| {
        say(&format!("{problems}\n"));
        ExitCode::from(EX_CONFIG)
    })
}

fn run(file: &ConfigFile) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match daemon::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}\n"));
            failure.exit_code()
        }
    }
}

fn check(file: &std::path::Path) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(failure) = daemon::postgres_settings(&config) {
        say(&format!("error: {failure}\n"));
        return failure.exit_code();
    }
    let vips: Vec<_> = config.vips.iter().map(|vip| format!("{}/{}", vip.address, vip.prefix_len)).collect();
    print(&format!(
        "{}: OK\n  node {} on {}, cluster {}/{}, VIP {}\n",
        file.display(),
        config.node,
        config.interface,
        config.patroni.namespace,
        config.patroni.scope,
        vips.join(", "),
    ))
}

fn status(file: &ConfigFile, form: Form) -> ExitCode {
    let config = match load(&file.path) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match control::ask(&config.runtime_dir, form) {
        Ok(answer) => print(&answer),
        Err(error) => {
            let path = control::path(&config.runtime_dir);
            let help = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => ": no pgvrrp runs here with this runtime_dir",
                ErrorKind::PermissionDenied => ": run this as root, or as a member of the daemon's group",
                ErrorKind::WouldBlock | ErrorKind::TimedOut => ": the daemon does not answer; is it stopped?",
                _ => "",
            };
            say(&format!("error: {}: {error}{help}\n", path.display()));
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

/// To standard output. Whoever closes it has seen enough.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say(&format!("error: standard output: {error}\n"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// To standard error, which may be closed as well.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

//! What the command line may be: commands, options, and what they say of themselves.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand};
use pgvrrp_config::LogLevel;

/// A virtual IP that is where the writable PostgreSQL primary is, and nowhere else.
#[derive(Debug, Parser)]
#[command(name = "pgvrrp", version, about, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground. SIGTERM and SIGINT release the VIP and end it.
    ///
    /// Exit codes: 0 after a signal, 64 wrong usage, 71 the system refused something, 75 another pgvrrp runs on this
    /// host, 77 a right is missing, 78 the configuration is wrong.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Append everything that is seen and decided to this file, to be looked at after an incident with `pgvrrp replay`.
        ///
        /// It is readable by its owner only: there are addresses in it, but no passwords.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// Decide everything, and do nothing: say in log, status and metrics what would have been done and when, and how that
        /// differs from what became of the VIP on this host.
        ///
        /// It binds, removes, sends and writes nothing, in etcd neither, and runs no hooks; it may run beside Keepalived, or
        /// another holder of the VIP. Needs CAP_NET_RAW alone.
        #[arg(long)]
        observe: bool,
    },
    /// Check a configuration file, and touch nothing. Exits with 78 if it is wrong.
    ///
    /// Run it as the daemon's user (`sudo -u pgvrrp pgvrrp check`): it reads the password files too, and root can read what
    /// the daemon cannot.
    Check {
        /// The file to check.
        #[arg(value_name = "FILE", default_value = "/etc/pgvrrp/pgvrrp.toml")]
        file: PathBuf,
    },
    /// Say where the VIP is, and why, as the daemon on this node sees it; or all nodes, as far as they can be seen from here.
    ///
    /// Exits with 69 if no daemon answers. With `--cluster`: 0 nothing is wrong with what is seen, 1 something is, as it may be
    /// for a moment while a VIP moves, 69 neither etcd nor any daemon answers.
    Status {
        #[command(flatten)]
        config: ConfigFile,
        /// All nodes, a row each: from etcd, from the daemon here if it runs, and from the HTTP port of the others, which has
        /// to be the one that this configuration has. Takes 6 s at most.
        #[arg(long)]
        cluster: bool,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        colour: Colour,
    },
    /// Show the status as it changes, until it is ended by Ctrl-C.
    ///
    /// On a terminal it is drawn anew once a second. Otherwise each change is a line, as long as somebody reads; it looks four
    /// times a second, and `history` has what was over sooner. It says so while no daemon answers, and goes on when one does.
    Watch {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        colour: Colour,
    },
    /// Say when each VIP came to this node and left it, why, and how long each phase took; the newest last.
    ///
    /// The daemon remembers the last 64 moves of each VIP, over its restarts, until the host is booted.
    ///
    /// Exits with 69 if no daemon answers, or one that is too old to know.
    History {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON, for programs.
        #[arg(long)]
        json: bool,
        /// The most moves of each VIP to print.
        #[arg(short, value_name = "N", default_value_t = 20)]
        n: usize,
    },
    /// Take the decisions of a recording (`pgvrrp run --record`) anew, and compare. Needs no rights and no configuration.
    ///
    /// Exit codes: 0 every output is as recorded, 1 one is not, 65 the file is no recording, or of another
    /// format, 66 it cannot be read.
    Replay {
        /// The recording.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print a line for each thing that happened: seconds since the daemon's start, what it was told, what it decided.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Replace the running daemon without moving the VIP, for an upgrade.
    ///
    /// The configuration is read first. Then the daemon ends and leaves the VIP bound for 3 s, its supervisor starts the
    /// next one, and that goes on.
    ///
    /// Exit codes: 0 the next daemon runs and has what was here, 1 it does not, 69 no daemon answers, 75 the daemon goes on as
    /// before and says why, 78 the configuration is wrong. Root or the daemon's own user may ask.
    Handover(ConfigFile),
    /// Have the running daemon read its configuration again, and take it as a whole or not at all.
    ///
    /// VIPs, their addresses and settings, `[policy]`, `[etcd]`, `[postgres]` and `[http]` change at run time; a VIP of which nothing
    /// has changed does not notice. What else differs takes a `handover`. Prints what changes, a line each. `systemctl reload pgvrrp` does the same.
    ///
    /// Exit codes: 0 it is in force, 69 no daemon answers, 75 the daemon goes on with the former one and says why, 78 the
    /// configuration is wrong. Root or the daemon's own user may ask.
    Reload(ConfigFile),
    /// Send a VIP away from this node, and keep it away until `undrain`, or until the daemon ends.
    ///
    /// A VIP that follows the primary comes to no other node by that: only Patroni moves the primary. One that VRRP elects
    /// goes to the next router. Returns once it has left.
    ///
    /// Exit codes: 0 it is not here, 1 it does not leave, 69 no daemon answers, 75 the daemon refuses and says why. Root or
    /// the daemon's own user may ask.
    Drain {
        #[command(flatten)]
        config: ConfigFile,
        /// The VIP's name, which is its first address unless configured.
        #[arg(value_name = "NAME")]
        name: String,
        /// Keep it away over a restart of the daemon too; not over one of the machine.
        #[arg(long)]
        keep: bool,
    },
    /// Let a VIP that was drained come back.
    ///
    /// Exit codes as those of `drain`.
    Undrain {
        #[command(flatten)]
        config: ConfigFile,
        /// The VIP's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Print from which level on the running daemon logs, or change that until it ends.
    ///
    /// Exit codes: 0 done, 64 wrong usage, 69 no daemon answers, 75 the daemon refuses and says why. Everybody who may look at
    /// the status may look; root or the daemon's own user may change it.
    LogLevel {
        #[command(flatten)]
        config: ConfigFile,
        /// error, warn, info, debug or trace.
        #[arg(value_name = "LEVEL", value_parser = super::log_level_of, conflicts_with = "reset")]
        level: Option<LogLevel>,
        /// Back to that of the daemon's start.
        #[arg(long)]
        reset: bool,
    },
    /// Print what is heard on protocol 112 (VRRP): who, version, virtual router, priority, interval, addresses, and what is
    /// wrong with it. A line each, until it is ended. Needs CAP_NET_RAW, no configuration and no daemon.
    ///
    /// Exit codes: 0 nobody reads its output any more, 64 wrong usage, 66 there is no such interface, 71 the system refused
    /// something, 77 CAP_NET_RAW is missing.
    Listen {
        /// The interface to listen on [default: all]
        #[arg(long, value_name = "IF")]
        interface: Option<String>,
        /// Print JSON, for programs: an object a line.
        #[arg(long)]
        json: bool,
    },
    /// Look for what is wrong on this node, and say what to do about it. Changes nothing.
    ///
    /// Looks at the configuration, the daemon's rights, the interface, each endpoint of etcd, this user's rights there,
    /// this node's place in Patroni's cluster, PostgreSQL, and who else on this host sets addresses; the daemon may run or not.
    /// Takes 8 s at most, without `--peer`.
    ///
    /// Exit codes: 0 no problem (there may be warnings), 1 at least one problem, 64 wrong usage, 71 the system refused
    /// something, 78 the configuration is wrong.
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Print JSON, for programs: {"findings": [{"area", "level", "text", "fix"}], "problems", "warnings"}.
        #[arg(long)]
        json: bool,
        /// Test with the doctor of another node, by its own address on the VIP's interface, whether protocol 112 (VRRP) gets
        /// there and back. Run there, at the same time, with this node's address.
        ///
        /// Needs CAP_NET_RAW, and takes 5 s from when both are there. What is sent, every router discards; daemons may run
        /// beside it. The two also talk by UDP port 9156, so that one tells the other what does not arrive; if that is blocked,
        /// less can be said.
        #[arg(long, value_name = "ADDRESS")]
        peer: Option<IpAddr>,
        /// For how many seconds to wait for the other doctor, 1 to 600.
        #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "peer",
              value_parser = clap::value_parser!(u64).range(1..=600))]
        wait: u64,
    },
    /// Convert a keepalived.conf into pgvrrp's configuration, which is printed. Changes nothing.
    ///
    /// What became of each line is said on standard error: `converted` and into what, `not needed` and why, `BY HAND` and what
    /// to do, or `UNKNOWN`. An instance that tracks a check for Patroni's primary becomes a VIP that follows the primary; the
    /// others become plain VRRP. Notify scripts become hooks, and none is run. What keepalived.conf does not have (the cluster's
    /// name, etcd's endpoints) is read from Patroni's configuration, or a placeholder that is listed at the end. The result
    /// passes `pgvrrp check`.
    /// docs/MIGRATE-KEEPALIVED.md says in which order to move over.
    ///
    /// Exit codes: 0 all is converted, 1 something is to be done by hand (if not one instance could be converted, nothing is
    /// printed), 64 wrong usage, 65 it is no keepalived.conf, breaks its syntax (file and line are said) or has no
    /// vrrp_instance, 66 a file cannot be read, 73 the output exists or cannot be written.
    Import {
        /// The file to convert.
        #[arg(value_name = "FILE", default_value = "/etc/keepalived/keepalived.conf")]
        file: PathBuf,
        /// Write the configuration to this file, which must not exist.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Overwrite it if it does.
        #[arg(long, requires = "output")]
        force: bool,
        /// Patroni's configuration [default: the first of /etc/patroni/patroni.yml, /etc/patroni/config.yml and
        /// /etc/patroni.yml that there is]
        #[arg(long, value_name = "FILE")]
        patroni: Option<PathBuf>,
        /// What lines that begin with @ are for, as `keepalived --config-id` [default: this host's name up to the first dot]
        #[arg(long, value_name = "ID")]
        config_id: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file.
    #[arg(long = "config", value_name = "FILE", default_value = "/etc/pgvrrp/pgvrrp.toml")]
    pub(super) path: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Colour {
    /// Whether to print in colours; `auto`: on a terminal, unless NO_COLOR is set or TERM is "dumb".
    #[arg(long = "color", value_name = "WHEN", default_value = "auto")]
    pub(super) when: ColorChoice,
}

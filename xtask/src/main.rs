//! Developer commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask simulate`, `cargo xtask fuzz`,
//! `cargo xtask chaos`, `cargo xtask bench`, `cargo xtask dist` and `cargo xtask package-test`.

mod bench;
mod chaos;
mod demo;
mod dist;
mod fuzz;
mod interrupt;
mod older;
mod package_test;
mod simulate;
mod test;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer commands", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a real Patroni cluster in network namespaces switch over, and the VIP follow
    Demo {
        /// Leave the cluster running at the end, until Enter or Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Run every check and every test
    Test {
        /// Repeat the many-times-repeated scenarios as often as the requirements say
        #[arg(long)]
        full: bool,
    },
    /// Run many histories of the simulator, each of more than ten minutes, and stop at the first that breaks a promise
    Simulate(simulate::Histories),
    /// Put a real cluster through faults of every kind, in an order that a seed gives, and judge what happened
    Chaos(chaos::Chaos),
    /// Feed every parser of bytes from outside with what a fuzzer makes up, and the node with histories
    Fuzz(fuzz::Run),
    /// Measure the daemon beside Keepalived and FRR
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Build the Debian package and the tarball, below target/dist
    Dist(dist::Debian),
    /// Install, upgrade and remove the Debian package on a Debian that is booted for it
    PackageTest,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    interrupt::clean_up_on_signals()?;
    let result = match cli.command {
        Command::Demo { keep } => demo::run(keep),
        Command::Test { full } => test::run(full),
        Command::Simulate(histories) => simulate::run(&histories),
        Command::Chaos(chaos) => chaos::run(&chaos),
        Command::Fuzz(run) => fuzz::run(&run),
        Command::Bench(bench) => bench::run(&bench),
        Command::Dist(options) => dist::run(&options),
        Command::PackageTest => package_test::run(),
    };
    interrupt::wait_if_interrupted();
    result
}

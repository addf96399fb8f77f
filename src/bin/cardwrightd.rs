//! `cardwrightd`: the daemon of a line. Parses the command line and hands it to `cardwright::cli::daemon`.

use cardwright::cli;
use clap::Parser;

fn main() -> std::process::ExitCode {
    let arguments = cli::daemon::DaemonArgs::parse();
    cli::init_logs();
    cli::end(|| cli::daemon::run(&arguments))
}

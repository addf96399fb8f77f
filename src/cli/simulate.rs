//! `--simulate` and its arguments on the command line.

use std::path::PathBuf;

use crate::arguments::{speed, whole_number};
use crate::bureau::line::simulator::Simulation;

/// Arguments that are passed on to `hwsim`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimulateArgs {
    /// Replace every device link by one of hwsim; its jobs are marked SIMULATED.
    #[arg(long)]
    pub simulate: bool,
    /// Times as fast as the machine; 0 = no waiting.
    #[arg(long, requires = "simulate", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Where hwsim writes one JSON object for each blank that leaves the line.
    #[arg(long, requires = "simulate", value_name = "DIR")]
    pub dump: Option<PathBuf>,
    /// Faults that hwsim injects (TOML).
    #[arg(long, requires = "simulate", value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Seed of hwsim's blanks and faults.
    #[arg(long, requires = "simulate", value_parser = whole_number::<u64>)]
    pub seed: Option<u64>,
}

impl SimulateArgs {
    /// The settings for the line.
    pub fn simulation(&self) -> Simulation {
        let Self { simulate, speed, dump, faults, seed } = self.clone();
        Simulation { on: simulate, speed, dump, faults, seed }
    }
}

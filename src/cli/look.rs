//! `cardwright inspect FILE [--keys STORE]`: starts an HSM host for the key store, if one is named, and inspects.

use std::path::PathBuf;

use super::inspect::{self, InspectArgs};
use crate::exit::{Exit, Failure};

/// Words on the command line.
#[derive(Debug, clap::Args)]
pub struct LookArgs {
    #[command(flatten)]
    inspect: InspectArgs,
    /// Also check every MAC with the keys of this store
    #[arg(long, value_name = "STORE")]
    keys: Option<PathBuf>,
}

/// Does it.
pub fn run(args: LookArgs) -> Result<Exit, Failure> {
    let Some(keys) = args.keys else { return inspect::run(args.inspect, None) };
    inspect::run(args.inspect, Some(&mut super::Keys::open(&keys)?.hsm))
}

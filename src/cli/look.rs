//! `cardwright inspect FILE [--keys STORE]`: starts an HSM host for the key store, if one is named, and inspects.

use std::path::PathBuf;

use super::inspect::{self, InspectArgs};
use crate::exit::{Exit, Failure};
use crate::hsm::client::{Client, HostProcess};

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
    let directory = super::socket_directory()?;
    let socket = directory.path().join("hsm.sock");
    let _host = HostProcess::start(&super::own_program()?, &keys, &socket)?;
    inspect::run(args.inspect, Some(&mut Client::connect(&socket)?))
}

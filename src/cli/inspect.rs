//! `cardwright inspect FILE [--keys STORE]`: inspects a file, with an HSM host if a key store is named.
//!
//! Not here: the inspection (`inspect`).

use std::path::PathBuf;

use crate::bureau::key_host::KeyHost;
use crate::exit::{Exit, Failure};
use crate::inspect::inspect;
use crate::stdout;

/// Arguments of `cardwright inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The output file (CWF1)
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Also check every MAC with the keys of this store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
    keys: Option<PathBuf>,
}

/// Prints the findings to standard output; prints nothing if the file is refused as a whole.
pub fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let report = match &args.keys {
        None => inspect(&args.file, None)?,
        Some(keys) => inspect(&args.file, Some(&mut KeyHost::open(keys)?.hsm))?,
    };
    let text = if args.json { report.json()? } else { report.text() };
    stdout::print(&text).map(|()| report.exit())
}

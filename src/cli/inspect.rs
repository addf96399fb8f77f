//! `cardwright inspect FILE [--keys STORE] [--line LINE]`: inspects a file, with an HSM host if a key store is named, and
//! with the checks of acceptance if a line is.
//!
//! Not here: the inspection (`inspect`), the checks of acceptance (`bureau::acceptance`).

use std::path::PathBuf;

use super::common::store_path;
use crate::bureau::acceptance::would_accept;
use crate::bureau::file_check::ConnectKeys;
use crate::bureau::key_host::{CallerRole, KeyHost};
use crate::exit::{Exit, Failure};
use crate::inspect::inspect;
use crate::modules::LineProfile;
use crate::report::ProgressDisplay;
use crate::stdout;

/// Arguments of `cardwright inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// The output file (CWF1)
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Make every check with which this line accepts a file: a shipped name or a .toml file
    #[arg(long)]
    line: Option<String>,
    /// Also check every MAC with the keys of this store
    #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
    keys: Option<PathBuf>,
}

/// Prints the findings to standard output; prints nothing if the file is refused as a whole.
pub fn run(args: &InspectArgs) -> Result<Exit, Failure> {
    let mut host = args.keys.as_deref().map(|store| KeyHost::open(store, CallerRole::Check)).transpose()?;
    let report = match (&args.line, &mut host) {
        (None, None) => inspect(&args.file, None)?,
        (None, Some(host)) => inspect(&args.file, Some(&mut host.hsm))?,
        (Some(line), host) => {
            let shown = ProgressDisplay::suitable(args.json);
            let connect = host.as_ref().map(|host| || host.connect());
            let connect = connect.as_ref().map(|connect| -> ConnectKeys<'_> { connect });
            would_accept(&args.file, &LineProfile::load(line)?, connect, shown)?
        }
    };
    let text = if args.json { report.json()? } else { report.text() };
    stdout::print(&text).map(|()| report.exit())
}

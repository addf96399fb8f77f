//! `cardwright-prep check-return`: whether the bureau's return file accounts for every record that was sent.
//!
//! Not here: the check (`prep::check_return`).

use std::path::PathBuf;

use super::common::json_text;
use crate::audit::PublicKey;
use crate::exit::{Exit, Failure};
use crate::prep::check_return::check;
use crate::stdout;

/// Arguments of `cardwright-prep check-return`.
#[derive(Debug, clap::Args)]
pub struct CheckReturnArgs {
    /// The bureau's return file; its signature lies next to it as RETURN.sig
    #[arg(value_name = "RETURN")]
    paper: PathBuf,
    /// The file that was sent, bare or sealed
    #[arg(long, value_name = "FILE")]
    sent: PathBuf,
    /// The issuer's key store, for a file that was sealed to its recipient too
    #[arg(long, value_name = "STORE")]
    keys: Option<PathBuf>,
    /// The bureau's audit key, 64 hex digits, which must have signed it
    #[arg(long, value_name = "HEX")]
    audit_key: Option<PublicKey>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Prints the verdict.
pub fn run(args: &CheckReturnArgs) -> Result<Exit, Failure> {
    let verdict = check(&args.paper, &args.sent, args.keys.as_deref(), args.audit_key)?;
    let text = match args.json {
        true => json_text(&verdict)?,
        false => verdict.text(),
    };
    stdout::print(&text)?;
    Ok(verdict.exit())
}

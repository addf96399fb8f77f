//! `hsm check`: what a PKCS#11 token does inside.
//!
//! The program loads the module in this process, which is hardened as an HSM host is, holds no keys of ours, and ends
//! after the check.

use std::fmt::Write;
use std::path::PathBuf;

use super::pin;
use crate::bureau::line::hsm_host::{self, StepPlace, TokenChoice, TokenReport};
use crate::exit::{Exit, Failure};
use crate::stdout;

/// The commands about HSMs.
#[derive(Debug, clap::Subcommand)]
pub enum HsmCommand {
    /// Try each step of a session on a PKCS#11 token, with published keys: inside the token, on the host, or refused.
    Check(TokenArgs),
}

/// A token.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// The PKCS#11 module, a shared library.
    #[arg(long, value_name = "PATH")]
    module: PathBuf,
    /// The token's label; not needed if the module has one token.
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
    /// The token's slot, if its label does not name it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "token")]
    slot: Option<u64>,
    /// Read the PIN from standard input, its first line, and do not ask for it at the terminal.
    #[arg(long)]
    pin_stdin: bool,
}

/// Runs one of the commands.
pub fn run(command: &HsmCommand) -> Result<Exit, Failure> {
    let HsmCommand::Check(args) = command;
    let choice = TokenChoice::of(args.token.clone(), args.slot);
    let read = || if args.pin_stdin { pin::from_standard_input() } else { pin::from_terminal("--pin-stdin") };
    let report = hsm_host::check_token(&args.module, &choice, read)?;
    stdout::print(&text(&report))?;
    Ok(if report.has(StepPlace::Refused) { Exit::Hsm } else { Exit::Ok })
}

/// The report for people.
fn text(report: &TokenReport) -> String {
    let mut text = format!("token {} ({})\n", report.label, report.maker);
    for finding in &report.findings {
        let note = match &finding.obstacle {
            Some(obstacle) => obstacle.to_string(),
            None if finding.readable => "the token shows the result to who asks".into(),
            None => String::new(),
        };
        // Writing to a string never fails.
        let _ =
            writeln!(text, "{}", format!("  {:<28}  {:<7}  {note}", finding.step, finding.place).trim_end());
    }
    for (place, meaning) in [
        (StepPlace::Inside, "the token does it, and no secret comes into the memory of the host"),
        (
            StepPlace::OnHost,
            "a card's key or clear value comes into the memory of the host, which does the rest",
        ),
        (StepPlace::Refused, "neither the token nor the host can do it: no session with a card is possible"),
    ] {
        if report.has(place) {
            let _ = writeln!(text, "{place}: {meaning}");
        }
    }
    text.push_str(
        "A line whose keys lie in this token needs host_crypto = \"allowed\" for its steps on the host.\n",
    );
    text
}

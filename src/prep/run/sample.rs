//! The command `sample`: made-up cardholders, for demonstrations and measurements.
//!
//! Not here: their data (`samples`).

use std::path::PathBuf;

use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output_path::{OutputKind, check_replaceable};
use crate::prep::output::write_whole;
use crate::prep::samples;

/// `cardwright-prep sample`.
#[derive(Debug, clap::Args)]
pub struct SampleArgs {
    /// Number of cards to make up.
    #[arg(long, value_parser = count)]
    pub count: u32,
    /// CSV file to write; an earlier file of cardholders there is replaced, any other file is not.
    #[arg(long, value_name = "FILE.csv")]
    pub output: PathBuf,
    /// Equal seeds give equal cards.
    #[arg(long, default_value_t = 1, value_parser = whole_number::<u64>)]
    pub seed: u64,
}

fn count(text: &str) -> Result<u32, String> {
    let most = samples::MAX_COUNT;
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    count.ok_or_else(|| format!("it must be a whole number from 1 to {most}"))
}

/// Writes made-up cardholders.
pub fn sample(args: &SampleArgs) -> Result<Exit, Failure> {
    let check = || check_replaceable(&args.output, OutputKind::Csv);
    write_whole(&args.output, check, |out| {
        samples::write(out, args.count, args.seed).map_err(|e| {
            Failure::new(Exit::Io, format!("output {}: {}", args.output.display(), files::trouble(&e)))
        })
    })?;
    Ok(Exit::Ok)
}

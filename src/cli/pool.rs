//! `pool`: cards' RSA key pairs, made ahead.
//!
//! Not here: making them (`prep::key_pairs`), their file (`prep::pool`).

use std::path::PathBuf;

use super::issuer_cert::{IssuerStoreArg, key_bits};
use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::prep::issuer_desk::IssuerDesk;
use crate::prep::key_pairs::fill;
use crate::prep::offline::CardKeySize;
use crate::prep::pool::{KeyPool, PoolCount};
use crate::stdout;

/// The commands about pools of key pairs.
#[derive(Debug, clap::Subcommand)]
pub enum PoolCommand {
    /// Make key pairs until the pool has a number of them left; a command that was ended goes on.
    Fill {
        /// The store.
        #[command(flatten)]
        store: IssuerStoreArg,
        /// The pool; it is made if there is none.
        #[arg(long, value_name = "FILE")]
        pool: PathBuf,
        /// Size of the moduli, 1024 to 1976.
        #[arg(long, value_parser = key_bits)]
        bits: u16,
        /// Public exponent: 3 or 65537.
        #[arg(long, default_value_t = 3, value_parser = whole_number::<u32>)]
        exponent: u32,
        /// Key pairs that the pool has left afterwards.
        #[arg(long, value_parser = whole_number::<u64>)]
        count: u64,
    },
    /// Show size, exponent and number of key pairs.
    Show {
        /// The pool.
        #[arg(long, value_name = "FILE")]
        pool: PathBuf,
    },
}

/// Runs one of the commands, printing to standard output.
pub fn run(command: &PoolCommand) -> Result<Exit, Failure> {
    let (path, size, count) = match command {
        PoolCommand::Fill { store, pool, bits, exponent, count } => {
            let size = CardKeySize { bits: *bits, exponent: *exponent };
            let desk = IssuerDesk::open(&store.keys)?;
            (pool, size, fill(pool, size, *count, || desk.connect())?)
        }
        PoolCommand::Show { pool } => {
            let opened = KeyPool::open(pool)?;
            (pool, opened.size(), opened.count()?)
        }
    };
    let CardKeySize { bits, exponent } = size;
    let PoolCount { made, taken } = count;
    stdout::print(&format!(
        "{}: RSA {bits}, exponent {exponent}  TEST  {} left, {taken} taken of {made}\n",
        path.display(),
        count.left()
    ))?;
    Ok(Exit::Ok)
}

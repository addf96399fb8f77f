//! The commands `run` and `sample` of `cardwright-prep`.
//!
//! `run` reads its input twice: the Header states the number of cards, and no output may exist for an input
//! with a fault. After a fault it reads it once more, and lists all faults (`rejects`).
//!
//! | file | what it holds |
//! |---|---|
//! | `admission` | what is refused before the input is read: keys, levels, pools |
//! | `input` | the input, read as often as it takes |
//! | `file` | Header and Trailer of the output |
//! | `summary` | what a run prints |
//! | `sample` | the command `sample` |

mod admission;
mod file;
mod input;
mod sample;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::sample::{SampleArgs, sample};

use self::admission::{admitted, counter, pools};
use self::file::{finish, header};
use self::input::{HashedInput, InputCount, RunInput, changed};
use self::summary::summary;
use super::allow::{Allowance, Allowances};
use super::keys::{choose_kek, issuer_of};
use super::maker::{FileOrder, RecordMaker};
use super::order::CardBuilder;
use super::output::write_whole;
use super::today::this_month;
use super::{columns, rejects};
use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::hsm::Issuer;
use crate::hsm::key_host::KeyHost;
use crate::output_path;
use crate::profile::ProductProfile;
use crate::record::{Cwf1Writer, Record};
use crate::report::progress::bar;
use crate::stdout;

/// `cardwright-prep run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = columns::help())]
pub struct PrepRunArgs {
    /// Cardholder data: CSV with a header line, or JSON Lines if the name ends with .jsonl (--help lists the columns).
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Product: a shipped one by name, or a .toml file.
    #[arg(long)]
    pub product: String,
    /// The issuer's key store.
    #[arg(long, value_name = "STORE")]
    pub keys: PathBuf,
    /// Output file; an earlier CWF1 file there is replaced, any other file is not.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Name of the output file, unique for the issuer for ever [default: issuer, time and a random number]
    #[arg(long, value_name = "ID")]
    pub file_id: Option<String>,
    /// Pool of cards' key pairs, for a product with RSA; one for each size that the product needs.
    #[arg(long = "pool", value_name = "FILE")]
    pub pools: Vec<PathBuf>,
    /// Takes cards that break a rule, and says why: expired:REASON or foreign-iin:REASON.
    #[arg(long = "allow", value_name = "RULE:REASON")]
    pub allowances: Vec<Allowance>,
    /// The counter of a product that numbers its cards.
    #[arg(long, value_name = "FILE")]
    pub counter: Option<PathBuf>,
    /// KEK as issuer identifier and version, as 476173FF:1 [default: the issuer's strongest and newest]
    #[arg(long, value_name = "ISSUER:VERSION")]
    pub kek: Option<String>,
    /// Time of creation that the file states [default: now]
    #[arg(long, value_name = "UNIX SECONDS", value_parser = whole_number::<u64>)]
    pub created: Option<u64>,
    /// Print the summary as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Prepares one output file from one input.
pub fn run(args: &PrepRunArgs) -> Result<Exit, Failure> {
    output_path::check_replaceable(&args.output, output_path::OutputKind::Cwf1)?;
    let product = ProductProfile::load(&args.product)?;
    let mut keys = KeyHost::open(&args.keys)?;
    let info = keys.hsm.issuer_keys()?;
    let kek = choose_kek(&info, args.kek.as_deref())?;
    let today = this_month();
    let builder = CardBuilder::new(&product, &info, issuer_of(kek.id), today)?;
    let builder = builder.with_photos_next_to(&args.input);
    admitted(&product, &builder, kek)?;
    let pools = pools(&builder, &args.pools)?;
    let counter = counter(&builder, args.counter.as_deref())?;

    let builder = Arc::new(builder);
    let allowed = Allowances(args.allowances.clone());
    let rules = (kek.id, today, &allowed);
    let mut input = RunInput::of(&builder, (&args.input, &args.output), rules);
    let Some(InputCount { records, digest, taken }) = input.count(counter.as_ref())? else {
        return Err(input.rejected(changed(), &mut keys));
    };
    for pool in &pools {
        pool.want(builder.keys_per_card(pool.size()).saturating_mul(records.into()))?;
    }
    let header = header(args, &product, kek, records)?;
    let order = FileOrder { builder: Arc::clone(&builder), header: header.clone(), kek: kek.id, pools };
    let mut maker = RecordMaker::start(order, || keys.connect())?;
    let written = write_whole(&args.output, |out| {
        let mut writer = Cwf1Writer::new(out, &header)?;
        let mut source = HashedInput::open(&args.input)?;
        let bar = bar(records.into(), "cards");
        let mut put = |made: Vec<Record>| -> Result<bool, Failure> {
            for record in &made {
                writer.record(record)?;
                bar.inc(1);
            }
            Ok(!made.is_empty())
        };
        // The count of the first pass bounds the second, in case the file has grown.
        for (_, card) in (1..=records).zip(input.cards(&mut source).map_err(|_| changed())?) {
            put(maker.add(card.map_err(|_| changed())?)?)?;
        }
        while put(maker.rest()?)? {}
        bar.finish_and_clear();
        if source.finish()? != digest {
            return Err(changed());
        }
        finish(writer, kek, &header, &mut keys.hsm)
    });
    let finished = written.map_err(|failure| match failure.exit {
        Exit::Input => input.rejected(failure, &mut keys),
        _ => failure,
    })?;
    rejects::remove_earlier(&args.output);
    let taken: Vec<_> = taken.with_reasons(&allowed).collect();
    stdout::read(summary(args, &header, kek, finished, &taken))?;
    Ok(Exit::Ok)
}

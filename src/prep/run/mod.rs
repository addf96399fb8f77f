//! The commands `run` and `sample` of `cardwright-prep`.
//!
//! `run` reads its first input twice: the Header states the number of cards, and no output may exist for an input with a
//! fault. After a fault it reads it once more, and lists all faults (`rejects`). If others are joined to it, it is read once
//! before that, for the names of the cards; the others are read once and kept sealed (`join`). `--keep-going` reads those
//! again to find and copy rejected rows. It finds the rejected cards first, and leaves them out of all later readings.
//!
//! | file | what it holds |
//! |---|---|
//! | `admission` | what is refused before the input is read: keys, levels, pools |
//! | `sources` | the first source, and those that are joined to it |
//! | `input` | the input, read as often as it takes |
//! | `file` | Header and Trailer of the output |
//! | `left_out` | the cards that `--keep-going` leaves out |
//! | `sample` | the command `sample` |

mod admission;
mod file;
mod input;
mod left_out;
mod sample;
mod sources;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::sample::{SampleArgs, sample};

use self::admission::{admitted, counter, file_kek, pools};
pub(super) use self::file::finish;
use self::file::header;
use self::input::{InputCount, RunInput, changed};
use self::left_out::LeftOutRows;
use super::allow::{Allowance, Allowances};
use super::delivery::{recipient, write_delivered};
use super::hashed::HashedInput;
use super::keys::issuer_of;
use super::maker::{FileOrder, RecordMaker};
use super::order::CardBuilder;
use super::report::{
    CardCounts, ContentCounts, FileMakers, FinishedFile, PreparationReport, ReportedException, ReportedInput,
    ReportedPool,
};
use super::today::this_month;
use super::unfinished::{UnfinishedFile, is_output_file};
use super::{columns, rejects};
use crate::arguments::whole_number;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::{CallerRole, KeyHost};
use crate::hsm::{Issuer, KekInfo};
use crate::output_path::{OutputKind, check_replaceable};
use crate::profile::ProductProfile;
use crate::record::envelope::Recipient;
use crate::record::{Cwf1Writer, Header, Record};
use crate::report::progress::bar;
use crate::stdout;

/// `cardwright-prep run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = columns::help())]
pub struct PrepRunArgs {
    /// Cardholder data: CSV with a header line, or JSON Lines if the name ends with .jsonl (--help lists the columns); or
    /// the unfinished file of an earlier pass.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// More data of the same cards, found by card_ref; may be given several times.
    #[arg(long = "join", value_name = "FILE")]
    pub joins: Vec<PathBuf>,
    /// Make a file for another pass, which a bureau refuses.
    #[arg(long)]
    pub unfinished: bool,
    /// Product: a shipped one by name, or a .toml file.
    #[arg(long)]
    pub product: String,
    /// The issuer's key store.
    #[arg(long, value_name = "STORE")]
    pub keys: PathBuf,
    /// Output file; an earlier output file of the same kind (bare, or sealed with its report) is replaced, any other is not.
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Seal the output file to this recipient (age1...): the bureau's, and your own store's if you want to read the file again;
    /// may be given several times.
    #[arg(long = "recipient", value_name = "age1...", value_parser = recipient, conflicts_with = "unfinished")]
    pub recipients: Vec<Recipient>,
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
    /// Write the cards without a fault, and end with 17, if rows are rejected; without this option nothing is written.
    #[arg(long)]
    pub keep_going: bool,
    /// Print the report as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Prepares one output file.
pub fn run(args: &PrepRunArgs) -> Result<Exit, Failure> {
    replaceable(args)?;
    let product = ProductProfile::load(&args.product)?;
    let mut keys = KeyHost::open(&args.keys, CallerRole::Issuer)?;
    let earlier = is_output_file(&args.input).then(|| UnfinishedFile::verify(&args.input, &mut keys.hsm));
    let earlier = earlier.transpose()?;
    if earlier.is_some() && args.keep_going {
        // A rejected record could not be prepared later: every pass keeps the file_id.
        let what = "operator: --keep-going: the records of an unfinished file go on together: leave the option out, and correct \
                    the inputs";
        return Err(Failure::new(Exit::Usage, what));
    }
    let info = keys.hsm.issuer_keys()?;
    let kek = file_kek(&info, args.kek.as_deref(), earlier.as_ref())?;
    let today = this_month();
    let builder = CardBuilder::new(&product, &info, issuer_of(kek.id), today)?;
    let builder = Arc::new(builder.with_photos_next_to(&args.input));
    admitted(&product, &builder, kek)?;
    let pools = pools(&builder, &args.pools, &mut keys.hsm)?;
    let stock = pools.iter().map(ReportedPool::begin).collect::<Result<Vec<_>, _>>()?;
    let counter = counter(&builder, args.counter.as_deref())?;

    let allowed = Allowances(args.allowances.clone());
    let mut input = RunInput::of(args, &builder, earlier.is_some(), (kek.id, today, &allowed))?;
    let rejected = match args.keep_going {
        true => input.leave_out(counter.as_ref(), &mut keys)?,
        false => None,
    };
    let Some(InputCount { records, digest, taken }) = input.count(counter.as_ref())? else {
        return Err(input.rejected(changed(), &mut keys));
    };
    let rejected = some_are_left(rejected, records)?;
    if earlier.as_ref().is_some_and(|earlier| earlier.digest != digest) {
        return Err(changed());
    }
    for pool in &pools {
        pool.want(builder.keys_per_card(pool.size()).saturating_mul(records.into()))?;
    }
    let header = header(args, &product, kek, records, earlier.as_ref())?;
    let order = FileOrder::new(&builder, &header, kek.id, pools);
    let maker = RecordMaker::start(order, || keys.connect())?;
    let written = write(args, &input, digest, maker, kek, &header, &mut keys.hsm);
    let (finished, contents) = written.map_err(|failure| match failure.exit {
        Exit::Input => input.rejected(failure, &mut keys),
        _ => failure,
    })?;
    let makers = FileMakers { product: &product, builder: &builder, info: &info, kek };
    let mut report = PreparationReport::new(&args.output, &header, &finished, &makers, contents);
    let inputs = std::iter::once((input.path, digest)).chain(input.joined.iter().copied());
    report.inputs = inputs.map(|(path, digest)| ReportedInput::of(path, digest)).collect();
    report.recipients = args.recipients.iter().map(ToString::to_string).collect();
    report.exceptions = taken.with_reasons(&allowed).map(ReportedException::from).collect();
    if let Some(LeftOutRows { read, .. }) = &rejected {
        let written = report.cards.written;
        report.cards = CardCounts { read: *read, written, rejected: read.saturating_sub(written) };
    }
    let reported = reported(args, report, stock);
    ended(args, &input, reported, rejected)
}

/// Refuses to make a file of which all cards were rejected.
fn some_are_left(rejected: Option<LeftOutRows>, records: u32) -> Result<Option<LeftOutRows>, Failure> {
    match rejected {
        Some(rows) if records == 0 => Err(rows.nothing_written("no card is left")),
        rejected => Ok(rejected),
    }
}

/// Writes and prints the report. `stock` is what the pools had before.
fn reported(
    args: &PrepRunArgs,
    mut report: PreparationReport,
    stock: Vec<ReportedPool>,
) -> Result<(), Failure> {
    report.pools = stock.into_iter().map(ReportedPool::end).collect::<Result<_, _>>()?;
    report.write(&args.output)?;
    stdout::print(&if args.json { report.json()? } else { report.text() })
}

/// Ends a run that has written its file. Rejected rows are a failure, whatever became of the report.
fn ended(
    args: &PrepRunArgs,
    input: &RunInput<'_>,
    reported: Result<(), Failure>,
    rejected: Option<LeftOutRows>,
) -> Result<Exit, Failure> {
    if let Some(rows) = rejected {
        return Err(rows.others_written(input, reported.err()));
    }
    reported?;
    rejects::remove_earlier(&args.output);
    Ok(Exit::Ok)
}

/// Writes the file, unless the first source has another digest than before.
fn write(
    args: &PrepRunArgs,
    input: &RunInput<'_>,
    digest: [u8; 32],
    mut maker: RecordMaker,
    kek: &KekInfo,
    header: &Header,
    hsm: &mut HsmClient,
) -> Result<(FinishedFile, ContentCounts), Failure> {
    let mut contents = ContentCounts::default();
    let check = || replaced(args);
    let ((digest, bytes), sealed) = write_delivered(&args.output, &args.recipients, check, |out| {
        let mut writer = Cwf1Writer::new(out, header)?;
        let mut source = HashedInput::open(input.path)?;
        let bar = bar(header.records.into(), "cards");
        let mut put = |made: Vec<Record>| -> Result<bool, Failure> {
            for record in &made {
                writer.record(record)?;
                contents.add(record);
                bar.inc(1);
            }
            Ok(!made.is_empty())
        };
        // The count of the first reading bounds the second, in case the file has grown.
        let mut cards = input.cards(&mut source).map_err(|_| changed())?;
        cards.holders = cards.holders.compared_before();
        for (_, card) in (1..=header.records).zip(cards) {
            put(maker.add(card.map_err(|_| changed())?)?)?;
        }
        while put(maker.rest()?)? {}
        bar.finish_and_clear();
        if source.finish()? != digest {
            return Err(changed());
        }
        finish(writer, kek, header, hsm)
    })?;
    Ok((FinishedFile { digest, bytes, sealed }, contents))
}

/// Refuses to replace another kind of file, or a sealed file that its report does not name.
fn replaced(args: &PrepRunArgs) -> Result<(), Failure> {
    let kind = match args.unfinished {
        true => OutputKind::Unfinished,
        false if args.recipients.is_empty() => OutputKind::Cwf1,
        false => OutputKind::Sealed,
    };
    check_replaceable(&args.output, kind)?;
    match kind {
        OutputKind::Sealed => PreparationReport::check_sealed(&args.output),
        _ => Ok(()),
    }
}

/// Refuses an output in three cases: it would replace a file that must stay; it is an input of this run; or its report
/// cannot be written next to it, or rejected rows of an earlier run lie there.
fn replaceable(args: &PrepRunArgs) -> Result<(), Failure> {
    replaced(args)?;
    PreparationReport::check_place(&args.output)?;
    rejects::check_no_rows(&args.output)?;
    let Ok(output) = args.output.canonicalize() else { return Ok(()) };
    let is_output = |path: &&PathBuf| path.canonicalize().is_ok_and(|path| path == output);
    match std::iter::once(&args.input).chain(&args.joins).find(is_output) {
        Some(path) => {
            let what =
                format!("operator: output {}: it is an input of this run; name another", path.display());
            Err(Failure::new(Exit::Io, what))
        }
        None => Ok(()),
    }
}

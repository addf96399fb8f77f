//! The commands `run` and `sample` of `cardwright-prep`.
//!
//! `run` reads its input twice: the Header states the number of cards, and no output may exist for an input
//! with a fault. After a fault it reads it once more, and lists all faults (`rejects`).

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::input::{Cardholder, CardholderReader, RejectedLine, RowReader, check};
use super::keys::{choose_kek, issuer_of, kek_name};
use super::maker::{self, FileOrder, RecordMaker};
use super::offline::CardKeySize;
use super::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use super::output::write_whole;
use super::pool::KeyPool;
use super::today::this_month;
use super::{columns, fill_random, rejects, samples};
use crate::arguments::whole_number;
use crate::crypto::{KeyType, Suite};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::client::HsmClient;
use crate::hsm::key_host::KeyHost;
use crate::hsm::{Issuer, KekInfo, SealedCardKey, TrailerToProtect};
use crate::ids::{FileId, KekId, ProductName};
use crate::output_path;
use crate::profile::ProductProfile;
use crate::record::{Cwf1Writer, Header, Record, TrailerKey, TrailerMac};
use crate::report::counted;
use crate::report::progress::bar;
use crate::stdout;

/// `cardwright-prep run`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = columns::help())]
pub struct PrepRunArgs {
    /// Cardholder data: CSV with a header line (--help lists the columns).
    #[arg(long, value_name = "FILE.csv")]
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
    output_path::check_replaceable(&args.output, output_path::OutputKind::Csv)?;
    write_whole(&args.output, |out| {
        samples::write(out, args.count, args.seed).map_err(|e| {
            Failure::new(Exit::Io, format!("output {}: {}", args.output.display(), files::trouble(&e)))
        })
    })?;
    Ok(Exit::Ok)
}

/// Prepares one output file from one input.
pub fn run(args: &PrepRunArgs) -> Result<Exit, Failure> {
    output_path::check_replaceable(&args.output, output_path::OutputKind::Cwf1)?;
    let product = ProductProfile::load(&args.product)?;
    let mut keys = KeyHost::open(&args.keys)?;
    let info = keys.hsm.issuer_keys()?;
    let kek = choose_kek(&info, args.kek.as_deref())?;
    let builder = CardBuilder::new(&product, &info, issuer_of(kek.id), this_month())?;
    let builder = builder.with_photos_next_to(&args.input);
    admitted(&product, &builder, kek)?;
    let pools = pools(&builder, &args.pools)?;

    let builder = Arc::new(builder);
    let input = Input { path: &args.input, output: &args.output, builder: &builder, kek: kek.id };
    let Some((records, digest)) = input.count()? else { return Err(input.rejected(changed(), &mut keys)) };
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
    stdout::read(summary(args, &header, kek, finished))?;
    Ok(Exit::Ok)
}

/// Has the HSM MAC the Trailer. Returns digest and length of the file.
fn finish<W: Write>(
    writer: Cwf1Writer<W>,
    kek: &KekInfo,
    header: &Header,
    hsm: &mut HsmClient,
) -> Result<([u8; 32], u64), Failure> {
    let key = TrailerKey { kek: kek.id, tk_type: kek.tk_type, kcv: kek.kcv };
    let finished = writer.finish(key, |head| {
        let (issuer_id, file_id) = (header.issuer_id.clone(), header.file_id.clone());
        let end = hsm.protect_trailer(&TrailerToProtect { kek: kek.id, issuer_id, file_id, head })?;
        Ok::<_, Failure>(TrailerMac { wrapped_mac_key: end.wrapped_mac_key, mac: end.mac })
    })?;
    Ok((finished.digest, finished.length))
}

/// Opens the pools of key pairs, and checks that there is one for each size that the product needs.
fn pools(builder: &CardBuilder, paths: &[PathBuf]) -> Result<Vec<KeyPool>, Failure> {
    let pools = paths.iter().map(|path| KeyPool::open(path)).collect::<Result<Vec<_>, _>>()?;
    for CardKeySize { bits, exponent } in builder.key_sizes() {
        if !pools.iter().any(|pool| pool.size() == CardKeySize { bits, exponent }) {
            let what = format!(
                "key: the product needs key pairs of {bits} bits with exponent {exponent}: make a pool of them, and name it \
                 with --pool"
            );
            return Err(Failure::new(Exit::KeyUnknown, what));
        }
    }
    Ok(pools)
}

/// Refuses what the bureau would refuse later: a KEK too weak for the product, a security level too low for
/// the KEK.
fn admitted(product: &ProductProfile, builder: &CardBuilder, kek: &KekInfo) -> Result<(), Failure> {
    if !Suite::from_tk_type(kek.tk_type).is_some_and(|suite| product.min_suite.admits(suite)) {
        let what = format!(
            "key: KEK {} is {}, weaker than min_suite of product {}; name another with --kek",
            kek_name(kek.id),
            type_name(kek),
            product.name
        );
        return Err(Failure::new(Exit::KeyMismatch, what));
    }
    let too_low = |a: &&super::plan::ApplicationPlan| {
        a.dgis.iter().any(|d| d.enc.is_some()) && a.level.byte() < kek.min_seclev.byte()
    };
    match builder.plan().applications.iter().find(too_low) {
        Some(application) => Err(Failure::new(
            Exit::Profile,
            format!(
                "profile {}: seclev of application {} is below min_seclev of the KEK",
                product.name, application.aid
            ),
        )),
        None => Ok(()),
    }
}

/// Cipher and length of a KEK.
fn type_name(kek: &KekInfo) -> String {
    let is_its_type = |key: &KeyType| key.suite().is_some_and(|suite| suite.tk_type() == kek.tk_type);
    let named = KeyType::ALL.into_iter().find(is_its_type);
    named.map_or_else(String::new, |key| key.to_string())
}

fn header(
    args: &PrepRunArgs,
    product: &ProductProfile,
    kek: &KekInfo,
    records: u32,
) -> Result<Header, Failure> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let created = args.created.unwrap_or_else(now);
    let file_id = match &args.file_id {
        Some(name) => name.clone(),
        None => {
            let mut random = [0u8; 4];
            fill_random(&mut random)?;
            format!("{}-{created}-{}", kek.issuer_id, hex::encode(random))
        }
    };
    let file_id =
        FileId::new(file_id).map_err(|e| Failure::new(Exit::Usage, format!("--file-id: the name {e}")))?;
    let name = ProductName::new(product.name.clone())
        .map_err(|e| Failure::new(Exit::Profile, format!("profile: the product's name {e}")))?;
    Ok(Header { file_id, issuer_id: kek.issuer_id.clone(), product: name, created, records })
}

fn changed() -> Failure {
    let what = "input: the file changed while it was read; nothing was written, start again";
    Failure::new(Exit::Input, what)
}

/// The input of a run, read as often as it takes.
struct Input<'a> {
    path: &'a Path,
    output: &'a Path,
    builder: &'a CardBuilder,
    kek: KekId,
}

impl<'a> Input<'a> {
    fn cards<'s>(
        &self,
        source: &'s mut HashedInput,
    ) -> Result<CardholderReader<'a, RowReader<'a, &'s mut HashedInput>>, RejectedLine> {
        Ok(CardholderReader::new(source, &self.builder.plan().input)?.under(self.kek))
    }

    /// Checks all lines. Returns the number of cards and the SHA-256 of the file; `None` if a line is wrong.
    fn count(&self) -> Result<Option<(u32, [u8; 32])>, Failure> {
        let mut source = HashedInput::open(self.path)?;
        let Ok(records) = self.cards(&mut source).and_then(check) else { return Ok(None) };
        Ok(Some((records, source.finish()?)))
    }

    /// Reads the whole input again and lists every fault, also those that show only when a card is built.
    /// Returns the failure with which the run ends; `otherwise` if there is no fault.
    fn rejected(&self, otherwise: Failure, keys: &mut KeyHost) -> Failure {
        let mut source = match HashedInput::open(self.path) {
            Ok(source) => source,
            Err(failure) => return failure,
        };
        let cards = match self.cards(&mut source) {
            Ok(cards) => cards,
            Err(header) => return rejects::list(self.output, std::iter::once(Ok(header)), otherwise),
        };
        let wrong = |card: Result<Cardholder, RejectedLine>| match card {
            Err(line) => Some(Ok(line)),
            Ok(card) => match self.build(&card, &mut keys.hsm) {
                Ok(_) => None,
                Err(BuildError::Input(fault)) => {
                    Some(Ok(RejectedLine { card_ref: Some(card.card_ref), faults: vec![fault] }))
                }
                Err(BuildError::Other(failure)) => Some(Err(failure)),
            },
        };
        rejects::list(self.output, cards.filter_map(wrong), otherwise)
    }
}

impl Input<'_> {
    /// Builds a card only to find its faults. It takes no key pair of a pool: zeros of the right length stand for one.
    fn build(&self, card: &Cardholder, hsm: &mut HsmClient) -> Result<OrderedCard, BuildError> {
        let codes = maker::codes(self.builder, std::slice::from_ref(card), hsm)?;
        let mut card_key = |size: CardKeySize| {
            Ok(SealedCardKey { modulus: vec![0; usize::from(size.bits / 8)], sealed: Vec::new() })
        };
        let inputs = CardInputs { sequence: 0, codes: codes.first(), card_key: &mut card_key };
        self.builder.card(card, inputs)
    }
}

/// The input file; it is hashed while it is read.
struct HashedInput {
    file: BufReader<File>,
    hash: Sha256,
    name: String,
}

impl HashedInput {
    fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let fail = |what: String| Failure::new(Exit::Io, format!("operator: input {name}: {what}"));
        // The input is read twice, which a pipe does not allow.
        if !std::fs::metadata(path).map_err(|e| fail(files::trouble(&e)))?.is_file() {
            return Err(fail("it is no regular file: name a file".into()));
        }
        let file = File::open(path).map_err(|e| fail(files::trouble(&e)))?;
        Ok(Self { file: BufReader::with_capacity(256 * 1024, file), hash: Sha256::new(), name })
    }

    /// Reads the rest of the file and returns the SHA-256 of all of it.
    fn finish(mut self) -> Result<[u8; 32], Failure> {
        std::io::copy(&mut self, &mut std::io::sink())
            .map_err(|e| Failure::new(Exit::Io, format!("input {}: {}", self.name, files::trouble(&e))))?;
        Ok(self.hash.finalize().into())
    }
}

impl Read for HashedInput {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn summary(
    args: &PrepRunArgs,
    header: &Header,
    kek: &KekInfo,
    (digest, length): ([u8; 32], u64),
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let id = kek_name(kek.id);
    let digest = hex::encode(digest);
    if args.json {
        let document = serde_json::json!({
            "output": args.output.display().to_string(),
            "file_id": header.file_id,
            "issuer_id": header.issuer_id,
            "product": header.product,
            "created": header.created,
            "records": header.records,
            "bytes": length,
            "sha256": digest,
            "kek": { "id": id, "type": type_name(kek), "tk_type": kek.tk_type, "kcv": kek.kcv },
        });
        return writeln!(out, "{document:#}");
    }
    writeln!(out, "{}: {} of {}", args.output.display(), counted(header.records, "card"), header.product)?;
    writeln!(out, "file_id    {}", header.file_id)?;
    writeln!(out, "issuer_id  {}", header.issuer_id)?;
    writeln!(out, "KEK        {id} {} KCV {}", type_name(kek), kek.kcv)?;
    writeln!(out, "bytes      {length}")?;
    writeln!(out, "SHA-256    {digest}")
}

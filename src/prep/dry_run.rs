//! Prepares a sample card of a product, to find what is wrong with the product before there is an input.
//!
//! The card is an invented one with a value in every column, so that no application and no DGI is left out. Not here: the
//! keys, which are made for it (`bureau::dry_run`), what the bureau finds (there too).

use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use super::columns::{self, Column};
use super::input::{Cardholder, CardholderReader, InputPlace, SourceRow};
use super::key_pairs::fill;
use super::keys::{choose_kek, issuer_of};
use super::maker::{CardToMake, FileOrder, RecordMaker};
use super::order::CardBuilder;
use super::plan::PrepPlan;
use super::pool::KeyPool;
use super::run::finish;
use super::samples;
use super::today::this_month;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{AuthorityName, Issuer, IssuerKeyName, NewIssuerKey, OwnCertificate};
use crate::ids::FileId;
use crate::profile::ProductProfile;
use crate::record::{Cwf1Writer, FileKind, Header, Record};

/// Size of the issuer's RSA key in bits, unless the cards' are longer.
const ISSUER_BITS: u16 = 1408;
/// Last month of the issuer's certificate, MMYY: long after every sample card.
const CERTIFIED: [u8; 2] = [0x12, 0x49];
/// Any authority will do.
const AUTHORITY: AuthorityName = AuthorityName { rid: [0xA0, 0, 0, 0, 0x03], index: 0xF1 };
/// Values of columns that samples leave empty. The photo lies in the folder of the dry run.
const COMPLETED: [(&str, &str); 6] = [
    ("name_printed", "SAMPLE CARD"),
    ("title", "DR"),
    ("line2", "SAMPLE"),
    ("offer", "SAMPLE OFFER"),
    ("photo", PHOTO),
    ("group", "G1"),
];
const PHOTO: &str = "sample.png";

/// Opens connections to the issuer's HSM.
pub type ConnectIssuer<'a> = &'a dyn Fn() -> Result<HsmClient, Failure>;

/// Makes the output file of one sample card. `folder` is for files on the way.
pub fn sample_file(
    product: &ProductProfile,
    connect: ConnectIssuer<'_>,
    folder: &Path,
) -> Result<Vec<u8>, Failure> {
    let mut hsm = connect()?;
    let kek = choose_kek(&hsm.issuer_keys()?, None)?.clone();
    certify(&PrepPlan::load(product)?, issuer_of(kek.id), &mut hsm)?;
    let builder = CardBuilder::new(product, &hsm.issuer_keys()?, issuer_of(kek.id), this_month())?;
    let builder = Arc::new(builder.with_photos_next_to(&folder.join("sample.csv")));
    let pools = pools(&builder, connect, folder)?;
    let card = sample(&builder, folder)?;
    let header = Header {
        kind: FileKind::Finished,
        file_id: FileId::new("DRY-RUN").map_err(bug)?,
        issuer_id: kek.issuer_id.clone(),
        product: product.name.clone(),
        created: 0,
        records: 1,
    };
    let order = FileOrder::new(&builder, &header, kek.id, pools);
    let mut maker = RecordMaker::start(order, connect)?;
    let mut records: Vec<Record> = maker.add(CardToMake { holder: card, earlier: None })?;
    records.extend(maker.rest()?);
    let mut bytes = Vec::new();
    let mut writer = Cwf1Writer::new(BufWriter::new(&mut bytes), &header)?;
    for record in &records {
        writer.record(record)?;
    }
    finish(writer, &kek, &header, &mut hsm)?;
    Ok(bytes)
}

fn bug(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Bug, format!("us: a sample card: {what}"))
}

/// Gives the issuer the RSA keys that the product asks for, each with a certificate.
fn certify(plan: &PrepPlan, issuer: [u8; 4], hsm: &mut HsmClient) -> Result<(), Failure> {
    let offline: Vec<_> = plan.applications.iter().filter_map(|a| a.offline.as_ref()).collect();
    let Some(versions) = offline.iter().map(|offline| offline.issuer_key.unwrap_or(1)).max() else {
        return Ok(());
    };
    let cards = offline.iter().filter_map(|offline| offline.card_key).map(|key| key.bits);
    let bits = cards.max().unwrap_or(0).max(ISSUER_BITS);
    for version in 1..=versions {
        hsm.make_issuer_key(&NewIssuerKey { issuer, bits, exponent: 3 })?;
        let key = IssuerKeyName { issuer, version };
        hsm.certify_own(&OwnCertificate { key, authority: AUTHORITY, expiry: CERTIFIED })?;
    }
    Ok(())
}

/// The key pairs that the card takes.
fn pools(builder: &CardBuilder, connect: ConnectIssuer<'_>, folder: &Path) -> Result<Vec<KeyPool>, Failure> {
    let pools = builder.key_sizes().into_iter().enumerate().map(|(number, size)| {
        let path = folder.join(format!("pool-{number}"));
        fill(&path, size, builder.keys_per_card(size), connect)?;
        let pool = KeyPool::open(&path)?;
        pool.want(builder.keys_per_card(size))?;
        Ok(pool)
    });
    pools.collect()
}

/// An invented cardholder with a value in every column.
fn sample(builder: &CardBuilder, folder: &Path) -> Result<Cardholder, Failure> {
    let mut text = Vec::new();
    samples::write(&mut text, 1, 1).map_err(bug)?;
    let mut lines = csv::ReaderBuilder::new().from_reader(text.as_slice());
    let header = lines.headers().map_err(bug)?.clone();
    let values = lines.records().next().ok_or_else(|| bug("there is none"))?.map_err(bug)?;
    let given = header.iter().zip(&values).filter(|(_, value)| !value.is_empty());
    let mut row = SourceRow::at(InputPlace { file: None, line: 1 });
    for (name, value) in COMPLETED.into_iter().chain(given) {
        if let Some(known) = columns::by_name(name) {
            row.values.insert(known.column, value);
        }
    }
    let schema = &builder.plan().input;
    for own in schema.own_fields() {
        row.values.insert(Column::Own(own), &own.sample());
    }
    std::fs::write(folder.join(PHOTO), photo()?).map_err(bug)?;
    let mut cards = CardholderReader::of(std::iter::once(Ok(row)), schema);
    let card = cards.next().ok_or_else(|| bug("there is none"))?;
    card.map_err(|line| {
        let faults: Vec<_> = line.faults.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Input, faults.join("; "))
    })
}

/// A grey picture.
fn photo() -> Result<Vec<u8>, Failure> {
    const SIDE: u32 = 64;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().map_err(bug)?;
    writer.write_image_data(&[0x80; (SIDE * SIDE) as usize]).map_err(bug)?;
    writer.finish().map_err(bug)?;
    Ok(bytes)
}

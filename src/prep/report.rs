//! The preparation report: what went into an output file, which keys and certificates were used, and what was written. It
//! lies next to the output as `OUTPUT.prep-report.json`.
//!
//! Names, counts, check values and digests, no cardholder data and no key. `src/manual/issuer.md` lists its fields. Not
//! here: the list of rejected lines (`rejects`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::allow::AllowedKind;
use super::hashed::HashedInput;
use super::issuer_desk::{exponent_bytes, issuer_key_name};
use super::keys::{kek_name, kek_type};
use super::order::CardBuilder;
use super::output::write_whole;
use super::pool::KeyPool;
use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::store::KeyUsage;
use crate::hsm::{IssuerInfo, IssuerKeyInfo, KekInfo, Realm};
use crate::ids::{FileId, IssuerId, Kcv, ProductName};
use crate::output_path::{OutputKind, check_replaceable};
use crate::profile::ProductProfile;
use crate::record::chip::{SectionScratch, walk};
use crate::record::{FileKind, Header, Record};
use crate::report::counted;
use crate::sibling_path::sibling_path;

/// The format of the report, and its version.
const FORMAT: &str = "CWP1";

/// The report on one output file.
#[derive(Serialize)]
pub struct PreparationReport {
    /// Names this format. First in the file, so that an earlier report is recognized.
    report: &'static str,
    realm: Realm,
    output: String,
    file_id: FileId,
    issuer_id: IssuerId,
    product: ProductName,
    /// Whether the file is for another pass.
    unfinished: bool,
    profile: ReportedProfile,
    /// Unix seconds, as in the Header.
    created: u64,
    records: u32,
    /// Cards of the input, and what became of them.
    pub cards: CardCounts,
    bytes: u64,
    /// SHA-256 of the output file, hex.
    sha256: String,
    /// To whom the output is sealed.
    pub recipients: Vec<String>,
    /// SHA-256 of the sealed file as it lies there, hex; a bare one has none. By it a later run knows the file.
    sealed_sha256: Option<String>,
    /// The input files in the order of the command line.
    pub inputs: Vec<ReportedInput>,
    /// Records with each section.
    sections: BTreeMap<String, u64>,
    /// Records with each application.
    applications: BTreeMap<String, u64>,
    kek: ReportedKek,
    /// The master keys.
    keys: Vec<ReportedKey>,
    certificates: Vec<ReportedCertificate>,
    /// The pools of key pairs, and what this file took from them.
    pub pools: Vec<ReportedPool>,
    /// Rules that were left aside for cards, and why.
    pub exceptions: Vec<ReportedException>,
}

/// The product's profile.
#[derive(Serialize)]
struct ReportedProfile {
    file: String,
    sha256: String,
}

/// What became of the cards of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CardCounts {
    /// Rows that were read.
    pub read: u64,
    /// Cards that were written.
    pub written: u64,
    /// Rows that were rejected.
    pub rejected: u64,
}

/// An input file as it was read.
#[derive(Serialize)]
pub struct ReportedInput {
    /// Its path.
    pub file: String,
    /// SHA-256 of it, hex.
    pub sha256: String,
}

impl ReportedInput {
    /// The file at a path with this digest.
    pub fn of(path: &Path, digest: [u8; 32]) -> Self {
        Self { file: path.display().to_string(), sha256: hex::encode(digest) }
    }
}

/// The KEK that protects the file.
#[derive(Serialize)]
struct ReportedKek {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    tk_type: u8,
    kcv: Kcv,
}

/// A master key that was used.
#[derive(Serialize)]
struct ReportedKey {
    usage: KeyUsage,
    /// Issuer identifier and version.
    id: String,
    #[serde(rename = "type")]
    kind: String,
    kcv: Kcv,
}

/// The certificate of an RSA key of the issuer that signed.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ReportedCertificate {
    /// Issuer identifier and version of the key.
    key: String,
    bits: usize,
    exponent: String,
    /// RID of the authority and index of its key.
    authority: String,
    serial: String,
    expiry: String,
}

/// A pool of cards' key pairs.
#[derive(Serialize)]
pub struct ReportedPool {
    /// Its path.
    pub file: String,
    /// Size of the moduli.
    pub bits: u16,
    /// Public exponent.
    pub exponent: u32,
    /// Pairs that this file took.
    pub taken: u64,
    /// Pairs that are left.
    pub left: u64,
}

/// A rule that was left aside.
#[derive(Serialize)]
pub struct ReportedException {
    /// The rule.
    pub rule: &'static str,
    /// Cards that broke it.
    pub cards: u32,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Counts of what the records of a file hold.
#[derive(Default)]
pub struct ContentCounts {
    sections: BTreeMap<String, u64>,
    applications: BTreeMap<String, u64>,
    scratch: SectionScratch,
}

impl ContentCounts {
    /// Counts a record of ours.
    pub fn add(&mut self, record: &Record) {
        let Self { sections, applications, scratch } = self;
        for section in &record.sections {
            count(sections, section.mic.as_str());
            if section.mic.as_str() == "CHP" {
                // Written a moment ago: it reads.
                let _ = walk(&section.data, scratch, |application| {
                    count(applications, &hex::encode_upper(application.aid));
                    Ok(())
                });
            }
        }
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

/// A file that was written.
pub struct FinishedFile {
    /// SHA-256 of the file; of a sealed one, of the file inside.
    pub digest: [u8; 32],
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the sealed file.
    pub sealed: Option<[u8; 32]>,
}

/// The part of an earlier report by which it names a sealed file.
#[derive(Deserialize)]
struct EarlierReport {
    report: String,
    sealed_sha256: Option<String>,
}

/// What a file was made with.
pub struct FileMakers<'a> {
    /// The product.
    pub product: &'a ProductProfile,
    /// The builder of its cards.
    pub builder: &'a CardBuilder,
    /// The keys of the issuer's HSM.
    pub info: &'a IssuerInfo,
    /// The KEK of the file.
    pub kek: &'a KekInfo,
}

impl PreparationReport {
    /// The report on a file that was written.
    pub fn new(
        output: &Path,
        header: &Header,
        finished: &FinishedFile,
        makers: &FileMakers<'_>,
        contents: ContentCounts,
    ) -> Self {
        let (text, origin) = &makers.product.source;
        let certificates: BTreeSet<_> = makers.builder.issuer_keys().filter_map(certificate).collect();
        Self {
            report: FORMAT,
            realm: makers.info.realm,
            output: output.display().to_string(),
            file_id: header.file_id.clone(),
            issuer_id: header.issuer_id.clone(),
            product: header.product.clone(),
            unfinished: header.kind == FileKind::Unfinished,
            profile: ReportedProfile { file: origin.clone(), sha256: hex::encode(Sha256::digest(text)) },
            created: header.created,
            records: header.records,
            cards: CardCounts { read: header.records.into(), written: header.records.into(), rejected: 0 },
            bytes: finished.bytes,
            sha256: hex::encode(finished.digest),
            recipients: Vec::new(),
            sealed_sha256: finished.sealed.map(hex::encode),
            inputs: Vec::new(),
            sections: contents.sections,
            applications: contents.applications,
            kek: kek(makers.kek),
            keys: keys(makers),
            certificates: certificates.into_iter().collect(),
            pools: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    /// The path of the report on an output.
    pub fn path(output: &Path) -> PathBuf {
        sibling_path(output, ".prep-report.json")
    }

    /// Refuses an output next to which no report can be written.
    pub fn check_place(output: &Path) -> Result<(), Failure> {
        check_replaceable(&Self::path(output), OutputKind::PrepReport)
    }

    /// Refuses to replace a sealed file unless the report next to it has its digest. Anybody can seal with `age`, and this
    /// program cannot look inside.
    pub fn check_sealed(output: &Path) -> Result<(), Failure> {
        if !std::fs::metadata(output).is_ok_and(|about| about.is_file() && about.len() > 0) {
            return Ok(());
        }
        let report = Self::path(output);
        let named = || {
            let text = File::open(&report).ok()?;
            let earlier: EarlierReport = serde_json::from_reader(BufReader::new(text)).ok()?;
            earlier.sealed_sha256.filter(|_| earlier.report == FORMAT)
        };
        let digest = || HashedInput::open(output).and_then(HashedInput::finish).ok().map(hex::encode);
        if named().is_some_and(|named| Some(named) == digest()) {
            return Ok(());
        }
        let what = format!(
            "operator: output {}: the sealed file there is not the one that {} names, so it may not be from cardwright-prep: name \
             another output, or remove the file yourself",
            output.display(),
            report.display()
        );
        Err(Failure::new(Exit::Io, what))
    }

    /// Writes the report next to its output.
    pub fn write(&self, output: &Path) -> Result<(), Failure> {
        let path = Self::path(output);
        let text = self.json()?;
        let fail = |e: std::io::Error| {
            let what =
                format!("output {}: {}; the file itself was written", path.display(), files::trouble(&e));
            Failure::new(Exit::Io, what)
        };
        let check = || Self::check_place(output);
        write_whole(&path, check, |mut out| {
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(fail)
        })
    }

    /// The report as one JSON document.
    pub fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| Failure::new(Exit::Bug, format!("us: the report: {e}")))
    }

    /// The short form for people.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: {} of {}", self.output, counted(self.cards.written, "card"), self.product),
            format!("file_id    {}", self.file_id),
            format!("issuer_id  {}", self.issuer_id),
        ];
        if self.cards.rejected > 0 {
            lines.push(format!("REJECTED   {} of {} rows", self.cards.rejected, self.cards.read));
        }
        if self.unfinished {
            lines.push("UNFINISHED: for another pass; a bureau refuses it".to_owned());
        }
        let ReportedKek { id, kind, kcv, .. } = &self.kek;
        lines.push(format!("KEK        {id} {kind} KCV {kcv}"));
        for ReportedKey { usage, id, kind, kcv } in &self.keys {
            lines.push(format!("{:<9}  {id} {kind} KCV {kcv}", usage.to_string()));
        }
        for ReportedCertificate { key, bits, authority, expiry, .. } in &self.certificates {
            lines.push(format!("RSA key    {key}, {bits} bits, certified by {authority} until {expiry}"));
        }
        for (aid, cards) in &self.applications {
            lines.push(format!("chip       application {aid} on {}", counted(cards, "card")));
        }
        for ReportedPool { file, taken, left, .. } in &self.pools {
            lines.push(format!("pool       {file}: {} taken, {left} left", counted(taken, "key pair")));
        }
        for ReportedException { rule, cards, reason } in &self.exceptions {
            lines.push(format!("allowed    {rule}: {}: {reason}", counted(cards, "card")));
        }
        for ReportedInput { file, sha256 } in &self.inputs {
            lines.push(format!("input      {file} SHA-256 {sha256}"));
        }
        lines.push(format!("bytes      {}", self.bytes));
        lines.push(format!("SHA-256    {}", self.sha256));
        lines.extend(self.recipients.iter().map(|recipient| format!("sealed to  {recipient}")));
        lines.push(format!("report     {}", Self::path(Path::new(&self.output)).display()));
        lines.join("\n") + "\n"
    }
}

impl From<(AllowedKind, u32, &str)> for ReportedException {
    fn from((rule, cards, reason): (AllowedKind, u32, &str)) -> Self {
        Self { rule: rule.word(), cards, reason: reason.to_owned() }
    }
}

impl ReportedPool {
    /// A pool before the file takes anything from it; `taken` is what it had given out before.
    pub fn begin(pool: &KeyPool) -> Result<Self, Failure> {
        let size = pool.size();
        let (file, count) = (pool.path().display().to_string(), pool.count()?);
        Ok(Self { file, bits: size.bits, exponent: size.exponent, taken: count.taken, left: count.left() })
    }

    /// The same pool after the file was made.
    pub fn end(self) -> Result<Self, Failure> {
        let count = KeyPool::open(Path::new(&self.file))?.count()?;
        Ok(Self { taken: count.taken.saturating_sub(self.taken), left: count.left(), ..self })
    }
}

fn kek(kek: &KekInfo) -> ReportedKek {
    ReportedKek { id: kek_name(kek.id), kind: kek_type(kek), tk_type: kek.tk_type, kcv: kek.kcv }
}

/// The master keys that the product needs; a PVK is used wherever there is one.
fn keys(makers: &FileMakers<'_>) -> Vec<ReportedKey> {
    let FileMakers { builder, info, .. } = makers;
    let mut needed = builder.plan().needs();
    if needed.contains(&KeyUsage::Cvk) {
        needed.insert(KeyUsage::Pvk);
    }
    let masters = needed.into_iter().filter_map(|usage| {
        let name = builder.keys().find(usage)?.name;
        let issuer = builder.keys().issuer();
        let mut held = info.masters.iter();
        let key =
            held.find(|key| key.issuer == issuer && key.usage == usage && key.version == name.version)?;
        let id = format!("{issuer}:{}", key.version);
        Some(ReportedKey { usage, id, kind: key.key_type.to_string(), kcv: key.kcv })
    });
    masters.collect()
}

fn certificate(key: &IssuerKeyInfo) -> Option<ReportedCertificate> {
    let certificate = key.certificate.as_ref()?;
    let authority = certificate.authority;
    Some(ReportedCertificate {
        key: issuer_key_name(key.name),
        bits: key.modulus.len() * 8,
        exponent: hex::encode_upper(exponent_bytes(key.exponent)),
        authority: format!("{} {}", hex::encode_upper(authority.rid), hex::encode_upper([authority.index])),
        serial: hex::encode_upper(certificate.serial),
        expiry: MonthYear::from_bcd(certificate.expiry).map_or_else(String::new, |month| month.to_string()),
    })
}

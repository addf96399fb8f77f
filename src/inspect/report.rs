//! The report of `inspect`, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::SectionCounts;
use super::verify::{MacFindings, RecordFault};
use crate::crypto::Suite;
use crate::exit::{Exit, Failure};
use crate::ids::{FileId, IssuerId, Kcv, KekId, ProductName};
use crate::laws::rfc3339_seconds;
use crate::printable::one_line;
use crate::record::{CheckedFile, FileEnd, FileKind, Header};

/// The report: names and counts, no cardholder data.
#[derive(Serialize)]
pub struct InspectionReport {
    file: String,
    /// The line whose acceptance would take the file; `None` if no line was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    /// Length of the file in bytes.
    size: u64,
    sha256: String,
    file_id: FileId,
    issuer_id: IssuerId,
    product: ProductName,
    /// Whether the file is for another pass of the issuer's preparation, so that no bureau takes it.
    unfinished: bool,
    /// When the file was made, in UTC (ISO 8601).
    created: String,
    records: u32,
    /// Always "right": a file with a wrong structure or digest gets no report.
    structure: &'static str,
    digest: &'static str,
    trailer: TrailerReport,
    /// Records with each MIC.
    mics: BTreeMap<String, u64>,
    applications: Vec<ApplicationCount>,
    /// Records of each product.
    products: BTreeMap<String, u64>,
    /// The KEKs of the applications.
    keys: Vec<KekCount>,
    /// Whether every MAC was checked and is right.
    verified: bool,
    applications_verified: u64,
    applications_failed: u64,
    /// The first failed applications.
    faults: Vec<RecordFault>,
}

/// The Trailer's key, and whether its MAC was checked.
#[derive(Serialize)]
struct TrailerReport {
    kek: KekId,
    tk_type: String,
    kcv: Kcv,
    /// "verified" or "not checked".
    mac: &'static str,
}

/// Number of records with one application.
#[derive(Serialize)]
struct ApplicationCount {
    aid: String,
    records: u64,
}

/// Number of applications under one KEK.
#[derive(Serialize)]
struct KekCount {
    kek: KekId,
    tk_type: String,
    applications: u64,
}

impl InspectionReport {
    /// The report of a whole file; `outcome` has what an HSM found, if one was asked.
    pub(super) fn new(
        file: &Path,
        header: &Header,
        end: &FileEnd,
        counts: &SectionCounts,
        outcome: Option<MacFindings>,
    ) -> Self {
        let header = header.clone();
        let checked = outcome.is_some();
        let MacFindings { verified, failed, faults } = outcome.unwrap_or_default();
        Self {
            file: file.display().to_string(),
            line: None,
            size: end.length,
            sha256: hex::encode_upper(end.digest),
            file_id: header.file_id,
            issuer_id: header.issuer_id,
            product: header.product,
            unfinished: header.kind == FileKind::Unfinished,
            created: rfc3339_seconds(header.created),
            records: header.records,
            structure: "right",
            digest: "right",
            trailer: TrailerReport {
                kek: end.trailer.kek,
                tk_type: format!("{:02X}", end.trailer.tk_type),
                kcv: end.trailer.kcv,
                mac: if checked { "verified" } else { "not checked" },
            },
            mics: counts.mics.iter().filter(|(_, count)| *count > 0).cloned().collect(),
            applications: counts
                .aids
                .sorted()
                .into_iter()
                .map(|(aid, records)| ApplicationCount { aid: hex::encode_upper(aid), records })
                .collect(),
            products: counts
                .products
                .sorted()
                .into_iter()
                .map(|(name, records)| (one_line(&String::from_utf8_lossy(name)).into_owned(), records))
                .collect(),
            keys: counts.keks.sorted().into_iter().filter_map(key).collect(),
            verified: checked && failed == 0,
            applications_verified: verified,
            applications_failed: failed,
            faults,
        }
    }

    /// The report of a file that passed every check of acceptance on a line; `applications` were verified, `None`
    /// without keys.
    pub fn accepted(
        file: &Path,
        checked: &CheckedFile,
        counts: &SectionCounts,
        line: &str,
        applications: Option<u64>,
    ) -> Self {
        let outcome = applications.map(|verified| MacFindings { verified, ..MacFindings::default() });
        let report = Self::new(file, &checked.header, &checked.end, counts, outcome);
        Self { line: Some(line.to_owned()), ..report }
    }

    /// Returns the exit code of the command.
    pub fn exit(&self) -> Exit {
        match (self.verified, self.applications_failed) {
            (true, _) => Exit::Ok,
            (false, 0) => Exit::StructureOnly,
            (false, _) => Exit::RecordData,
        }
    }

    /// Returns the report as one JSON document.
    pub fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string_pretty(self);
        text.map(|text| text + "\n").map_err(|e| Failure::new(Exit::Bug, format!("us: the report: {e}")))
    }

    /// Whether a bureau may take the file, in words.
    fn kind(&self) -> &'static str {
        match self.unfinished {
            true => "UNFINISHED: for another pass of cardwright-prep run; no bureau takes it",
            false => "finished",
        }
    }

    /// Returns the report as text for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let trailer = &self.trailer;
        let size = format!("{} bytes", self.size);
        let mac = format!(
            "{} (KEK {}, {}, KCV {})",
            trailer.mac,
            trailer.kek,
            type_name(&trailer.tk_type),
            trailer.kcv
        );
        let macs = match (self.verified, self.applications_failed) {
            (true, _) => format!("all {} verified", self.applications_verified),
            (false, 0) => "not checked: no keys were given".to_owned(),
            (false, failed) => format!("{failed} WRONG, {} verified", self.applications_verified),
        };
        let records = self.records.to_string();
        for (name, value) in [
            ("File", self.file.as_str()),
            ("Size", &size),
            ("SHA-256", &self.sha256),
            ("File id", self.file_id.as_str()),
            ("Issuer", self.issuer_id.as_str()),
            ("Product", self.product.as_str()),
            ("Created", &self.created),
            ("Kind", self.kind()),
            ("Records", &records),
            ("Structure", self.structure),
            ("Digest", self.digest),
            ("Trailer MAC", &mac),
            ("Chip MACs", &macs),
        ] {
            line(&mut out, &format!("{name:<13}{value}"));
        }
        if let Some(name) = &self.line {
            let keys = if self.verified { "" } else { ", as far as that needs no keys" };
            line(&mut out, &format!("{:<13}line {name} would accept this file{keys}", "Acceptance"));
        }
        table(&mut out, "Section", "records", self.mics.iter().map(|(m, n)| (m.clone(), *n)));
        let aids = self.applications.iter().map(|a| (a.aid.clone(), a.records));
        table(&mut out, "Application", "records", aids);
        table(&mut out, "Product", "records", self.products.iter().map(|(p, n)| (p.clone(), *n)));
        let keys = self.keys.iter();
        let keys = keys.map(|k| (format!("{} {}", k.kek, type_name(&k.tk_type)), k.applications));
        table(&mut out, "KEK", "applications", keys);
        if !self.faults.is_empty() {
            line(&mut out, "");
        }
        for fault in &self.faults {
            let RecordFault { record, card_ref, aid, fault } = fault;
            line(&mut out, &format!("WRONG: record {record} (card {card_ref}), application {aid}: {fault}"));
        }
        let unlisted = self.applications_failed.saturating_sub(self.faults.len() as u64);
        if unlisted > 0 {
            line(&mut out, &format!("and {unlisted} more"));
        }
        out
    }
}

/// Reads the KEKID and TYPEtk under which a key was counted.
fn key((name, applications): (&[u8], u64)) -> Option<KekCount> {
    let (kek, [tk_type]) = name.split_first_chunk()? else { return None };
    Some(KekCount { kek: KekId(*kek), tk_type: format!("{tk_type:02X}"), applications })
}

fn line(out: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}

fn table(out: &mut String, name: &str, counted: &str, rows: impl Iterator<Item = (String, u64)>) {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(text, _)| text.len()).chain([20]).max().unwrap_or_default();
    line(out, "");
    line(out, &format!("{name:<width$}  {counted:>12}"));
    for (text, count) in rows {
        line(out, &format!("{text:<width$}  {count:>12}"));
    }
}

fn type_name(tk_type: &str) -> &'static str {
    match u8::from_str_radix(tk_type, 16).ok().and_then(Suite::from_tk_type) {
        Some(Suite::Tdes) => "TDES",
        Some(Suite::Aes128) => "AES-128",
        Some(Suite::Aes256) => "AES-256",
        None => "?",
    }
}

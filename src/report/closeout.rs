//! The papers of a closed job, made from the ledger: the close-out report, for people (HTML) and programs
//! (JSON), and the return file, which lists the outcome of every record for the issuer. Not here: their
//! signatures (`bureau::papers`).
//!
//! The return file is JSON Lines: a header, a line for each record in file order, a trailer.
//! `src/manual/return-file.md` specifies it.
//!
//! ```text
//! {"return":"CWR1","simulated":..,"test_keys":..,"deleted":..,"fulfilment_data":..,"issuer_id":..,"file_id":..,
//!  "product":..,"sha256":..,"ledger":..,"job":..,"closed":..}
//! {"seq":1,"card_ref":..,"outcome":"GOOD"|"CANCELLED","attempts":1,"blank":CSN|null,"time":..|null,"position":1|null,
//!  "fulfilment":{"stock":..,"carrier":..,"ship_group":..,"priority":..,"group":..}}
//! {"end":"CWR1","records":..,"good":..,"cancelled":..}
//! ```
//!
//! `fulfilment_data`, which the report has too, says whether the fulfilment data of the issuer's file is
//! included:
//!
//! | it says | then `fulfilment` is |
//! |---|---|
//! | `as accepted` | the data of the file; null for a part that the record does not have |
//! | `not readable` | null: the accepted file or its key was lost or changed earlier |
//! | `deleted` | null: the cardholder data was deleted earlier |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use super::events::milliseconds;
use super::summary::{ReportPaths, Summary};
use super::withheld::shown;
use crate::audit::LedgerId;
use crate::exit::{Exit, Failure};
use crate::hsm::{HsmInfo, KmcInfo, TokenPart};
use crate::laws::{AttemptState, HsmUse, JobId, RecordState, Stock, rfc3339};
use crate::laws::{EventFact, LedgerEvent};
use crate::ledger::JobMark;
use crate::ledger::{Reader, StationCount};
use crate::modules::sections::FulfilmentSection;

/// `fulfilment_data` of a return file that has the data.
pub const AS_ACCEPTED: &str = "as accepted";
/// `fulfilment_data` where the accepted file or its key was lost or changed.
const NOT_READABLE: &str = "not readable";
/// `fulfilment_data` where the cardholder data was deleted.
const DELETED: &str = "deleted";

/// A close-out report.
#[derive(Debug, Clone, Serialize)]
pub struct CloseOut {
    /// Name of the ledger.
    pub ledger: String,
    /// Time of the first event of the job.
    pub from: String,
    /// Time of the event that closed the job.
    pub to: String,
    /// Every person who made a request about the job.
    pub people: Vec<String>,
    /// KMC_IDs of the chips that were bound.
    pub kmcs: Vec<String>,
    /// The KEK and KMCs of the job that the HSM still holds, by their labels.
    pub keys: Vec<KeyUsed>,
    /// What a token does inside, and what the memory of the host sees, if keys lie in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenPart>,
    /// Calls to the HSM by kind, in the runs that ended by themselves.
    pub hsm_calls: BTreeMap<String, u64>,
    /// Milliseconds that their callers waited, by kind, in those runs.
    pub hsm_ms: BTreeMap<String, f64>,
    /// What a card asked of the HSM; `None` if no card did, or an earlier version made them.
    pub hsm_per_card: Option<HsmPerCard>,
    /// Cards that each station worked on, by `module/station`, in those runs.
    pub worked: BTreeMap<String, u64>,
    /// Cards that reached each state, by module and station.
    pub stations: Vec<StationCount>,
    /// Whether the fulfilment data is in the return file: one of the values of the table above.
    pub fulfilment_data: &'static str,
    /// The job with its balances, rejects, remakes and gaps.
    #[serde(flatten)]
    pub summary: Summary,
}

/// What the cards of a job asked of the HSM, each attempt that left the modules counted by itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HsmPerCard {
    /// Attempts.
    pub cards: usize,
    /// Median and most calls of a card.
    pub calls: [u32; 2],
    /// Median and most milliseconds that a card waited.
    pub ms: [f64; 2],
}

impl HsmPerCard {
    fn of(uses: &[HsmUse]) -> Option<Self> {
        let (mut calls, mut us): (Vec<_>, Vec<_>) = uses.iter().map(|used| (used.calls, used.us)).unzip();
        calls.sort_unstable();
        us.sort_unstable();
        let middle = uses.len() / 2;
        Some(Self {
            cards: uses.len(),
            calls: [*calls.get(middle)?, *calls.last()?],
            ms: [milliseconds(*us.get(middle)?), milliseconds(*us.last()?)],
        })
    }
}

impl std::fmt::Display for HsmPerCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cards, calls: [calls, most_calls], ms: [ms, most_ms] } = self;
        write!(
            f,
            "{calls} calls and {ms} ms in the median, {most_calls} calls and {most_ms} ms at most, of {cards} attempts"
        )
    }
}

/// A key as a report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyUsed {
    /// Name that the operator gave it.
    pub label: String,
    /// KEKID, or KMC_ID and version.
    pub id: String,
    /// Check value.
    pub kcv: String,
}

/// Returns the keys of a job that the HSM still holds.
fn keys(hsm: &HsmInfo, kek: &str, kmcs: &[String]) -> Vec<KeyUsed> {
    let keks =
        hsm.keks.iter().map(|key| (&key.label, key.id.to_string(), key.kcv, key.id.to_string() == kek));
    let used = |key: &KmcInfo| kmcs.contains(&hex::encode_upper(key.kmc.id));
    let kmcs = hsm.kmcs.iter().map(|key| (&key.label, key.kmc.to_string(), key.kcv, used(key)));
    keks.chain(kmcs)
        .filter(|(.., used)| *used)
        .map(|(label, id, kcv, _)| KeyUsed { label: label.clone(), id, kcv: kcv.to_string() })
        .collect()
}

impl std::fmt::Display for KeyUsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} KCV {}", self.label, self.id, self.kcv)
    }
}

impl CloseOut {
    /// Makes the report of a job that the caller knows to be CLOSED. `readable`: the accepted file can be
    /// read.
    pub fn build(reader: &Reader, job: JobId, readable: bool, hsm: &HsmInfo) -> Result<Self, Failure> {
        let view = reader.job(job)?;
        let kmcs = reader.kmcs(job)?;
        let counts = reader.run_counts(job)?;
        let worked =
            counts.worked.into_iter().map(|((module, name), n)| (format!("{module}/{name}"), n)).collect();
        let hsm_calls = counts.hsm_calls;
        let hsm_ms = counts.hsm_us.into_iter().map(|(call, us)| (call, milliseconds(us))).collect();
        let (from, last) = reader.span(job)?;
        // Later events (a deletion) are not part of the report.
        let to = reader.last_mark(job, JobMark::Closed)?.map_or(last, |event| event.ts);
        Ok(Self {
            ledger: reader.id()?.to_string(),
            from: rfc3339(from),
            to: rfc3339(to),
            people: reader.people(job)?,
            keys: keys(hsm, &view.kek, &kmcs),
            kmcs,
            token: hsm.token.clone(),
            hsm_calls,
            hsm_ms,
            hsm_per_card: HsmPerCard::of(&reader.hsm_uses(job)?),
            worked,
            stations: reader.station_counts(job)?,
            fulfilment_data: match (view.deleted, readable) {
                (true, _) => DELETED,
                (false, true) => AS_ACCEPTED,
                (false, false) => NOT_READABLE,
            },
            summary: Summary::build(reader, job, None, ReportPaths::default())?,
        })
    }

    fn data_text(&self) -> &'static str {
        match self.fulfilment_data {
            DELETED => "deleted",
            NOT_READABLE => {
                "not readable any more, for the accepted file or its key was lost or changed: the return file has no \
                 fulfilment data"
            }
            _ => "kept until they are deleted",
        }
    }

    fn stock_text(&self) -> String {
        let Some(stock) = &self.summary.stock else { return "not counted".to_owned() };
        let Stock { issued, returned, vaulted } = stock.stock;
        format!("{issued} issued = {} fed + {returned} returned; {vaulted} in the vault", stock.fed)
    }

    /// Returns the report for people: one HTML page that loads nothing.
    pub fn html(&self) -> String {
        let job = &self.summary.job;
        let mark = super::mark(job)
            .map(|mark| format!("<p class=mark>{mark}: no card of this report is for a cardholder</p>"));
        let mut page = format!(
            "<!doctype html><html lang=en><meta charset=utf-8>{2}<style>body{{font:15px/1.4 \
             sans-serif;margin:2em;max-width:60em}}table{{border-collapse:collapse;margin:1em 0}}td,th{{border:1px solid \
             #999;padding:.2em .6em;text-align:left}}.mark{{background:#fd0;padding:.5em;font-weight:bold}}</style>{1}<h1>\
             Close-out of {0}</h1>",
            escaped(&job.job.to_string()),
            mark.unwrap_or_default(),
            title(job.job)
        );
        let token = self.token.iter().map(|part| ("Token", part.to_string()));
        let facts = self.facts().into_iter().chain(token);
        table(&mut page, &[], facts.map(|(name, value)| vec![name.to_owned(), value]));
        self.write_stations(&mut page);
        self.write_rejects(&mut page);
        self.write_remakes(&mut page);
        page.push_str("</html>\n");
        page
    }

    /// Returns the facts of the job, each with its name.
    fn facts(&self) -> [(&'static str, String); 19] {
        let job = &self.summary.job;
        let b = &job.balance;
        [
            ("File", format!("{} of {}", job.file_id, job.issuer_id)),
            ("Product", job.product.clone()),
            ("Line", job.line.clone()),
            ("KEK", job.kek.clone()),
            ("KMC", self.kmcs.join(", ")),
            ("Keys", self.keys.iter().map(KeyUsed::to_string).collect::<Vec<_>>().join(", ")),
            (
                "HSM calls",
                self.hsm_calls.iter().map(|(k, n)| format!("{k} {n}")).collect::<Vec<_>>().join(", "),
            ),
            (
                "HSM time",
                self.hsm_ms.iter().map(|(k, ms)| format!("{k} {ms} ms")).collect::<Vec<_>>().join(", "),
            ),
            ("HSM per card", self.hsm_per_card.as_ref().map(HsmPerCard::to_string).unwrap_or_default()),
            ("Cardholder data", self.data_text().into()),
            ("SHA-256 of the file", job.digest.clone()),
            ("Ledger", self.ledger.clone()),
            ("From", self.from.clone()),
            ("To", self.to.clone()),
            ("People", self.people.join(", ")),
            ("Records", format!("{} = {} good + {} cancelled", b.records, b.good, b.cancelled)),
            (
                "Blanks",
                format!(
                    "{} fed = {} good + {} rejected + {} given back + {} sample",
                    b.blanks_fed, b.blanks_good, b.blanks_rejected, b.blanks_returned, b.blanks_sample
                ),
            ),
            ("Stock", self.stock_text()),
            ("Off", format!("{} records, {} blanks", self.summary.records_off, self.summary.blanks_off)),
        ]
    }

    fn write_stations(&self, page: &mut String) {
        heading(page, "Stations");
        let stations = self
            .stations
            .iter()
            .map(|s| vec![s.module.clone(), s.station.clone(), s.reached.clone(), s.cards.to_string()]);
        table(page, &["Module", "Station", "State", "Cards"], stations);
        table(
            page,
            &["Station", "Cards worked on"],
            self.worked.iter().map(|(station, cards)| vec![station.clone(), cards.to_string()]),
        );
    }

    fn write_rejects(&self, page: &mut String) {
        heading(page, "Rejected, lost or destroyed");
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let rejects = self.summary.rejects.iter().map(|r| {
            let record = r.seq.map(|seq| seq.to_string()).unwrap_or_default();
            let state = r.state.map(|state| state.to_string()).unwrap_or_default();
            vec![
                record,
                text(&r.card_ref),
                text(&r.blank),
                state,
                text(&r.station),
                text(&r.reason),
                text(&r.header),
                text(&r.sw),
                rfc3339(r.ts),
            ]
        });
        let columns =
            ["Record", "card_ref", "Blank", "Now", "Station", "Reason", "Command", "Status word", "Time"];
        table(page, &columns, rejects);
    }

    fn write_remakes(&self, page: &mut String) {
        heading(page, "Remakes");
        let remakes = self.summary.remakes.iter().map(|r| {
            vec![r.seq.to_string(), r.card_ref.clone(), r.attempt.to_string(), r.position.to_string()]
        });
        table(page, &["Record", "card_ref", "Attempt", "Position"], remakes);
    }
}

/// Returns the title of the page, which no page of another job has.
pub fn title(job: JobId) -> String {
    format!("<title>Close-out {}</title>", escaped(&job.to_string()))
}

fn heading(page: &mut String, text: &str) {
    // Writing to a String does not fail.
    let _ = write!(page, "<h2>{}</h2>", escaped(text));
}

fn table(page: &mut String, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<table>");
    if !columns.is_empty() {
        let cells: String = columns.iter().map(|c| format!("<th>{}</th>", escaped(c))).collect();
        let _ = write!(page, "<tr>{cells}</tr>");
    }
    for row in rows {
        let cells: String = row.iter().map(|c| format!("<td>{}</td>", escaped(c))).collect();
        let _ = write!(page, "<tr>{cells}</tr>");
    }
    page.push_str("</table>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The first line of a return file.
#[derive(Serialize)]
struct ReturnFileHeader<'a> {
    #[serde(rename = "return")]
    format: &'static str,
    simulated: bool,
    test_keys: bool,
    /// The cardholder data was deleted earlier, so there is no fulfilment data.
    deleted: bool,
    fulfilment_data: &'static str,
    issuer_id: &'a str,
    file_id: &'a str,
    product: &'a str,
    sha256: &'a str,
    ledger: String,
    job: String,
    closed: &'a str,
}

/// The line of one record.
#[derive(Serialize)]
struct ReturnFileRecord<'a> {
    seq: u32,
    card_ref: &'a str,
    outcome: RecordState,
    attempts: usize,
    blank: Option<&'a str>,
    time: Option<String>,
    position: Option<u32>,
    fulfilment: FulfilmentText,
}

/// The fulfilment data of a record, without texts that may hold an account number.
#[derive(Serialize)]
struct FulfilmentText {
    stock: Option<String>,
    carrier: Option<String>,
    ship_group: Option<String>,
    priority: Option<String>,
    group: Option<String>,
}

/// Writes the return file of a closed job. `fulfilment` returns the contents of a record's FUL section.
pub fn write_return(
    reader: &Reader,
    close_out: &CloseOut,
    ledger: LedgerId,
    mut fulfilment: impl FnMut(u32) -> Result<FulfilmentSection, Failure>,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let job = &close_out.summary.job;
    line(
        out,
        &ReturnFileHeader {
            format: "CWR1",
            simulated: job.simulated,
            test_keys: job.test_keys,
            deleted: job.deleted,
            fulfilment_data: close_out.fulfilment_data,
            issuer_id: &job.issuer_id,
            file_id: &job.file_id,
            product: &job.product,
            sha256: &job.digest,
            ledger: ledger.to_string(),
            job: job.job.to_string(),
            closed: &close_out.to,
        },
    )?;
    for seq in reader.all(job.job)? {
        let card = reader.card(job.job, seq)?;
        // A card is good if it was stacked, or if a person found an UNKNOWN one good.
        let good = |state| matches!(state, AttemptState::Stacked | AttemptState::Good);
        let made = card.attempts.iter().find(|attempt| good(attempt.state));
        let told = |event: &&LedgerEvent| {
            matches!(event.fact, EventFact::Stacked { .. }) || event.is_moved_to(AttemptState::Good)
        };
        let FulfilmentSection { stock, carrier, ship_group, priority, group, .. } = fulfilment(seq)?;
        line(
            out,
            &ReturnFileRecord {
                seq,
                card_ref: &card.card_ref,
                outcome: card.state,
                attempts: card.attempts.len(),
                blank: made.map(|attempt| attempt.blank.as_str()),
                time: card.events.iter().rfind(told).map(|event| rfc3339(event.ts)),
                position: made.and_then(|attempt| attempt.position),
                fulfilment: FulfilmentText {
                    stock: shown(stock),
                    carrier: shown(carrier),
                    ship_group: shown(ship_group),
                    priority: shown(priority),
                    group: shown(group),
                },
            },
        )?;
    }
    let b = &job.balance;
    line(
        out,
        &serde_json::json!({ "end": "CWR1", "records": b.records, "good": b.good, "cancelled": b.cancelled }),
    )
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    let written = serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from);
    written
        .and_then(|()| out.write_all(b"\n"))
        .map_err(|e| Failure::new(Exit::Io, format!("return file: {e}")))
}

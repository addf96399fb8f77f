//! The answers of cards that lie in the line, as text and JSON.

use std::io::Write;

use serde::Serialize;

use super::super::common::{Early, json};
use super::super::suggested::command;
use crate::bureau::survey::{Advice, StationSurvey, Survey};
use crate::exit::Exit;
use crate::ids::JobId;
use crate::ledger::Holder;
use crate::modules::{ApplicationAnswer, ApplicationLife, RecordReading};
use crate::printable::one_line;
use crate::report;

/// Verdict of a station without a card.
const NO_CARD: &str = "no-card";

/// A survey as JSON.
#[derive(Serialize)]
struct SurveyJson<'a> {
    job: JobId,
    seq: Option<u32>,
    simulated: bool,
    stations: Vec<StationJson<'a>>,
    not_asked: &'a [String],
    unproved: &'a [String],
}

/// A station as JSON.
#[derive(Serialize)]
struct StationJson<'a> {
    station: &'a str,
    blank: Option<&'a str>,
    card: Option<Holder>,
    asked_for: bool,
    applications: &'a [ApplicationAnswer],
    verdict: &'a str,
    says: String,
}

pub(super) fn show(survey: &Survey, as_json: bool, out: &mut dyn Write) -> Result<Exit, Early> {
    if as_json {
        let stations = survey.stations.iter().map(|s| StationJson {
            station: &s.station,
            blank: s.blank.as_deref(),
            card: s.card,
            asked_for: s.asked_for,
            applications: &s.applications,
            verdict: &s.verdict,
            says: says(s),
        });
        let stations = stations.collect();
        let Survey { job, seq, not_asked, unproved, .. } = survey;
        let simulated = job.simulated;
        let shown = SurveyJson { job: job.job, seq: *seq, simulated, stations, not_asked, unproved };
        json(out, &shown)?;
    } else {
        print(survey, out)?;
    }
    let met = |s: &StationSurvey| s.asked_for || (survey.seq.is_none() && s.blank.is_some());
    Ok(if survey.stations.iter().any(met) { Exit::Ok } else { Exit::NotFound })
}

/// A station's answer, and a person's possible next step.
fn says(station: &StationSurvey) -> String {
    let says = &station.says;
    let (Some(advice), Some(Holder { job, seq, attempt, state })) = (station.advice, station.card) else {
        return says.clone();
    };
    match advice {
        Advice::Good => {
            let resolve = command(format!("card resolve {job} {seq} --good"));
            format!("{says}; `{resolve}` if its other parts (stripe, embossing, picture) are right, too")
        }
        Advice::Destroy => {
            let resolve = command(format!("card resolve {job} {seq} --destroyed"));
            format!("{says}; see it destroyed, then `{resolve}`")
        }
        Advice::Nothing => format!("{says}; attempt {attempt} is {state}: there is nothing to resolve"),
        Advice::AskItsRecord => {
            format!("{says}; ask about it with `{}`", command(format!("card ask {job} {seq}")))
        }
    }
}

fn print(survey: &Survey, out: &mut dyn Write) -> std::io::Result<()> {
    if let Some(mark) = report::mark(&survey.job) {
        writeln!(out, "*** {mark} ***")?;
    }
    let (empty, others): (Vec<_>, Vec<_>) = survey.stations.iter().partition(|s| s.verdict == NO_CARD);
    for station in others {
        let blank = station.blank.as_ref().map(|blank| format!("blank {blank}, ")).unwrap_or_default();
        let whose = match &station.card {
            Some(card) if station.asked_for => {
                format!("record {}, attempt {}, {}: ", card.seq, card.attempt, card.state)
            }
            _ => String::new(),
        };
        writeln!(out, "{}: {blank}{whose}{}", station.station, one_line(&says(station)))?;
        station
            .applications
            .iter()
            .try_for_each(|told| writeln!(out, "  {}", one_line(&application(told))))?;
    }
    if !empty.is_empty() {
        let names: Vec<_> = empty.iter().map(|s| s.station.as_str()).collect();
        writeln!(out, "no card: {}", names.join(", "))?;
    }
    if !survey.unproved.is_empty() {
        writeln!(
            out,
            "not proved: {}; such a reader may stand at another station: look where the card lies before you decide \
             about it",
            survey.unproved.join(", ")
        )?;
    }
    let not_asked = survey.not_asked.join(", ");
    match survey.seq {
        Some(seq) if !survey.stations.iter().any(|s| s.asked_for) => writeln!(
            out,
            "the card of record {seq} was not found; look for it in {not_asked}, and in bin and stacker; put it into a chip \
             reader by hand and ask again with --station"
        ),
        _ => writeln!(
            out,
            "not asked, though cards may lie there: {not_asked}; put such a card into a chip reader by hand and ask again \
             with --station"
        ),
    }
}

/// One application in words.
fn application(told: &ApplicationAnswer) -> String {
    let life = match told.life {
        ApplicationLife::Personalized => "answers as personalized",
        ApplicationLife::NotPersonalized => "answers as not personalized",
        ApplicationLife::Untold => "can be selected",
        ApplicationLife::Declined => "cannot be selected",
    };
    let records = told.records.iter().map(|record| {
        let reads = match record.reads {
            RecordReading::Equal => "equal".to_owned(),
            RecordReading::Differs => "DIFFERS".to_owned(),
            RecordReading::NotReadable => format!("not readable ({})", record.sw.as_deref().unwrap_or("?")),
        };
        format!("; {} {reads}", record.dgi)
    });
    format!("{}: {life}{}", told.name, records.collect::<String>())
}

//! The text of an event for people, apart from its states. Programs read the fields instead.

use super::{AcceptedTerms, ChainVersion, DataFate, EventFact, KeyFate, LedgerEvent, RunCounts, SpoolFate};

impl LedgerEvent {
    /// The event's detail, followed by its fields in words. In chain version 1 the detail contains both.
    pub fn detail_text(&self) -> Option<String> {
        let detail = self.context.detail.clone();
        if self.chain == ChainVersion::One {
            return detail;
        }
        let facts = match &self.fact {
            EventFact::Accepted(Some(terms)) => Some(terms_text(terms)),
            EventFact::Ran(counts) => counts_text(counts),
            EventFact::Verified { compared, .. } => {
                Some(compared.clone()).filter(|compared| !compared.is_empty())
            }
            EventFact::ShiftBegun { name } => Some(name.clone()),
            EventFact::Deleted(fate) => Some(fate_text(*fate)),
            EventFact::ValueGiven { value, .. } => Some(format!(
                "{}, {} bytes, SHA-256 {}",
                value.name,
                value.length,
                hex::encode_upper(value.digest)
            )),
            EventFact::PersonsWord { station, device } | EventFact::WiringProved { station, device, .. } => {
                Some(
                    device
                        .as_ref()
                        .map_or_else(|| station.clone(), |device| format!("{station} is {device}")),
                )
            }
            EventFact::SupplyTold { station, supply, state } => Some(format!("{station}: {supply} {state}")),
            fact => fact.chip().and_then(|chip| {
                let number = fact.blank()?.number?;
                Some(match (chip.kmc(), chip.key_data()) {
                    (Some(kmc), _) => format!("KMC {kmc}, blank #{number}"),
                    (None, Some(key_data)) => {
                        format!("KMC_ID {}, blank #{number}", hex::encode_upper(key_data.kmc_id()))
                    }
                    (None, None) => format!("chip {}, blank #{number}", chip.identity.bytes),
                })
            }),
        };
        match (detail, facts) {
            (Some(detail), Some(facts)) => Some(format!("{detail}; {facts}")),
            (detail, facts) => detail.or(facts),
        }
    }
}

fn terms_text(terms: &AcceptedTerms) -> String {
    let key = terms.spool_key.map(|key| format!(", spool key {key}")).unwrap_or_default();
    let rejects = match (terms.rejects_shredded, terms.rejects_marked) {
        (true, true) => "marked and shredded",
        (true, false) => "shredded",
        (false, true) => "marked and binned",
        (false, false) => "binned",
    };
    let keys = if terms.test_keys { "TEST" } else { "LIVE" };
    format!(
        "issuer {}, file {}, product {}, {} records, line {}, KEK {}, SHA-256 {}{key}, rejects {rejects}, {keys} keys",
        terms.issuer,
        terms.file_id,
        terms.product,
        terms.records,
        terms.line,
        terms.kek,
        hex::encode_upper(terms.digest)
    )
}

fn counts_text(counts: &RunCounts) -> Option<String> {
    let worked: Vec<_> = counts
        .worked
        .iter()
        .map(|((module, station), cards)| format!("{module}/{station} {cards}"))
        .collect();
    let calls: Vec<_> = counts.hsm_calls.iter().map(|(call, times)| format!("{call} {times}")).collect();
    let lists = [("Cards: ", worked), ("HSM calls: ", calls)];
    let lists: Vec<_> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(begin, list)| format!("{begin}{}", list.join(", ")))
        .collect();
    (!lists.is_empty()).then(|| lists.join("; "))
}

fn fate_text(fate: DataFate) -> String {
    let key = match fate.key {
        KeyFate::NoKey => "",
        KeyFate::Destroyed => "spool key destroyed, ",
        KeyFate::Missing => "spool key was already missing when the deletion was asked for, ",
    };
    let spool = match fate.spool {
        SpoolFate::Removed => "spool removed",
        SpoolFate::Overwritten => "spool overwritten and removed",
        SpoolFate::Missing => "spool was not there any more",
    };
    let unreadable = if fate.unreadable {
        ", what lay in the spool's place did not read as what was accepted"
    } else {
        ""
    };
    format!("{key}{spool}{unreadable}")
}

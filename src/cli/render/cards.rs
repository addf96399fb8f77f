//! Cards as text and JSON: their history, decisions about them, and cards that are thrown out.

use std::io::Write;

use serde::Serialize;

use super::super::common::{Early, json};
use super::super::next_step::{Desk, after_decision, spelled};
use super::super::suggested::command;
use crate::bureau::Refusal;
use crate::bureau::outcome::{CardDecisions, KillFate, KilledCard, ShownCard, ShownCards};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::ledger::LedgerError;
use crate::report;
use crate::report::events::EventLine;

/// Most records that a message names after the first one.
const NAMED: usize = 20;

pub(super) fn show(shown: &ShownCards, as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    match (as_json, shown.one, shown.cards.as_slice()) {
        (true, true, [card]) => json(out, card)?,
        (true, _, cards) => json(out, &cards)?,
        (false, _, cards) => {
            if let Some(mark) = report::mark(&shown.job) {
                writeln!(out, "*** {mark} ***")?;
            }
            for card in cards {
                print(card, out)?;
            }
        }
    }
    Ok(())
}

fn print(card: &ShownCard, out: &mut dyn Write) -> std::io::Result<()> {
    let released = if card.released { ", released" } else { "" };
    writeln!(out, "{} record {} {}: {}{released}", card.job, card.seq, card.card_ref, card.state)?;
    for attempt in &card.attempts {
        let position = attempt.position.map(|p| format!(", position {p}")).unwrap_or_default();
        let compared = attempt.compared.as_ref().map(|c| format!(", compared: {c}")).unwrap_or_default();
        writeln!(
            out,
            "  attempt {}: {}, blank {} (#{}){position}{compared}",
            attempt.attempt, attempt.state, attempt.blank, attempt.blank_number
        )?;
    }
    for event in &card.events {
        writeln!(out, "  {}", event.text())?;
    }
    Ok(())
}

/// The result of decisions as JSON.
#[derive(Serialize)]
struct DecisionsJson<'a> {
    job: JobId,
    changed: &'a [EventLine],
    refused: Vec<RefusedJson>,
}

/// One record that the ledger did not let change.
#[derive(Serialize)]
struct RefusedJson {
    seq: u32,
    why: String,
}

pub(super) fn decided(
    done: &CardDecisions,
    as_json: bool,
    desk: Desk,
    out: &mut dyn Write,
) -> Result<Exit, Early> {
    let CardDecisions { job, changed, refused, .. } = done;
    if as_json {
        let why = |(seq, error): &(u32, LedgerError)| RefusedJson {
            seq: *seq,
            why: spelled(&Refusal::Ledger(error.clone())).message,
        };
        json(out, &DecisionsJson { job: *job, changed, refused: refused.iter().map(why).collect() })?;
    } else {
        changed.iter().try_for_each(|event| writeln!(out, "{}", event.text()))?;
        if !changed.is_empty() {
            writeln!(out, "next: {}", after_decision(done, desk))?;
        } else if refused.is_empty() {
            writeln!(out, "nothing to do in {job}; {}", command(format!("job show {job}")))?;
        }
    }
    match refused.as_slice() {
        [] => Ok(Exit::Ok),
        [(_, first), others @ ..] => Err(all_refusals(first, others).into()),
    }
}

/// One message for all refusals: the text of the first, and the numbers of the other records.
fn all_refusals(first: &LedgerError, others: &[(u32, LedgerError)]) -> Failure {
    let Failure { exit, message } = spelled(&Refusal::Ledger(first.clone()));
    if others.is_empty() {
        return Failure::new(exit, message);
    }
    let named: Vec<_> = others.iter().take(NAMED).map(|(seq, _)| seq.to_string()).collect();
    let more = if others.len() > NAMED { " ..." } else { "" };
    Failure::new(exit, format!("{message}; also refused: records {}{more}", named.join(", ")))
}

pub(super) fn killed(job: JobId, cards: &[KilledCard], out: &mut dyn Write) -> Result<Exit, Early> {
    if cards.is_empty() {
        writeln!(out, "nothing to do in {job}: no card of it is in the line")?;
    }
    let mut denied = None;
    for KilledCard { record, fate } in cards {
        match fate {
            KillFate::ThrownOut => {
                writeln!(out, "{job} record {record}: its card is thrown out at its next step")?;
            }
            KillFate::Idle(why) => writeln!(out, "{job} record {record}: nothing to do: {why}")?,
            KillFate::Denied(why) => {
                denied.get_or_insert(Refusal::Denied { job: Some(job), record: Some(*record), why: *why });
            }
        }
    }
    denied.map_or(Ok(Exit::Ok), |refusal| Err(refusal.into()))
}

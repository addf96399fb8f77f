//! Stock: people put blanks into the hopper, take blanks out of it, put good cards into the vault, and begin
//! shifts.
//!
//! Not here: the laws of stock (`ledger`). The checks here come first, so that a series of test cards is not
//! left half noted.

use super::outcome::Outcome;
use super::refusal::{Refusal, Senseless};
use crate::actor::Actor;
use crate::exit::Exit;
use crate::ids::JobId;
use crate::laws::{Change, Context, SHIFT_SPACES, shift_name_fault};
use crate::ledger::{Ledger, LedgerError, Reader, Ticket};
use crate::request::StockMove;

/// Most test cards at a time: each is an event of its own.
const TESTS_MAX: u32 = 1000;

/// Has the ledger record a person's act on a job's stock.
pub fn move_stock(
    ledger: &Ledger,
    job: JobId,
    stock_move: StockMove,
    count: u32,
    actor: &Actor,
) -> Result<Outcome, Refusal> {
    let changes = match stock_move {
        StockMove::Issue => vec![Change::StockIssued { count }],
        StockMove::Return => vec![Change::StockReturned { count }],
        StockMove::Vault => vec![Change::StockVaulted { count }],
        StockMove::Test => test_cards(&ledger.reader()?, job, count)?,
    };
    let tickets = ledger.record_together(job, changes, &Context::by(actor));
    let noted = |ticket: Ticket| Ok::<_, LedgerError>((&ticket.wait()?).into());
    Ok(Outcome::Noted(tickets.into_iter().map(noted).collect::<Result<_, _>>()?))
}

/// One change for each test card, if all of them are possible.
fn test_cards(reader: &Reader, job: JobId, count: u32) -> Result<Vec<Change>, Refusal> {
    if !(1..=TESTS_MAX).contains(&count) {
        return Err(Refusal::Senseless(Senseless::TestCards { asked: count, most: TESTS_MAX }));
    }
    let (stock, first) = (reader.stock(job)?, reader.next_blank(job)?);
    if !stock.counted && first == 1 {
        // Stock can be issued for the first time only before the first blank is fed. A test card recorded now
        // would prevent that.
        return Err(Refusal::StockNotIssued { job });
    }
    if stock.counted && stock.hopper < i64::from(count) {
        return Err(Refusal::NotInHopper { asked: count, hopper: stock.hopper });
    }
    Ok((first..).zip(0..count).map(|(blank, _)| Change::Tested { blank }).collect())
}

/// Has the ledger record that a shift begins. A name that the ledger's law would refuse is refused here with the rule
/// that it breaks.
pub fn begin_shift(ledger: &Ledger, name: &str, actor: &Actor) -> Result<Outcome, Refusal> {
    let refused = |what: String| {
        Refusal::fault(Exit::Denied, format!("operator: a shift cannot be called {name:?}: {what}"))
    };
    check_shift_name(name).map_err(refused)?;
    if ledger.reader()?.shift(Some(name), None)?.is_some() {
        return Err(refused(
            "an earlier shift had this name; name each shift anew, as 2026-11-24-early".into(),
        ));
    }
    Ok(Outcome::Noted(vec![(&ledger.shift(name, Context::by(actor))?).into()]))
}

/// Checks the name of a new shift. Two spaces together are lawful in old ledgers, but look like one on paper.
fn check_shift_name(name: &str) -> Result<(), String> {
    let fault = shift_name_fault(name);
    let doubled = || name.contains("  ").then(|| SHIFT_SPACES.to_owned());
    fault.or_else(doubled).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_new_shift_is_refused_with_the_rule_that_it_breaks() {
        for name in ["early", "2026-11-24 early_1.b", "Fr\u{fc}h"] {
            assert_eq!(check_shift_name(name), Ok(()), "{name}");
        }
        let long = "x".repeat(41);
        for (name, rule) in [
            ("", "1 to 40"),
            (&*long, "1 to 40"),
            ("a/b", "holds '/'"),
            (" a", "at an end"),
            ("a  b", "next to another"),
        ] {
            let why = check_shift_name(name).unwrap_err();
            assert!(why.contains(rule), "{name:?}: {why}");
        }
    }
}

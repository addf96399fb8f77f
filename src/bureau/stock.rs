//! Stock: blanks that people put into the hopper and take out of it, good cards that they put into the vault, and shifts.
//!
//! Not here: the laws of stock (`ledger`); what is refused here spares a person a half-done row of test cards.

use super::outcome::Outcome;
use super::refusal::{Refusal, Senseless};
use crate::ids::JobId;
use crate::ledger::{Change, Context, Ledger, Reader, Ticket};
use crate::request::StockMove;

/// Most test cards at once: each is an event of its own.
const TESTS_MAX: u32 = 1000;

/// Has the ledger note what a person did with a job's stock.
pub fn move_stock(
    ledger: &Ledger,
    job: JobId,
    stock_move: StockMove,
    count: u32,
    actor: &str,
) -> Result<Outcome, Refusal> {
    let changes = match stock_move {
        StockMove::Issue => vec![Change::StockIssued { count }],
        StockMove::Return => vec![Change::StockReturned { count }],
        StockMove::Vault => vec![Change::StockVaulted { count }],
        StockMove::Test => test_cards(&ledger.reader()?, job, count)?,
    };
    let tickets = ledger.record_together(job, changes, &Context::by(actor));
    Ok(Outcome::Noted(tickets.into_iter().map(Ticket::wait).collect::<Result<_, _>>()?))
}

/// One change for each test card: all of them can be made, or none is.
fn test_cards(reader: &Reader, job: JobId, count: u32) -> Result<Vec<Change>, Refusal> {
    if !(1..=TESTS_MAX).contains(&count) {
        return Err(Refusal::Senseless(Senseless::TestCards { asked: count, most: TESTS_MAX }));
    }
    let (stock, first) = (reader.stock(job)?, reader.next_blank(job)?);
    if !stock.counted && first == 1 {
        // After the first blank none can be issued any more: stock is counted from the first one on.
        return Err(Refusal::StockNotIssued { job });
    }
    if stock.counted && stock.hopper < i64::from(count) {
        return Err(Refusal::NotInHopper { asked: count, hopper: stock.hopper });
    }
    Ok((first..).zip(0..count).map(|(blank, _)| Change::Tested { blank }).collect())
}

/// Has a shift begin.
pub fn begin_shift(ledger: &Ledger, name: &str, actor: &str) -> Result<Outcome, Refusal> {
    Ok(Outcome::Noted(vec![ledger.shift(name, Context::by(actor))?]))
}

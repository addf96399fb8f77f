//! Stock and shifts as text and JSON.

use std::io::Write;

use serde::Serialize;

use super::super::common::{Early, json};
use crate::laws::rfc3339;
use crate::ledger::{ShiftView, StockView};
use crate::report::summary_text::write_stock;

/// Stock as JSON.
#[derive(Serialize)]
struct StockJson<'a> {
    jobs: &'a [StockView],
    shift: Option<&'a ShiftView>,
}

pub(super) fn show(
    jobs: &[StockView],
    shift: Option<&ShiftView>,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Early> {
    if as_json {
        return json(out, &StockJson { jobs, shift });
    }
    for stock in jobs {
        writeln!(out, "{}", stock.job)?;
        if !stock.counted {
            writeln!(out, "Stock     not counted: no blanks were issued")?;
            continue;
        }
        let mut line = String::new();
        write_stock(stock, &mut line).map_err(std::io::Error::other)?;
        write!(out, "{line}")?;
        writeln!(
            out,
            "          fed = {} in line + {} good + {} rejected + {} unknown + {} sample",
            stock.in_line, stock.good, stock.rejected, stock.unknown, stock.sample
        )?;
    }
    if let Some(shift) = shift {
        print(shift, out)?;
    }
    Ok(())
}

fn print(shift: &ShiftView, out: &mut dyn Write) -> std::io::Result<()> {
    let by = shift.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let end = shift.ended.map_or_else(|| "now".to_owned(), rfc3339);
    writeln!(out, "Shift     {} from {}{by} to {end}", shift.shift, rfc3339(shift.begun))?;
    writeln!(
        out,
        "          {} at its beginning + {} issued = {} good + {} rejected + {} unknown + {} sample + {} returned + {} at \
         its end (off {}); {} vaulted",
        shift.opening.sum(),
        shift.issued,
        shift.good,
        shift.rejected,
        shift.unknown,
        shift.sample,
        shift.returned,
        shift.closing.sum(),
        shift.off,
        shift.vaulted
    )
}

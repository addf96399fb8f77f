//! The report of a job as text for people.
//!
//! Not here: its contents (`summary`).

use super::counted;
use super::events::cause;
use super::summary::{RunFigures, StationStats, SummaryWithNext, float};
use crate::laws::Stock;
use crate::ledger::{Gap, JobView, RejectView, StockView};

/// The shortest run, in seconds, whose speed says anything about an hour.
const SHORTEST_RATE: f64 = 10.0;

impl std::fmt::Display for SummaryWithNext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { summary, next } = *self;
        let mark = super::mark(&summary.job);
        if let Some(mark) = mark {
            writeln!(f, "*** {mark}: no card of this report is for a cardholder ***")?;
        }
        write_job(&summary.job, f)?;
        if let Some(stock) = &summary.stock {
            write_stock(stock, f)?;
        }
        if let Some(run) = &summary.run {
            write_run(run, f)?;
        }
        write_list(f, "Rejected, lost or destroyed", &summary.rejects, write_reject)?;
        write_gaps(&summary.gaps, f)?;
        write_list(f, "Remakes", &summary.remakes, |r, f| {
            write!(f, "record {} {}, attempt {}, position {}", r.seq, r.card_ref, r.attempt, r.position)
        })?;
        writeln!(f, "Ledger    {}", summary.places.ledger.display())?;
        let places = [
            ("Events", &summary.places.events),
            ("Dumps", &summary.places.dumps),
            ("Report", &summary.places.report),
        ];
        for (name, place) in places {
            if let Some(place) = place {
                writeln!(f, "{name:<9} {}", place.display())?;
            }
        }
        if let Some(next) = next {
            writeln!(f, "Next      {next}")?;
        }
        if let Some(mark) = mark {
            writeln!(f, "*** {mark} ***")?;
        }
        Ok(())
    }
}

/// Writes the name, the state and both balances of a job.
pub fn write_job(job: &JobView, f: &mut dyn std::fmt::Write) -> std::fmt::Result {
    let b = &job.balance;
    writeln!(
        f,
        "Job       {} {}{}: file {} of {}, product {}",
        job.job,
        job.phase.name(),
        job.held_for.as_ref().map(|why| format!(" ({why})")).unwrap_or_default(),
        job.file_id,
        job.issuer_id,
        job.product
    )?;
    if let Some(detail) = &job.held_detail {
        writeln!(f, "          held: {detail}")?;
    }
    if !job.wants.is_empty() {
        writeln!(
            f,
            "          a person is needed at: {}; cards wait until it has what it wants",
            job.wants.join(", ")
        )?;
    }
    for wanted in &job.second_person {
        writeln!(f, "          {wanted}")?;
    }
    writeln!(f, "          line {}, KEK {}, SHA-256 {}", job.line, job.kek, job.digest)?;
    if job.deleted {
        writeln!(f, "          its cardholder data are deleted")?;
    }
    writeln!(
        f,
        "Records   {} = {} queued + {} in flight + {} good + {} remake + {} unknown + {} cancelled (off {})",
        b.records,
        b.queued,
        b.in_flight,
        b.good,
        b.remake,
        b.unknown,
        b.cancelled,
        b.records_off()
    )?;
    writeln!(
        f,
        "Blanks    {} fed = {} in line + {} good + {} rejected + {} unknown + {} given back + {} sample (off {})",
        b.blanks_fed,
        b.blanks_in_line,
        b.blanks_good,
        b.blanks_rejected,
        b.blanks_unknown,
        b.blanks_returned,
        b.blanks_sample,
        b.blanks_off()
    )
}

/// Writes the stock of a job.
pub fn write_stock(stock: &StockView, f: &mut dyn std::fmt::Write) -> std::fmt::Result {
    let Stock { issued, returned, vaulted } = stock.stock;
    writeln!(
        f,
        "Stock     {issued} issued = {} fed + {} in the hopper + {returned} returned; {vaulted} of {} good in the vault",
        stock.fed, stock.hopper, stock.good
    )
}

fn write_run(run: &RunFigures, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    write!(f, "Speed     {}, good or not, in {:.1} s", counted(run.cards, "card"), run.elapsed)?;
    if run.elapsed >= SHORTEST_RATE {
        write!(f, ", {:.0} cards per hour", run.cards_per_hour)?;
    }
    writeln!(f)?;
    writeln!(
        f,
        "HSM       {} calls, {:.2} per card, {:.2} per application ({} applications)",
        run.hsm_calls, run.hsm_calls_per_card, run.hsm_calls_per_application, run.applications
    )?;
    if let Some(part) = &run.token {
        writeln!(f, "Token     {part}")?;
    }
    writeln!(f, "Commands  {} to the chips, rejected cards included", run.commands)?;
    let per_card = if run.cards > 0 {
        format!(
            ", {:.2} ms per card",
            (run.cpu_controller_s + run.cpu_hsm_host_s) * 1000.0 / float(run.cards)
        )
    } else {
        String::new()
    };
    writeln!(
        f,
        "CPU       controller {:.2} s, HSM host {:.2} s{per_card}",
        run.cpu_controller_s, run.cpu_hsm_host_s
    )?;
    for (title, counts) in [("Modules", &run.modules), ("Stations", &run.stations)] {
        for (name, count) in counts {
            let StationStats { cards, faults, busy_ms, outages, out_ms, .. } = count;
            let (cards, faults) = (counted(cards, "card"), counted(faults, "fault"));
            write!(f, "{title:<9} {name}: {cards}, {faults}, busy {busy_ms} ms")?;
            if *outages > 0 {
                write!(f, ", {} out of service, {out_ms} ms", counted(outages, "time"))?;
            }
            writeln!(f)?;
        }
    }
    Ok(())
}

fn write_reject(reject: &RejectView, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    match (reject.seq, &reject.card_ref, reject.attempt) {
        (Some(seq), Some(card_ref), Some(attempt)) => {
            write!(f, "record {seq} {card_ref}, attempt {attempt}")?;
        }
        _ => write!(f, "unbound")?,
    }
    if let Some(blank) = &reject.blank {
        write!(f, ", blank {blank}")?;
    }
    if let Some(station) = reject.station.as_ref().or(reject.module.as_ref()) {
        write!(f, ", {station}")?;
    }
    let texts = [&reject.reason, &reject.header, &reject.sw, &reject.detail].map(|t| t.as_deref());
    let [reason, header, sw, detail] = texts;
    if let Some(cause) = cause(reason, header, sw, detail) {
        write!(f, ": {cause}")?;
    }
    if let Some(state) = reject.state {
        write!(f, "; {state}")?;
    }
    if reject.to_destroy {
        write!(f, ", to be destroyed")?;
    }
    Ok(())
}

/// Writes the gaps in the stack. Records that follow each other and are missing at one place share a line: a job that
/// was cancelled has hundreds.
fn write_gaps(gaps: &[Gap], f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    let together = |a: &Gap, b: &Gap| {
        a.seq.checked_add(1) == Some(b.seq) && (a.state, a.after_position) == (b.state, b.after_position)
    };
    if gaps.is_empty() {
        return Ok(());
    }
    writeln!(f, "Without a card at their place in the stack: {}", gaps.len())?;
    for line in gaps.chunk_by(together) {
        match line {
            [first, .., last] => writeln!(
                f,
                "  records {}-{} {} to {}, {}, their place is after position {}",
                first.seq, last.seq, first.card_ref, last.card_ref, first.state, first.after_position
            )?,
            [gap] => writeln!(
                f,
                "  record {} {}, {}, its place is after position {}",
                gap.seq, gap.card_ref, gap.state, gap.after_position
            )?,
            [] => {}
        }
    }
    Ok(())
}

fn write_list<T>(
    f: &mut std::fmt::Formatter<'_>,
    title: &str,
    list: &[T],
    write: impl Fn(&T, &mut std::fmt::Formatter<'_>) -> std::fmt::Result,
) -> std::fmt::Result {
    if list.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}: {}", list.len())?;
    for one in list {
        write!(f, "  ")?;
        write(one, f)?;
        writeln!(f)?;
    }
    Ok(())
}

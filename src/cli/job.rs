//! `cardwright job`: look at jobs, report on one, close it.

use std::io::Write;

use super::common::{ByArg, Early, LedgerArg, json, on_stdout};
use crate::exit::{Exit, Failure};
use crate::ledger::{Change, Context, JobId, JobView, Ledger, Reader, rfc3339};
use crate::report::{self, Places, Summary};

/// Looks at jobs and closes them.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: JobVerb,
}

#[derive(Debug, clap::Subcommand)]
enum JobVerb {
    /// List all jobs
    List,
    /// Show a job and both its balances
    Show {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
    /// Report on a job: balances, rejects, gaps in the stack, remakes, what is to be done
    Report {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
    /// Go on with an open job in the foreground: what is queued, and remakes that are released
    Resume {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        #[command(flatten)]
        line: super::run::LineArgs,
    },
    /// Close a job, if every record and every blank is accounted for
    Close {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        #[command(flatten)]
        by: ByArg,
    },
}

/// Does it.
pub fn run(args: JobArgs) -> Result<Exit, Failure> {
    if let JobVerb::Resume { job, line } = &args.verb {
        return super::run::resume(*job, line, &args.ledger, args.json);
    }
    on_stdout(|out| execute(&args, out))
}

pub(super) fn execute(args: &JobArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let reader = Reader::open(&args.ledger.ledger)?;
    match &args.verb {
        // Not about the ledger alone: `run` has sent it on.
        JobVerb::Resume { .. } => {}
        JobVerb::List => list(&reader.jobs()?, args.json, out)?,
        JobVerb::Show { job } => show(&reader.job(*job)?, args.json, out)?,
        JobVerb::Report { job } => report(&reader, *job, args, out)?,
        JobVerb::Close { job, by } => {
            reader.job(*job)?;
            let ledger = Ledger::open(&args.ledger.ledger)?;
            let context = Context { actor: Some(by.actor()), ..Context::default() };
            ledger.record(*job, Change::Closed, context).wait()?;
            ledger.close()?;
            report(&reader, *job, args, out)?;
        }
    }
    Ok(Exit::Ok)
}

fn list(jobs: &[JobView], as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, &jobs);
    }
    for job in jobs {
        let b = &job.balance;
        let mark = report::mark(job).unwrap_or_default();
        writeln!(
            out,
            "{:<5} {:<6} {}/{} of {}: {} of {} good, {} remake, {} unknown, {} cancelled {mark}",
            job.job.to_string(),
            job.state.name(),
            job.file_id,
            job.product,
            job.issuer_id,
            b.good,
            b.records,
            b.remake,
            b.unknown,
            b.cancelled
        )?;
    }
    Ok(())
}

fn show(job: &JobView, as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, job);
    }
    let mut text = String::new();
    if let Some(mark) = report::mark(job) {
        writeln!(out, "*** {mark} ***")?;
    }
    report::summary::write_job(job, &mut text).map_err(std::io::Error::other)?;
    write!(out, "{text}")?;
    writeln!(out, "Spool     {}", job.spool)?;
    writeln!(out, "Accepted  {}", rfc3339(job.accepted))?;
    Ok(())
}

fn report(reader: &Reader, job: JobId, args: &JobArgs, out: &mut dyn Write) -> Result<(), Early> {
    let places = Places { ledger: args.ledger.ledger.clone(), ..Places::default() };
    let summary = Summary::build(reader, job, None, places)?;
    if args.json {
        return json(out, &summary);
    }
    Ok(write!(out, "{summary}")?)
}

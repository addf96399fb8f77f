//! `cardwright job`: look at jobs, report on one, close it.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::common::{ByArg, Early, LedgerArg, SocketArg, json, on_stdout};
use crate::bureau::key_host::Keys;
use crate::bureau::{deletion, papers};
use crate::daemon::{policy::Ask, wire};
use crate::exit::{Exit, Failure};
use crate::ledger::{Change, Context, JobId, JobView, Ledger, Reader, rfc3339};
use crate::report::{self, Places, Summary};

/// Looks at jobs and closes them.
#[derive(Debug, clap::Args)]
pub struct JobArgs {
    #[command(flatten)]
    ledger: LedgerArg,
    #[command(flatten)]
    socket: SocketArg,
    /// One JSON document
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: JobVerb,
}

#[derive(Debug, clap::Subcommand)]
enum JobVerb {
    /// Have the daemon accept a file; the job waits for its release
    Submit {
        /// The issuer's output file (CWF1)
        file: PathBuf,
    },
    /// Let the daemon make a job, whatever it was held for
    Release {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
    /// Have the daemon stop a job; cards under way are finished
    Hold {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
    /// Give a job up: what was not made is CANCELLED
    Cancel {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
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
    /// Go on with an open job, in the foreground or by the daemon: what is queued, and remakes that are released
    Resume {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        #[command(flatten)]
        line: super::run::LineArgs,
    },
    /// Write the signed papers of a closed job: report (HTML, JSON) and return file for the issuer
    Papers {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        /// The bureau's key store, whose HSM signs; a daemon has it
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
        keys: Option<PathBuf>,
        /// Where they go; nothing there is written over. Who wrote them (the daemon, if it was asked) alone can read them, and
        /// the group of a DIR that is open to it and closed to others (mode 0750)
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Delete the cardholder data of a closed job; what is missing of its papers is written before, a certificate after
    Delete {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        /// The bureau's key store, whose HSM has the key of the spool
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE")]
        keys: Option<PathBuf>,
        /// Where papers and certificate go, readable as those of `job papers` [default: the ledger's name and .papers]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        by: ByArg,
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
    if let Some(socket) = args.socket.daemon(&args.ledger)? {
        return super::remote::ask(socket, args.json, args.verb.question()?);
    }
    let needs = |what: &str| Err(Failure::new(Exit::Usage, format!("operator: {what}")));
    match &args.verb {
        JobVerb::Resume { job, line } => super::run::resume(*job, line, &args.ledger, args.json),
        JobVerb::Submit { .. } | JobVerb::Release { .. } | JobVerb::Hold { .. } | JobVerb::Cancel { .. } => {
            needs("only a daemon does this: name it by --socket or CARDWRIGHT_SOCKET")
        }
        _ => on_stdout(|out| execute(&args, out)),
    }
}

impl JobVerb {
    /// The same, as a daemon is asked.
    fn question(&self) -> Result<wire::Ask, Failure> {
        let about = |job: JobId, what| wire::Ask::Job { job: job.to_string(), what };
        Ok(match self {
            Self::Submit { file } => wire::Ask::Submit { file: absolute(file)? },
            Self::List => wire::Ask::List,
            Self::Papers { job, out, .. } => wire::Ask::Papers { job: job.to_string(), out: absolute(out)? },
            Self::Delete { job, out, by, .. } => {
                by.none()?;
                let out = out.as_deref().map(absolute).transpose()?;
                wire::Ask::Delete { job: job.to_string(), out }
            }
            Self::Show { job } => wire::Ask::Show { job: job.to_string() },
            Self::Report { job } => wire::Ask::Report { job: job.to_string() },
            Self::Release { job } => about(*job, Ask::Release),
            Self::Hold { job } => about(*job, Ask::Hold),
            Self::Cancel { job } => about(*job, Ask::Cancel),
            Self::Resume { job, line } if !line.is_given() => about(*job, Ask::Resume),
            Self::Resume { .. } => {
                return Err(Failure::new(
                    Exit::Usage,
                    "operator: the daemon has its line and keys; name the job alone",
                ));
            }
            Self::Close { job, by } => {
                by.none()?;
                about(*job, Ask::Close)
            }
        })
    }
}

/// A path as the daemon is told it.
fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|e| Failure::new(Exit::Io, format!("{}: {e}", path.display())))?;
    Ok(absolute.display().to_string())
}

fn opened(keys: Option<&PathBuf>) -> Result<Keys, Failure> {
    let missing = || Failure::new(Exit::Usage, "operator: name the key store by --keys or CARDWRIGHT_KEYS");
    Keys::open(keys.ok_or_else(missing)?)
}

pub(crate) fn execute(args: &JobArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let reader = Reader::open(&args.ledger.ledger)?;
    match &args.verb {
        // Not about the ledger alone: `run` has sent them on.
        JobVerb::Resume { .. }
        | JobVerb::Submit { .. }
        | JobVerb::Release { .. }
        | JobVerb::Hold { .. }
        | JobVerb::Cancel { .. } => {}
        JobVerb::List => list(&reader.jobs()?, args.json, out)?,
        JobVerb::Papers { job, keys, out: to } => {
            // Before the keys are asked for: an open job has none.
            report::closeout::closed(&reader.job(*job)?)?;
            let keys = opened(keys.as_ref())?;
            papers::write(&reader, *job, &|| keys.connect(), to, out)?
        }
        JobVerb::Show { job } => show(&reader.job(*job)?, args.json, out)?,
        JobVerb::Report { job } => report(&reader, *job, &args.ledger.ledger, args.json, out)?,
        JobVerb::Delete { job, keys, out: to, by } => {
            reader.job(*job)?;
            drop(reader);
            let keys = opened(keys.as_ref())?;
            let ledger = Ledger::open_audited(&args.ledger.ledger, Box::new(keys.connect()?))?;
            let by = Context::by(by.actor());
            deletion::delete(&ledger, *job, by, &|| keys.connect(), to.as_deref(), out)?;
            ledger.close()?;
        }
        JobVerb::Close { job, by } => {
            reader.job(*job)?;
            drop(reader);
            let ledger = Ledger::open(&args.ledger.ledger)?;
            let context = Context::by(by.actor());
            ledger.record(*job, Change::Closed, context).wait()?;
            ledger.close()?;
            let reader = Reader::open(&args.ledger.ledger)?;
            report(&reader, *job, &args.ledger.ledger, args.json, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// Shows all jobs.
pub fn list(jobs: &[JobView], as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, &jobs);
    }
    for job in jobs {
        let b = &job.balance;
        let mark = report::mark(job).unwrap_or_default();
        writeln!(
            out,
            "{:<5} {:<6} {}/{} of {}: {} of {} good, {} remake, {} unknown, {} cancelled{} {mark}",
            job.job.to_string(),
            job.state.name(),
            job.file_id,
            job.product,
            job.issuer_id,
            b.good,
            b.records,
            b.remake,
            b.unknown,
            b.cancelled,
            if job.deleted { ", data deleted" } else { "" }
        )?;
    }
    Ok(())
}

/// Shows one.
pub fn show(job: &JobView, as_json: bool, out: &mut dyn Write) -> Result<(), Early> {
    if as_json {
        return json(out, job);
    }
    let mut text = String::new();
    if let Some(mark) = report::mark(job) {
        writeln!(out, "*** {mark} ***")?;
    }
    report::summary::write_job(job, &mut text).map_err(std::io::Error::other)?;
    write!(out, "{text}")?;
    match (&job.spool_key, job.deleted) {
        (_, true) => writeln!(out, "Spool     deleted, with all cardholder data")?,
        (Some(key), _) => writeln!(out, "Spool     {}, key {key}", job.spool)?,
        (None, _) => writeln!(out, "Spool     {}, in the clear", job.spool)?,
    }
    writeln!(out, "Accepted  {}", rfc3339(job.accepted))?;
    Ok(())
}

/// Shows the report of a job.
pub fn report(
    reader: &Reader,
    job: JobId,
    ledger: &Path,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), Early> {
    let places = Places { ledger: ledger.to_owned(), ..Places::default() };
    let summary = Summary::build(reader, job, None, places)?;
    if as_json {
        return json(out, &summary);
    }
    Ok(write!(out, "{summary}")?)
}

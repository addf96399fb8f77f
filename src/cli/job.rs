//! `cardwright job`: shows jobs, releases or holds them, reports on them, closes them, writes their papers
//! and deletes their data.
//!
//! Not here: the effect of each (`bureau`, `daemon`), its text (`render`).

use std::io::Write;
use std::path::{Path, PathBuf};

use super::common::{ByArg, Early, LedgerArg, SocketArg, on_stdout, store_path};
use super::next_step::before_release;
use super::{foreground, paper_files, remote, render};
use crate::bureau::{Outcome, Refusal, deletion, papers};
use crate::exit::{Exit, Failure};
use crate::ids::JobId;
use crate::laws::{Context, JobState};
use crate::ledger::{JobMark, Ledger, LedgerError, Reader};
use crate::record::open_input;
use crate::request::Action;

/// Arguments of `cardwright job`.
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
    #[command(flatten)]
    Plain(PlainVerb),
    /// Write the signed papers of a closed job: report (HTML, JSON) and return file for the issuer
    Papers {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        /// The bureau's key store, whose HSM signs; a daemon has it
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        keys: Option<PathBuf>,
        /// Where they go; no file there is overwritten. They are written with your rights and are yours; a
        /// daemon writes into files that this command has opened. No other user can read them, except the
        /// group of a DIR that is open to it and closed to others (mode 0750)
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Delete the cardholder data of a closed job; missing papers are written before, a certificate after
    Delete {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
        /// The bureau's key store, whose HSM has the key of the spool
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        keys: Option<PathBuf>,
        /// Where papers and certificate go, readable like those of `job papers` [default: the ledger's name
        /// and .papers]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        by: ByArg,
    },
}

/// The commands that are one request, without a file.
#[derive(Debug, clap::Subcommand)]
enum PlainVerb {
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
    /// Give a job up: the records that were not made are CANCELLED
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
    /// Report on a job: balances, rejects, gaps in the stack, remakes, the next step
    Report {
        /// Job, e.g. J1
        #[arg(value_name = "J")]
        job: JobId,
    },
    /// Go on with an open job, in the foreground or by the daemon: queued records, and remakes that are
    /// released
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
        /// The bureau's key store, because the HSM signs the closing; not needed with a daemon
        #[arg(long, env = "CARDWRIGHT_KEYS", value_name = "STORE", value_parser = store_path())]
        keys: Option<PathBuf>,
        #[command(flatten)]
        by: ByArg,
    },
}

/// Carries out a command of `cardwright job`.
pub fn run(args: &JobArgs) -> Result<Exit, Failure> {
    match &args.verb {
        JobVerb::Plain(PlainVerb::Resume { job, line }) if args.socket.daemon(&args.ledger)?.is_none() => {
            super::run::resume(*job, line, &args.ledger, args.json)
        }
        _ => on_stdout(|out| execute(args, out)),
    }
}

pub(super) fn execute(args: &JobArgs, out: &mut dyn Write) -> Result<Exit, Early> {
    let daemon = args.socket.daemon(&args.ledger)?;
    let ledger = &args.ledger.ledger;
    let outcome = match (&args.verb, daemon) {
        (JobVerb::Submit { file }, Some(daemon)) => {
            let name = file.display().to_string();
            remote::ask(daemon, &Action::SubmitFile { name }, &[open_input(file).map_err(Refusal::from)?])?
        }
        (JobVerb::Submit { .. }, None) => return Err(Refusal::OnlyDaemon.into()),
        (JobVerb::Papers { job, out: folder, .. }, Some(daemon)) => paper_files::write(daemon, *job, folder)?,
        (JobVerb::Papers { job, keys, out: folder }, None) => {
            papers_here(ledger, *job, keys.as_ref(), folder)?
        }
        (JobVerb::Delete { job, out: folder, by, .. }, Some(daemon)) => {
            by.none()?;
            paper_files::delete(daemon, *job, folder.as_deref())?
        }
        (JobVerb::Delete { job, keys, out: folder, by }, None) => {
            delete_here(ledger, *job, keys.as_ref(), folder.as_deref(), by)?
        }
        (JobVerb::Plain(PlainVerb::Close { job, keys, by }), None) => {
            foreground::close_job(ledger, *job, keys.as_ref(), by)?
        }
        (JobVerb::Plain(PlainVerb::Resume { line, .. }), Some(_)) if line.is_given() => {
            let what = "operator: the daemon has its line and keys; name the job alone";
            return Err(Failure::new(Exit::Usage, what).into());
        }
        (JobVerb::Plain(verb), daemon) => {
            let (action, by) = verb.action();
            if let (Some(daemon), Action::ReleaseJob { job } | Action::ResumeJob { job }) = (daemon, &action)
                && let Ok(Outcome::Job(view)) = remote::ask(daemon, &Action::ShowJob { job: *job }, &[])
                && let Some(warning) = before_release(*job, view.balance.unknown)
            {
                tracing::warn!("{warning}");
            }
            foreground::carry_out(&args.socket, &args.ledger, by, &action)?
        }
    };
    render::show(&outcome, args.json, args.socket.desk(), out)
}

impl PlainVerb {
    /// The action, and the argument that names the person if the command has one.
    fn action(&self) -> (Action, Option<&ByArg>) {
        match self {
            Self::List => (Action::ListJobs {}, None),
            Self::Show { job } => (Action::ShowJob { job: *job }, None),
            Self::Report { job } => (Action::ReportJob { job: *job }, None),
            Self::Release { job } => (Action::ReleaseJob { job: *job }, None),
            Self::Hold { job } => (Action::HoldJob { job: *job }, None),
            Self::Cancel { job } => (Action::CancelJob { job: *job }, None),
            Self::Resume { job, .. } => (Action::ResumeJob { job: *job }, None),
            Self::Close { job, by, .. } => (Action::CloseJob { job: *job }, Some(by)),
        }
    }
}

fn papers_here(ledger: &Path, job: JobId, keys: Option<&PathBuf>, folder: &Path) -> Result<Outcome, Refusal> {
    let reader = Reader::open(ledger)?;
    // This comes before the request for keys, because an open job has no papers.
    let state = reader.job(job)?.state;
    if state != JobState::Closed {
        return Err(Refusal::NoPapersYet { job, state });
    }
    let keys = foreground::key_host(keys)?;
    if !reader.is_signed(job, JobMark::Closed)? {
        // Commands without keys sign nothing. The end of this program does, unless another one has the ledger open.
        match Ledger::open_audited(ledger, Box::new(keys.auditor()?)) {
            Ok(opened) => opened.close()?,
            Err(LedgerError::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Outcome::Papers(papers::write(&reader, job, &|| keys.connect(), folder)?))
}

fn delete_here(
    path: &Path,
    job: JobId,
    keys: Option<&PathBuf>,
    folder: Option<&Path>,
    by: &ByArg,
) -> Result<Outcome, Refusal> {
    Reader::open(path)?.job(job)?;
    let keys = foreground::key_host(keys)?;
    let connect = || keys.connect();
    let ledger = Ledger::open_audited(path, Box::new(keys.auditor()?))?;
    let done = deletion::delete(&ledger, job, Context::by(by.actor()), &connect, folder)?;
    ledger.close()?;
    Ok(Outcome::Deleted(done))
}

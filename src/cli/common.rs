//! What the commands about the ledger share: which ledger, which records, who asks, and where the answer goes.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::next_step::spelled;
use crate::bureau::Refusal;
use crate::daemon::people::sound_name;
use crate::exit::{Exit, Failure};
use crate::ledger::LedgerError;

/// The ledger that is meant if none is named.
const DEFAULT: &str = "cardwright.db";

/// Where the ledger is.
#[derive(Debug, Clone, clap::Args)]
pub struct LedgerArg {
    /// The ledger
    #[arg(
        long,
        value_name = "DB",
        env = "CARDWRIGHT_LEDGER",
        default_value = DEFAULT,
        global = true
    )]
    pub ledger: PathBuf,
}

/// Who asks for a change; stands in the ledger.
#[derive(Debug, Clone, clap::Args)]
pub struct ByArg {
    /// Who asks for it, for the ledger, where your user id stands beside it [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub by: Option<String>,
}

/// Where the daemon listens.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArg {
    /// Ask the daemon that listens there, and about its ledger
    #[arg(long, value_name = "PATH", env = "CARDWRIGHT_SOCKET", global = true)]
    pub socket: Option<PathBuf>,
}

impl LedgerArg {
    /// Whether it was named on the command line, and not by the environment or by nobody.
    pub fn is_named(&self) -> bool {
        std::env::args_os()
            .any(|arg| arg.to_str().is_some_and(|arg| arg == "--ledger" || arg.starts_with("--ledger=")))
    }
}

impl SocketArg {
    /// The daemon to ask, if one is named. It has a ledger of its own, so none may be named beside it.
    pub fn daemon(&self, ledger: &LedgerArg) -> Result<Option<&Path>, Failure> {
        match &self.socket {
            Some(socket) if ledger.is_named() => Err(Failure::new(
                Exit::Usage,
                format!(
                    "operator: the daemon at {} has its own ledger: leave --ledger away, or ask no daemon (--socket, \
                     CARDWRIGHT_SOCKET)",
                    socket.display()
                ),
            )),
            socket => Ok(socket.as_deref()),
        }
    }
}

impl ByArg {
    /// A daemon knows who asks.
    pub fn none(&self) -> Result<(), Failure> {
        match self.by {
            None => Ok(()),
            Some(_) => Err(Failure::new(Exit::Usage, "operator: the daemon knows who asks; leave --by away")),
        }
    }

    /// The name that was given, with the user id, so that it is never taken for one that a daemon vouches for; or the
    /// operating system's for this user.
    pub fn actor(&self) -> String {
        let uid = nix::unistd::getuid();
        match &self.by {
            Some(name) => format!("{name} (uid {uid})"),
            None => {
                let user = nix::unistd::User::from_uid(uid).ok().flatten();
                user.map_or_else(|| format!("uid {uid}"), |user| user.name)
            }
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    sound_name(text).map(|()| text.to_owned())
}

/// How a command ends early: refused, failed, or because its output goes nowhere.
#[derive(Debug)]
pub enum Early {
    /// It was not carried out.
    Refused(Refusal),
    /// It ends with this text and exit code.
    Failed(Failure),
    /// Writing the answer failed.
    Output(std::io::Error),
}

impl From<Failure> for Early {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Refusal> for Early {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LedgerError> for Early {
    fn from(error: LedgerError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<std::io::Error> for Early {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs a command on standard output. A reader that has seen enough (`| head`) is no failure.
pub fn on_stdout(command: impl FnOnce(&mut dyn Write) -> Result<Exit, Early>) -> Result<Exit, Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let result = command(&mut out);
    let flushed = out.flush().map_err(Early::Output);
    match result.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => Ok(exit),
        Err(Early::Refused(refusal)) => Err(spelled(&refusal)),
        Err(Early::Failed(failure)) => Err(failure),
        Err(Early::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(Early::Output(error)) => Err(Failure::new(Exit::Io, format!("standard output: {error}"))),
    }
}

/// One JSON document, and a line's end.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Early> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

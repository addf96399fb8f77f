//! Parts that the commands about the ledger share: the ledger, the records, the person who makes the request,
//! the output.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;

use super::next_step::{Desk, spelled};
use crate::actor::Actor;
use crate::bureau::Refusal;
use crate::daemon::people::sound_name;
use crate::exit::{Exit, Failure};
use crate::ledger::LedgerError;
use crate::stdout;

/// The ledger if the command names none.
const DEFAULT: &str = "cardwright.db";

/// The argument that names the ledger.
#[derive(Debug, Clone, clap::Args)]
pub struct LedgerArg {
    /// The ledger
    #[arg(
        long,
        value_name = "DB",
        env = "CARDWRIGHT_LEDGER",
        default_value = DEFAULT,
        value_parser = path_of("CARDWRIGHT_LEDGER"),
        global = true
    )]
    pub ledger: PathBuf,
}

/// The argument that names the person who requests a change; the ledger records the name.
#[derive(Debug, Clone, clap::Args)]
pub struct ByArg {
    /// Who asks for it, for the ledger, which adds your user id [default: your user name]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub by: Option<String>,
}

/// The argument that names a daemon.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArg {
    /// Ask the daemon that listens there, and about its ledger
    #[arg(long, value_name = "PATH", env = "CARDWRIGHT_SOCKET", value_parser = path_of("CARDWRIGHT_SOCKET"), global = true)]
    pub socket: Option<PathBuf>,
}

impl LedgerArg {
    /// Whether the ledger was named on the command line, and not only by the environment or the default.
    pub fn is_named(&self) -> bool {
        std::env::args_os()
            .any(|arg| arg.to_str().is_some_and(|arg| arg == "--ledger" || arg.starts_with("--ledger=")))
    }
}

impl SocketArg {
    /// Where the command is carried out.
    pub fn desk(&self) -> Desk {
        if self.socket.is_some() { Desk::Daemon } else { Desk::Here }
    }

    /// The daemon to ask, if one is named. A daemon has its own ledger, so none may be named with it.
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
    /// Refuses a name, because a daemon identifies the person itself.
    pub fn none(&self) -> Result<(), Failure> {
        match self.by {
            None => Ok(()),
            Some(_) => Err(Failure::new(Exit::Usage, "operator: the daemon knows who asks; leave --by away")),
        }
    }

    /// The name that was given, with the user id, so that it never looks like a name that a daemon has
    /// checked; without a name, the operating system's name for this user, if a person may have it.
    pub fn actor(&self) -> Actor {
        let uid = nix::unistd::getuid();
        let name = match &self.by {
            Some(name) => format!("{name} (uid {uid})"),
            None => {
                let user = nix::unistd::User::from_uid(uid).ok().flatten();
                let user = user.filter(|user| sound_name(&user.name).is_ok());
                user.map_or_else(|| format!("uid {uid}"), |user| user.name)
            }
        };
        Actor { name, first: None }
    }
}

/// Reads the path that an option or this environment variable names. An empty variable would otherwise be blamed on the
/// option.
pub fn path_of(variable: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(move |path| match path.is_empty() {
        true => Err(format!("it is empty: name a path, or unset the variable {variable}")),
        false => Ok(PathBuf::from(path)),
    })
}

/// Reads the path of a key store.
pub fn store_path() -> impl TypedValueParser<Value = PathBuf> {
    path_of("CARDWRIGHT_KEYS")
}

fn name(text: &str) -> Result<String, String> {
    sound_name(text).map(|()| text.to_owned())
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Early {
    /// The request was refused.
    Refused(Refusal),
    /// The command failed, with this text and exit code.
    Failed(Failure),
    /// The answer could not be written.
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

/// Runs a command on standard output. A reader that closes it early (`| head`) is no failure.
pub fn on_stdout(command: impl FnOnce(&mut dyn Write) -> Result<Exit, Early>) -> Result<Exit, Failure> {
    let mut out = stdout::Tame::new(std::io::BufWriter::new(std::io::stdout().lock()));
    let result = command(&mut out);
    let flushed = out.flush();
    match result {
        Ok(exit) => stdout::read(flushed).map(|()| exit),
        Err(Early::Refused(refusal)) => Err(spelled(&refusal)),
        Err(Early::Failed(failure)) => Err(failure),
        Err(Early::Output(error)) => stdout::read(Err(error)).map(|()| Exit::Ok),
    }
}

/// Writes one JSON document and the end of its line.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Early> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// One JSON document and the end of its line.
pub fn json_text(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| text + "\n").map_err(|e| Failure::new(Exit::Bug, format!("us: the answer as JSON: {e}")))
}

/// The failure of a command that needs a key store when none is named.
pub fn keys_missing() -> Failure {
    Failure::new(Exit::Usage, "operator: name the key store by --keys or CARDWRIGHT_KEYS")
}

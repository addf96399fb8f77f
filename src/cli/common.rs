//! What the commands about the ledger share: which ledger, which records, who asks, and where the answer goes.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

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

/// Who asks for a change; goes into the ledger.
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

/// Which records: `7`, `3,7-9`, or `all` (those to which the command applies).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `7`.
    One(u32),
    /// `3,7-9`.
    Some(Vec<RangeInclusive<u32>>),
    /// `all`.
    All,
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(one) => write!(f, "{one}"),
            Self::Some(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|r| format!("{}-{}", r.start(), r.end())).collect();
                f.write_str(&ranges.join(","))
            }
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no record; write 7, or 3,7-9, or all");
        let number = |s: &str| s.parse().ok().filter(|n| *n > 0u32).ok_or_else(wrong);
        if text == "all" {
            return Ok(Self::All);
        }
        if let Ok(one) = number(text) {
            return Ok(Self::One(one));
        }
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first)?..=number(last)?;
            if range.is_empty() { Err(wrong()) } else { Ok(range) }
        };
        Ok(Self::Some(text.split(',').map(range).collect::<Result<_, _>>()?))
    }
}

impl Selection {
    /// The sequences, each once and in file order, of a job with `records` records. The first above them of
    /// each range is kept, so that the ledger can say that there is no such record. `None` for `all`.
    pub fn sequences(&self, records: u32) -> Option<Vec<u32>> {
        let ranges = match self {
            Self::One(one) => return Some(vec![*one]),
            Self::Some(ranges) => ranges,
            Self::All => return None,
        };
        let last = records.saturating_add(1);
        let bounded = |r: &RangeInclusive<u32>| *r.start()..=*r.end().min(r.start().max(&last));
        let all: std::collections::BTreeSet<u32> = ranges.iter().flat_map(bounded).collect();
        Some(all.into_iter().collect())
    }
}

/// How a command ends early: with a failure, or because its output goes nowhere.
#[derive(Debug)]
pub enum Early {
    /// Told to the operator.
    Failure(Failure),
    /// Writing the answer failed.
    Output(std::io::Error),
}

impl From<Failure> for Early {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<LedgerError> for Early {
    fn from(error: LedgerError) -> Self {
        Self::Failure(error.into())
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
        Err(Early::Failure(failure)) => Err(failure),
        Err(Early::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        Err(Early::Output(error)) => Err(Failure::new(Exit::Io, format!("standard output: {error}"))),
    }
}

/// One JSON document, and a line's end.
pub fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Early> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

#[cfg(test)]
mod tests {
    use super::Selection;

    #[test]
    fn selections() {
        let sequences = |text: &str| text.parse::<Selection>().unwrap().sequences(10);
        assert_eq!(sequences("all"), None);
        assert_eq!(sequences("7"), Some(vec![7]));
        assert_eq!(sequences("11"), Some(vec![11]));
        assert_eq!(sequences("9,3,7-9"), Some(vec![3, 7, 8, 9]));
        assert_eq!(sequences("9-4294967295,77"), Some(vec![9, 10, 11, 77]));
        for wrong in
            ["", "0", "-1", "3-", "-3", "9-7", "3,,4", "3,", "a", "ALL", "1-2-3", "0-3", "4294967296", "3 4"]
        {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong:?}");
        }
    }
}

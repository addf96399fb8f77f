//! `cardwright job papers J`: the signed papers of a closed job, by a command or by the daemon; `cardwright audit document`: whether a paper is genuine.

pub mod seal;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::opening::{proven, spool_of};
use crate::audit::{Document, LedgerId, PublicKey};
use crate::beside::beside;
use crate::exit::{Exit, Failure};
use crate::hsm::client::HsmClient;
use crate::hsm::{Auditor, Hsm};
use crate::ledger::{JobId, Reader};
use crate::modules::sections::{Fulfilment, fulfilment};
use crate::record::Spool;
use crate::report::closeout::{AS_ACCEPTED, CloseOut, closed, write_return};
use seal::{Ours, Seal, Whose, look, sealed};

/// The papers of a job, in a directory, each with its signature beside it. Nobody else writes papers there meanwhile.
pub struct Papers<'a> {
    job: JobId,
    ledger: LedgerId,
    directory: &'a Path,
    signer: &'a mut HsmClient,
    /// The HSM's audit key.
    key: PublicKey,
    _alone: Flock<File>,
}

/// What of a job's papers is there.
pub struct There {
    /// All of them.
    pub all: bool,
    /// A return file, which says that it has no fulfilment data.
    pub without_fulfilment: Option<PathBuf>,
}

const NAMES: [&str; 3] = ["report.json", "report.html", "return.jsonl"];
const KINDS: [Document; 3] = [Document::Report, Document::Report, Document::ReturnFile];

/// What a paper says.
type Text<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<(), Failure>;

/// Writes the papers of a closed job.
pub fn write(
    reader: &Reader,
    job: JobId,
    connect: &dyn Fn() -> Result<HsmClient, Failure>,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let view = reader.job(job)?;
    closed(&view)?;
    proven(reader, job)?;
    let spool = if view.deleted { None } else { Some(spool_of(&view, Box::new(connect()?))?) };
    Papers::new(job, reader.id()?, directory, &mut connect()?)?.write(reader, spool, true, out)
}

impl<'a> Papers<'a> {
    /// Makes the directory (mode 0700) if there is none. While somebody else writes papers there, it is refused.
    pub fn new(
        job: JobId,
        ledger: LedgerId,
        directory: &'a Path,
        signer: &'a mut HsmClient,
    ) -> Result<Self, Failure> {
        let failed = |what: std::io::Error| {
            Failure::new(Exit::Io, format!("papers: directory {}: {what}", directory.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let folder = File::open(directory).map_err(failed)?;
        let locked = Flock::lock(folder, FlockArg::LockExclusiveNonblock);
        let _alone = locked.map_err(|(_, e)| match e {
            Errno::EWOULDBLOCK => {
                let what = "operator: another program writes papers there; try again when it is done, or name another \
                            directory by --out";
                failed(std::io::Error::other(what))
            }
            e => failed(std::io::Error::other(format!("it cannot be locked: {e}"))),
        })?;
        let key = signer.audit(ledger)?.key;
        Ok(Self { job, ledger, directory, signer, key, _alone })
    }

    /// Writes report and return file. Without a spool the return file has no fulfilment data, and says so. Papers that are
    /// there already are an error where all are to be `new`, and left alone otherwise, if they are this job's.
    pub fn write(
        &mut self,
        reader: &Reader,
        mut spool: Option<Spool>,
        new: bool,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let close_out = CloseOut::build(reader, self.job, spool.is_some(), &self.signer.info()?)?;
        // What somebody began who was killed.
        NAMES.iter().for_each(|name| drop(std::fs::remove_file(beside(&self.path(name), ".part"))));
        let lies = |path: &&PathBuf| path.symlink_metadata().is_ok();
        if new && let Some(there) = NAMES.map(|name| self.path(name)).iter().find(lies) {
            let what = format!("{}: exists already; name another directory", there.display());
            return Err(Failure::new(Exit::Io, what));
        }
        let written = self.written(reader, &close_out, &mut spool, out);
        if new && written.is_err() {
            // All of them or none. One that stays is refused the next time, with its name.
            for paper in NAMES.map(|name| self.path(name)) {
                for file in [beside(&paper, ".part"), sealed(&paper), paper] {
                    let _ = std::fs::remove_file(file);
                }
            }
        }
        written
    }

    fn written(
        &mut self,
        reader: &Reader,
        close_out: &CloseOut,
        spool: &mut Option<Spool>,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let [json, html, returned] = NAMES;
        let io = |e: std::io::Error| Failure::new(Exit::Io, format!("papers: {e}"));
        let ledger = self.ledger;
        let paths = [
            self.keep(json, Document::Report, &mut |out| {
                serde_json::to_writer_pretty(out, close_out).map_err(std::io::Error::from).map_err(io)
            })?,
            self.keep(html, Document::Report, &mut |out| {
                out.write_all(close_out.html().as_bytes()).map_err(io)
            })?,
            self.keep(returned, Document::ReturnFile, &mut |out| {
                let of_record = |seq| {
                    let Some(spool) = &mut *spool else { return Ok(Fulfilment::default()) };
                    let record = spool.read(seq)?;
                    // It was right when it was accepted.
                    Ok(record.section("FUL").and_then(|data| fulfilment(data).ok()).unwrap_or_default())
                };
                write_return(reader, close_out, ledger, of_record, out)
            })?,
        ];
        paths.iter().try_for_each(|path| writeln!(out, "{}", path.display())).map_err(io)
    }

    /// What of them is there. Anything that is not this job's in their places is an error.
    pub fn there(&self) -> Result<There, Failure> {
        let mut there = There { all: true, without_fulfilment: None };
        for (name, kind) in NAMES.into_iter().zip(KINDS) {
            match self.look(name, kind)? {
                None => there.all = false,
                Some(Ours { fulfilment_data: Some(data) })
                    if kind == Document::ReturnFile && data != AS_ACCEPTED =>
                {
                    there.without_fulfilment = Some(self.path(name));
                }
                Some(_) => {}
            }
        }
        Ok(there)
    }

    /// Refuses whatever lies in the place of a paper that cannot have been written yet.
    pub fn nothing_yet(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            _ => {
                let what = format!(
                    "operator: {} lies there already, and nothing of {} is deleted yet; move it away with its .sig, or name \
                     another directory by --out",
                    path.display(),
                    self.job
                );
                Err(Failure::new(Exit::Io, what))
            }
        }
    }

    fn look(&self, name: &str, kind: Document) -> Result<Option<Ours>, Failure> {
        let whose = Whose { job: self.job, ledger: self.ledger, key: Some(self.key) };
        look(&self.path(name), kind, whose)
    }

    fn path(&self, name: &str) -> PathBuf {
        paper(self.directory, self.job, name)
    }

    /// Writes one paper, unless it is there and this job's. It appears whole and behind its signature, or not at all.
    pub fn keep(&mut self, name: &str, kind: Document, text: Text<'_>) -> Result<PathBuf, Failure> {
        let path = self.path(name);
        if self.look(name, kind)?.is_some() {
            return Ok(path);
        }
        let failed =
            |path: &Path, e: std::io::Error| Failure::new(Exit::Io, format!("{}: {e}", path.display()));
        let part = beside(&path, ".part");
        let begun = create(&part, self.directory)?;
        let mut file = Hashed { file: BufWriter::new(&begun), hash: Sha256::new() };
        text(&mut file)?;
        file.flush().and_then(|()| file.file.get_ref().sync_all()).map_err(|e| failed(&path, e))?;
        let digest: [u8; 32] = file.hash.finalize().into();
        let signature = self.signer.sign(kind, self.ledger, digest)?;
        let seal = Seal::new(kind, self.ledger, digest, self.key, signature);
        let sealed = sealed(&path);
        let text = serde_json::to_string_pretty(&seal).map_err(|e| Failure::new(Exit::Bug, e.to_string()))?;
        let mut file = create(&sealed, self.directory)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| failed(&sealed, e))?;
        std::fs::rename(&part, &path)
            .and_then(|()| File::open(self.directory)?.sync_all())
            .map_err(|e| failed(&path, e))?;
        Ok(path)
    }
}

/// Whether a paper is what was signed, by this key if one is named.
pub fn check(paper: &Path, key: Option<PublicKey>, out: &mut dyn Write) -> Result<Exit, Failure> {
    let fail = |what: &dyn std::fmt::Display| {
        Failure::new(Exit::AuditFailed, format!("{}: {what}", paper.display()))
    };
    let signed_by = seal::genuine(paper)?.key;
    if key.is_some_and(|key| key != signed_by) {
        return Err(fail(&format!("it was signed by another audit key, {signed_by}")));
    }
    let whose = if key.is_some() { "" } else { "; compare this key with the bureau's" };
    writeln!(out, "{}: genuine, audit key {signed_by}{whose}", paper.display()).map_err(|e| fail(&e))?;
    Ok(Exit::Ok)
}

/// Where a paper of a job lies.
pub fn paper(directory: &Path, job: JobId, name: &str) -> PathBuf {
    directory.join(format!("{job}-{name}"))
}

/// A paper that is complete was looked for: what lies there was begun by somebody who was killed, and is made anew.
fn create(path: &Path, directory: &Path) -> Result<File, Failure> {
    let failed = |e: std::io::Error| Failure::new(Exit::Io, format!("{}: {e}", path.display()));
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    open_to_group(&file, directory).map_err(failed)?;
    Ok(file)
}

/// Whoever made a folder for a group alone wants that group to read what goes into it: with a daemon, the people who ask it.
fn open_to_group(file: &File, directory: &Path) -> std::io::Result<()> {
    let folder = directory.metadata()?;
    if folder.mode() & 0o057 != 0o050 {
        return Ok(());
    }
    match fchown(file, None, Some(folder.gid())) {
        Ok(()) => file.set_permissions(Permissions::from_mode(0o640)),
        // We are not in that group, and the paper stays ours.
        Err(error) => {
            tracing::warn!(folder = %directory.display(), %error, "the folder's group cannot read what is written there");
            Ok(())
        }
    }
}

/// Hashes what goes into a file.
struct Hashed<'a> {
    file: BufWriter<&'a File>,
    hash: Sha256,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

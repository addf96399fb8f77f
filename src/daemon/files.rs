//! Files that go with a request over the daemon's socket, as descriptors. The person who asks opened them
//! with that person's own rights, so the daemon needs none.
//!
//! The daemon takes only regular files, and only as many as a request can need. It never closes a descriptor
//! of the ledger's own files: closing any descriptor of a file drops the locks that SQLite holds on it in
//! this process (POSIX, fcntl(2)).
//!
//! Not here: messages (`wire`), the use of a file (`bureau`).

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::bureau::Refusal;
use crate::bureau::ledger_desk::check_files;
use crate::bureau::spool_folder::is_the_ledgers;
use crate::exit::Exit;
use crate::record::check_regular;
use crate::request::Action;

/// Most files of one request: four papers, each with its seal.
pub const FILES_MAX: usize = 8;
/// Most bytes of a file that the daemon reads. A file of 100,000 cards with pictures has a tenth of that.
pub const BYTES_MAX: u64 = 256 << 30;

/// The files that came with bytes of a stream.
#[derive(Default)]
pub struct ReceivedFiles {
    /// The regular files, in order.
    pub files: Vec<File>,
    /// Why a further file was not taken: the first reason.
    pub refused: Option<Refusal>,
    /// Number of descriptors of the ledger's own files, which stay open for ever.
    pub kept_open: u32,
}

/// Sends a message with files.
pub fn send_with(mut stream: &UnixStream, message: &[u8], files: &[File]) -> std::io::Result<()> {
    let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let too_many = files.len() > FILES_MAX;
    if too_many || !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(std::io::Error::other("too many files for one request"));
    }
    let sent = sendmsg(stream, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
    // The descriptors were sent with the first byte.
    stream.write_all(message.get(sent..).unwrap_or_default())
}

/// Receives bytes and the files that come with them. Takes no files from a person who is not `trusted`.
pub fn receive_with(
    stream: &UnixStream,
    buffer: &mut [u8],
    trusted: bool,
    ledger: &Path,
    received: &mut ReceivedFiles,
) -> std::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    // Without room for descriptors the kernel drops them itself, and this process keeps its locks.
    let mut ancillary = RecvAncillaryBuffer::new(if trusted { &mut space } else { &mut [] });
    let message = recvmsg(stream, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptors.for_each(|descriptor| received.take(descriptor, ledger));
        }
    }
    if !trusted && message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        received.refuse("the daemon takes no more files of yours: you sent it its own ledger");
    } else if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        received.refuse("more files came with the request than it can need");
    }
    Ok(message.bytes)
}

/// Refuses files that an action does not need, or cannot use as they were opened. A request is refused for
/// that before anything is done.
pub fn check(action: &Action, files: &[File]) -> Result<(), Refusal> {
    check_files(action, files)?;
    let (wrong, what) = match action {
        Action::SubmitFile { .. } | Action::VerifyLedger { .. } => (OFlags::WRONLY, "reading"),
        _ => (OFlags::RDONLY, "writing"),
    };
    for (file, number) in files.iter().zip(1..) {
        let opened = fcntl_getfl(file).map_err(std::io::Error::from).map_err(|e| {
            Refusal::fault(Exit::Io, format!("file: file {number} of the request cannot be looked at: {e}"))
        })?;
        if opened & OFlags::ACCMODE == wrong || opened.contains(OFlags::PATH) {
            let what =
                format!("file: file {number} of the request was not opened for {what}: open it for {what}");
            return Err(Refusal::fault(Exit::Io, what));
        }
    }
    Ok(())
}

impl ReceivedFiles {
    fn refuse(&mut self, why: &str) {
        let refusal = || Refusal::fault(Exit::FileFormat, format!("file: {why}"));
        self.refused.get_or_insert_with(refusal);
    }

    fn take(&mut self, descriptor: OwnedFd, ledger: &Path) {
        let file = File::from(descriptor);
        let Ok(about) = file.metadata() else {
            std::mem::forget(file);
            self.kept_open += 1;
            self.refuse("a file came with the request that cannot be looked at");
            return;
        };
        if is_the_ledgers(&about, ledger) {
            // The descriptor stays open, because SQLite would lose its locks if it were closed (see above).
            std::mem::forget(file);
            self.kept_open += 1;
            self.refuse("a file came with the request that is the daemon's ledger, or lies beside it");
        } else if let Err(what) = check_regular(&about) {
            // As for a path: what came is no output file with a fault.
            let what = format!("file: what came with the request cannot be used: {what}");
            self.refused.get_or_insert_with(|| Refusal::fault(Exit::Io, what));
        } else if about.len() > BYTES_MAX {
            self.refuse("a file came with the request that is larger than 256 GiB");
        } else if self.files.len() == FILES_MAX {
            self.refuse("more files came with the request than it can need");
        } else {
            self.files.push(file);
        }
    }
}

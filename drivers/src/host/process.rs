//! Starts, kills and reaps a host process; the controller's end of its socket.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::hello::{self, HostAnswer, HostedDevice};
use crate::link::{ByteLink, CardError, LinkError};
use crate::stream::TimedSocket;

/// Pause between two starts of one station's host: a device that cannot be opened costs at most one process
/// in this time.
const START_INTERVAL: Duration = Duration::from_millis(250);
/// Time in which a host that is no longer needed may send its last bytes to the device and take the power
/// off.
const LEAVE_TIME: Duration = Duration::from_millis(200);
/// How long to wait for a killed process here; one that the kernel cannot end yet is left to a thread.
const REAP_TIME: Duration = Duration::from_millis(500);
/// Pause between two checks whether it has ended.
const REAP_PAUSE: Duration = Duration::from_millis(1);
/// Environment variable with the socket that the PC/SC library connects to.
const PCSCD_SOCKET: &str = "PCSCLITE_CSOCK_NAME";

/// The program and the device of a station's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Socket of the pcscd that has the reader; without it, the system's.
    pub pcscd: Option<PathBuf>,
    /// The device that the host opens.
    pub device: HostedDevice,
}

/// A running host.
struct StationHostProcess {
    child: Child,
    socket: TimedSocket<UnixStream>,
}

/// The connection to a station's host, which may be dead.
pub(super) struct HostPipe {
    spec: HostSpec,
    running: Option<StationHostProcess>,
    started: Option<Instant>,
    /// Error of the last start, if it failed.
    pub(super) refused: Option<CardError>,
    /// Name of the device that the host opened, for people.
    pub(super) opened: String,
    /// Name of its node in the system.
    node: String,
}

impl HostPipe {
    /// Takes the specification; starts nothing yet.
    pub(super) fn new(spec: HostSpec) -> Self {
        Self { spec, running: None, started: None, refused: None, opened: String::new(), node: String::new() }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The process of the host, if one runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Ends the host, if there is one.
    pub(super) fn kill(&mut self) {
        if let Some(StationHostProcess { child, socket }) = self.running.take() {
            tracing::debug!(pid = child.id(), "station host killed");
            drop(socket);
            end(child);
        }
    }

    fn start(&mut self, deadline: Instant) -> Result<(), CardError> {
        if let Some(started) = self.started {
            let pause = START_INTERVAL.saturating_sub(started.elapsed());
            thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        }
        self.started = Some(Instant::now());
        let fault = |what: String| CardError::Reader(LinkError::Io(format!("station host: {what}")));
        let (ours, theirs) = UnixStream::pair().map_err(|e| fault(format!("no socket pair: {e}")))?;
        let mut command = Command::new(&self.spec.program);
        // The host has its own process group, because the controller must answer an interrupt at the
        // keyboard.
        command.args(&self.spec.arguments).process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        if let Some(socket) = &self.spec.pcscd {
            command.env(PCSCD_SOCKET, socket);
        }
        let child = command
            .spawn()
            .map_err(|e| fault(format!("{} cannot start: {e}", self.spec.program.display())))?;
        // Dropping the command closes this process's copy of the host's end, so that the socket closes when
        // the host dies.
        drop(command);
        let running = self.running.insert(StationHostProcess { child, socket: TimedSocket::new(ours) });
        // A host that ends at once may have reported its reason before it read the hello.
        let sent = hello::send(&mut running.socket, &self.spec.device, deadline);
        let heard = hello::receive::<HostAnswer>(&mut running.socket, deadline);
        let sent = sent.or_else(|error| if error == LinkError::Closed { Ok(()) } else { Err(error) });
        let hello = heard.and_then(|hello| sent.map(|()| hello)).map_err(|error| match error {
            LinkError::Closed => fault("it ended before it said hello".into()),
            error => CardError::Reader(error),
        });
        (self.opened, self.node) = hello.and_then(HostAnswer::outcome)?;
        Ok(())
    }

    fn socket(&mut self) -> Result<&mut TimedSocket<UnixStream>, LinkError> {
        self.running.as_mut().map(|running| &mut running.socket).ok_or(LinkError::Closed)
    }
}

impl ByteLink for HostPipe {
    fn send(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), LinkError> {
        self.socket()?.send(bytes, timeout)
    }

    fn receive(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<usize, LinkError> {
        self.socket()?.receive(buffer, timeout)
    }

    fn node(&self) -> &str {
        &self.node
    }

    /// Starts a new host. [`Self::refused`] then says more than the link's error can.
    fn reopen(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let deadline = Instant::now() + timeout;
        self.kill();
        self.refused = None;
        self.start(deadline).map_err(|error| {
            self.kill();
            self.refused = Some(error.clone());
            match error {
                CardError::Reader(LinkError::Timeout(_)) => LinkError::Timeout(timeout),
                CardError::Reader(error) => error,
                error => LinkError::Io(error.to_string()),
            }
        })
    }
}

impl Drop for HostPipe {
    /// Gives the host a moment to finish its last work.
    fn drop(&mut self) {
        if let Some(running) = &mut self.running
            && running.socket.finish().is_ok()
        {
            ended_within(&mut running.child, LEAVE_TIME);
        }
        self.kill();
    }
}

/// Kills the process and reaps it; never waits long for a process that the kernel holds.
fn end(mut child: Child) {
    // Killing fails only if the process has ended.
    let _ = child.kill();
    if !ended_within(&mut child, REAP_TIME) {
        tracing::warn!(pid = child.id(), "a killed station host does not end yet");
        // Without a thread the process stays a zombie until this process ends.
        let reap = thread::Builder::new().name("reaper".into()).spawn(move || child.wait());
        if let Err(error) = reap {
            tracing::warn!(%error, "nobody waits for it");
        }
    }
}

/// Whether a process ends in time; reaps it.
fn ended_within(child: &mut Child, time: Duration) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until {
        match child.try_wait() {
            Ok(None) => thread::sleep(REAP_PAUSE),
            _ => return true,
        }
    }
    false
}

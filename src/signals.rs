//! Handles SIGINT, SIGTERM and SIGHUP (the terminal is gone), from the start of a command to its end.
//!
//! ```text
//!        heard(n)             signal: asks the line to stop
//! End ─────────────► Stop(n) ───────────────────────────────► Stop(n - 1) ─ ... ─► Stop(0)
//!  │ signal                                                                         │ signal
//!  ▼                                                                                ▼
//! undo the preparations, and end the program with exit code Stopped ◄───────────────┘
//! ```
//!
//! Before the first card a signal ends the program at once: its temporary directories are removed, and the
//! exit code is the documented one. From the first card on, `n` signals ask the line to stop feeding. The
//! next signal ends the program at once, in whatever state its threads are.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::TempDir;

use crate::exit::{Exit, Failure};
use crate::panics::ends_well;
use crate::threads;

/// Printed when a signal ends the program although cards may be under way.
const AT_ONCE: &str = "stopped at once by another signal: cards under way are UNKNOWN at the next start";

/// Undoes one preparation of the program, such as a temporary directory.
type UndoStep = Box<dyn FnOnce() + Send>;

/// The effect of the next signal.
enum SignalEffect {
    /// Undo the preparations, the last one first, and end the program.
    End(Vec<UndoStep>),
    /// Ask the line to stop, this number of times. The next signal undoes the preparations and ends the
    /// program.
    Stop(Sender<()>, u8, Vec<UndoStep>),
}

/// The signal handlers of this process; they stay installed until it ends.
pub struct Signals(Arc<Mutex<SignalEffect>>);

impl Signals {
    /// Installs the handlers. `ended` is printed if a signal ends the program.
    pub fn handle(ended: &'static str) -> Result<Self, Failure> {
        let effect = Arc::new(Mutex::new(SignalEffect::End(Vec::new())));
        let (ready, installed) = bounded(1);
        let theirs = Arc::clone(&effect);
        threads::start("signals", move || {
            let heard = || {
                // `handle` waits for this message and then returns the error.
                let Err(error) = wait(&theirs, ended, &ready);
                let _ = ready.send(Err(error));
            };
            // After a panic the program must still obey signals.
            while !ends_well(heard) {}
        })?;
        let failed = |what: String| Failure::new(Exit::Io, format!("us: no signal handlers: {what}"));
        installed
            .recv()
            .map_err(|_| failed("their thread ended".into()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self(effect))
    }

    /// Adds a step that is carried out if a signal ends the program before the first card.
    pub fn undo(&self, undo: impl FnOnce() + Send + 'static) {
        if let SignalEffect::End(all) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(Box::new(undo));
        }
    }

    /// Makes a temporary directory that a signal removes as well when it ends the program.
    pub fn directory(&self, make: impl FnOnce() -> Result<TempDir, Failure>) -> Result<TempDir, Failure> {
        // The lock keeps a signal from ending the program after the directory was made and before it was
        // noted.
        let mut effect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = make()?;
        if let SignalEffect::End(all) = &mut *effect {
            let path = directory.path().to_owned();
            all.push(Box::new(move || drop(std::fs::remove_dir_all(path))));
        }
        Ok(directory)
    }

    /// Starts the second half: called before the first card is touched. The next `times` signals arrive here,
    /// and the one after them ends the program at once.
    pub fn heard(&self, times: u8) -> Receiver<()> {
        let (say, hear) = bounded(times.into());
        let mut effect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = match &mut *effect {
            SignalEffect::End(all) | SignalEffect::Stop(_, _, all) => std::mem::take(all),
        };
        *effect = SignalEffect::Stop(say, times, all);
        hear
    }
}

impl Drop for Signals {
    /// Waits for a handler that is ending the program: it holds the lock until the process is gone. A command
    /// that fails because its directory was removed under it must not end the program first, with another
    /// exit code.
    fn drop(&mut self) {
        drop(self.0.lock());
    }
}

fn wait(
    effect: &Mutex<SignalEffect>,
    ended: &str,
    ready: &Sender<std::io::Result<()>>,
) -> std::io::Result<std::convert::Infallible> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let _ = ready.send(Ok(()));
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            match &mut *effect.lock().unwrap_or_else(PoisonError::into_inner) {
                SignalEffect::End(all) => end(std::mem::take(all), ended),
                SignalEffect::Stop(_, 0, all) => end(std::mem::take(all), AT_ONCE),
                SignalEffect::Stop(say, times, _) => {
                    *times -= 1;
                    // The line may have ended already.
                    let _ = say.try_send(());
                }
            }
        }
    })
}

fn end(all: Vec<UndoStep>, ended: &str) -> ! {
    for undo in all.into_iter().rev() {
        ends_well(undo);
    }
    // Standard error may be closed; the exit code reports the end as well.
    let _ = writeln!(std::io::stderr(), "{ended}");
    std::process::exit(i32::from(Exit::Stopped as u8))
}

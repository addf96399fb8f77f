//! SIGINT, SIGTERM, and SIGHUP (the terminal is gone), from a command's beginning to its end. Before the first card they
//! end the program at once and in order: what it made for itself is removed, and the exit code is the documented one.
//! From then on they ask the line to stop feeding, and one too many ends the program at once, whatever its other threads do.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::TempDir;

use crate::exit::{Exit, Failure};
use crate::panics::ends_well;
use crate::threads;

/// Said when a signal ends the program although cards may be under way.
const AT_ONCE: &str = "stopped at once by another signal: cards under way are UNKNOWN at the next start";

/// Undoes one thing.
type Undo = Box<dyn FnOnce() + Send>;

/// What a signal does now.
enum Effect {
    /// Undo this, and end.
    End(Vec<Undo>),
    /// Tell the line, so many times; the next signal undoes this and ends.
    Stop(Sender<()>, u8, Vec<Undo>),
}

/// The handlers of this process; they stay.
pub struct Signals(Arc<Mutex<Effect>>);

impl Signals {
    /// Installs them. `ended` is what the operator is told if a signal ends the program.
    pub fn handle(ended: &'static str) -> Result<Self, Failure> {
        let effect = Arc::new(Mutex::new(Effect::End(Vec::new())));
        let (ready, installed) = bounded(1);
        let theirs = Arc::clone(&effect);
        threads::start("signals", move || {
            let heard = || {
                // The error reaches the other end, which waits for nothing else.
                let Err(error) = wait(&theirs, ended, &ready);
                let _ = ready.send(Err(error));
            };
            // Whatever happens, signals are heard.
            while !ends_well(heard) {}
        })?;
        let failed = |what: String| Failure::new(Exit::Io, format!("us: no signal handlers: {what}"));
        installed
            .recv()
            .map_err(|_| failed("their thread ended".into()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self(effect))
    }

    /// Done if a signal ends the program before the first card.
    pub fn undo(&self, undo: impl FnOnce() + Send + 'static) {
        if let Effect::End(all) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(Box::new(undo));
        }
    }

    /// Makes a directory that is removed then; one that stays does no harm.
    pub fn directory(&self) -> Result<TempDir, Failure> {
        // No signal ends the program between the two.
        let mut effect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = crate::bureau::key_host::socket_directory()?;
        if let Effect::End(all) = &mut *effect {
            let path = directory.path().to_owned();
            all.push(Box::new(move || drop(std::fs::remove_dir_all(path))));
        }
        Ok(directory)
    }

    /// Cards may be touched from now on: the first `times` signals are heard here, the next one ends the program at once.
    pub fn heard(&self, times: u8) -> Receiver<()> {
        let (say, hear) = bounded(times.into());
        let mut effect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = match &mut *effect {
            Effect::End(all) | Effect::Stop(_, _, all) => std::mem::take(all),
        };
        *effect = Effect::Stop(say, times, all);
        hear
    }
}

impl Drop for Signals {
    /// What ends the program holds the lock until it has: a command whose directory goes away under it must not end it with
    /// another exit code first.
    fn drop(&mut self) {
        drop(self.0.lock());
    }
}

fn wait(
    effect: &Mutex<Effect>,
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
                Effect::End(all) => end(std::mem::take(all), ended),
                Effect::Stop(_, 0, all) => end(std::mem::take(all), AT_ONCE),
                Effect::Stop(say, times, _) => {
                    *times -= 1;
                    // Nobody may be listening any more.
                    let _ = say.try_send(());
                }
            }
        }
    })
}

fn end(all: Vec<Undo>, ended: &str) -> ! {
    for undo in all.into_iter().rev() {
        ends_well(undo);
    }
    // Nobody may be listening any more; the exit code says it too.
    let _ = writeln!(std::io::stderr(), "{ended}");
    std::process::exit(i32::from(Exit::Stopped as u8))
}

//! SIGINT, SIGTERM, and SIGHUP (the terminal is gone), from a command's beginning to its end. Before the first card they
//! end the program at once and in order: what it made for itself is removed, and the exit code is the documented one.
//! From then on they ask the line to stop feeding.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use tempfile::TempDir;

use crate::exit::{Exit, Failure};

/// Undoes one thing.
type UndoStep = Box<dyn FnOnce() + Send>;

/// What a signal does now.
enum SignalEffect {
    /// Undo this, and end.
    End(Vec<UndoStep>),
    /// Tell the line.
    Stop(Sender<()>),
}

/// The handlers of this process; they stay.
pub struct Signals(Arc<Mutex<SignalEffect>>);

impl Signals {
    /// Installs them. `ended` is what the operator is told if a signal ends the program.
    pub fn handle(ended: &'static str) -> Result<Self, Failure> {
        let effect = Arc::new(Mutex::new(SignalEffect::End(Vec::new())));
        let (ready, installed) = bounded(1);
        let theirs = Arc::clone(&effect);
        std::thread::spawn(move || {
            // The error reaches the other end, which waits for nothing else.
            let Err(error) = wait(&theirs, ended, &ready);
            let _ = ready.send(Err(error));
        });
        let failed = |what: String| Failure::new(Exit::Io, format!("us: no signal handlers: {what}"));
        installed
            .recv()
            .map_err(|_| failed("their thread ended".into()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self(effect))
    }

    /// Done if a signal ends the program before the first card.
    pub fn undo(&self, undo: impl FnOnce() + Send + 'static) {
        if let SignalEffect::End(all) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            all.push(Box::new(undo));
        }
    }

    /// Makes a directory that is removed then; one that stays does no harm.
    pub fn directory(&self) -> Result<TempDir, Failure> {
        // No signal ends the program between the two.
        let mut effect = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = crate::bureau::key_host::socket_directory()?;
        if let SignalEffect::End(all) = &mut *effect {
            let path = directory.path().to_owned();
            all.push(Box::new(move || drop(std::fs::remove_dir_all(path))));
        }
        Ok(directory)
    }

    /// Cards may be touched from now on: a signal no longer ends the program, but is heard here.
    pub fn heard(&self) -> Receiver<()> {
        let (say, hear) = bounded(1);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = SignalEffect::Stop(say);
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
                // Full: the line was told before.
                SignalEffect::Stop(say) => drop(say.try_send(())),
            }
        }
    })
}

fn end(all: Vec<UndoStep>, ended: &str) -> ! {
    for undo in all.into_iter().rev() {
        undo();
    }
    // Nobody may be listening any more; the exit code says it too.
    let _ = writeln!(std::io::stderr(), "{ended}");
    std::process::exit(i32::from(Exit::Stopped as u8))
}

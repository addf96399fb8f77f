//! Threads that the system may refuse to give: every thread of the controller is started here, and a refusal
//! is an error like any other. A thread wipes its stack at its end.
//!
//! Not here: the consequences of a panic (`panics`).

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, scope};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::hardening::wipe_stack;
use crate::panics::contained;

/// The priority of work that can wait, as `nice` counts.
const LOWEST: i32 = 19;

/// The system refused a thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "operator: the system gives no thread for {name} ({why}): let this user have more processes and threads (ulimit -u, \
     TasksMax of a service)"
)]
pub struct ThreadRefused {
    /// Name that the thread was to have.
    pub name: String,
    /// The system's reason.
    pub why: String,
}

impl From<ThreadRefused> for Failure {
    fn from(refused: ThreadRefused) -> Self {
        Self::new(Exit::Thread, refused.to_string())
    }
}

/// Starts a thread.
pub fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ThreadRefused> {
    Builder::new().name(name.to_owned()).spawn(|| wiped(work)).map_err(|error| refused(name, &error))
}

/// Does the work of a thread, and wipes its stack.
fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let done = work();
    wipe_stack();
    done
}

fn refused(name: &str, error: &std::io::Error) -> ThreadRefused {
    ThreadRefused { name: name.to_owned(), why: error.to_string() }
}

/// Gives the calling thread, and every thread that it starts from then on, the lowest priority, so that the work on
/// cards comes first. If the system refuses, the results are right all the same, but cards may wait.
pub fn give_way() {
    // Linux reads "this process" as the calling thread.
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Does the work in a thread that gives way.
pub fn giving_way<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, ThreadRefused> {
    scope(|scope| {
        let work = || {
            give_way();
            wiped(work)
        };
        let started = Builder::new().name(name.to_owned()).spawn_scoped(scope, work);
        let thread = started.map_err(|error| refused(name, &error))?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Does the work for every place in parallel, each in a thread of its own, or in the calling thread if the
/// system refuses one. Returns the results in the order of the places; `None` where the work panicked.
pub fn each_at_once<T: Send, R: Send>(
    places: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<Option<R>> {
    // A refused thread drops its closure, so the place is kept outside of it.
    let waiting: Vec<_> = places.into_iter().map(|place| Mutex::new(Some(place))).collect();
    let once = |place: &Mutex<Option<T>>| {
        let place = place.lock().unwrap_or_else(PoisonError::into_inner).take();
        wiped(|| place.map(&work))
    };
    let once = &once;
    scope(|scope| {
        let begun = waiting.iter().map(|place| Builder::new().spawn_scoped(scope, move || once(place)));
        let begun: Vec<_> = begun.collect();
        let ended = begun.into_iter().zip(&waiting).map(|(thread, place)| match thread {
            Ok(thread) => thread.join().ok().flatten(),
            Err(_) => contained(|| once(place)).flatten(),
        });
        ended.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_way_has_the_lowest_priority_and_so_have_those_that_it_starts() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let lowered = giving_way("test", || (priority(), start("test", priority).unwrap().join().unwrap()));
        assert_eq!(lowered.unwrap(), (LOWEST, LOWEST));
        assert_eq!(priority(), before);
    }

    #[test]
    fn every_place_is_worked_on_and_one_that_panics_costs_no_other() {
        let mut places = [1, 2, 3];
        let results = each_at_once(places.iter_mut(), |place| {
            assert_ne!(*place, 2, "planted");
            *place *= 10;
            *place
        });
        assert_eq!(results, [Some(10), None, Some(30)]);
        assert_eq!(places, [10, 2, 30]);
    }
}

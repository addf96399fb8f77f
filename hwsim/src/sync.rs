//! The rule for all locks: a thread that panics with a lock held does not stop the rest of the line.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, even if the last holder panicked: the data under a lock is consistent between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

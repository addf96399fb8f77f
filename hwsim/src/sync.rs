//! One rule for all locks: a thread that panicked with a lock held does not take the rest of the line with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whatever became of the last holder. What a lock protects here is consistent between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

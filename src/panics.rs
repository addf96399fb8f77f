//! Panics: where one ends, and what is said of it.
//!
//! A decoder or renderer that panics on outside data costs the record that the data came from: [`contained`]
//! stands right around the library's call. A panic anywhere else is a bug and the death of its thread:
//! [`ends_well`] stands around all that a thread does, so that whoever started it can be notified. The text
//! of a panic may quote what the code was working on, cardholder data among it: programs call
//! [`quote_nothing`] first.
//!
//! Not here: what a death means for line and daemon (`pipeline::dispatcher`, `daemon::watch`), starting
//! threads (`threads`).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    /// Calls of [`contained`] that this thread is in.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// Calls a decoder or renderer on data from outside; `None` if it panicked. What the call worked on is not
/// used again.
pub fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(CONTAINED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(CONTAINED.get() - 1);
    result.ok()
}

/// The same for a call that can fail: after a panic the error is this one, and quotes nothing.
pub fn contained_or<T>(failed: &str, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    contained(call).unwrap_or_else(|| Err(failed.to_owned()))
}

/// Does all of a thread's work; whether it ended without a panic. After a panic the caller uses nothing that
/// the work was changing.
pub fn ends_well(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_ok()
}

/// From now on a panic of this process is logged with its place in the source, without its text and without a
/// backtrace.
pub fn quote_nothing() {
    set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        if CONTAINED.get() > 0 {
            tracing::warn!(at, "a decoder or renderer failed on a record's data");
        } else {
            let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
            tracing::error!(thread, at, "us: a thread died, which is a bug: report this line");
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_its_call_and_its_thread_goes_on() {
        assert_eq!(contained(|| 1), Some(1));
        assert_eq!(contained(|| -> u8 { panic!("planted") }), None);
        assert_eq!(contained_or("cannot be read", || Ok(2)), Ok(2));
        assert_eq!(
            contained_or::<u8>("cannot be read", || panic!("planted")),
            Err("cannot be read".to_owned())
        );
        assert_eq!(CONTAINED.get(), 0);
        assert!(ends_well(|| ()));
        assert!(!ends_well(|| panic!("planted")));
    }
}

//! Panics: where they end, and what is logged about them.
//!
//! A decoder or renderer that panics on outside data costs the record that the data came from: [`contained`]
//! wraps the call of the library, and no more. A panic anywhere else is a bug and ends its thread:
//! [`ends_well`] wraps everything that a thread does, so that its owner can be notified. The text of a panic
//! may quote the data that the code was working on, including cardholder data, so programs call
//! [`quote_nothing`] first.
//!
//! Not here: the consequences of a thread's death for line and daemon (`pipeline::dispatcher`,
//! `daemon::watch`), starting threads (`threads`).

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

thread_local! {
    /// Number of calls of [`contained`] that this thread is in.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// Calls a decoder or renderer on outside data; `None` if it panicked. The caller does not use again what the
/// call worked on.
pub fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(CONTAINED.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(CONTAINED.get() - 1);
    result.ok()
}

/// Calls a decoder or renderer that can fail. After a panic the error is `failed`, which quotes nothing.
pub fn contained_or<T>(failed: &str, call: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    contained(call).unwrap_or_else(|| Err(failed.to_owned()))
}

/// Does all of a thread's work. Returns whether it ended without a panic. After a panic the caller does not
/// use what the work was changing.
pub fn ends_well(work: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(work)).is_ok()
}

/// Has every panic of this process logged with its place in the source, without its text and without a
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

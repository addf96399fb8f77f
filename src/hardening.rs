//! The memory of a process that holds keys or secrets is its own.
//!
//! Not here: wiping what is no longer needed (`zeroize`, where it lies).

use crate::exit::{Exit, Failure};

/// Makes a process that holds keys keep its memory to itself: no core dump, no debugger, no `/proc/self/mem`
/// for others.
pub fn harden() -> Result<(), Failure> {
    use nix::sys::resource::{Resource, setrlimit};
    let failed =
        |e: nix::Error| Failure::new(Exit::Io, format!("us: cannot protect the memory of this process: {e}"));
    nix::sys::prctl::set_dumpable(false).map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)
}

//! Keeps other processes from the memory of a process that holds keys, secrets or cardholder data, and wipes that
//! memory when it is freed. Keeps other users from writing to its new files.
//!
//! `arena` has locked pages for keys, `sandbox` takes from a process what it does not need.
//!
//! Not here: wiping at once the small secrets that are no longer needed (`zeroize`, where they lie).

mod arena;
mod sandbox;

use std::alloc::{GlobalAlloc, Layout, System};

use nix::sys::stat::{Mode, umask};

pub use arena::{LockedBox, LockedPages, PageLock, lock_pages, spilled};
pub use sandbox::{SandboxNeeds, confine};

use crate::exit::{Exit, Failure};

/// Write permission of the group and of all other users.
const OTHERS_WRITE: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// Makes a process keep its memory to itself: no core dump, no debugger, no `/proc/self/mem` for others. Denies other
/// users the permission to write to its new files: a umask of 002 would give it to the group. Every program calls this
/// before it reads data.
pub fn harden() -> Result<(), Failure> {
    use nix::sys::resource::{Resource, setrlimit};
    let failed =
        |e: nix::Error| Failure::new(Exit::Io, format!("us: cannot protect the memory of this process: {e}"));
    let asked = umask(OTHERS_WRITE);
    umask(asked | OTHERS_WRITE);
    nix::sys::prctl::set_dumpable(false).map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed)
}

/// Bytes of a stack that [`wipe_stack`] wipes: more than the work of a thread of ours takes.
const STACK: usize = 256 << 10;

/// Wipes the part of this thread's stack that is not in use. A thread calls it when its work is done, because the system
/// keeps the stacks of ended threads for later ones.
#[inline(never)]
pub fn wipe_stack() {
    let mut stack = [0u8; STACK];
    // Keeps the compiler from leaving the array out.
    std::hint::black_box(&mut stack);
}

/// Overwrites bytes that are no longer needed, many at a time. `zeroize` writes one byte at a time, which took a tenth of an
/// acceptance's work.
#[allow(unsafe_code, reason = "only the system's function is never left out by the compiler and is fast")]
pub fn wipe(bytes: &mut [u8]) {
    // SAFETY: the slice is writable in its whole length.
    unsafe { nix::libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) }
}

/// The system's memory, wiped as it is given back. A record's data pass through many buffers, also of other crates
/// (decoders, renderers, serializers), and not each of them can be wiped where it lies.
struct WipingAllocator;

#[global_allocator]
static MEMORY: WipingAllocator = WipingAllocator;

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only adds the wiping")]
// SAFETY: every call is passed on to the system's allocator as it came. `realloc` is the trait's own: it makes a new
// block, copies, and calls `dealloc`, so that a block that grows leaves no copy.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the rules of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block has this size and is the caller's until it is given back. A compiler may leave out a plain
        // write to memory that is about to be freed, but not this one.
        unsafe {
            nix::libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}

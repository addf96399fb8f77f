//! Locked pages for keys: never written to swap, and shown to no other process.
//!
//! ```text
//! guard page | pages: slots of 64 bytes, several for a long value | guard page
//! ```
//!
//! The pages are of `memfd_secret`: the kernel takes them out of its own map, and not even root reads them through
//! `/proc/PID/mem`. A kernel without it gives ordinary pages, locked by `mlock` and left out of core dumps. A process asks for
//! its pages once ([`lock_pages`]); in one that never asks, a [`LockedBox`] is a `Box` that is wiped.
//!
//! Not here: what a function holds in registers and on the stack while it works, the contexts of ciphers, memory of libraries
//! (OpenSSL's keys), buffers of Argon2.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::libc::{self, c_void};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, mmap_anonymous};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::wipe;
use crate::exit::{Exit, Failure};

/// Bytes of the pages. A TDES key with its schedules takes 576, an AES key 64: there is room for 900 TDES keys, and a card's
/// session has six. RLIMIT_MEMLOCK is 8 MiB on most systems.
const LENGTH: usize = 512 << 10;
/// Bytes of a slot: a cache line.
const SLOT: usize = 64;

static ARENA: OnceLock<SecretArena> = OnceLock::new();

/// How pages are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageLock {
    /// By `memfd_secret`, else by `mlock`.
    Best,
    /// By `mlock`, for a test that looks into the memory of its program as root.
    OnlyMlock,
}

/// The pages of this process, as they are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedPages {
    /// Pages that no other process sees.
    Secret,
    /// Pages that stay in memory.
    InMemory,
}

/// Locked pages with the values in them.
struct SecretArena {
    /// The first slot.
    start: NonNull<u8>,
    pages: LockedPages,
    slots: Mutex<Slots>,
}

// SAFETY: the pages belong to the process until it ends; a slot is handed out under the lock, to one box at a time.
#[allow(unsafe_code, reason = "a pointer to pages that live as long as the process")]
unsafe impl Send for SecretArena {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "a pointer to pages that live as long as the process")]
unsafe impl Sync for SecretArena {}

/// Which slots are in use.
#[derive(Default)]
struct Slots {
    /// The first byte that was never used.
    fresh: usize,
    /// Places that were given back, by their length in slots. A program has few lengths, so places are not joined.
    free: BTreeMap<usize, Vec<usize>>,
    /// Whether a value found no room.
    spilled: bool,
}

/// Locks pages for the keys of this process, and returns how. Fails if the system gives none.
pub fn lock_pages(how: PageLock) -> Result<LockedPages, Failure> {
    // Asked for again, by a test: the first answer holds.
    if let Some(arena) = ARENA.get() {
        return Ok(arena.pages);
    }
    let (start, pages) = mapped(how)?;
    let arena = ARENA.get_or_init(|| SecretArena { start, pages, slots: Mutex::default() });
    Ok(arena.pages)
}

/// Whether a value was put into ordinary memory, because the locked pages had no room for it.
pub fn spilled() -> bool {
    ARENA.get().is_some_and(|arena| arena.slots().spilled)
}

/// Maps the pages, and touches each, so that the system cannot refuse one later.
fn mapped(how: PageLock) -> Result<(NonNull<u8>, LockedPages), Failure> {
    let failed = |e: nix::Error| {
        let what = "us: the system locks no memory for keys";
        let next = "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK of a service) to 1 MiB at least";
        Failure::new(Exit::Io, format!("{what} ({e}): {next}"))
    };
    let secret = match how {
        PageLock::Best => secret_pages(),
        PageLock::OnlyMlock => Err(nix::Error::ENOSYS),
    };
    let (start, pages) = match secret {
        Ok(start) => (start, LockedPages::Secret),
        Err(error) => {
            tracing::debug!(%error, "no memfd_secret: mlock instead");
            (mlocked_pages().map_err(failed)?, LockedPages::InMemory)
        }
    };
    Ok((start.cast(), pages))
}

/// A range of addresses that nothing uses, with a page more at each end: a guard, which nobody can read or write. Returns
/// the first byte between the guards.
#[allow(unsafe_code, reason = "addresses of a new range")]
fn guarded_range() -> nix::Result<NonNull<c_void>> {
    let page = page_size();
    let whole = NonZeroUsize::new(LENGTH + 2 * page).ok_or(nix::Error::EINVAL)?;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let range = unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the range is longer than a page.
    Ok(unsafe { range.byte_add(page) })
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

#[allow(unsafe_code, reason = "a system call without a wrapper, and a mapping over a range of our own")]
fn secret_pages() -> nix::Result<NonNull<c_void>> {
    // SAFETY: the call takes flags and returns a descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(nix::errno::Errno::result(fd)?).map_err(|_| nix::Error::EINVAL)?;
    // SAFETY: the descriptor is new and ours.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::unistd::ftruncate(&fd, i64::try_from(LENGTH).map_err(|_| nix::Error::EINVAL)?)?;
    let start = guarded_range()?;
    let (length, rights) = (NonZeroUsize::new(LENGTH), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    let length = length.ok_or(nix::Error::EINVAL)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    // SAFETY: the range was mapped for this, and nothing lies in it.
    let start = unsafe { mmap(Some(start.addr()), length, rights, flags, &fd, 0) }?;
    touch(start);
    Ok(start)
}

#[allow(unsafe_code, reason = "a mapping over a range of our own")]
fn mlocked_pages() -> nix::Result<NonNull<c_void>> {
    let start = guarded_range()?;
    let (length, rights) = (NonZeroUsize::new(LENGTH), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    let length = length.ok_or(nix::Error::EINVAL)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
    // SAFETY: the range was mapped for this, and nothing lies in it.
    let start = unsafe { mmap_anonymous(Some(start.addr()), length, rights, flags) }?;
    // SAFETY: the range is mapped in its whole length.
    unsafe {
        mlock(start, LENGTH)?;
        madvise(start, LENGTH, MmapAdvise::MADV_DONTDUMP)?;
    }
    touch(start);
    Ok(start)
}

/// Has the system give every page now.
#[allow(unsafe_code, reason = "writes to pages of our own")]
fn touch(start: NonNull<c_void>) {
    // SAFETY: the pages were just mapped, writable, in this length, and nobody else knows them.
    wipe(unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), LENGTH) });
}

impl SecretArena {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing panics while it holds the lock.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for so many bytes.
    #[allow(unsafe_code, reason = "an address inside the pages")]
    fn take(&self, bytes: usize) -> Option<NonNull<u8>> {
        let place = self.slots().take(bytes.div_ceil(SLOT))?;
        // SAFETY: the place lies within the pages.
        Some(unsafe { self.start.add(place) })
    }

    /// The offset of an address in the pages; `None` for one elsewhere.
    fn place(&self, at: NonNull<u8>) -> Option<usize> {
        at.addr().get().checked_sub(self.start.addr().get()).filter(|place| *place < LENGTH)
    }
}

impl Slots {
    /// The offset of a place of so many slots.
    fn take(&mut self, slots: usize) -> Option<usize> {
        if let Some(place) = self.free.get_mut(&slots).and_then(Vec::pop) {
            return Some(place);
        }
        let end = self.fresh.checked_add(slots.checked_mul(SLOT)?)?;
        if end > LENGTH {
            self.spilled = true;
            return None;
        }
        Some(std::mem::replace(&mut self.fresh, end))
    }

    fn give_back(&mut self, place: usize, slots: usize) {
        self.free.entry(slots).or_default().push(place);
    }
}

/// A value in locked pages, wiped when it is dropped. Shows nothing of itself. Where the process has no such pages, or they
/// are full, it lies in ordinary memory ([`spilled`]).
pub struct LockedBox<T>(NonNull<T>);

// SAFETY: a box owns its value, as `Box` does.
#[allow(unsafe_code, reason = "an owned pointer")]
unsafe impl<T: Send> Send for LockedBox<T> {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "an owned pointer")]
unsafe impl<T: Sync> Sync for LockedBox<T> {}

impl<T> LockedBox<T> {
    /// Moves a value into locked pages. The caller's stack keeps a copy until it is used again, or wiped.
    pub fn new(value: T) -> Self {
        Self::with(|| value)
    }

    /// As [`Self::new`]; `None` if the process has locked pages and they are full.
    pub fn if_room(value: T) -> Option<Self> {
        let boxed = Self::new(value);
        let inside = ARENA.get().is_none_or(|arena| arena.place(boxed.0.cast()).is_some());
        inside.then_some(boxed)
    }

    #[allow(unsafe_code, reason = "an owned pointer")]
    fn with(value: impl FnOnce() -> T) -> Self {
        const { assert!(align_of::<T>() <= SLOT && size_of::<T>() > 0) };
        match ARENA.get().and_then(|arena| arena.take(size_of::<T>())) {
            Some(place) => {
                let place = place.cast::<T>();
                // SAFETY: the place is free, long enough, and aligned as slots are.
                unsafe { place.write(value()) };
                Self(place)
            }
            // SAFETY: a box is never null.
            None => Self(unsafe { NonNull::new_unchecked(Box::into_raw(Box::new(value()))) }),
        }
    }
}

impl<const N: usize> LockedBox<[u8; N]> {
    /// Zeros, to be written over in place.
    pub fn zeros() -> Self {
        Self::with(|| [0; N])
    }

    /// Copies bytes into locked pages, and leaves no other copy behind.
    pub fn copy_of(bytes: &[u8; N]) -> Self {
        let mut copy = Self::zeros();
        copy.copy_from_slice(bytes);
        copy
    }
}

impl<T> Deref for LockedBox<T> {
    type Target = T;
    #[allow(unsafe_code, reason = "an owned pointer")]
    fn deref(&self) -> &T {
        // SAFETY: the box owns the value, which lives as long as it does.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for LockedBox<T> {
    #[allow(unsafe_code, reason = "an owned pointer")]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the box owns the value, and is borrowed alone.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for LockedBox<T> {
    #[allow(unsafe_code, reason = "an owned pointer")]
    fn drop(&mut self) {
        let inside = ARENA.get().and_then(|arena| Some((arena, arena.place(self.0.cast())?)));
        let Some((arena, place)) = inside else {
            // SAFETY: the value came from a `Box`. The allocator wipes what it frees.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            return;
        };
        // SAFETY: nobody uses the value any more; its bytes stay ours until the place is given back.
        unsafe {
            self.0.drop_in_place();
            wipe(std::slice::from_raw_parts_mut(self.0.as_ptr().cast(), size_of::<T>()));
        }
        arena.slots().give_back(place, size_of::<T>().div_ceil(SLOT));
    }
}

impl<T: Zeroize> Zeroize for LockedBox<T> {
    fn zeroize(&mut self) {
        (**self).zeroize();
    }
}

impl<T> ZeroizeOnDrop for LockedBox<T> {}

#[cfg(test)]
mod tests;

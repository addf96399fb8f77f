//! The pool of cards' key pairs, which are made ahead because one takes 10 to 100 ms: a file of sealed pairs of one size.
//!
//! ```text
//! "CWPOOL1\n" | bits u16 | exponent u32 | bytes of a slot u32 | taken u64        26 bytes, big-endian
//! slot: modulus | the key pair, sealed by the issuer's HSM                       taken slots are zeros
//! ```
//!
//! Pairs are taken from the front. The count of taken pairs is on disk before a pair is used, so that no pair is used twice,
//! whenever a program ends; pairs that were taken and not used are lost. A slot at the end that is not whole is written
//! again. Several programs can use one pool: each change is made under a lock of the file. Not here: making the pairs
//! (`key_pairs`), sealing them (`hsm`).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{Flock, FlockArg};

use super::offline::CardKeySize;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::hsm::{HsmError, Issuer, SealedCardKey};

const MAGIC: &[u8; 8] = b"CWPOOL1\n";
const HEAD: usize = 26;
/// Where the count of taken pairs stands.
const TAKEN: u64 = 18;
/// Pairs that are taken at once: a sync of the disk for each card would take longer than the card.
const RESERVE: u64 = 256;

/// The pool of one size.
pub struct KeyPool {
    path: PathBuf,
    size: CardKeySize,
    /// Bytes of a slot.
    slot: usize,
    stock: Mutex<PoolStock>,
}

/// What a program has of a pool.
#[derive(Default)]
struct PoolStock {
    /// Pairs that were taken and not given out yet.
    ready: VecDeque<SealedCardKey>,
    /// Pairs that the program still needs.
    wanted: u64,
}

/// How many pairs a pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolCount {
    /// Made since the pool exists.
    pub made: u64,
    /// Taken for cards.
    pub taken: u64,
}

impl PoolCount {
    /// Pairs that can be taken.
    pub fn left(self) -> u64 {
        self.made.saturating_sub(self.taken)
    }
}

impl KeyPool {
    /// Makes an empty pool. A file that exists is not replaced.
    pub fn make(path: &Path, size: CardKeySize, sample: &SealedCardKey) -> Result<Self, Failure> {
        let slot = sample.modulus.len() + sample.sealed.len();
        let length = u32::try_from(slot).map_err(|_| damaged(path, "its slots are too long"))?;
        let mut head = MAGIC.to_vec();
        head.extend(size.bits.to_be_bytes());
        head.extend(size.exponent.to_be_bytes());
        head.extend(length.to_be_bytes());
        head.extend(0u64.to_be_bytes());
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path).map_err(|e| io(path, &e))?;
        file.write_all_at(&head, 0).and_then(|()| file.sync_all()).map_err(|e| io(path, &e))?;
        Ok(Self { path: path.to_owned(), size, slot, stock: Mutex::default() })
    }

    /// Opens a pool.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = Self::file(path)?;
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).map_err(|_| damaged(path, "it is no pool of key pairs"))?;
        let [magic @ .., b1, b0, e3, e2, e1, e0, s3, s2, s1, s0, _, _, _, _, _, _, _, _] = head;
        if magic != *MAGIC {
            return Err(damaged(path, "it is no pool of key pairs"));
        }
        let bits = u16::from_be_bytes([b1, b0]);
        let exponent = u32::from_be_bytes([e3, e2, e1, e0]);
        let slot = usize::try_from(u32::from_be_bytes([s3, s2, s1, s0])).unwrap_or(0);
        if slot <= usize::from(bits / 8) || slot > 1 << 16 {
            return Err(damaged(path, "its slots have no length that a key pair has"));
        }
        let size = CardKeySize { bits, exponent };
        Ok(Self { path: path.to_owned(), size, slot, stock: Mutex::default() })
    }

    fn file(path: &Path) -> Result<File, Failure> {
        let mut options = OpenOptions::new();
        // A pipe would block until someone writes into it.
        options.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = options.open(path).map_err(|e| io(path, &e))?;
        let meta = file.metadata().map_err(|e| io(path, &e))?;
        if !meta.is_file() || meta.uid() != nix::unistd::geteuid().as_raw() || meta.mode() & 0o077 != 0 {
            return Err(damaged(path, "it must be a file of yours with mode 0600"));
        }
        Ok(file)
    }

    fn locked(&self) -> Result<Flock<File>, Failure> {
        let lock = Flock::lock(Self::file(&self.path)?, FlockArg::LockExclusive);
        lock.map_err(|(_, e)| io(&self.path, &e.into()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size and exponent of its pairs.
    pub fn size(&self) -> CardKeySize {
        self.size
    }

    /// How many pairs it holds.
    pub fn count(&self) -> Result<PoolCount, Failure> {
        self.count_of(&*self.locked()?)
    }

    fn count_of(&self, file: &File) -> Result<PoolCount, Failure> {
        let mut taken = [0; 8];
        file.read_exact_at(&mut taken, TAKEN).map_err(|e| io(&self.path, &e))?;
        let length = file.metadata().map_err(|e| io(&self.path, &e))?.len();
        let slots = length.saturating_sub(HEAD as u64) / self.slot as u64;
        let count = PoolCount { made: slots, taken: u64::from_be_bytes(taken) };
        if count.taken > count.made {
            return Err(damaged(
                &self.path,
                "pairs are missing: it was cut, or is an old copy; make a new pool",
            ));
        }
        Ok(count)
    }

    fn place(&self, slot: u64) -> u64 {
        (HEAD as u64).saturating_add(slot.saturating_mul(self.slot as u64))
    }

    /// Adds pairs; they are on disk when this returns.
    pub fn add(&self, keys: &[SealedCardKey]) -> Result<PoolCount, Failure> {
        let file = self.locked()?;
        let count = self.count_of(&file)?;
        let mut bytes = Vec::with_capacity(keys.len() * self.slot);
        for key in keys {
            if key.modulus.len() != usize::from(self.size.bits / 8)
                || key.modulus.len() + key.sealed.len() != self.slot
            {
                return Err(damaged(&self.path, "its pairs have another size"));
            }
            bytes.extend_from_slice(&key.modulus);
            bytes.extend_from_slice(&key.sealed);
        }
        let written = file.write_all_at(&bytes, self.place(count.made)).and_then(|()| file.sync_data());
        written.map_err(|e| io(&self.path, &e))?;
        self.count_of(&file)
    }

    /// Says how many pairs the program needs, so that no others are taken. Fails if the pool has fewer.
    pub fn want(&self, wanted: u64) -> Result<(), Failure> {
        let left = self.count()?.left();
        if left < wanted {
            return Err(self.empty(&format!("{left} key pairs left, and {wanted} are needed")));
        }
        self.stock.lock().unwrap_or_else(PoisonError::into_inner).wanted = wanted;
        Ok(())
    }

    fn empty(&self, what: &str) -> Failure {
        let CardKeySize { bits, exponent } = self.size;
        let what = format!(
            "key: the pool {} (RSA {bits}, exponent {exponent}) has {what}: fill it (cardwright-prep pool fill)",
            self.path.display()
        );
        Failure::new(Exit::KeyUnknown, what)
    }

    /// Gives out the next pair.
    pub fn take(&self) -> Result<SealedCardKey, Failure> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.ready.is_empty() {
            stock.ready = self.reserve(stock.wanted.min(RESERVE))?;
        }
        stock.wanted = stock.wanted.saturating_sub(1);
        stock.ready.pop_front().ok_or_else(|| self.empty("no key pair left"))
    }

    /// Checks that the HSM opens the first pair that is left: pairs of another key store would be taken and lost.
    pub fn check_store(&self, hsm: &mut impl Issuer) -> Result<(), Failure> {
        let Some(pair) = self.peek()? else { return Ok(()) };
        hsm.check_card_key(&pair).map_err(|error| match error {
            HsmError::RsaKey(_) => {
                let what = format!(
                    "key pool {}: its next key pair was sealed by another key store, or was changed: name a pool that this store \
                     has filled",
                    self.path.display()
                );
                Failure::new(Exit::KeyStore, what)
            }
            other => other.into(),
        })
    }

    /// Reads the first pair that is left in the file, and takes none; `None` if none is left.
    fn peek(&self) -> Result<Option<SealedCardKey>, Failure> {
        let file = self.locked()?;
        let count = self.count_of(&file)?;
        if count.left() == 0 {
            return Ok(None);
        }
        let mut slot = vec![0; self.slot];
        file.read_exact_at(&mut slot, self.place(count.taken)).map_err(|e| io(&self.path, &e))?;
        Ok(self.pair(&slot))
    }

    fn pair(&self, slot: &[u8]) -> Option<SealedCardKey> {
        let (modulus, sealed) = slot.split_at_checked(usize::from(self.size.bits / 8))?;
        Some(SealedCardKey { modulus: modulus.to_vec(), sealed: sealed.to_vec() })
    }

    /// Takes the next pairs out of the file: first the count, durably, then the pairs, whose slots are wiped.
    fn reserve(&self, wanted: u64) -> Result<VecDeque<SealedCardKey>, Failure> {
        let file = self.locked()?;
        let count = self.count_of(&file)?;
        let taken = count.left().min(wanted);
        let after = count.taken + taken;
        file.write_all_at(&after.to_be_bytes(), TAKEN)
            .and_then(|()| file.sync_data())
            .map_err(|e| io(&self.path, &e))?;
        let length = usize::try_from(taken).unwrap_or(0).saturating_mul(self.slot);
        let mut bytes = vec![0; length];
        let place = self.place(count.taken);
        file.read_exact_at(&mut bytes, place).map_err(|e| io(&self.path, &e))?;
        let keys = bytes.chunks_exact(self.slot).filter_map(|slot| self.pair(slot)).collect();
        // If this fails, the pairs are still counted as taken.
        let _ = file.write_all_at(&vec![0; length], place);
        Ok(keys)
    }
}

fn io(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("key pool {}: {}", path.display(), files::trouble(error)))
}

fn damaged(path: &Path, what: &str) -> Failure {
    Failure::new(Exit::KeyStore, format!("key pool {}: {what}", path.display()))
}

//! What a machine wants of a person: ribbon, foil, blanks, an empty bin, a closed cover. Until it has that, it
//! begins no work, and says why.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// The want of one machine.
#[derive(Default)]
pub struct Wanted(Mutex<Option<(u8, Instant)>>);

impl Wanted {
    /// The machine wants something for so long, and says so by this status.
    pub fn begin(&self, status: u8, lasts: Duration) {
        *lock(&self.0) = Some((status, Instant::now() + lasts));
    }

    /// The status that says what it wants now; an error, because it begins no work.
    pub fn refuses(&self) -> Result<(), u8> {
        match *lock(&self.0) {
            Some((status, until)) if Instant::now() < until => Err(status),
            _ => Ok(()),
        }
    }
}

//! The application file locator (tag 94): which records a terminal reads, and which of them are static data (EMV Book 3,
//! clause 10.2).
//!
//! ```text
//! { SFI << 3 | first record | last record | number of static records, from the first on }*
//! ```
//!
//! Not here: the records.

use crate::ids::Dgi;

/// Most entries of a locator: 252 bytes (tag 94).
const ENTRIES: usize = 63;

/// A locator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLocator(Vec<u8>);

/// Why there is no locator for these records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocatorFault {
    /// A DGI that is no record of SFI 1 to 30.
    #[error("DGI {0} is no record")]
    NoRecord(Dgi),
    /// A DGI that stands twice.
    #[error("record {0} stands twice")]
    Twice(Dgi),
    /// Too many ranges.
    #[error("the records make more than 63 ranges")]
    TooLong,
}

impl FileLocator {
    /// Makes the locator of these records, each with whether it is static data. Ranges of one SFI are as long as they can
    /// be: a new one begins after a gap, and where a static record follows one that is not.
    pub fn of(records: impl IntoIterator<Item = (Dgi, bool)>) -> Result<Self, LocatorFault> {
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_unstable();
        let mut entries: Vec<[u8; 4]> = Vec::new();
        let mut before = None;
        for (dgi, is_static) in records {
            let [sfi, record] = dgi.0.to_be_bytes();
            if !(1..=30).contains(&sfi) || !(1..=254).contains(&record) {
                return Err(LocatorFault::NoRecord(dgi));
            }
            if before == Some(dgi) {
                return Err(LocatorFault::Twice(dgi));
            }
            before = Some(dgi);
            match entries.last_mut() {
                Some([place, first, last, count])
                    if *place == sfi << 3
                        && *last + 1 == record
                        && (!is_static || *count == *last - *first + 1) =>
                {
                    *last = record;
                    *count += u8::from(is_static);
                }
                _ => entries.push([sfi << 3, record, record, u8::from(is_static)]),
            }
        }
        if entries.len() > ENTRIES {
            return Err(LocatorFault::TooLong);
        }
        Ok(Self(entries.concat()))
    }

    /// Value of tag 94.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

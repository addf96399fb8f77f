//! Verified records that wait for their cards, in a bounded table. Each belongs to the connection that had it verified, and ends
//! with it; any connection may personalize it. A record has one handle: the last.

use std::collections::{HashMap, VecDeque};

use super::verify::PreparedApplication;
use crate::hsm::memory::ConnectionNumber;
use crate::hsm::{HsmError, HsmRefusal, RecordHandle};
use crate::ids::Aid;

/// Verified applications of one connection that wait for their cards. A line looks some hundred records ahead, with a few
/// applications each.
pub(super) const MAX_APPLICATIONS: usize = 4096;
/// Handles remembered as used, to tell a second use from an invention.
const MAX_USED: usize = 4096;

/// A record of a file: hash of its names, and sequence.
pub(super) type RecordName = ([u8; 32], u32);

/// A verified record, opened.
struct PreparedRecord {
    owner: ConnectionNumber,
    name: RecordName,
    /// In the order of its steps. One that is taken goes to a card, or to none.
    applications: Vec<Option<PreparedApplication>>,
}

/// Verified records, and the handles used last.
#[derive(Default)]
pub(super) struct VerifiedTable {
    records: HashMap<RecordHandle, PreparedRecord>,
    handles: HashMap<RecordName, RecordHandle>,
    /// Applications of each connection that has any.
    counts: HashMap<ConnectionNumber, usize>,
    used: VecDeque<RecordHandle>,
}

impl VerifiedTable {
    /// Keeps a record. An earlier handle of it ends.
    pub(super) fn insert(
        &mut self,
        owner: ConnectionNumber,
        handle: RecordHandle,
        name: RecordName,
        applications: Vec<PreparedApplication>,
    ) -> Result<(), HsmError> {
        if let Some(earlier) = self.handles.get(&name).copied() {
            self.use_up(earlier);
        }
        let count = self.counts.entry(owner).or_default();
        let next = count.saturating_add(applications.len());
        if next > MAX_APPLICATIONS {
            return Err(HsmError::Refused(HsmRefusal::TooMany(MAX_APPLICATIONS)));
        }
        *count = next;
        self.handles.insert(name, handle);
        let applications = applications.into_iter().map(Some).collect();
        self.records.insert(handle, PreparedRecord { owner, name, applications });
        Ok(())
    }

    /// The record of a handle, and the application of this step, from 1.
    pub(super) fn step(&self, handle: RecordHandle, step: u8) -> Result<(RecordName, Aid), HsmError> {
        let record = self.records.get(&handle).ok_or_else(|| self.gone(handle))?;
        let place = usize::from(step).checked_sub(1);
        let application =
            place.and_then(|place| record.applications.get(place)).ok_or(HsmRefusal::NoStep(step))?;
        Ok((record.name, application.as_ref().ok_or(HsmRefusal::HandleUsed)?.aid.clone()))
    }

    /// Takes the application of this step out for its one personalization.
    pub(super) fn take(&mut self, handle: RecordHandle, step: u8) -> Result<PreparedApplication, HsmError> {
        if !self.records.contains_key(&handle) {
            return Err(self.gone(handle));
        }
        let record = self.records.get_mut(&handle).ok_or(HsmRefusal::HandleUsed)?;
        let place = usize::from(step).checked_sub(1);
        let application =
            place.and_then(|place| record.applications.get_mut(place)).ok_or(HsmRefusal::NoStep(step))?;
        let application = application.take().ok_or(HsmRefusal::HandleUsed)?;
        let owner = record.owner;
        if record.applications.iter().all(Option::is_none) {
            self.use_up(handle);
        }
        self.forget(owner, 1);
        Ok(application)
    }

    /// Ends a handle, and remembers it as used.
    pub(super) fn use_up(&mut self, handle: RecordHandle) {
        if self.remove(handle) {
            if self.used.len() == MAX_USED {
                self.used.pop_front();
            }
            self.used.push_back(handle);
        }
    }

    /// Forgets records of this connection.
    pub(super) fn release(&mut self, owner: ConnectionNumber, handles: &[RecordHandle]) {
        for handle in handles {
            if self.records.get(handle).is_some_and(|record| record.owner == owner) {
                self.remove(*handle);
            }
        }
    }

    /// Forgets all records of this connection.
    pub(super) fn end(&mut self, owner: ConnectionNumber) {
        if self.counts.remove(&owner).is_some() {
            let ended: Vec<_> = self
                .records
                .iter()
                .filter(|(_, record)| record.owner == owner)
                .map(|(handle, _)| *handle)
                .collect();
            for handle in ended {
                self.remove(handle);
            }
        }
    }

    /// Why there is no record with this handle.
    fn gone(&self, handle: RecordHandle) -> HsmError {
        if self.used.contains(&handle) {
            HsmError::Refused(HsmRefusal::HandleUsed)
        } else {
            HsmError::Unknown("handle".into())
        }
    }

    fn remove(&mut self, handle: RecordHandle) -> bool {
        let Some(record) = self.records.remove(&handle) else { return false };
        self.handles.remove(&record.name);
        self.forget(record.owner, record.applications.iter().flatten().count());
        true
    }

    fn forget(&mut self, owner: ConnectionNumber, applications: usize) {
        if let Some(count) = self.counts.get_mut(&owner) {
            *count = count.saturating_sub(applications);
        }
    }
}

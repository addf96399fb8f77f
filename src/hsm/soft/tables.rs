//! Verified applications that wait for their cards, in a bounded table. Each belongs to the connection that had it
//! verified, and ends with it; any connection may personalize it.

use std::collections::{HashMap, VecDeque};

use super::verify::PreparedApplication;
use crate::hsm::memory::ConnectionNumber;
use crate::hsm::{ApplicationHandle, HsmError, HsmRefusal};

/// Verified applications of one connection that wait for their cards. A line looks some hundred records ahead, with a few
/// applications each.
pub(super) const MAX_APPLICATIONS: usize = 4096;
/// Handles remembered as used, to tell a second use from an invention.
const MAX_USED: usize = 4096;

/// Verified applications, and the handles used last.
#[derive(Default)]
pub(super) struct VerifiedTable {
    applications: HashMap<ApplicationHandle, (ConnectionNumber, PreparedApplication)>,
    /// Applications of each connection that has any.
    counts: HashMap<ConnectionNumber, usize>,
    used: VecDeque<ApplicationHandle>,
}

impl VerifiedTable {
    pub(super) fn insert(
        &mut self,
        owner: ConnectionNumber,
        handle: ApplicationHandle,
        prepared: PreparedApplication,
    ) -> Result<(), HsmError> {
        let count = self.counts.entry(owner).or_default();
        if *count >= MAX_APPLICATIONS {
            return Err(HsmError::Refused(HsmRefusal::TooMany(MAX_APPLICATIONS)));
        }
        *count += 1;
        self.applications.insert(handle, (owner, prepared));
        Ok(())
    }

    /// Takes an application out for its one personalization.
    pub(super) fn use_up(&mut self, handle: ApplicationHandle) -> Result<PreparedApplication, HsmError> {
        let Some((owner, prepared)) = self.applications.remove(&handle) else {
            return Err(if self.used.contains(&handle) {
                HsmError::Refused(HsmRefusal::HandleUsed)
            } else {
                HsmError::Unknown("handle".into())
            });
        };
        self.forget_one(owner);
        if self.used.len() == MAX_USED {
            self.used.pop_front();
        }
        self.used.push_back(handle);
        Ok(prepared)
    }

    /// Forgets applications of this connection.
    pub(super) fn release(&mut self, owner: ConnectionNumber, handles: &[ApplicationHandle]) {
        for handle in handles {
            if self.applications.get(handle).is_some_and(|(of, _)| *of == owner) {
                self.applications.remove(handle);
                self.forget_one(owner);
            }
        }
    }

    /// Forgets all applications of this connection.
    pub(super) fn end(&mut self, owner: ConnectionNumber) {
        if self.counts.remove(&owner).is_some() {
            self.applications.retain(|_, (of, _)| *of != owner);
        }
    }

    fn forget_one(&mut self, owner: ConnectionNumber) {
        if let Some(count) = self.counts.get_mut(&owner) {
            *count = count.saturating_sub(1);
        }
    }
}

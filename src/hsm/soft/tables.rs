//! Verified applications that wait for their cards, in a bounded table.

use std::collections::{HashMap, VecDeque};

use super::verify::PreparedApplication;
use crate::hsm::{ApplicationHandle, HsmError, HsmRefusal};

/// Verified applications that wait for their cards. A line looks some hundred records ahead, with a few
/// applications each.
pub(super) const MAX_APPLICATIONS: usize = 4096;
/// Handles remembered as used, to tell a second use from an invention.
const MAX_USED: usize = 4096;
/// Verified applications, and the handles used last.
#[derive(Default)]
pub(super) struct VerifiedTable {
    applications: HashMap<ApplicationHandle, PreparedApplication>,
    used: VecDeque<ApplicationHandle>,
}

impl VerifiedTable {
    pub(super) fn insert(
        &mut self,
        handle: ApplicationHandle,
        prepared: PreparedApplication,
    ) -> Result<(), HsmError> {
        if self.applications.len() >= MAX_APPLICATIONS {
            return Err(HsmError::Refused(HsmRefusal::TooMany(MAX_APPLICATIONS)));
        }
        self.applications.insert(handle, prepared);
        Ok(())
    }

    /// Takes an application out for its one personalization.
    pub(super) fn use_up(&mut self, handle: ApplicationHandle) -> Result<PreparedApplication, HsmError> {
        let Some(prepared) = self.applications.remove(&handle) else {
            return Err(if self.used.contains(&handle) {
                HsmError::Refused(HsmRefusal::HandleUsed)
            } else {
                HsmError::Unknown("handle".into())
            });
        };
        if self.used.len() == MAX_USED {
            self.used.pop_front();
        }
        self.used.push_back(handle);
        Ok(prepared)
    }

    pub(super) fn release(&mut self, handles: &[ApplicationHandle]) {
        for handle in handles {
            self.applications.remove(handle);
        }
    }
}

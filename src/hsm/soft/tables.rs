//! What is open: verified applications and channels, each in a bounded table.

use std::collections::{HashMap, VecDeque};

use super::verify::Prepared;
use crate::hsm::{Channel, Handle, HsmError, Refusal};
use crate::ids::KmcRef;
use crate::scp::scp02;

/// Verified applications that wait for their cards. A line looks some hundred records ahead, with a few
/// applications each.
pub(super) const MAX_APPLICATIONS: usize = 4096;
/// Handles remembered as used, to tell a second use from an invention.
const MAX_USED: usize = 4096;
/// Open channels: more than a line has chip stations. The oldest one goes: its card left without personalization.
pub(super) const MAX_CHANNELS: usize = 256;

/// A channel whose card cryptogram was right.
pub(super) struct OpenChannel {
    pub(super) kmc: KmcRef,
    pub(super) verified: scp02::Verified,
}

/// Everything open.
#[derive(Default)]
pub(super) struct Tables {
    applications: HashMap<Handle, Prepared>,
    used: VecDeque<Handle>,
    channels: VecDeque<(Channel, OpenChannel)>,
}

impl Tables {
    pub(super) fn insert(&mut self, handle: Handle, prepared: Prepared) -> Result<(), HsmError> {
        if self.applications.len() >= MAX_APPLICATIONS {
            return Err(HsmError::Refused(Refusal::TooMany(MAX_APPLICATIONS)));
        }
        self.applications.insert(handle, prepared);
        Ok(())
    }

    /// Takes an application out for its one personalization.
    pub(super) fn use_up(&mut self, handle: Handle) -> Result<Prepared, HsmError> {
        let Some(prepared) = self.applications.remove(&handle) else {
            return Err(if self.used.contains(&handle) {
                HsmError::Refused(Refusal::HandleUsed)
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

    pub(super) fn release(&mut self, handles: &[Handle]) {
        for handle in handles {
            self.applications.remove(handle);
        }
    }

    pub(super) fn insert_channel(&mut self, name: Channel, channel: OpenChannel) {
        if self.channels.len() == MAX_CHANNELS {
            self.channels.pop_front();
        }
        self.channels.push_back((name, channel));
    }

    pub(super) fn take_channel(&mut self, name: Channel) -> Result<OpenChannel, HsmError> {
        let place = self.channels.iter().position(|(n, _)| *n == name);
        place
            .and_then(|place| self.channels.remove(place))
            .map(|(_, channel)| channel)
            .ok_or_else(|| HsmError::Unknown("channel".into()))
    }
}

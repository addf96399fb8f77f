//! Shifts: which names they may have, and that each has a name of its own. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::event::{EventFact, LedgerEvent};
use super::follow::{FollowFault, understood};

/// Longest name of a shift, in bytes.
const SHIFT_NAME_MAX: usize = 40;
/// What is wrong with spaces in the name of a shift.
pub const SHIFT_SPACES: &str = "leave out the space at an end, or next to another";

/// Whether a shift may have this name.
pub(crate) fn is_shift_name(name: &str) -> bool {
    shift_name_fault(name).is_none()
}

/// Describes the rule that the name of a shift breaks; `None` if a shift may have it.
pub fn shift_name_fault(name: &str) -> Option<String> {
    let sound = |c: char| c.is_alphanumeric() || ".-_ ".contains(c);
    if name.is_empty() || name.len() > SHIFT_NAME_MAX {
        return Some(format!("its name has 1 to {SHIFT_NAME_MAX} letters (those outside ASCII count more)"));
    }
    if let Some(wrong) = name.chars().find(|c| !sound(*c)) {
        return Some(format!("it holds {wrong:?}; use letters, digits, dots, hyphens, underscores, spaces"));
    }
    (name.trim() != name).then(|| SHIFT_SPACES.to_owned())
}

/// The events that are about no job, in order: every shift must have a name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineFollower {
    shifts: BTreeSet<String>,
}

impl LineFollower {
    /// Checks an event that is about no job. The error says what is wrong with it.
    pub(crate) fn follow(&mut self, event: &LedgerEvent) -> Result<(), FollowFault> {
        understood(event)?;
        let EventFact::ShiftBegun { name } = &event.fact else { return Ok(()) };
        if !is_shift_name(name) {
            return Err(FollowFault::NoShift);
        }
        if self.shifts.insert(name.clone()) { Ok(()) } else { Err(FollowFault::ShiftTwice) }
    }
}

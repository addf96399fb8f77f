//! States as events name them: a code in the bytes, a word in JSON and for people.

use serde::{Deserialize, Serialize};

use crate::laws::types::{AttemptState, JobState, RecordState};

macro_rules! state_codes {
    ($($variant:ident = $code:literal $word:literal),+ $(,)?) => {
        /// The state before an event: of a job, a record, an attempt or a blank.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "the states themselves are documented in `laws::types`")]
        pub enum StateName { $($variant),+ }

        impl StateName {
            /// Every state.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its code in the bytes of an event.
            pub fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            /// The state of that code.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Its word, in JSON and for people.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

state_codes! {
    JobOpen = 0x01 "OPEN",
    JobHeld = 0x02 "HELD",
    JobClosed = 0x03 "CLOSED",
    JobDeleting = 0x04 "DELETING",
    RecordQueued = 0x11 "QUEUED",
    RecordInFlight = 0x12 "IN_FLIGHT",
    RecordGood = 0x13 "GOOD",
    RecordRemake = 0x14 "REMAKE",
    RecordUnknown = 0x15 "UNKNOWN",
    RecordCancelled = 0x16 "CANCELLED",
    AttemptBound = 0x21 "BOUND",
    AttemptPersonalizing = 0x22 "PERSONALIZING",
    AttemptWritten = 0x23 "WRITTEN",
    AttemptVerified = 0x24 "VERIFIED",
    AttemptStacked = 0x25 "STACKED",
    AttemptRejected = 0x26 "REJECTED",
    AttemptUnknown = 0x27 "UNKNOWN",
    AttemptDestroyed = 0x28 "DESTROYED",
    AttemptGood = 0x29 "GOOD",
    AttemptSample = 0x2A "SAMPLE",
    BlankFed = 0x31 "FED",
}

impl From<JobState> for StateName {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Open => Self::JobOpen,
            JobState::Held => Self::JobHeld,
            JobState::Closed => Self::JobClosed,
        }
    }
}

impl From<RecordState> for StateName {
    fn from(state: RecordState) -> Self {
        match state {
            RecordState::Queued => Self::RecordQueued,
            RecordState::InFlight => Self::RecordInFlight,
            RecordState::Good => Self::RecordGood,
            RecordState::Remake => Self::RecordRemake,
            RecordState::Unknown => Self::RecordUnknown,
            RecordState::Cancelled => Self::RecordCancelled,
        }
    }
}

impl From<AttemptState> for StateName {
    fn from(state: AttemptState) -> Self {
        match state {
            AttemptState::Bound => Self::AttemptBound,
            AttemptState::Personalizing => Self::AttemptPersonalizing,
            AttemptState::Written => Self::AttemptWritten,
            AttemptState::Verified => Self::AttemptVerified,
            AttemptState::Stacked => Self::AttemptStacked,
            AttemptState::Rejected => Self::AttemptRejected,
            AttemptState::Unknown => Self::AttemptUnknown,
            AttemptState::Destroyed => Self::AttemptDestroyed,
            AttemptState::Good => Self::AttemptGood,
            AttemptState::Sample => Self::AttemptSample,
        }
    }
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

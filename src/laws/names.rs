//! The names of states, as they stand in the ledger's tables, in events and in every view.

use super::book::BlankState;
use super::types::{AttemptState, JobState, RecordState};

macro_rules! state_names {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Its name in ledger, events and views.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The state of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

state_names!(JobState { Open = "OPEN", Held = "HELD", Closed = "CLOSED" });
state_names!(RecordState {
    Queued = "QUEUED",
    InFlight = "IN_FLIGHT",
    Good = "GOOD",
    Remake = "REMAKE",
    Unknown = "UNKNOWN",
    Cancelled = "CANCELLED",
});
state_names!(AttemptState {
    Bound = "BOUND",
    Personalizing = "PERSONALIZING",
    Written = "WRITTEN",
    Verified = "VERIFIED",
    Stacked = "STACKED",
    Rejected = "REJECTED",
    Unknown = "UNKNOWN",
    Destroyed = "DESTROYED",
    Good = "GOOD",
    Sample = "SAMPLE",
});
state_names!(BlankState {
    Fed = "FED",
    Bound = "BOUND",
    Rejected = "REJECTED",
    Returned = "RETURNED",
    Test = "TEST",
});

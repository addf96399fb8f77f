//! Every kind of event: its code, its word, and the fields below [`super::codec::NOTE_TAG`] that it may have.
//!
//! A code is never given another meaning. `src/manual/ledger-events.md` lists these kinds too; a test compares the
//! two lists.

use crate::laws::types::AttemptState;

/// A kind of event.
pub struct EventKind {
    /// Code in the bytes of an event.
    pub code: u16,
    /// The word that JSON and people see as `to`.
    pub word: &'static str,
    /// Whether its events are about a job.
    pub of_job: bool,
    /// Bit n is set if an event of this kind may have a field with tag n.
    pub(super) tags: u64,
}

impl EventKind {
    /// Whether it may have a field of this tag.
    pub(crate) fn may_have(&self, tag: u8) -> bool {
        tag < 64 && (self.tags | COMMON) >> tag & 1 == 1
    }
}

const fn tags(mut tags: &[u8]) -> u64 {
    let mut mask = 0;
    while let [first, rest @ ..] = tags {
        mask |= 1 << *first;
        tags = rest;
    }
    mask
}

/// Fields that every kind may have: who decided, who asked first, and the reason.
pub(super) const COMMON: u64 = tags(&[0x0D, 0x0E, 0x0F]);
const CARD: u64 = tags(&[0x01, 0x02, 0x03, 0x04, 0x05]);
const RECORD: u64 = tags(&[0x01, 0x02]);
const FROM: u64 = tags(&[0x07]);
const TERMS: u64 = tags(&[
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F, 0x20,
]);

macro_rules! event_kinds {
    ($($name:ident = $code:literal $word:literal $of_job:literal $tags:expr;)+) => {
        $(
            #[doc = concat!("Code of ", $word, ".")]
            pub const $name: u16 = $code;
        )+
        /// Every kind that this program knows.
        pub const KINDS: &[EventKind] = &[
            $(EventKind { code: $code, word: $word, of_job: $of_job, tags: $tags }),+
        ];
    };
}

event_kinds! {
    ACCEPTED = 0x0001 "ACCEPTED" true TERMS;
    HELD = 0x0002 "HELD" true FROM;
    RELEASED = 0x0003 "OPEN" true FROM;
    CLOSED = 0x0004 "CLOSED" true FROM;
    DELETING = 0x0005 "DELETING" true FROM | tags(&[0x18]);
    DELETED = 0x0006 "DELETED" true FROM | tags(&[0x24, 0x25]);
    RAN = 0x0007 "RAN" true tags(&[0x21, 0x22, 0x2B]);
    STOPPING = 0x0008 "STOPPING" true 0;
    GOES_ON = 0x0009 "GOES_ON" true 0;
    STOCK_ISSUED = 0x0010 "STOCK_ISSUED" true tags(&[0x09]);
    STOCK_RETURNED = 0x0011 "STOCK_RETURNED" true tags(&[0x09]);
    STOCK_VAULTED = 0x0012 "STOCK_VAULTED" true tags(&[0x09]);
    FED = 0x0020 "FED" true tags(&[0x04]);
    RETURNED = 0x0021 "RETURNED" true FROM | tags(&[0x04]);
    TESTED = 0x0022 "TEST" true tags(&[0x04]);
    BOUND = 0x0030 "BOUND" true CARD | FROM | tags(&[0x06]);
    CHIP = 0x0031 "CHIP" true CARD | tags(&[0x06]);
    PERSONALIZING = 0x0032 "PERSONALIZING" true CARD | FROM;
    VALUE = 0x0033 "VALUE" true CARD | tags(&[0x0B, 0x0C]);
    WRITTEN = 0x0034 "WRITTEN" true CARD | FROM;
    VERIFIED = 0x0035 "VERIFIED" true CARD | FROM | tags(&[0x0A]);
    STACKED = 0x0036 "STACKED" true CARD | FROM | tags(&[0x08]);
    DESTROYED = 0x0037 "DESTROYED" true CARD | FROM;
    FOUND_GOOD = 0x0038 "GOOD" true CARD | FROM;
    REJECTED = 0x0040 "REJECTED" true CARD | FROM;
    UNKNOWN = 0x0041 "UNKNOWN" true CARD | FROM;
    SAMPLE = 0x0042 "SAMPLE" true CARD | FROM;
    BLANK_REJECTED = 0x0043 "REJECTED" true FROM | tags(&[0x04, 0x05, 0x06]);
    CANCELLED = 0x0050 "CANCELLED" true RECORD | FROM;
    REMAKE_RELEASED = 0x0051 "RELEASED" true RECORD | FROM;
    ASKED = 0x0052 "ASKED" true RECORD;
    SHIFT = 0x0060 "SHIFT" false tags(&[0x23]);
    WORD = 0x0061 "WORD" false tags(&[0x26, 0x27]);
    WIRED = 0x0062 "WIRED" false tags(&[0x26, 0x27, 0x28]);
    TEST_BLANK = 0x0063 "TEST_BLANK" false tags(&[0x09, 0x26]);
    SUPPLY = 0x8001 "SUPPLY" false tags(&[0x26, 0x29, 0x2A]);
}

/// The kind of a code, if this program knows it.
pub fn kind(code: u16) -> Option<&'static EventKind> {
    KINDS.iter().find(|kind| kind.code == code)
}

/// The word of a known kind; `?` for any other code.
pub fn word(code: u16) -> &'static str {
    kind(code).map_or("?", |kind| kind.word)
}

/// The kind of event that moves an attempt to a state.
pub fn of_attempt(to: AttemptState) -> u16 {
    match to {
        AttemptState::Bound => BOUND,
        AttemptState::Personalizing => PERSONALIZING,
        AttemptState::Written => WRITTEN,
        AttemptState::Verified => VERIFIED,
        AttemptState::Stacked => STACKED,
        AttemptState::Rejected => REJECTED,
        AttemptState::Unknown => UNKNOWN,
        AttemptState::Destroyed => DESTROYED,
        AttemptState::Good => FOUND_GOOD,
        AttemptState::Sample => SAMPLE,
    }
}

/// The state to which an event of this kind moves an attempt, for kinds without further fields.
pub(super) fn moves_to(code: u16) -> Option<AttemptState> {
    Some(match code {
        PERSONALIZING => AttemptState::Personalizing,
        WRITTEN => AttemptState::Written,
        REJECTED => AttemptState::Rejected,
        UNKNOWN => AttemptState::Unknown,
        DESTROYED => AttemptState::Destroyed,
        FOUND_GOOD => AttemptState::Good,
        SAMPLE => AttemptState::Sample,
        _ => return None,
    })
}

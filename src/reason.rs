//! Why something happened to a card, a blank or a job, as a stable word. Programs decide by it; it is stored in the
//! ledger and shown in events, reports and views.
//!
//! A word that this program does not know, of an older ledger or of a newer program, is kept and shown as it stands.
//!
//! Not here: what people are told beside it, which is the `detail` of a fault or an event.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest word, in bytes.
pub const REASON_MAX: usize = 40;

/// `sw-` and four hex digits.
const STATUS: &str = "sw-";

macro_rules! reason_words {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// A stable word; see the module.
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(from = "Cow<'_, str>", into = "String")]
        pub enum ReasonWord {
            $($(#[$doc])* $variant,)+
            /// The card answered with this status word: `sw-6A84`.
            StatusWord(StatusReason),
            /// A word that is none of these.
            Other(Box<str>),
        }

        impl ReasonWord {
            /// Every word that this program has, without those of status words.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::StatusWord(status) => status.as_str(),
                    Self::Other(word) => word,
                }
            }

            fn known(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

reason_words! {
    /// The card did not answer a reset.
    Mute = "mute",
    /// The ATR is none of the product's.
    WrongAtr = "wrong-atr",
    /// The key store has no such KMC, or the file forbids it.
    UnknownKmc = "unknown-kmc",
    /// The card cryptogram is wrong.
    Cryptogram = "cryptogram",
    /// The card left its reader.
    CardRemoved = "card-removed",
    /// The transport brought a card, and the device sees none.
    NoCard = "no-card",
    /// The device of another station saw the card that the transport brought.
    Miswired = "miswired",
    /// The device sees a card that the transport did not bring.
    StrayCard = "stray-card",
    /// No person has confirmed that the device stands at its station.
    Unproved = "unproved",
    /// The device was connected anew while a card lay there.
    ConnectedAnew = "connected-anew",
    /// The transmission protocol broke.
    Protocol = "protocol",
    /// An answer that is not what the standard says.
    MalformedResponse = "malformed-response",
    /// Two applications of one card show different KEYDATA.
    KeydataChanged = "keydata-changed",
    /// The chip was bound to a record before.
    ChipSeen = "chip-seen",
    /// The HSM gives the card no session: its chip was bound before, its KMC is not in the store, or its file was not admitted.
    ChipBarred = "chip-barred",
    /// A record of the chip reads otherwise than it was sent.
    ChipReadBack = "chip-read-back",
    /// The stripe reads otherwise than it was written.
    StripeReadBack = "stripe-read-back",
    /// Something is on the stripe of a blank.
    StripeNotBlank = "stripe-not-blank",
    /// The stripe takes no writing.
    StripeFailed = "stripe-failed",
    /// A card is jammed.
    Jam = "jam",
    /// The machine wants supplies.
    Supply = "supply",
    /// A card was not moved.
    Transport = "transport",
    /// The device did not answer in time.
    Timeout = "timeout",
    /// The device does not speak as it should.
    Device = "device",
    /// The device says that it failed.
    DeviceFailed = "device-failed",
    /// The reader does not answer.
    Reader = "reader",
    /// Another program has the reader.
    ReaderHeld = "reader-held",
    /// There is no such reader.
    NoReader = "no-reader",
    /// The record's data is wrong.
    Data = "data",
    /// A thread of the line died with the card in its hands, which is a bug.
    ThreadDied = "thread-died",
    /// The system gave too few threads for the line.
    NoThread = "no-thread",
    /// The HSM failed.
    Hsm = "hsm",
    /// The HSM refused what we asked.
    HsmRefused = "hsm-refused",
    /// The HSM does not sign the ledger, so no card is bound.
    NotSigned = "not-signed",
    /// The card was bound, but the HSM has not acknowledged that, so nothing was written on its chip.
    NotAcknowledged = "not-acknowledged",
    /// A bug of this program.
    Bug = "bug",
    /// A person had the card thrown out.
    Killed = "killed",
    /// The record was cancelled after a blank was fed for it.
    RecordCancelled = "record-cancelled",
    /// A card could not be thrown out; a person has to find it.
    Stuck = "stuck",
    /// Every blank that was issued is fed.
    Stock = "stock",
    /// The output did not confirm a card.
    Output = "output",
    /// The next module has no station in service.
    NoStation = "no-station",
    /// Wrong cryptograms put the keys in doubt, so the blank was not opened.
    KeysDoubted = "keys-doubted",
    /// Too many rejects in a row.
    Breaker = "breaker",
    /// The ledger refused, or cannot be written.
    Ledger = "ledger",
    /// The accepted copy differs from what was accepted.
    Spool = "spool",
    /// The program ended while the card was under way, or the job was.
    Restart = "restart",
    /// A person stopped the job.
    Operator = "operator",
    /// The daemon was told to end.
    Signal = "signal",
    /// The job was submitted and waits for its release.
    Submitted = "submitted",
    /// The line could not be opened, or the profiles do not fit any more.
    Line = "line",
    /// The data was kept for as long as the profile says.
    Retention = "retention",
    /// Card_refs of the file stand in another file of the issuer.
    CardRefSeen = "card-ref-seen",
    /// Cards of an earlier run were cleared out of the line.
    Cleared = "cleared",
}

/// The reason that a status word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusReason([u8; 7]);

impl StatusReason {
    fn new(sw: u16) -> Self {
        let mut text = *b"sw-0000";
        let digits = text.iter_mut().skip(STATUS.len());
        for (digit, shift) in digits.zip([12u16, 8, 4, 0]) {
            *digit = char::from_digit(u32::from(sw >> shift & 0xF), 16)
                .map_or(b'0', |digit| u8::try_from(digit.to_ascii_uppercase()).unwrap_or(b'0'));
        }
        Self(text)
    }

    fn as_str(&self) -> &str {
        // Made of ASCII above.
        std::str::from_utf8(&self.0).unwrap_or(STATUS)
    }
}

impl ReasonWord {
    /// The reason of a command that the card refused.
    pub fn of_status(sw: u16) -> Self {
        Self::StatusWord(StatusReason::new(sw))
    }
}

impl From<&str> for ReasonWord {
    fn from(word: &str) -> Self {
        let status = || {
            let digits = word.strip_prefix(STATUS).filter(|digits| digits.len() == 4)?;
            let status = Self::of_status(u16::from_str_radix(digits, 16).ok()?);
            (status.as_str() == word).then_some(status)
        };
        Self::known(word).or_else(status).unwrap_or_else(|| Self::Other(word.into()))
    }
}

impl From<Cow<'_, str>> for ReasonWord {
    fn from(word: Cow<'_, str>) -> Self {
        Self::from(&*word)
    }
}

impl From<String> for ReasonWord {
    fn from(word: String) -> Self {
        Self::from(word.as_str())
    }
}

impl From<ReasonWord> for String {
    fn from(reason: ReasonWord) -> Self {
        reason.as_str().to_owned()
    }
}

impl fmt::Display for ReasonWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_as_what_it_was_written_from() {
        for reason in ReasonWord::ALL {
            let word = reason.as_str();
            assert_eq!(ReasonWord::from(word), *reason);
            assert!(word.len() <= REASON_MAX && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        }
        for sw in [0, 0x6A84, 0x9000, 0xFFFF] {
            assert_eq!(ReasonWord::of_status(sw).as_str(), format!("sw-{sw:04X}"));
            assert_eq!(ReasonWord::from(format!("sw-{sw:04X}")), ReasonWord::of_status(sw));
        }
    }

    #[test]
    fn an_unknown_word_stays_as_it_is() {
        for word in ["sw-6a84", "sw-6A8", "sw-6A844", "sw-+A84", "never-heard-of", "Mute", ""] {
            assert_eq!(ReasonWord::from(word), ReasonWord::Other(word.into()));
            assert_eq!(ReasonWord::from(word).as_str(), word);
        }
        let text = serde_json::to_string(&ReasonWord::Jam).unwrap();
        assert_eq!(
            (text.as_str(), serde_json::from_str::<ReasonWord>(&text).unwrap()),
            ("\"jam\"", ReasonWord::Jam)
        );
    }
}

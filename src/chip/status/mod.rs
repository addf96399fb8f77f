//! The meaning of a status word in each phase of a session: go on, tolerate it, or reject the card with a reason.
//!
//! 61xx and 6Cxx come here only if the link could not follow them. A status word that is not known is a rejection,
//! never a guess. Sources: ISO/IEC 7816-4, 5.6; EMV CPS 5.4.2, GPCS 11.9-11.11 and E.5, and the answers of demonstrators
//! and of cards in the field.

use crate::reason::ReasonWord;

/// Where in a session the command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPhase {
    /// SELECT of the application.
    Select,
    /// INITIALIZE UPDATE.
    InitializeUpdate,
    /// EXTERNAL AUTHENTICATE.
    ExternalAuthenticate,
    /// STORE DATA.
    StoreData {
        /// Whether 6A88 is no failure (VERCNTL).
        may_refuse: bool,
    },
    /// SET STATUS.
    SetStatus,
    /// READ RECORD, after personalization.
    ReadRecord,
    /// GET DATA of the card manager.
    GetData,
}

/// How to continue after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusVerdict {
    /// Go on.
    Done,
    /// The card does not know this DGI and may: go on, and log it.
    Tolerated,
    /// The card is to be rejected.
    Reject {
        /// Stable word for events and ledger: `sw-6A84`.
        reason: ReasonWord,
        /// For people: its meaning and the next step.
        detail: String,
    },
}

/// Judges a status word.
pub fn judge(phase: CommandPhase, sw: u16) -> StatusVerdict {
    match (phase, sw) {
        (_, 0x9000) => StatusVerdict::Done,
        _ if phase.tolerated().contains(&sw) => StatusVerdict::Tolerated,
        _ => StatusVerdict::Reject {
            reason: ReasonWord::of_status(sw),
            detail: format!("card: {} ({sw:04X} to {})", meaning(phase, sw), phase.command()),
        },
    }
}

impl CommandPhase {
    /// Status words besides 9000 that do not stop the session: those that [`judge`] tolerates.
    pub fn tolerated(self) -> &'static [u16] {
        match self {
            Self::StoreData { may_refuse: true } => &[0x6A88],
            _ => &[],
        }
    }

    /// The command's name.
    pub fn command(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::InitializeUpdate => "INITIALIZE UPDATE",
            Self::ExternalAuthenticate => "EXTERNAL AUTHENTICATE",
            Self::StoreData { .. } => "STORE DATA",
            Self::SetStatus => "SET STATUS",
            Self::ReadRecord => "READ RECORD",
            Self::GetData => "GET DATA",
        }
    }
}

/// A rejection in an operator's words: what the word means to this command, or to any.
fn meaning(phase: CommandPhase, sw: u16) -> &'static str {
    of_command(phase, sw)
        .or_else(|| STANDARD.iter().find(|(word, _)| *word == sw).map(|(_, text)| *text))
        .unwrap_or_else(|| of_class(sw))
}

/// The meaning that GPCS, EMV CPS or the command itself gives to a status word.
fn of_command(phase: CommandPhase, sw: u16) -> Option<&'static str> {
    use CommandPhase::{
        ExternalAuthenticate, GetData, InitializeUpdate, ReadRecord, Select, SetStatus, StoreData,
    };
    Some(match (phase, sw) {
        (Select, 0x6A82) => {
            "the application is not on this card; check that these blanks are of this product"
        }
        (Select, 0x6999) => {
            "the application is on this card but cannot be selected; check the blanks with their supplier"
        }
        (Select, 0x6283 | 0x6A81) => "the card or the application is locked; take the card out",
        (InitializeUpdate, 0x6A88) => {
            "the card does not have the key set that was asked for; check the blanks with their supplier"
        }
        (InitializeUpdate | ExternalAuthenticate, 0x6983) => "the key set is blocked; take the card out",
        (ExternalAuthenticate, 0x6300) => {
            "the card refuses our cryptogram; it is not tried again, because each attempt with wrong keys uses it up"
        }
        (StoreData { .. }, 0x6A88) => {
            "the card does not know a DGI of this command, and the file does not let it be refused; \
             check that product and applet version fit"
        }
        (StoreData { .. }, 0x6A86) => {
            "the conditions for the personalized state are not met, or the command counter is wrong; \
             check that the file has all DGIs which the applet needs"
        }
        (StoreData { .. }, 0x6A80) => {
            "the card says that the data is wrong (malformed DGI, oversized record, key check value); \
             if a second card says so too, ask the issuer"
        }
        (StoreData { .. }, 0x6985) => {
            "the conditions of use are not satisfied: the applet wants another order of DGIs, or is personalized \
             already; check the order in the product, and whether this card is a blank"
        }
        (StoreData { .. }, 0x9315) => {
            "a key check value does not fit its key; check the order of keys and KCVs in the product"
        }
        (StoreData { .. }, 0x9580) => {
            "a command was lost or repeated: the command counter is out of sequence"
        }
        (SetStatus, 0x6985) => "the application does not accept this state; check `finalize` in the product",
        (ReadRecord, 0x6A82 | 0x6A83) => {
            "the card took this record and does not have it; if a second card says so too, check the product"
        }
        (ReadRecord, 0x6985) => {
            "the application is not personalized after all; check `finalize` in the product"
        }
        (GetData, 0x6A88) => "the card manager does not have the object; check `identify` in the product",
        (InitializeUpdate | ExternalAuthenticate | StoreData { .. } | SetStatus, 0x6982) => {
            "security status: the MAC was wrong, the channel was lost, or the key set is blocked; \
             the card is not tried again"
        }
        _ => return None,
    })
}

/// The meanings that hold for every command (ISO/IEC 7816-4, 5.6, tables of warnings and errors).
const STANDARD: [(u16, &str); 38] = [
    (0x6281, "part of the answer may be corrupted; take the card out"),
    (0x6282, "the file or record ends before Le; check the product"),
    (0x6283, "the file or application is deactivated; take the card out"),
    (0x6284, "the control information of the file is malformed; check the blanks with their supplier"),
    (0x6285, "the file or application is terminated; take the card out"),
    (0x6286, "a sensor of the card gives no data; take the card out"),
    (0x6310, "more data is available than the command can return; check the product"),
    (0x6381, "the last write filled the file; check the product"),
    (0x6401, "the card wants to be answered first; check the product"),
    (0x6581, MEMORY_FAILURE),
    (0x6700, "wrong length for this card; check the product"),
    (0x6881, "the card knows no logical channels; check the product"),
    (0x6882, "the card knows no secure messaging here; check channel and level in the product"),
    (0x6883, "the last command of a chain is missing; check the product"),
    (0x6884, "the card knows no command chaining; check the product"),
    (0x6981, "the command does not fit the structure of the file; check the product"),
    (0x6982, "the security status is not satisfied: the card wants an authentication before this command"),
    (0x6983, "the authentication method is blocked; take the card out"),
    (0x6984, "the reference data (a key or PIN) cannot be used; check the blanks with their supplier"),
    (0x6985, "the conditions of use are not satisfied in this state of the card; check blanks and product"),
    (0x6986, "the command is not allowed now: no file is selected; check the product"),
    (0x6987, "secure messaging data are missing; check channel and level in the product"),
    (0x6988, "secure messaging data are wrong; the card is not tried again"),
    (0x6A80, "parameters in the command's data are wrong; check the product"),
    (0x6A81, "the card does not have this function; check the product"),
    (0x6A82, "the file or application is not on this card; check the product"),
    (0x6A83, "the record is not on this card; check the product"),
    (0x6A84, "not enough memory in the card; if a second card says so too, check the product"),
    (0x6A85, "the length of the data does not fit their structure; check the product"),
    (0x6A86, "wrong P1 or P2 for this card; check the product"),
    (0x6A87, "the length of the data does not fit P1 and P2; check the product"),
    (0x6A88, "the data that the command refers to are not on this card; check the product"),
    (0x6A89, "the file exists already; check whether this card is a blank"),
    (0x6A8A, "the name of the application exists already; check whether this card is a blank"),
    (0x6B00, "wrong P1 or P2 for this card; check the product"),
    (0x6D00, "the card does not know this instruction; check the product"),
    (0x6E00, "the card does not know this class; check the product"),
    (0x6F00, "the card gives no reason"),
];

const MEMORY_FAILURE: &str = "memory failure: the chip could not write; take the card out, and if a second card says so too, ask the supplier";

/// The meaning of SW1 alone (ISO/IEC 7816-4, 5.6, table of SW1-SW2). Such words blame the card, and a second card
/// shows whether the batch is to blame.
fn of_class(sw: u16) -> &'static str {
    match sw.to_be_bytes() {
        [0x61, _] => {
            "the card always has more to fetch and gives no end; check the blanks with their supplier"
        }
        [0x6C, _] => {
            "the card asks for another Le where none can be given; check the blanks with their supplier"
        }
        [0x62, _] => "a warning; the card says that its memory is unchanged",
        [0x63, 0xC0..=0xCF] => "a check failed, and the card counts the tries left; it is not tried again",
        [0x63, _] => "a warning; the card says that its memory has changed",
        [0x64, _] => "the chip could not carry out the command; the card says that its memory is unchanged",
        [0x65, _] => "the chip could not carry out the command; the card says that its memory has changed",
        [0x66, _] => "the chip reports a security issue; take the card out",
        [0x67, _] => "wrong length for this card; check the product",
        [0x68, _] => "the card does not have a function that the class asks for; check the product",
        [0x69, _] => "the command is not allowed in this state of the card",
        [0x6A, _] => "wrong parameters for this card; check the product",
        [0x6B, _] => "wrong P1 or P2 for this card; check the product",
        [0x91..=0x9F, _] => "a status word of the chip's maker; look it up in the manual of the applet",
        _ => "an unexpected status word, which no standard knows",
    }
}

#[cfg(test)]
mod tests;

//! The meaning of a status word in each phase of a session: go on, tolerate it, or reject the card with a reason.
//!
//! 61xx and 6Cxx come here only if the link could not follow them. A status word that is not known is a rejection,
//! never a guess. Sources: EMV CPS 5.4.2, GPCS 11.9-11.11 and E.5, and the answers of
//! demonstrators and of cards in the field.

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

/// A rejection in an operator's words.
fn meaning(phase: CommandPhase, sw: u16) -> &'static str {
    use CommandPhase::{ExternalAuthenticate, InitializeUpdate, ReadRecord, Select, SetStatus, StoreData};
    match (phase, sw) {
        (Select, 0x6A82) => {
            "the application is not on this card; check that these blanks are of this product"
        }
        (Select, 0x6999) => {
            "the application is on this card but cannot be selected; check the blanks with their supplier"
        }
        (Select, 0x6283) => "the card or the application is locked; take the card out",
        (InitializeUpdate, 0x6A88) => {
            "the card does not have the key set that was asked for; check the blanks with their supplier"
        }
        (ExternalAuthenticate, 0x6300) => {
            "the card refuses our cryptogram; it is not tried again, because wrong keys eat cards"
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
        (_, 0x6A84) => "not enough memory in the card; if a second card says so too, check the product",
        (StoreData { .. }, 0x6985) => "the application is personalized already; this card is no blank",
        (SetStatus, 0x6985) => "the application does not accept this state; check `finalize` in the product",
        (ReadRecord, 0x6A82 | 0x6A83) => {
            "the card took this record and does not have it; if a second card says so too, check the product"
        }
        (ReadRecord, 0x6985) => {
            "the application is not personalized after all; check `finalize` in the product"
        }
        (_, 0x6985) => "the conditions of use are not met; this card is no blank of this product",
        (_, 0x6982) => {
            "security status: the MAC was wrong, the channel was lost, or the key set is blocked; \
             the card is not tried again"
        }
        (_, 0x6983) => "the key set is blocked",
        (StoreData { .. }, 0x9315) => {
            "a key check value does not fit its key; check the order of keys and KCVs in the product"
        }
        (StoreData { .. }, 0x9580) => {
            "a command was lost or repeated: the command counter is out of sequence"
        }
        (_, 0x6B00) => "wrong P1 or P2 for this card; check the product",
        (_, 0x6700) => "wrong length for this card; check the product",
        (_, 0x6D00) => "the card does not know this instruction; check the product",
        (_, 0x6E00) => "the card does not know this class; check the product",
        (_, 0x6F00) => "the card gives no reason",
        _ => "an unexpected status word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [CommandPhase; 8] = [
        CommandPhase::Select,
        CommandPhase::InitializeUpdate,
        CommandPhase::ExternalAuthenticate,
        CommandPhase::StoreData { may_refuse: false },
        CommandPhase::StoreData { may_refuse: true },
        CommandPhase::SetStatus,
        CommandPhase::ReadRecord,
        CommandPhase::GetData,
    ];

    #[test]
    fn only_9000_is_done_and_6a88_is_tolerated_only_under_version_control() {
        for phase in PHASES {
            for sw in 0..=u16::MAX {
                let expected_tolerated =
                    sw == 0x6A88 && phase == CommandPhase::StoreData { may_refuse: true };
                match judge(phase, sw) {
                    StatusVerdict::Done => assert_eq!(sw, 0x9000),
                    StatusVerdict::Tolerated => assert!(expected_tolerated, "{sw:04X} {phase:?}"),
                    StatusVerdict::Reject { reason, detail } => {
                        assert!(sw != 0x9000 && !expected_tolerated);
                        assert_eq!(reason.as_str(), format!("sw-{sw:04X}"));
                        assert!(detail.contains(&format!("{sw:04X} to {}", phase.command())));
                    }
                }
            }
        }
    }

    #[test]
    fn every_status_word_of_the_field_has_words_of_its_own() {
        // Status words of EMV CPS 4 and GPCS 11, command by command.
        let known = [
            (CommandPhase::StoreData { may_refuse: false }, 0x6A88),
            (CommandPhase::InitializeUpdate, 0x6A88),
            (CommandPhase::StoreData { may_refuse: true }, 0x6A86),
            (CommandPhase::StoreData { may_refuse: false }, 0x6A80),
            (CommandPhase::StoreData { may_refuse: false }, 0x6A84),
            (CommandPhase::StoreData { may_refuse: false }, 0x6985),
            (CommandPhase::ExternalAuthenticate, 0x6982),
            (CommandPhase::StoreData { may_refuse: false }, 0x6982),
            (CommandPhase::ExternalAuthenticate, 0x6300),
            (CommandPhase::StoreData { may_refuse: false }, 0x9315),
            (CommandPhase::StoreData { may_refuse: false }, 0x9580),
            (CommandPhase::StoreData { may_refuse: false }, 0x6B00),
            (CommandPhase::Select, 0x6999),
            (CommandPhase::Select, 0x6A82),
        ];
        for (phase, sw) in known {
            let StatusVerdict::Reject { detail, .. } = judge(phase, sw) else { panic!("{sw:04X}") };
            assert!(!detail.contains("unexpected"), "{sw:04X}");
        }
        // The same word means other things elsewhere.
        let StatusVerdict::Reject { detail, .. } = judge(CommandPhase::Select, 0x6300) else { panic!() };
        assert!(detail.contains("unexpected"));
    }
}

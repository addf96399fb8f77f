//! The faults of a chip section and their offsets. An error names DGIs, never their values.

use crate::ids::{Dgi, NameError};
use crate::record::cursor::ShortInput;

/// A malformed chip section or application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {at}: {fault}")]
pub struct ChipError {
    /// Offset from the start of the section, or of the application if only an application was parsed.
    pub at: usize,
    /// What is wrong.
    pub fault: ChipFault,
}

/// The broken rule of `src/manual/cwf1.md` section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChipFault {
    /// A field is longer than the field that holds it.
    #[error("a length points beyond the field that holds it")]
    Short,
    /// Bytes after the last field of a structure.
    #[error("{0} holds bytes after its last field")]
    Leftover(&'static str),
    /// A field with a value that it may not have.
    #[error("{0}")]
    Value(&'static str),
    /// A part that is longer than its length field can state, or than a section may be.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A length in a longer form than necessary.
    #[error("a length in {0} is not minimal")]
    NotMinimal(&'static str),
    /// A CRN or an AID that breaks the rules for names.
    #[error("{0} {1}")]
    Name(&'static str, NameError),
    /// The CRN is not the record's card_ref.
    #[error("the CRN is not the card_ref of the record")]
    Crn,
    /// An AID twice in the list.
    #[error("an AID stands twice")]
    AidTwice,
    /// An application with another AID than the list has at its position.
    #[error("the application does not have the AID at its position in the list of AIDs")]
    AidOrder,
    /// A DGI twice in one list.
    #[error("DGI {1} stands twice in {0}")]
    Twice(DgiList, Dgi),
    /// A DGI that is named but not in the data.
    #[error("{0} names DGI {1}, which is not in the data")]
    NotInData(DgiList, Dgi),
    /// A group without a DGI.
    #[error("{0} has an empty group")]
    EmptyGroup(DgiList),
    /// A protected value that the card would get in clear.
    #[error("DGI {0} is under the TK but not in ENC")]
    NotInEnc(Dgi),
    /// A value that is sent as a secret but stands in the file in clear.
    #[error("DGI {0} is in ENC but not under the TK, and the product does not pass it through")]
    NotUnderTk(Dgi),
    /// The parser panicked on it.
    #[error("it cannot be read")]
    Unreadable,
    /// Clear and secret DGIs in one STORE DATA.
    #[error("the GROUP of DGI {0} mixes clear and secret DGIs")]
    MixedGroup(Dgi),
    /// ORDER puts another DGI between DGIs of one GROUP.
    #[error("ORDER puts another DGI between DGI {0} and others of its GROUP")]
    SplitGroup(Dgi),
    /// A secret DGI in LOGDATA.
    #[error("LOGDATA names the secret DGI {0}")]
    SecretLogged(Dgi),
}

/// A list of DGIs in an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DgiList {
    /// The data itself.
    Data,
    /// The protected DGIs, listed after the TK.
    Tk,
    /// ORDER of the PDI.
    Order,
    /// VERCNTL of the PDI.
    VersionControl,
    /// ENC of the PDI.
    Enc,
    /// GROUP of the PDI.
    Group,
    /// LOGDATA.
    Log,
}

impl std::fmt::Display for DgiList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Data => "the data",
            Self::Tk => "the TK's list",
            Self::Order => "ORDER",
            Self::VersionControl => "VERCNTL",
            Self::Enc => "ENC",
            Self::Group => "GROUP",
            Self::Log => "LOGDATA",
        })
    }
}

impl From<ShortInput> for ChipError {
    fn from(short: ShortInput) -> Self {
        Self { at: short.at, fault: ChipFault::Short }
    }
}

//! From refusals to errors, and from errors to the exit code of the program.

use super::{HsmError, Refusal};
use crate::exit::{Exit, Failure};

impl HsmError {
    /// The exit code of a program that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data { .. } => Exit::RecordData,
            Self::TrailerMac => Exit::FileMac,
            Self::UnknownKek(_) | Self::UnknownKmc(_) => Exit::KeyUnknown,
            Self::KekMismatch(_) | Self::KekIssuer(_) | Self::KmcNotAllowed { .. } => Exit::KeyMismatch,
            Self::Response(_) | Self::CardCryptogram(_) => Exit::Device,
            Self::Refused(_) | Self::Unknown(_) => Exit::Bug,
            Self::Unsupported(_) | Self::Host(_) => Exit::Hsm,
            Self::RolledBack { .. } => Exit::Ledger,
            Self::FileElsewhere(_) => Exit::FileSeen,
            Self::Book(_) | Self::Spools(_) | Self::NoSpoolKey(..) => Exit::KeyStore,
            Self::SpoolKeyDestroyed(_) => Exit::Denied,
            Self::SpoolDamaged => Exit::FileDigest,
        }
    }
}

impl From<HsmError> for Failure {
    fn from(error: HsmError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

impl From<Refusal> for HsmError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

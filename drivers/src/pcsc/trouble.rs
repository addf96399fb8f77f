//! Who is to blame for an error of PC/SC: card, reader, another program, or the service.
//!
//! The library reports a service that ends during a call with the same code as a card that does not answer
//! (SCARD_F_COMM_ERROR), so the caller asks the service before it blames a card
//! ([`super::PcscReader::power_on`] and the others do).

use pcsc::Error;

use crate::link::{CardError, LinkError};

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PcscTrouble {
    /// The state kept of the service or the reader is out of date; another attempt may work once it is
    /// forgotten.
    Outdated(CardError),
    /// Another attempt would fail too.
    Final(CardError),
}

impl PcscTrouble {
    /// The service ended while a card had power.
    pub(super) fn service_gone() -> Self {
        let text = "PC/SC: pcscd ended during a call; look at its log, and start it again";
        Self::Outdated(CardError::Reader(LinkError::Io(text.into())))
    }

    pub(super) fn error(self) -> CardError {
        match self {
            Self::Outdated(error) | Self::Final(error) => error,
        }
    }
}

impl From<Error> for PcscTrouble {
    fn from(error: Error) -> Self {
        let said = |next: &str| CardError::Reader(LinkError::Io(format!("PC/SC: {error}{next}")));
        match error {
            // The card.
            Error::NoSmartcard => Self::Final(CardError::Absent),
            Error::UnresponsiveCard
            | Error::UnpoweredCard
            | Error::UnsupportedCard
            | Error::CardUnsupported
            | Error::InvalidAtr => Self::Final(CardError::Mute),
            // A reader driver reports a card that went away or stays silent in one of these ways.
            Error::RemovedCard
            | Error::ResetCard
            | Error::NotTransacted
            | Error::CommError
            | Error::CommDataLost
            | Error::Timeout => Self::Final(CardError::Removed),
            Error::ProtoMismatch => Self::Final(CardError::Protocol),
            // Another program.
            Error::SharingViolation => Self::Final(CardError::Held),
            // The reader.
            Error::UnknownReader | Error::NoReadersAvailable | Error::ReaderUnavailable => {
                Self::Outdated(CardError::NoReader("the reader is gone".into()))
            }
            // The service.
            Error::NoService
            | Error::ServiceStopped
            | Error::Shutdown
            | Error::Cancelled
            | Error::SystemCancelled
            | Error::InvalidHandle => Self::Outdated(said("")),
            Error::SecurityViolation | Error::NoAccess => {
                Self::Final(said(" Let this program's user use pcscd (its polkit rules)."))
            }
            // Reader, its driver, or the service: none is certain, but it is no card.
            _ => Self::Final(said("")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Error::*;

    /// Every error of the PC/SC specification (part 5, table 3-1, in the names of the `pcsc` crate), by who
    /// can help. A card is blamed by these alone.
    #[test]
    fn each_error_blames_who_can_help() {
        let of = |error: Error| PcscTrouble::from(error);
        for (error, card) in [
            (NoSmartcard, CardError::Absent),
            (UnresponsiveCard, CardError::Mute),
            (UnpoweredCard, CardError::Mute),
            (UnsupportedCard, CardError::Mute),
            (CardUnsupported, CardError::Mute),
            (InvalidAtr, CardError::Mute),
            (RemovedCard, CardError::Removed),
            (ResetCard, CardError::Removed),
            (NotTransacted, CardError::Removed),
            (CommError, CardError::Removed),
            (CommDataLost, CardError::Removed),
            (Timeout, CardError::Removed),
            (ProtoMismatch, CardError::Protocol),
            (SharingViolation, CardError::Held),
        ] {
            assert_eq!(of(error), PcscTrouble::Final(card));
        }
        for error in [UnknownReader, NoReadersAvailable, ReaderUnavailable] {
            assert!(matches!(of(error), PcscTrouble::Outdated(CardError::NoReader(_))), "{error:?}");
        }
        for error in [NoService, ServiceStopped, Shutdown, Cancelled, SystemCancelled, InvalidHandle] {
            assert!(matches!(of(error), PcscTrouble::Outdated(CardError::Reader(_))), "{error:?}");
        }
        for error in [SecurityViolation, NoAccess] {
            let error = of(error).error().to_string();
            assert!(error.contains("polkit"), "{error}");
        }
        for error in [
            InternalError,
            InvalidParameter,
            InvalidTarget,
            NoMemory,
            WaitedTooLong,
            InsufficientBuffer,
            UnknownCard,
            CantDispose,
            NotReady,
            InvalidValue,
            UnknownError,
            PciTooSmall,
            ReaderUnsupported,
            DuplicateReader,
            IccInstallation,
            IccCreateorder,
            UnsupportedFeature,
            DirNotFound,
            FileNotFound,
            NoDir,
            NoFile,
            WriteTooMany,
            BadSeek,
            InvalidChv,
            UnknownResMng,
            NoSuchCertificate,
            CertificateUnavailable,
            NoKeyContainer,
            ServerTooBusy,
            WrongChv,
            ChvBlocked,
            Eof,
            CancelledByUser,
            CardNotAuthenticated,
            CacheItemNotFound,
            CacheItemStale,
            CacheItemTooBig,
        ] {
            assert!(matches!(of(error), PcscTrouble::Final(CardError::Reader(_))), "{error:?}");
        }
    }
}

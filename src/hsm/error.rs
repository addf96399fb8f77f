//! The errors and refusals of an HSM, and the exit code of a program that ends with one. An error says who is to
//! blame; it never quotes data.

use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::IssuerKeyName;
use super::memory::{AttemptRefusal, FollowRefusal};
use super::store::KeyUsage;
use crate::audit::LedgerId;
use crate::exit::{Exit, Failure};
use crate::ids::{Dgi, KekId, KmcRef, SpoolKeyName};
use crate::laws::JobId;
use crate::scp::TokenKeyFault;

/// Why an HSM did not carry out an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HsmError {
    /// The record's data is at fault: it becomes CANCELLED(data), before a blank is bound.
    #[error("file: application {aid}: {fault}")]
    Data {
        /// AID of the application, if it could be read.
        aid: String,
        /// The fault.
        fault: DataFault,
    },
    /// The Trailer's MAC, or the wrapping of its key, is wrong.
    #[error("file: the Trailer's MAC is wrong; ask the issuer for the file again")]
    TrailerMac,
    /// A KEK that the store does not hold.
    #[error("key: KEK {0} is not in the key store; import it, or ask the issuer which KEK the file uses")]
    UnknownKek(KekId),
    /// A master key that an issuer's store does not hold.
    #[error("key: the key store holds no {usage} {issuer}:{version}; import it")]
    UnknownMaster {
        /// Its purpose.
        usage: KeyUsage,
        /// Issuer identifier.
        issuer: String,
        /// Its version.
        version: u8,
    },
    /// An RSA key of the issuer that its store does not hold.
    #[error(
        "key: the key store holds no RSA key {} of issuer {}: make one with issuer-cert new",
        .0.version,
        hex::encode_upper(.0.issuer)
    )]
    UnknownIssuerKey(IssuerKeyName),
    /// An RSA key that cannot be made or used.
    #[error("key: {0}")]
    RsaKey(String),
    /// A certificate that was not taken.
    #[error("certificate: {0}; ask the certification authority for another")]
    Certificate(String),
    /// The RSA keys of an issuer's store cannot be read or written.
    #[error("key: the RSA keys of the key store: {0}")]
    RsaBook(String),
    /// Type or KCV of the KEK differ from the file's.
    #[error(
        "key: KEK {0} in the store has another type or KCV than the file states; compare both with the issuer"
    )]
    KekMismatch(KekId),
    /// The KEK belongs to another issuer than the file's.
    #[error("key: KEK {0} belongs to another issuer than the file names; ask the issuer which KEK it is")]
    KekIssuer(KekId),
    /// A KMC that the store does not hold.
    #[error("key: KMC {0} is not in the key store; import it, or take these blanks out")]
    UnknownKmc(KmcRef),
    /// The KEK does not let its secrets go to cards of this KMC.
    #[error("key: KEK {kek} does not allow cards of KMC {kmc}")]
    KmcNotAllowed {
        /// The application's KEK.
        kek: KekId,
        /// The card's KMC.
        kmc: KmcRef,
    },
    /// The answer to INITIALIZE UPDATE cannot be read as one of the product's channel.
    #[error("card: the INITIALIZE UPDATE response is malformed ({0})")]
    Response(String),
    /// The card's cryptogram is wrong: not a card of this KMC, or a wrong key. Never try again on this card.
    #[error(
        "card: the card cryptogram is wrong for KMC {0}; the card is not tried again, because each attempt with wrong keys \
         uses it up"
    )]
    CardCryptogram(KmcRef),
    /// The request breaks a rule of the HSM: a bug in the controller, or an attack.
    #[error("us: the HSM refused: {0}")]
    Refused(HsmRefusal),
    /// A handle that does not exist (any more).
    #[error("us: the HSM does not know this {0} (any more)")]
    Unknown(String),
    /// Not implemented by this HSM.
    #[error("the HSM does not support {0}")]
    Unsupported(String),
    /// The file went into another ledger before.
    #[error(
        "file: this file was accepted into another ledger before ({0}); go on with that one, or ask the issuer for a new \
         file"
    )]
    FileElsewhere(LedgerId),
    /// The ledger is not followed.
    #[error("ledger: {0}")]
    NotFollowed(FollowRefusal),
    /// A document of a job that is not CLOSED by the events that were shown.
    #[error(
        "ledger: the HSM has not seen that {0} was closed, and signs no paper of it: open the ledger with its line once, and try again"
    )]
    NotClosed(JobId),
    /// A certificate of deletion of a job whose data were not deleted by the events that were shown, or whose key is there.
    #[error(
        "ledger: the HSM has not seen that the data of {0} were deleted, or still has their key, and signs no certificate: delete them again"
    )]
    NotDeleted(JobId),
    /// The audit book cannot be read or written.
    #[error("key: the audit book of the key store: {0}")]
    Book(String),
    /// The keys of the spools cannot be read or written.
    #[error("key: the keys of the spools of the key store: {0}")]
    Spools(String),
    /// A spool's key is not there.
    #[error(
        "key: {0} does not have the key {1} of this job's spool: the file was lost or is an old one; restore it from a backup \
         of the same day as the ledger's, or ask the issuer for a new file and cancel the job"
    )]
    NoSpoolKey(String, SpoolKeyName),
    /// A spool's key was destroyed.
    #[error(
        "operator: the key {0} of this job's spool was destroyed, and the cardholder data with it; deleted data cannot be \
         restored"
    )]
    SpoolKeyDestroyed(SpoolKeyName),
    /// The recipient's key of a key store cannot be read or written.
    #[error("key: the recipient's key of the key store: {0}")]
    RecipientKey(String),
    /// A sealed file came to a store that has no recipient.
    #[error(
        "key: the file is sealed, and this key store has no recipient's key: name the store to whose recipient \
         it is sealed"
    )]
    NoRecipient,
    /// A file is sealed to other recipients.
    #[error(
        "key: the file is sealed, but not to {0}, the recipient of this key store: name the store to whose \
         recipient it is sealed"
    )]
    OtherRecipient(String),
    /// A wrapped file key is malformed, or there are too many.
    #[error("file: the head of the sealed file is malformed; ask the issuer for the file again")]
    WrappedFileKey,
    /// A piece of a spool differs from the piece that was sealed.
    #[error("us: the spool differs from what was accepted")]
    SpoolDamaged,
    /// The HSM cannot be reached or answered nonsense.
    #[error("device: the HSM host does not answer properly: {0}")]
    Host(String),
    /// The host is not there any more.
    #[error("device: the HSM host has ended: its log says why; start again")]
    HostEnded,
    /// A token did not do its part.
    #[error(
        "device: the token of the HSM failed: {0}: see with `hsm check` that it is connected and answers"
    )]
    Token(String),
    /// The value of a key lies in a token, which this host does not use.
    #[error(
        "key: the value of {0} lies in a token, which this command does not open: use a line whose profile names the token in its table [hsm]"
    )]
    KeyInToken(String),
}

/// A fault of an application's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DataFault {
    /// The bytes do not parse as a chip application.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The MAC, or the wrapped MACkey's padding, parity or weakness, is wrong.
    #[error("the application MAC is wrong")]
    Mac,
    /// A protected value is not a multiple of its cipher's block, or its padding is wrong.
    #[error("the padding or length of DGI {0} is wrong")]
    Padding(Dgi),
    /// ENC 22 on something that is not an ISO 9564 format 1 PIN block.
    #[error("DGI {0} is not a format 1 PIN block")]
    PinBlock(Dgi),
    /// A DGI is under the TK but not in ENC, or in ENC but not under the TK and not pass-through, or an ENC type is
    /// not known, or CMODE is not allowed.
    #[error("the protection of DGI {0} is inconsistent")]
    Protection(Dgi),
    /// SECLEV below the KEK's minimum for an application with secrets.
    #[error("security level {0} is below the minimum of its KEK")]
    LevelBelowMinimum(String),
}

/// A rule of the HSM that a request broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HsmRefusal {
    /// More events than are taken at once.
    #[error("too many events, or too many bytes of events, in one request")]
    ShownTooMuch,
    /// A Trailer without its first fields.
    #[error("the Trailer is too short")]
    TrailerTooShort,
    /// A protected value in a command whose P1 does not say "encrypted".
    #[error("protected value of DGI {0} in a clear command")]
    ProtectedInClear(Dgi),
    /// A DGI that the handle does not have.
    #[error("DGI {0} is not in the verified application")]
    ForeignDgi(Dgi),
    /// A clear value that differs from the verified one.
    #[error("the clear value of DGI {0} differs from the verified one")]
    ClearDiffers(Dgi),
    /// The level differs from the handle's.
    #[error("security level differs from the verified application's")]
    Level,
    /// A session with another host challenge than the one alive on its connection.
    #[error(
        "the host challenge is not the one that this connection was given last, or a session has used it"
    )]
    HostChallenge,
    /// The handle was used before, with this or another card.
    #[error("the handle was used before: a verified record goes to one card")]
    HandleUsed,
    /// A record has 1 to 255 applications.
    #[error("a record has 1 to 255 applications")]
    Applications,
    /// A step that the record does not have.
    #[error("the verified record has no application {0}")]
    NoStep(u8),
    /// The attempt may not open this application on this chip now.
    #[error("{0}")]
    Attempt(#[from] AttemptRefusal),
    /// An instruction outside STORE DATA, SET STATUS and INSTALL [for personalization].
    #[error("instruction {0:02X} is not allowed in a personalization session")]
    Instruction(u8),
    /// So many verified applications wait for their cards that no more are taken.
    #[error("{0} verified applications are waiting; personalize or release some first")]
    TooMany(usize),
    /// A piece of a spool out of turn, or by another host than the one that made the key: its number may be used
    /// already.
    #[error("a spool is sealed once, from its beginning, and by the host that made its key")]
    SealTwice,
    /// More applications in one check than are answered.
    #[error("a check has at most {0} applications")]
    CheckTooLong(usize),
    /// A secret of a card in a DGI that is not encrypted, or not as this secret has to be.
    #[error("a key or PIN in DGI {0}, which is not encrypted as it has to be")]
    SecretInClear(Dgi),
    /// A value of a card that the caller had to check.
    #[error("malformed {0}")]
    Malformed(String),
    /// A request that the role of its connection may not make.
    #[error("a connection of this kind may not ask that")]
    Role,
    /// A frame that cannot be read, is too long or came too slowly.
    #[error("{0}")]
    Frame(String),
    /// A spool that another connection has made.
    #[error("a spool is abandoned only by the connection that made it")]
    ForeignSpool,
    /// A spool of which a job was made.
    #[error("the spool of a job is not abandoned: its key ends with the deletion of the job's data")]
    SpoolOfJob,
    /// The command list does not make sense: a DGI cut short, a range outside the value, too long a command.
    #[error("malformed command list: {0}")]
    Commands(String),
}

impl HsmError {
    /// Whether the HSM refuses a ledger for good: another program must not go on with it either.
    pub fn ends_the_ledger(&self) -> bool {
        matches!(self, Self::NotFollowed(refusal) if refusal.is_final())
    }

    /// The exit code of a program that ends with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Data { .. } => Exit::RecordData,
            Self::TrailerMac => Exit::FileMac,
            Self::UnknownKek(_)
            | Self::UnknownKmc(_)
            | Self::UnknownMaster { .. }
            | Self::UnknownIssuerKey(_)
            | Self::NoRecipient
            | Self::KeyInToken(_)
            | Self::OtherRecipient(_) => Exit::KeyUnknown,
            Self::Certificate(_) => Exit::KeyMismatch,
            Self::RsaKey(_) | Self::RsaBook(_) | Self::RecipientKey(_) => Exit::KeyStore,
            Self::KekMismatch(_) | Self::KekIssuer(_) | Self::KmcNotAllowed { .. } => Exit::KeyMismatch,
            Self::Response(_) | Self::CardCryptogram(_) => Exit::Device,
            Self::Refused(_) | Self::Unknown(_) => Exit::Bug,
            Self::Unsupported(_) | Self::Host(_) | Self::HostEnded | Self::Token(_) => Exit::Hsm,
            Self::NotFollowed(_) | Self::NotClosed(_) | Self::NotDeleted(_) => Exit::Ledger,
            Self::FileElsewhere(_) => Exit::FileSeen,
            Self::Book(_) | Self::Spools(_) | Self::NoSpoolKey(..) => Exit::KeyStore,
            Self::SpoolKeyDestroyed(_) => Exit::Denied,
            Self::WrappedFileKey => Exit::FileFormat,
            Self::SpoolDamaged => Exit::FileDigest,
        }
    }
}

impl From<HsmError> for Failure {
    fn from(error: HsmError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

/// What threads of a host share. Fails closed: a thread that panicked inside may have left anything behind.
pub(super) fn locked<T>(shared: &Mutex<T>) -> Result<MutexGuard<'_, T>, HsmError> {
    shared.lock().map_err(|_| HsmError::Host("a thread of it failed; restart it".into()))
}

impl From<TokenKeyFault> for HsmError {
    fn from(fault: TokenKeyFault) -> Self {
        Self::Token(fault.0)
    }
}

impl From<HsmRefusal> for HsmError {
    fn from(refusal: HsmRefusal) -> Self {
        Self::Refused(refusal)
    }
}

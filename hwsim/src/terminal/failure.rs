//! Why an authentication failed: the terminal's step, and what it found there. Neither quotes data of the card.

use thiserror::Error;

/// An authentication that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{step}: {fault}")]
pub struct AuthenticationFailure {
    /// The step that failed.
    pub step: TerminalStep,
    /// What is wrong there.
    pub fault: StepFault,
}

/// The steps of a terminal, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TerminalStep {
    /// SELECT, and the FCI in its answer.
    #[error("SELECT")]
    Select,
    /// GET PROCESSING OPTIONS, and AIP and AFL in its answer.
    #[error("GET PROCESSING OPTIONS")]
    ProcessingOptions,
    /// READ RECORD, and the data objects of the records.
    #[error("READ RECORD")]
    ReadRecord,
    /// The choice of SDA, DDA or CDA.
    #[error("choice of the method")]
    Method,
    /// The static data to be authenticated.
    #[error("static data to be authenticated")]
    StaticData,
    /// The key of the certification authority.
    #[error("CA key")]
    CertificationKey,
    /// The issuer's certificate (90) and key.
    #[error("issuer certificate")]
    IssuerCertificate,
    /// The card's certificate (9F46) and key.
    #[error("ICC certificate")]
    CardCertificate,
    /// The signed static application data (93).
    #[error("signed static data")]
    SignedStaticData,
    /// INTERNAL AUTHENTICATE and its answer.
    #[error("INTERNAL AUTHENTICATE")]
    InternalAuthenticate,
    /// GENERATE AC and its answer.
    #[error("GENERATE AC")]
    GenerateAc,
    /// The signed dynamic application data (9F4B).
    #[error("signed dynamic data")]
    SignedDynamicData,
}

/// What a step found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StepFault {
    /// No answer, or one without a status word.
    #[error("the card does not answer")]
    NoAnswer,
    /// Any status word but 9000.
    #[error("the card answers with status {0:04X}")]
    Status(u16),
    /// The command's data are longer than 255 bytes.
    #[error("the card asks for more data than a command holds")]
    TooLong,
    /// Bytes that are not the data objects of EMV Book 3.
    #[error("the data objects are malformed")]
    Malformed,
    /// A data object that is not there.
    #[error("data object {0:X} is missing")]
    Missing(u32),
    /// A data object that is there twice.
    #[error("data object {0:X} is there twice")]
    Twice(u32),
    /// The AFL breaks the rules of EMV Book 3, 10.2.
    #[error("the AFL is invalid")]
    FileLocator,
    /// The AIP has none of the three methods.
    #[error("the AIP has neither SDA nor DDA nor CDA")]
    NoMethod,
    /// 9F4A holds something else than the AIP's tag.
    #[error("9F4A names something else than the AIP")]
    TagList,
    /// No key of this RID and index.
    #[error("no key of this RID and index")]
    UnknownKey,
    /// A signature that is not as long as the key.
    #[error("it is not as long as the key that opens it")]
    Length,
    /// The arithmetic of OpenSSL failed.
    #[error("it cannot be opened")]
    Arithmetic,
    /// The last byte of the recovered data is not BC.
    #[error("the trailer is not BC")]
    Trailer,
    /// The first byte of the recovered data is not 6A.
    #[error("the header is not 6A")]
    Header,
    /// The format is another one.
    #[error("the format is another one")]
    Format,
    /// The hash algorithm is not 01 (SHA-1).
    #[error("the hash algorithm is not SHA-1")]
    HashAlgorithm,
    /// The hash differs.
    #[error("the hash differs")]
    Hash,
    /// The issuer identifier is not that of the PAN.
    #[error("the issuer identifier is not the beginning of the PAN")]
    IssuerIdentifier,
    /// The PAN is another one.
    #[error("the PAN is another one")]
    Pan,
    /// A date that no calendar has.
    #[error("the expiry is not a date")]
    Date,
    /// The certificate expired before the month of the transaction.
    #[error("it is expired")]
    Expired,
    /// The key algorithm is not 01 (RSA).
    #[error("the key algorithm is not RSA")]
    KeyAlgorithm,
    /// A key of no permitted length, or longer than the one that signed it.
    #[error("the key has a wrong length")]
    KeyLength,
    /// A remainder that is missing, superfluous or of the wrong length.
    #[error("the key's remainder has a wrong length")]
    Remainder,
    /// An exponent other than 3 and 65537, or of another length than the certificate says.
    #[error("the exponent is neither 3 nor 65537")]
    Exponent,
    /// A modulus whose first bit is 0, or that is even.
    #[error("the modulus has no full length or is even")]
    Modulus,
    /// Padding that is not BB.
    #[error("the padding is not BB")]
    Padding,
    /// A DOL without the unpredictable number.
    #[error("the data object list has no unpredictable number")]
    NoUnpredictableNumber,
    /// The ICC dynamic data are not as the method wants them.
    #[error("the ICC dynamic data are malformed")]
    DynamicData,
    /// The card answered with an AAC.
    #[error("the card refuses the transaction")]
    Refused,
    /// The CID in the signature is not that of the answer.
    #[error("the cryptogram information in the signature is another one")]
    CryptogramInformation,
    /// The transaction data hash code differs.
    #[error("the hash of the transaction data differs")]
    TransactionHash,
}

impl StepFault {
    /// The failure of a step by this fault.
    pub(super) fn at(self, step: TerminalStep) -> AuthenticationFailure {
        AuthenticationFailure { step, fault: self }
    }
}

//! What goes into the HSM and what comes out: requests, answers, refusals. Serializable, for the socket between the
//! daemon and the HSM host. Nothing in here is a key; clear DGI values are cardholder data and are never logged.

use serde::{Deserialize, Serialize};

use crate::audit::{ChainPlace, Checkpoint, DocumentKind, LedgerId, PublicKey, Signature};
use crate::ids::{CardRef, Dgi, FileId, IssuerId, Kcv, KekId, KeyData, KmcRef, SecLevel, SpoolKeyName};

/// A key-holding device, software or hardware. One connection, one caller; calls block.
pub trait Hsm: Send {
    /// Which keys there are: references and KCVs.
    fn info(&mut self) -> Result<HsmInfo, HsmError>;
    /// Checks the MAC of a file's Trailer (DESIGN.md section 3).
    fn verify_trailer(&mut self, request: &TrailerRequest) -> Result<(), HsmError>;
    /// Checks one application of one record and opens it inside; gives a handle for one later personalization.
    fn verify(&mut self, request: &VerifyRequest) -> Result<Verified, HsmError>;
    /// [`Hsm::verify`] for several applications in one call. All or nothing: after an error none of their handles
    /// exists.
    fn verify_all(&mut self, requests: &[VerifyRequest]) -> Result<Vec<Verified>, HsmError> {
        let mut verified = Vec::with_capacity(requests.len());
        for request in requests {
            match self.verify(request) {
                Ok(one) => verified.push(one),
                Err(error) => {
                    let handles: Vec<_> = verified.iter().map(|v| v.handle).collect();
                    // What was wrong comes first; an HSM that cannot release will say so again.
                    drop(self.release(&handles));
                    return Err(error);
                }
            }
        }
        Ok(verified)
    }
    /// Derives card and session keys from KEYDATA and checks the card's cryptogram. After an error the card must
    /// not get another INITIALIZE UPDATE.
    fn open(&mut self, request: &OpenRequest) -> Result<Opened, HsmError>;
    /// Wraps a session's commands, EXTERNAL AUTHENTICATE first. Ends handle and channel, whatever the outcome.
    fn personalize(&mut self, request: &PersonalizeRequest) -> Result<Personalized, HsmError>;
    /// [`Hsm::open`] and [`Hsm::personalize`] in one call; the errors are theirs. After an error of `open` the handle
    /// still exists.
    fn session(&mut self, open: &OpenRequest, session: SessionRequest) -> Result<Personalized, HsmError> {
        let channel = self.open(open)?.channel;
        self.personalize(&session.on(channel))
    }
    /// Forgets handles that will not be used (a cancelled record). Unknown ones are ignored.
    fn release(&mut self, handles: &[Handle]) -> Result<(), HsmError>;
}

/// The side of a key-holding device that vouches for ledgers and documents.
pub trait Auditor: Send {
    /// What it knows of a ledger, and its audit key.
    fn audit(&mut self, ledger: LedgerId) -> Result<AuditInfo, HsmError>;
    /// Notes how far a ledger has come, and signs it. A ledger that goes back is refused.
    fn checkpoint(&mut self, place: ChainPlace) -> Result<Checkpoint, HsmError>;
    /// Notes that a file goes into a ledger, once for all: in another ledger it is refused from then on.
    fn admit(&mut self, file: &Admission) -> Result<(), HsmError>;
    /// Signs the SHA-256 of a document.
    fn sign(&mut self, kind: DocumentKind, ledger: LedgerId, digest: [u8; 32])
    -> Result<Signature, HsmError>;
}

/// The side of a key-holding device that keeps cardholder data at rest from everybody without it: each spool has a key of its
/// own, made, used and destroyed inside.
pub trait Vault: Send {
    /// Makes the key of a new spool of this ledger; it is durable when this returns.
    fn new_spool(&mut self, ledger: LedgerId) -> Result<SpoolKeyName, HsmError>;
    /// Seals the pieces of a spool from number `first` on: `clear` cut into [`PIECE`] bytes, the last may be shorter. Each
    /// number once and in order, by the host that made the key.
    fn seal(&mut self, spool: SpoolKeyName, first: u64, clear: &[u8]) -> Result<Vec<u8>, HsmError>;
    /// Opens pieces that [`Vault::seal`] gave.
    fn unseal(&mut self, spool: SpoolKeyName, first: u64, sealed: &[u8]) -> Result<Vec<u8>, HsmError>;
    /// Destroys a key; what it sealed is gone. It may be destroyed already.
    fn destroy_spool(&mut self, spool: SpoolKeyName) -> Result<(), HsmError>;
    /// Destroys the keys of this ledger that are not among these: of acceptances that did not come to an end.
    fn keep_spools(&mut self, ledger: LedgerId, spools: &[SpoolKeyName]) -> Result<(), HsmError>;
}

pub use crate::record::{PIECE, PIECE_TAG};

/// What the HSM knows of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditInfo {
    /// The key that signs.
    pub key: PublicKey,
    /// Changes of what the HSM remembers so far.
    pub generation: u64,
    /// How far the ledger had come when it was last noted.
    pub head: Option<ChainPlace>,
}

/// A file on its way into a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// From the Header.
    pub issuer_id: IssuerId,
    /// From the Header.
    pub file_id: FileId,
    /// SHA-256 of the whole file.
    pub digest: [u8; 32],
    /// Where it goes.
    pub ledger: LedgerId,
}

/// Names a verified application inside the HSM. Random; means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle(pub [u8; 16]);

/// Names an open channel inside the HSM. Random; means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Channel(pub [u8; 16]);

/// TEST or LIVE; the two never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Realm {
    /// Keys that anybody may know.
    Test,
    /// Keys of real cards.
    Live,
}

/// What the HSM holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HsmInfo {
    /// TEST or LIVE.
    pub realm: Realm,
    /// Key encryption keys of issuers.
    pub keks: Vec<KekInfo>,
    /// Suppliers' master keys.
    pub kmcs: Vec<KmcInfo>,
}

/// A KEK, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KekInfo {
    /// Operator's name for it.
    pub label: String,
    /// KEKID.
    pub id: KekId,
    /// TYPEtk: 40 TDES (2-key), 41 AES-128, 42 AES-256.
    pub tk_type: u8,
    /// Check value.
    pub kcv: Kcv,
    /// The one issuer to whom it belongs.
    pub issuer_id: IssuerId,
    /// The KMCs to which its secrets may go.
    pub allow: Vec<KmcRef>,
    /// Lowest level of an application with secrets.
    pub min_seclev: SecLevel,
}

/// A KMC, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KmcInfo {
    /// Operator's name for it.
    pub label: String,
    /// KMC_ID and key version number.
    pub kmc: KmcRef,
    /// Check value.
    pub kcv: Kcv,
}

/// The Trailer of a file, for its MAC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrailerRequest {
    /// From the Header; must be the KEK's.
    pub issuer_id: IssuerId,
    /// From the Header.
    pub file_id: FileId,
    /// KEKID of the Trailer.
    pub kek: KekId,
    /// TYPEtk of the Trailer; must be the KEK's.
    pub tk_type: u8,
    /// KEK KCV of the Trailer; must be the KEK's.
    pub kcv: Kcv,
    /// The Trailer body from its first byte up to and including the wrapped MAC key (with its length byte).
    pub body: Vec<u8>,
    /// The wrapped MAC key alone.
    pub wrapped_mac_key: Vec<u8>,
    /// The MAC.
    pub mac: Vec<u8>,
}

/// One application of one record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyRequest {
    /// From the Header.
    pub issuer_id: IssuerId,
    /// From the Header.
    pub file_id: FileId,
    /// The record's.
    pub sequence: u32,
    /// The record's.
    pub card_ref: CardRef,
    /// SHA-256 of every `L1 MIC | L4 data` of the record but CHP, concatenated in file order.
    pub others: [u8; 32],
    /// The application as it stands in the file: from the length byte of 3a.1 (`L1 { L1 AID ...`) to the last byte
    /// of the MAC.
    pub application: Vec<u8>,
    /// Block of the card's DEK cipher: 8 (SCP02).
    pub card_block: u8,
    /// DGIs that the product marks as already secret under a key known to the card.
    pub pass_through: Vec<Dgi>,
    /// Whether the product allows CMODE 11 and 13 (ECB).
    pub allow_ecb: bool,
}

/// An application whose MAC, padding, blocks and PIN formats are right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verified {
    /// For one personalization.
    pub handle: Handle,
    /// Length in bytes of each DGI under the TK as the card will get it: re-encrypted under the DEK (ENC types 11,
    /// 12, 22).
    pub protected: Vec<(Dgi, u16)>,
    /// The KMCs to which this application may go: a blank of another one does not fit.
    pub allow: Vec<KmcRef>,
}

/// Open a channel: the answer of a card to INITIALIZE UPDATE.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OpenRequest {
    /// How card keys come from the KMC.
    pub derivation: Derivation,
    /// The SCP02 "i" parameter of the product.
    pub scp02_i: u8,
    /// RTERM, the challenge sent.
    pub host_challenge: [u8; 8],
    /// The 28 bytes answered, without status word.
    pub response: Vec<u8>,
}

/// How card keys come from a KMC (standards.md 2.6): a property of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Derivation {
    /// EMV CPS: the six least significant bytes of KEYDATA.
    EmvCps,
}

/// A channel whose card cryptogram was right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Opened {
    /// For one personalization.
    pub channel: Channel,
    /// Whose keys.
    pub key_data: KeyData,
    /// Which KMC they came from.
    pub kmc: KmcRef,
}

/// Everything a session will say, before wrapping.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PersonalizeRequest {
    /// From [`Hsm::verify`].
    pub handle: Handle,
    /// From [`Hsm::open`].
    pub channel: Channel,
    /// P1 of EXTERNAL AUTHENTICATE; must be the handle's.
    pub level: SecLevel,
    /// The commands after EXTERNAL AUTHENTICATE, in order.
    pub commands: Vec<PlainCommand>,
}

/// A [`PersonalizeRequest`] for a channel that is opened in the same call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRequest {
    /// From [`Hsm::verify`].
    pub handle: Handle,
    /// P1 of EXTERNAL AUTHENTICATE; must be the handle's.
    pub level: SecLevel,
    /// The commands after EXTERNAL AUTHENTICATE, in order.
    pub commands: Vec<PlainCommand>,
}

impl SessionRequest {
    /// The same for a channel that is open.
    pub fn on(self, channel: Channel) -> PersonalizeRequest {
        PersonalizeRequest { handle: self.handle, channel, level: self.level, commands: self.commands }
    }
}

/// A command before secure messaging. CLA is 80 on the way in; the HSM makes it 84 where the level asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainCommand {
    /// INS: E2 STORE DATA, F0 SET STATUS, E6 INSTALL [for personalization]. The HSM refuses any other.
    pub ins: u8,
    /// P1.
    pub p1: u8,
    /// P2.
    pub p2: u8,
    /// The data field, in order.
    pub data: Vec<DataPart>,
}

/// A piece of a data field.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataPart {
    /// Bytes as they are: DGI headers and clear values.
    Clear(Vec<u8>),
    /// Bytes `from..to` of a protected DGI's value as re-encrypted under the session DEK. P1 b7 b6 must be 11.
    Protected {
        /// Which.
        dgi: Dgi,
        /// First byte.
        from: u16,
        /// One past the last byte.
        to: u16,
    },
}

impl std::fmt::Debug for DataPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clear(bytes) => write!(f, "Clear({} bytes)", bytes.len()),
            Self::Protected { dgi, from, to } => write!(f, "Protected({dgi} {from}..{to})"),
        }
    }
}

/// The session's command APDUs as they go to the card.
#[derive(Clone, Serialize, Deserialize)]
pub struct Personalized {
    /// EXTERNAL AUTHENTICATE, then one APDU for each command asked for. No Le.
    pub apdus: Vec<Vec<u8>>,
}

/// Why the HSM did not do it. Says who is to blame, never what the data was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HsmError {
    /// The record's data is at fault: it becomes CANCELLED(data), before a blank is bound.
    #[error("file: application {aid}: {fault}")]
    Data {
        /// Which application, as far as it could be read.
        aid: String,
        /// What is wrong.
        fault: DataFault,
    },
    /// The Trailer's MAC, or what wraps its key, is wrong.
    #[error("file: the Trailer's MAC is wrong; ask the issuer for the file again")]
    TrailerMac,
    /// A KEK that the store does not hold.
    #[error("key: KEK {0} is not in the key store; import it, or ask the issuer which KEK the file uses")]
    UnknownKek(KekId),
    /// The KEK differs from what the file says (type or KCV).
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
    /// The INITIALIZE UPDATE response does not read as an SCP02 one.
    #[error("card: the INITIALIZE UPDATE response is malformed ({0})")]
    Response(String),
    /// The card's cryptogram is wrong: not a card of this KMC, or a wrong key. Never try again on this card.
    #[error(
        "card: the card cryptogram is wrong for KMC {0}; the card is not retried, because wrong keys eat cards"
    )]
    CardCryptogram(KmcRef),
    /// The request breaks a rule of the HSM: a bug in the controller, or an attack.
    #[error("us: the HSM refused: {0}")]
    Refused(Refusal),
    /// A handle or channel that does not exist (any more).
    #[error("us: the HSM does not know this {0} (any more)")]
    Unknown(String),
    /// Not implemented by this HSM.
    #[error("the HSM does not support {0}")]
    Unsupported(String),
    /// A ledger shows less than the HSM has noted of it.
    #[error(
        "ledger: the HSM has noted event {known} of ledger {ledger}, which now shows another one or only {shown} events: \
         it was put back from a backup, or changed; find the newer one and keep both for the auditor"
    )]
    RolledBack {
        /// Which ledger.
        ledger: LedgerId,
        /// Number of the last event noted.
        known: u64,
        /// Number of the event that the ledger shows.
        shown: u64,
    },
    /// The file went into another ledger before.
    #[error(
        "file: this file was accepted into another ledger before ({0}); go on with that one, or ask the issuer for a new \
         file"
    )]
    FileElsewhere(LedgerId),
    /// What the HSM remembers cannot be read or written.
    #[error("key: the audit book beside the key store: {0}")]
    Book(String),
    /// The keys of the spools cannot be read or written.
    #[error("key: the keys of the spools beside the key store: {0}")]
    Spools(String),
    /// A spool's key is not there.
    #[error(
        "key: {0} does not have the key {1} of this job's spool: the file was lost or is an old one; restore it from a backup \
         of the same day as the ledger's, or ask the issuer for a new file and cancel the job"
    )]
    NoSpoolKey(String, SpoolKeyName),
    /// A spool's key was destroyed.
    #[error(
        "operator: the key {0} of this job's spool was destroyed, and the cardholder data with it; what is deleted stays \
         deleted"
    )]
    SpoolKeyDestroyed(SpoolKeyName),
    /// A piece of a spool is not what was sealed.
    #[error("us: the spool differs from what was accepted")]
    SpoolDamaged,
    /// The HSM cannot be reached or answered nonsense.
    #[error("device: the HSM host does not answer properly: {0}")]
    Host(String),
}

/// What is wrong with an application's data.
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
pub enum Refusal {
    /// A protected value in a command whose P1 does not say "encrypted".
    #[error("protected value of DGI {0} in a clear command")]
    ProtectedInClear(Dgi),
    /// A DGI that the handle does not have.
    #[error("DGI {0} is not in the verified application")]
    ForeignDgi(Dgi),
    /// A clear value that differs from what was verified.
    #[error("the clear value of DGI {0} differs from the verified one")]
    ClearDiffers(Dgi),
    /// The level differs from the handle's.
    #[error("security level differs from the verified application's")]
    Level,
    /// The handle was used before, with this or another card.
    #[error("the handle was used before: one verified application goes to one card")]
    HandleUsed,
    /// An instruction outside STORE DATA, SET STATUS and INSTALL [for personalization].
    #[error("instruction {0:02X} is not allowed in a personalization session")]
    Instruction(u8),
    /// So many verified applications wait for their cards that no more are taken.
    #[error("{0} verified applications are waiting; personalize or release some first")]
    TooMany(usize),
    /// A piece of a spool out of turn, or by another host than the one that made the key: its number may have been used.
    #[error("a spool is sealed once, from its beginning, and by the host that made its key")]
    SealTwice,
    /// The command list does not make sense: a DGI cut short, a range outside the value, too long a command.
    #[error("malformed command list: {0}")]
    Commands(String),
}

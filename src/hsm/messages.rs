//! Requests to the HSM and its answers, serializable for the socket between controller and HSM host. None of them
//! holds a key. Some hold clear DGIs: cardholder data, which is wiped and never shown ([`WipedBytes`]).
//!
//! Not here: which operations there are (`operations`), what can go wrong (`error`).

use serde::{Deserialize, Serialize};

use super::memory::AttemptBar;
pub use super::pkcs11::TokenPart;
use super::{HsmError, WipedBytes};
use crate::audit::{ChainPlace, Checkpoint, DocumentKind, LedgerId, PublicKey};
use crate::crypto::KeyType;
use crate::hardening::wipe;
use crate::ids::{CardRef, Dgi, FileId, IssuerId, Kcv, KekId, KmcRef};
use crate::laws::JobId;
use crate::record::{Header, Trailer};
pub use crate::record::{PIECE, PIECE_TAG};
use crate::scp::{HostChallenge, KeyDerivation, SecLevel, SecureChannelSpec};

/// The HSM's memory of one ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditInfo {
    /// The key that signs.
    pub key: PublicKey,
    /// How often the HSM has signed a checkpoint.
    pub generation: u64,
    /// The last event that the ledger has shown, or had when it was signed.
    pub head: Option<ChainPlace>,
    /// The last event that was signed.
    pub signed: Option<ChainPlace>,
}

/// Begins to follow a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// The ledger.
    pub ledger: LedgerId,
    /// Version of the laws by which it is written.
    pub laws: u16,
    /// The last signature that it has.
    pub signed: Option<Checkpoint>,
    /// Number of its last event, at a start: no file is being accepted then. Once the HSM was shown all up to there, it destroys keys
    /// of spools that were made before this host started, and of which no event made a job.
    pub last: Option<u64>,
}

/// What the HSM remembers of a ledger that it follows from now on. The ledger must have these very events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowedLedger {
    /// The key that signs.
    pub key: PublicKey,
    /// How often the HSM has signed.
    pub generation: u64,
    /// The last event that was shown; number 0 before the first.
    pub place: ChainPlace,
    /// The last event that the ledger had by an earlier signature, if not all up to there were shown.
    pub head: ChainPlace,
    /// The last signature.
    pub signed: Option<Checkpoint>,
    /// The HSM's time, Unix in ms.
    pub time: u64,
}

/// Most events that are shown at once.
pub const SHOWN_EVENTS: usize = 512;
/// Most bytes of events that are shown at once.
pub const SHOWN_BYTES: usize = 512 << 10;

/// Events of a ledger, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownEvents {
    /// The event before them, up to which the HSM has acknowledged.
    pub after: ChainPlace,
    /// Their bytes.
    pub events: Vec<Vec<u8>>,
    /// Whether the last one is to be signed.
    pub sign: bool,
}

/// What the HSM remembers now, durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The last event that was shown.
    pub place: ChainPlace,
    /// Its signature, if it was asked for.
    pub signed: Option<Checkpoint>,
    /// Attempts among these events that get no session.
    pub barred: Vec<BarredAttempt>,
}

/// An attempt, by numbers: one record on one blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CardAttempt {
    /// The ledger that has bound it.
    pub ledger: LedgerId,
    /// Its job.
    pub job: JobId,
    /// Sequence of the record.
    pub seq: u32,
    /// Its number, from 1.
    pub attempt: u32,
}

/// An attempt that gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarredAttempt {
    /// The attempt.
    pub card: CardAttempt,
    /// Why.
    pub why: AttemptBar,
}

/// A file on its way into a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileAdmission {
    /// The ledger that accepts it.
    pub ledger: LedgerId,
    /// SHA-256 of the whole file.
    pub digest: [u8; 32],
    /// Its Trailer: the HSM checks its MAC, and reads the number of records from it.
    pub trailer: TrailerRequest,
}

/// Names a verified record inside the HSM. Random; means nothing elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordHandle(pub [u8; 16]);

/// A document of a closed job, which is to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRequest {
    /// Its kind.
    pub kind: DocumentKind,
    /// The ledger.
    pub ledger: LedgerId,
    /// The job.
    pub job: JobId,
    /// SHA-256 of its text.
    pub text: [u8; 32],
}

/// TEST or LIVE; the two never mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Realm {
    /// Published keys.
    Test,
    /// Keys of real cards.
    Live,
}

impl Realm {
    /// Its letter in files and in the greeting of a host.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Test => b'T',
            Self::Live => b'L',
        }
    }

    /// The realm of this letter.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        [Self::Test, Self::Live].into_iter().find(|realm| realm.code() == code)
    }
}

/// The keys of the HSM, without their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HsmInfo {
    /// TEST or LIVE.
    pub realm: Realm,
    /// Key encryption keys of issuers.
    pub keks: Vec<KekInfo>,
    /// Suppliers' master keys.
    pub kmcs: Vec<KmcInfo>,
    /// What a token does, if keys lie in one.
    pub token: Option<TokenPart>,
    /// A key whose value lies in a token that this host has not opened.
    pub out_of_reach: Option<String>,
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
    /// Cipher and length.
    pub key_type: KeyType,
    /// Check value.
    pub kcv: Kcv,
}

/// The Trailer of a file, for its MAC. The operation knows which kind of file it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrailerRequest {
    /// Issuer, from the Header; must be the KEK's.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header.
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

impl TrailerRequest {
    /// The number of records that it states: its first field.
    pub(super) fn records(&self) -> Option<u32> {
        self.body.first_chunk().map(|records| u32::from_be_bytes(*records))
    }

    /// The Trailer of the file with this Header. `body` runs from the Trailer's first byte to the wrapped MAC key.
    pub fn of(header: &Header, trailer: &Trailer, body: &[u8]) -> Self {
        Self {
            issuer_id: header.issuer_id.clone(),
            file_id: header.file_id.clone(),
            kek: trailer.kek,
            tk_type: trailer.tk_type,
            kcv: trailer.kcv,
            body: body.to_vec(),
            wrapped_mac_key: trailer.wrapped_mac_key.clone(),
            mac: trailer.mac.clone(),
        }
    }
}

/// The applications of one record. Shows nothing of itself: they hold clear DGIs.
#[derive(Clone, Serialize, Deserialize)]
pub struct RecordToVerify {
    /// Issuer, from the Header.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header.
    pub file_id: FileId,
    /// Number of the record.
    pub sequence: u32,
    /// The card_ref of the record.
    pub card_ref: CardRef,
    /// SHA-256 of every `L1 MIC | L4 data` of the record but CHP, concatenated in file order.
    pub others: [u8; 32],
    /// Block of the channel's DEK cipher in bytes, 8 or 16.
    pub card_block: u8,
    /// Whether the product allows CMODE 11 and 13 (ECB).
    pub allow_ecb: bool,
    /// In the order in which they are opened.
    pub applications: Vec<ApplicationToVerify>,
}

/// One application of a [`RecordToVerify`].
#[derive(Clone, Serialize, Deserialize)]
pub struct ApplicationToVerify {
    /// The application as it stands in the file: from the length byte of 3a.1 (`L1 { L1 AID ...`) to the last byte
    /// of the MAC.
    pub bytes: WipedBytes,
    /// DGIs that the product marks as already secret under a key known to the card.
    pub pass_through: Vec<Dgi>,
}

/// A record whose applications are right.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifiedRecord {
    /// Good for one attempt: each application is opened once, in order.
    pub handle: RecordHandle,
    /// Its applications, in the order of the request.
    pub applications: Vec<VerifiedApplication>,
}

/// An application whose MAC, padding, blocks and PIN formats are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedApplication {
    /// Length in bytes of each DGI under the TK as the card will get it: re-encrypted under the DEK (ENC types 11,
    /// 12, 22).
    pub protected: Vec<(Dgi, u16)>,
    /// The KMCs to which this application may go: a blank of another one does not fit.
    pub allow: Vec<KmcRef>,
}

/// Applications of one file that are checked in one call, so that not each of them costs a round trip. Their bytes
/// stand in one place, so that not each of them is copied and wiped alone. Shows nothing of itself: the applications
/// hold clear DGIs.
#[derive(Clone, Serialize, Deserialize)]
pub struct CheckRequest {
    /// Issuer, from the Header.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header.
    pub file_id: FileId,
    /// Block of the channel's DEK cipher in bytes, 8 or 16.
    pub card_block: u8,
    /// Whether the product allows CMODE 11 and 13 (ECB).
    pub allow_ecb: bool,
    records: Vec<RecordToCheck>,
    /// The applications of all records, one after the other.
    bytes: WipedBytes,
}

/// One record of a [`CheckRequest`].
#[derive(Clone, Serialize, Deserialize)]
pub struct RecordToCheck {
    /// Number of the record.
    pub sequence: u32,
    /// The card_ref of the record.
    pub card_ref: CardRef,
    /// As in [`VerifyRequest`].
    pub others: [u8; 32],
    applications: Vec<ApplicationToCheck>,
}

/// One application of a [`RecordToCheck`].
#[derive(Clone, Serialize, Deserialize)]
struct ApplicationToCheck {
    /// Number of its bytes.
    length: u32,
    /// As in [`VerifyRequest`].
    pass_through: Vec<Dgi>,
}

/// An application of a [`CheckRequest`], as the HSM reads it.
pub struct CheckedApplication<'a> {
    /// Its record.
    pub record: &'a RecordToCheck,
    /// As in [`VerifyRequest`]; empty if the request is shorter than it states.
    pub application: &'a [u8],
    /// As in [`VerifyRequest`].
    pub pass_through: &'a [Dgi],
}

/// For each application of a [`CheckRequest`], in its order: right, or why not.
pub type CheckAnswers = Vec<Result<(), HsmError>>;

/// Most applications of one [`CheckRequest`]: so many answers fit a frame, each with an error.
pub const CHECK_LIMIT: usize = 4096;

/// Bytes of applications after which a [`CheckRequest`] is full: a quarter of the longest message.
const CHECK_FULL: usize = 256 << 10;

impl CheckRequest {
    /// A request without a record.
    pub fn new(issuer_id: IssuerId, file_id: FileId, card_block: u8, allow_ecb: bool) -> Self {
        let (records, bytes) = (Vec::new(), WipedBytes::default());
        Self { issuer_id, file_id, card_block, allow_ecb, records, bytes }
    }

    /// Adds a record with its applications, each as in [`VerifyRequest`] with the DGIs that it passes through.
    pub fn add<'a>(
        &mut self,
        (sequence, card_ref, others): (u32, CardRef, [u8; 32]),
        applications: impl Iterator<Item = (&'a [u8], Vec<Dgi>)>,
    ) {
        let applications = applications.map(|(application, pass_through)| {
            self.bytes.extend_from_slice(application);
            // A chip section has at most 65,535 bytes.
            let length = u32::try_from(application.len()).unwrap_or(u32::MAX);
            ApplicationToCheck { length, pass_through }
        });
        let applications = applications.collect();
        self.records.push(RecordToCheck { sequence, card_ref, others, applications });
    }

    /// Whether another record may not fit.
    pub fn is_full(&self) -> bool {
        // A record has at most 255 applications of together 64 KiB.
        self.bytes.len() >= CHECK_FULL || self.count() > CHECK_LIMIT - 255
    }

    /// Forgets the records, and keeps the room for others.
    pub fn clear(&mut self) {
        self.records.clear();
        wipe(&mut self.bytes);
        self.bytes.clear();
    }

    /// Returns the number of applications.
    pub fn count(&self) -> usize {
        self.records.iter().map(|record| record.applications.len()).sum()
    }

    /// Iterates over the applications.
    pub fn applications(&self) -> impl Iterator<Item = CheckedApplication<'_>> {
        let mut rest = self.bytes.as_slice();
        self.records.iter().flat_map(move |record| record.applications.iter().map(move |a| (record, a))).map(
            move |(record, ApplicationToCheck { length, pass_through })| {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                let (application, after) = rest.split_at_checked(length).unwrap_or_default();
                rest = after;
                CheckedApplication { record, application, pass_through }
            },
        )
    }
}

/// A card's answer to INITIALIZE UPDATE, and all commands of its session before wrapping.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardSessionRequest {
    /// The attempt, as the ledger has bound it.
    pub card: CardAttempt,
    /// Number of the application in its record, from 1: they are opened in order.
    pub step: u8,
    /// Names the record, from [`super::Hsm::verify_record`].
    pub handle: RecordHandle,
    /// The product's channel.
    pub channel: SecureChannelSpec,
    /// How card keys come from the KMC.
    pub derivation: KeyDerivation,
    /// The challenge that the card was sent: the one alive on this connection.
    pub host_challenge: HostChallenge,
    /// The card's answer, without status word.
    pub card_answer: Vec<u8>,
    /// P1 of EXTERNAL AUTHENTICATE; must be the handle's.
    pub level: SecLevel,
    /// The commands after EXTERNAL AUTHENTICATE, in order.
    pub commands: Vec<PlainCommand>,
}

/// A session's command APDUs as they go to the card. At levels without encryption they carry cardholder data.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardSession {
    /// EXTERNAL AUTHENTICATE, then one APDU for each command asked for. No Le.
    pub apdus: Vec<WipedBytes>,
    /// The challenge that is now alive on this connection: it saves the next session a call.
    pub next_challenge: HostChallenge,
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
    Clear(WipedBytes),
    /// Bytes `from..to` of a protected DGI's value as re-encrypted under the session DEK. P1 b7 b6 must be 11.
    Protected {
        /// The DGI.
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

//! The operations of an HSM, one line each. A line makes the method of the trait, the message on the wire, the client's
//! call, the host's dispatch and the callers that it answers (`operation_table`); the rest of an operation is its request
//! type (`messages`) and its implementation in each HSM (`soft`).
//!
//! The order of the lines is the number of a message: new ones go to the end, and `wire::PROTOCOL` rises.

use serde::{Deserialize, Serialize};

use super::caller::CallerRole;
use super::operation_table::{SentBytes, WireByte, by_reference, by_value, hsm_operations, sent_bytes};
use super::{
    Acknowledged, AuditInfo, AuthorityKey, CardCodes, CardSession, CardSessionRequest, CertificateToInstall,
    CheckAnswers, CheckRequest, CodesRequest, DocumentRequest, FileAdmission, FollowedLedger, Following,
    HsmClient, HsmError, HsmInfo, IssuerInfo, IssuerKeyInfo, IssuerKeyName, NewCardKeys, NewIssuerKey,
    OwnCertificate, ProtectRequest, ProtectedCard, RecordHandle, RecordToVerify, SealedCardKey, ShownEvents,
    TrailerEnd, TrailerRequest, TrailerToProtect, VerifiedRecord, WipedBytes,
};
use crate::audit::{DocumentSeal, LedgerId};
use crate::ids::SpoolKeyName;
use crate::record::envelope::WrappedFileKey;
use crate::scp::{HostChallenge, SecureChannelSpec};

hsm_operations! {
    /// The side of a key-holding device that verifies files and opens channels to cards. One connection, one caller;
    /// calls block.
    trait Hsm {
        /// Lists the keys: references and KCVs.
        #[counted = "info"]
        #[callers(Ledger, Station, Check)]
        fn info() -> HsmInfo;

        /// Checks the MAC of a file's Trailer.
        #[counted = "verify-trailer"]
        #[callers(Check)]
        fn verify_trailer(request: &TrailerRequest) -> ();

        /// Checks the applications of one record and opens them inside; returns a handle for one attempt. An earlier handle of
        /// the record ends.
        #[counted = "verify"]
        #[callers(Source)]
        fn verify_record(record: &RecordToVerify) -> VerifiedRecord
            where |verified| verified.applications.len() == record.applications.len();

        /// Draws the host challenge of the next session of this connection (RTERM). A connection has one live
        /// challenge: a new one replaces an earlier one that no session has used.
        #[counted = "challenge"]
        #[callers(Station)]
        fn draw_challenge(channel: SecureChannelSpec) -> HostChallenge;

        /// Derives card and session keys, checks the card's cryptogram, and wraps the whole session of the next application. The
        /// attempt must be the one that the ledger has bound to this chip. Uses up the connection's challenge in any case. After
        /// a fault of the card the handle still exists, and the card must not get another INITIALIZE UPDATE; after a refusal of
        /// the commands the handle is used up. The last question of an attempt has the same answer again, with a new challenge.
        #[counted = "session"]
        #[callers(Station)]
        fn session(request: &CardSessionRequest) -> CardSession
            where |session| session.apdus.len() == request.commands.len() + 1;

        /// Forgets handles that will not be used (a cancelled record). Unknown ones are ignored.
        #[counted = "release"]
        #[callers(Source)]
        fn release(handles: [RecordHandle]) -> ();
    }

    /// The side of a key-holding device that signs for ledgers and documents.
    trait Auditor {
        /// Returns its memory of a ledger, and its audit key.
        #[counted = "audit"]
        #[callers(Ledger, Check)]
        fn audit(ledger: LedgerId) -> AuditInfo;

        /// Begins to follow a ledger on this connection, until it ends. Returns what the HSM remembers of it.
        #[counted = "follow"]
        #[callers(Ledger)]
        fn follow(request: &Following) -> FollowedLedger where |followed| followed.place.ledger == request.ledger;

        /// Takes the next events of a ledger that this connection follows. They are remembered when this returns. What breaks a
        /// law ends the ledger: everything before it is remembered, and nothing more is taken.
        #[counted = "show"]
        #[callers(Ledger)]
        fn show(events: &ShownEvents) -> Acknowledged where |now| now.place.ledger == events.after.ledger;

        /// Notes that a file goes into a ledger, for good: every other ledger is refused this file from then on.
        #[counted = "admit"]
        #[callers(Ledger)]
        fn admit(file: &FileAdmission) -> ();

        /// Seals a document of a closed job: signs its digest with what the HSM has counted of the job. A certificate of deletion
        /// is refused while the HSM has the key of the spool.
        #[counted = "seal-document"]
        #[callers(Ledger)]
        fn seal_document(request: &DocumentRequest) -> DocumentSeal
            where |seal| seal.document.text == request.text && seal.document.kind == request.kind;
    }

    /// The side of a key-holding device that seals cardholder data at rest: each spool has a key of its own, made and used inside.
    /// It is destroyed when the HSM was shown DELETING of its closed job ([`Auditor::show`]), and at no other request.
    trait Vault {
        /// Makes the key of a new spool of this ledger; it is durable when this returns.
        #[counted = "new-spool"]
        #[callers(Ledger)]
        fn new_spool(ledger: LedgerId) -> SpoolKeyName;

        /// Seals the pieces of a spool from number `first` on: `clear` cut into [`super::PIECE`] bytes, the last may be
        /// shorter. Each number once and in order, by the host that made the key.
        #[counted = "seal"]
        #[callers(Ledger)]
        fn seal(spool: SpoolKeyName, first: u64, clear: @u8) -> WipedBytes;

        /// Opens pieces that [`Vault::seal`] returned.
        #[counted = "unseal"]
        #[callers(Ledger, Source)]
        fn unseal(spool: SpoolKeyName, first: u64, sealed: @u8) -> WipedBytes;

        /// Destroys the key of a spool of which no job was made. Only the connection that made it does so.
        #[counted = "abandon-spool"]
        #[callers(Ledger)]
        fn abandon_spool(spool: SpoolKeyName) -> ();
    }

    /// The side of a key-holding device that checks a file from which no card is made yet: for acceptance and
    /// inspection.
    trait Checker {
        /// Checks applications as [`Hsm::verify_record`] does, and keeps nothing of them: no handle, no value. An
        /// application that is wrong does not end the others.
        #[counted = "check"]
        #[callers(Check)]
        fn check(request: &CheckRequest) -> CheckAnswers where |answers| answers.len() == request.count();
    }

    /// The side of an issuer's key-holding device, which makes the protected part of an output file. Master keys, card
    /// keys and PIN blocks exist in the clear only inside.
    trait Issuer {
        /// Lists the keys: references and KCVs.
        #[counted = "issuer-keys"]
        #[callers(Issuer)]
        fn issuer_keys() -> IssuerInfo;

        /// Computes the verification values of cards.
        #[counted = "card-codes"]
        #[callers(Issuer)]
        fn card_codes(request: &CodesRequest) -> Vec<CardCodes> where |codes| codes.len() == request.cards.len();

        /// Makes the secret values of cards, and protects their applications under the keys of the file.
        #[counted = "protect"]
        #[callers(Issuer)]
        fn protect_cards(request: &ProtectRequest) -> Vec<ProtectedCard>
            where |cards| cards.len() == request.cards.len();

        /// MACs the Trailer of the file.
        #[counted = "protect-trailer"]
        #[callers(Issuer)]
        fn protect_trailer(request: &TrailerToProtect) -> TrailerEnd;

        /// Makes an RSA key pair of the issuer with the next version; it is durable when this returns.
        #[counted = "issuer-key"]
        #[callers(Issuer)]
        fn make_issuer_key(request: &NewIssuerKey) -> IssuerKeyInfo;

        /// Writes the request for the certificate of the issuer's key, signed by this key (`emv::request`).
        #[counted = "certificate-request"]
        #[callers(Issuer)]
        fn request_certificate(key: IssuerKeyName) -> Vec<u8>;

        /// Checks a certificate of the issuer's key, and keeps it with the key.
        #[counted = "install-certificate"]
        #[callers(Issuer)]
        fn install_certificate(request: &CertificateToInstall) -> IssuerKeyInfo;

        /// Certifies the issuer's key by the test authority of a TEST store, and keeps the certificate with the key.
        /// Returns the authority's public key, for terminals.
        #[counted = "own-certificate"]
        #[callers(Issuer)]
        fn certify_own(request: &OwnCertificate) -> AuthorityKey;

        /// Makes key pairs of cards, and returns them sealed; the HSM keeps nothing of them.
        #[counted = "card-keys"]
        #[callers(Issuer)]
        fn make_card_keys(request: &NewCardKeys) -> Vec<SealedCardKey>
            where |keys| keys.len() == usize::from(request.count);

        /// Checks the MAC of the Trailer of an unfinished file.
        #[counted = "verify-unfinished"]
        #[callers(Issuer)]
        fn verify_unfinished(request: &TrailerRequest) -> ();

        /// Checks that a card's key pair was sealed by this HSM.
        #[counted = "card-key"]
        #[callers(Issuer)]
        fn check_card_key(key: &SealedCardKey) -> ();
    }

    /// The side of a key-holding device that opens files that are sealed to its owner.
    trait FileReceiver {
        /// Unwraps the key of one file, if it is wrapped to the recipient. The private key stays inside.
        #[counted = "file-key"]
        #[callers(Check)]
        fn unwrap_file_key(wrapped: [WrappedFileKey]) -> WipedBytes;
    }
}

/// A connection to a device. The device has a bureau's sides, or an issuer's.
pub trait HsmConnection: Hsm + Auditor + Vault + Checker + Issuer + FileReceiver {}

impl<T: Hsm + Auditor + Vault + Checker + Issuer + FileReceiver> HsmConnection for T {}

/// A device that the HSM host can serve.
pub trait HostedHsm: Send + Sync {
    /// One caller's view of the device; it holds what ends with the connection.
    type Connection: HsmConnection + 'static;

    /// TEST or LIVE.
    fn realm(&self) -> super::Realm;

    /// A new connection.
    fn connect(&self) -> Self::Connection;
}

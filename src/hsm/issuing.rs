//! Requests to an issuer's HSM and its answers: card keys and codes are made, and applications protected, inside it.
//!
//! Some hold account numbers, PINs and clear DGIs, which are wiped and never shown ([`WipedBytes`]); none holds a key.
//! Not here: which operations there are (`operations`), what a product wants on its cards (`prep`).

use serde::{Deserialize, Serialize};

use super::store::KeyUsage;
use super::{KekInfo, Realm, WipedBytes};
use crate::crypto::payment::CardKeyMethod;
use crate::crypto::{FileKind, KeyType};
use crate::ids::{Aid, CardRef, Dgi, FileId, IssuerId, Kcv, KekId};
use crate::record::chip::Pdi;

/// The keys of an issuer's HSM, without their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuerInfo {
    /// TEST or LIVE.
    pub realm: Realm,
    /// Key encryption keys agreed with bureaus.
    pub keks: Vec<KekInfo>,
    /// Master keys.
    pub masters: Vec<MasterKeyInfo>,
    /// RSA key pairs of the issuer, by issuer identifier and version.
    pub rsa: Vec<IssuerKeyInfo>,
}

/// A master key of the issuer, without its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MasterKeyInfo {
    /// Operator's name for it.
    pub label: String,
    /// Its purpose.
    pub usage: KeyUsage,
    /// Issuer identifier, 8 hex digits.
    pub issuer: String,
    /// Version; of a PVK the index PVKI.
    pub version: u8,
    /// Cipher and length.
    pub key_type: KeyType,
    /// Check value.
    pub kcv: Kcv,
}

/// An RSA key pair of the issuer, by which it signs card certificates and static data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKeyInfo {
    /// Its name.
    pub name: IssuerKeyName,
    /// Modulus.
    pub modulus: Vec<u8>,
    /// Public exponent: 3 or 65537.
    pub exponent: u32,
    /// Its certificate; the last one that was installed.
    pub certificate: Option<IssuerCertificate>,
}

/// Names an RSA key pair of the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IssuerKeyName {
    /// Issuer identifier: 3 to 8 digits, padded with F.
    pub issuer: [u8; 4],
    /// Version, 1 to 255.
    pub version: u8,
}

/// A certification authority's public key by the names that a terminal looks it up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AuthorityName {
    /// Registered application provider identifier.
    pub rid: [u8; 5],
    /// Index of the key (tag 8F).
    pub index: u8,
}

/// The certificate of an issuer's key, which a certification authority signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerCertificate {
    /// Whose key verifies it.
    pub authority: AuthorityName,
    /// The certificate (tag 90), as long as the authority's modulus.
    pub certificate: Vec<u8>,
    /// The rest of the issuer's modulus (tag 92); empty if the certificate holds all of it.
    pub remainder: Vec<u8>,
    /// Last month of its validity, MMYY in BCD.
    pub expiry: [u8; 2],
    /// Its serial number.
    pub serial: [u8; 3],
}

/// A new RSA key pair of the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewIssuerKey {
    /// Issuer identifier.
    pub issuer: [u8; 4],
    /// Size of the modulus in bits.
    pub bits: u16,
    /// Public exponent: 3 or 65537.
    pub exponent: u32,
}

/// Key pairs of cards to be made ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCardKeys {
    /// Size of the modulus in bits.
    pub bits: u16,
    /// Public exponent: 3 or 65537.
    pub exponent: u32,
    /// Their number.
    pub count: u16,
}

/// A card's key pair, sealed under a key of the issuer's HSM.
#[derive(Clone, Serialize, Deserialize)]
pub struct SealedCardKey {
    /// Modulus.
    pub modulus: Vec<u8>,
    /// The key pair, sealed.
    pub sealed: Vec<u8>,
}

/// A public RSA key of a certification authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityKey {
    /// Its name.
    pub name: AuthorityName,
    /// Modulus.
    pub modulus: Vec<u8>,
    /// Public exponent: 3 or 65537.
    pub exponent: u32,
}

/// A certificate to be signed by the test authority of an issuer's own store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCertificate {
    /// The issuer's key.
    pub key: IssuerKeyName,
    /// The name of the test authority; its key is made if there is none yet.
    pub authority: AuthorityName,
    /// Last month of the certificate's validity, MMYY in BCD.
    pub expiry: [u8; 2],
}

/// A certificate that a certification authority has sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateToInstall {
    /// The issuer's key.
    pub key: IssuerKeyName,
    /// The authority's key, by which the certificate is checked.
    pub authority: AuthorityKey,
    /// The certificate (tag 90).
    pub certificate: Vec<u8>,
    /// The rest of the issuer's modulus (tag 92).
    pub remainder: Vec<u8>,
    /// This month, MMYY in BCD: an expired certificate is refused.
    pub today: [u8; 2],
}

/// A master key by purpose and version. The issuer identifier is the request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MasterKeyRef {
    /// Its purpose.
    pub usage: KeyUsage,
    /// Its version.
    pub version: u8,
}

/// The verification values of cards, which stand on stripe and plastic and in clear DGIs.
#[derive(Clone, Serialize, Deserialize)]
pub struct CodesRequest {
    /// Issuer identifier of the keys, 8 hex digits.
    pub issuer: String,
    /// CVK.
    pub cvk: MasterKeyRef,
    /// PVK; without one there are no PIN verification values.
    pub pvk: Option<MasterKeyRef>,
    /// The cards.
    pub cards: Vec<CardForCodes>,
}

/// A card of a [`CodesRequest`]. All are ASCII digits.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardForCodes {
    /// Account number.
    pub pan: WipedBytes,
    /// YYMM.
    pub expiry: WipedBytes,
    /// Service code of the stripe.
    pub service: WipedBytes,
    /// PIN, if the card has one.
    pub pin: Option<WipedBytes>,
}

/// The verification values of a card: ASCII digits.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardCodes {
    /// CVV of the stripe: 3 digits.
    pub cvv: WipedBytes,
    /// CVV of the chip's track 2 (service code 999).
    pub icvv: WipedBytes,
    /// CVV2, printed (service code 000, expiry as MMYY).
    pub cvv2: WipedBytes,
    /// PVV: 4 digits; of a card with a PIN, and with a PVK.
    pub pvv: Option<WipedBytes>,
}

/// Cards of one file to be protected.
#[derive(Clone, Serialize, Deserialize)]
pub struct ProtectRequest {
    /// The kind of the file, from the Header.
    pub kind: FileKind,
    /// The KEK of the file.
    pub kek: KekId,
    /// Issuer, from the Header; must be the KEK's.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header.
    pub file_id: FileId,
    /// Issuer identifier of the master keys, 8 hex digits.
    pub issuer: String,
    /// The cards.
    pub cards: Vec<CardToProtect>,
}

/// A card of a [`ProtectRequest`].
#[derive(Clone, Serialize, Deserialize)]
pub struct CardToProtect {
    /// Number of the record.
    pub sequence: u32,
    /// The card_ref of the record.
    pub card_ref: CardRef,
    /// SHA-256 of every `L1 MIC | L4 data` of the record but CHP, concatenated in file order.
    pub others: [u8; 32],
    /// PIN, ASCII digits.
    pub pin: Option<WipedBytes>,
    /// The applications in file order.
    pub applications: Vec<ApplicationToProtect>,
}

impl CardToProtect {
    /// About the bytes of its message, and of the answer.
    pub fn bytes(&self) -> usize {
        let parts = self.applications.iter().flat_map(|a| &a.dgis).flat_map(|dgi| &dgi.parts);
        let known = parts.map(|part| match part {
            ValuePart::Clear(bytes) => bytes.len(),
            _ => 256,
        });
        let earlier = self.applications.iter().filter_map(|a| a.earlier.as_ref());
        let earlier: usize = earlier.map(|earlier| earlier.application.len()).sum();
        let offline = self.applications.iter().filter_map(|a| a.offline.as_ref());
        let signed = offline.map(|o| o.static_data.len() + o.card.as_ref().map_or(0, |card| card.key.len()));
        earlier + known.sum::<usize>() + signed.sum::<usize>()
    }
}

/// An application of a card, its secrets not made yet.
#[derive(Clone, Serialize, Deserialize)]
pub struct ApplicationToProtect {
    /// AID of the application.
    pub aid: Aid,
    /// Processing instructions; its ENC list names the secret DGIs.
    pub pdi: Pdi,
    /// LOGDATA.
    pub log: Vec<Dgi>,
    /// The data in file order.
    pub dgis: Vec<DgiToProtect>,
    /// What the issuer signs for offline data authentication.
    pub offline: Option<OfflineToSign>,
    /// The application in the unfinished file from which its sealed values come. Then everything else is as it is there.
    pub earlier: Option<EarlierApplication>,
}

/// An application of an unfinished file. Names of file and issuer, KEK, card_ref and AID are those of the request.
#[derive(Clone, Serialize, Deserialize)]
pub struct EarlierApplication {
    /// Number of its record in that file.
    pub sequence: u32,
    /// SHA-256 of the record's other sections in that file, as in [`CardToProtect`].
    pub others: [u8; 32],
    /// The application as it stands there: from the length byte of 3a.1 (`L1 { L1 AID ...`) to the last byte of the MAC.
    pub application: WipedBytes,
}

/// What the issuer signs of an application, so that a terminal can authenticate the card offline.
#[derive(Clone, Serialize, Deserialize)]
pub struct OfflineToSign {
    /// The issuer's key.
    pub issuer_key: IssuerKeyName,
    /// The static data to be authenticated.
    pub static_data: WipedBytes,
    /// Data authentication code of signed static data.
    pub code: [u8; 2],
    /// The card's key pair and what its certificate states; `None` if the card has none.
    pub card: Option<CardToCertify>,
}

/// What a card's certificate states. The HSM gives it its serial number.
#[derive(Clone, Serialize, Deserialize)]
pub struct CardToCertify {
    /// The card's key pair, as [`super::Issuer::make_card_keys`] sealed it.
    pub key: WipedBytes,
    /// Account number: ASCII digits.
    pub number: WipedBytes,
    /// Last month of validity, MMYY in BCD.
    pub expiry: [u8; 2],
}

/// A DGI of an application, put together from parts.
#[derive(Clone, Serialize, Deserialize)]
pub struct DgiToProtect {
    /// The DGI.
    pub dgi: Dgi,
    /// Its value.
    pub parts: Vec<ValuePart>,
}

/// A part of a value.
#[derive(Clone, Serialize, Deserialize)]
pub enum ValuePart {
    /// Bytes as they are.
    Clear(WipedBytes),
    /// The card's key from a master key. Only in a DGI of ENC.
    CardKey(CardKeyRef),
    /// The check value of such a key: 3 bytes.
    CheckValue(CardKeyRef),
    /// The card's PIN in ISO 9564 format 1 with random fill. Only alone, in a DGI of ENC type 22.
    PinBlock,
    /// A part of the card's RSA key pair. Only in a DGI of ENC.
    Rsa(RsaPart),
    /// The card's certificate (tag 9F46), as long as the issuer's modulus.
    CardCertificate,
    /// Signed static data (tag 93), as long as the issuer's modulus.
    SignedStaticData,
    /// The value of this DGI in the earlier application.
    Sealed,
}

/// A part of a card's RSA key pair (EMV CPS, DGIs 8201 to 8205): half as long as the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RsaPart {
    /// q^-1 mod p.
    Qinv,
    /// d mod (q - 1).
    Dq,
    /// d mod (p - 1).
    Dp,
    /// The smaller prime.
    Q,
    /// The larger prime.
    P,
}

/// A card's key: from which master key, by which data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardKeyRef {
    /// The master key.
    pub master: MasterKeyRef,
    /// How the data become the block that is encrypted.
    pub method: CardKeyMethod,
    /// Account number, or the identifier of a purse: ASCII digits.
    pub number: WipedBytes,
    /// PAN sequence number: 2 digits; 00 for a purse.
    pub psn: [u8; 2],
}

/// The applications of a card as they stand in the file: from the length byte of 3a.1 (`L1 { L1 AID ...`) to the last byte
/// of the MAC.
pub type ProtectedCard = Vec<WipedBytes>;

/// The Trailer of a file, to be MACed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrailerToProtect {
    /// The kind of the file, from the Header.
    pub kind: FileKind,
    /// The KEK of the file.
    pub kek: KekId,
    /// Issuer, from the Header; must be the KEK's.
    pub issuer_id: IssuerId,
    /// The issuer's id of the file, from the Header.
    pub file_id: FileId,
    /// The Trailer body from its first byte up to the length byte of the wrapped MAC key, without it.
    pub head: Vec<u8>,
}

/// The end of a Trailer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailerEnd {
    /// The MAC key, wrapped under the TK of purpose "T".
    pub wrapped_mac_key: Vec<u8>,
    /// The MAC over the body up to and including the wrapped MAC key with its length byte.
    pub mac: Vec<u8>,
}

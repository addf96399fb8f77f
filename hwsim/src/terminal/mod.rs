//! A terminal that authenticates a personalized card offline, written from EMV 4.3 alone (Book 2, 5 and 6,
//! annexes A2 and B2; Book 3, 6.5 and 10.1 to 10.3).
//!
//! It reads the card and computes every check by itself, so that a mistake of the issuer's preparation or of
//! the card cannot repeat here: it shares no code with either. The choice follows the AIP: CDA, else DDA, else
//! SDA; a method that fails is not replaced by a lesser one.
//!
//! ```text
//! SELECT, GET PROCESSING OPTIONS, READ RECORD     reader, with the terminal's `data`
//! CA key ─► issuer certificate 90 ─► key          chain, with recovery
//!                          ├ SDA: 93              signatures
//!                          └ ICC certificate 9F46 ─► key ─┬ DDA: INTERNAL AUTHENTICATE
//!                                                         └ CDA: GENERATE AC
//! ```
//!
//! Stricter than a terminal in the field, since it looks for mistakes of a preparation: padding must be BB, a
//! remainder stands only where one is needed, a modulus has its full length. Not here: processing
//! restrictions, cardholder verification, the revocation list, the application cryptogram (only the issuer can
//! check it), T=0.
//!
//! [`batch`] authenticates all cards of a dump.

pub mod batch;
mod chain;
mod data;
mod failure;
mod reader;
mod recovery;
mod signatures;
#[cfg(test)]
mod tests;
mod tlv;

pub use chain::CertificationKeys;
pub use data::TerminalData;
pub use failure::{AuthenticationFailure, StepFault, TerminalStep};
pub use reader::TerminalLink;

use std::fmt::{self, Display};

use reader::ReadApplication;
use recovery::OpeningKey;
use signatures::SignedCryptogram;
use tlv::CardObjects;

/// AID of the purse.
pub const PURSE: [u8; 8] = *b"\xF0CWPURSE";

/// The DDOL of a terminal for a card that has none: the unpredictable number.
const DEFAULT_DDOL: [u8; 3] = [0x9F, 0x37, 4];

/// How a card was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthenticationMethod {
    /// Combined: the card signs its application cryptogram.
    Cda,
    /// Dynamic: the card signs a number of the terminal.
    Dda,
    /// Static: the issuer signed the card's data.
    Sda,
    /// The certificates alone, of a card that signs nothing for a terminal.
    Certificates,
}

impl AuthenticationMethod {
    /// The method that the AIP asks for, as this terminal has all three (EMV Book 3, 10.3).
    fn of_profile([supported, _]: [u8; 2]) -> Option<Self> {
        let methods = [(0x01, Self::Cda), (0x20, Self::Dda), (0x40, Self::Sda)];
        methods.into_iter().find(|(bit, _)| supported & bit != 0).map(|(_, method)| method)
    }
}

impl Display for AuthenticationMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cda => "CDA",
            Self::Dda => "DDA",
            Self::Sda => "SDA",
            Self::Certificates => "certificates",
        })
    }
}

/// Authenticates a payment application by the method that its AIP asks for.
pub fn authenticate(
    link: &mut impl TerminalLink,
    aid: &[u8],
    authorities: &CertificationKeys,
    data: &TerminalData,
) -> Result<AuthenticationMethod, AuthenticationFailure> {
    let application = ReadApplication::read(link, aid, data)?;
    let method = AuthenticationMethod::of_profile(application.aip);
    let method = method.ok_or(StepFault::NoMethod.at(TerminalStep::Method))?;
    let static_data = application.static_data().map_err(|fault| fault.at(TerminalStep::StaticData))?;
    let objects = &application.objects;
    let index = object(objects, 0x8F)?;
    let pan = object(objects, 0x5A)?;
    let authority = authorities.of_application(aid, index)?;
    let chain = KeyChain { objects, subject: pan, static_data: &static_data, data };
    let issuer = chain.issuer(authority)?;
    match method {
        AuthenticationMethod::Cda => combined(link, &chain.card(&issuer)?, &application, data)?,
        AuthenticationMethod::Dda => dynamic(link, &chain.card(&issuer)?, objects, data)?,
        AuthenticationMethod::Sda | AuthenticationMethod::Certificates => {
            let step = TerminalStep::SignedStaticData;
            let signed = objects.get(0x93).map_err(|fault| fault.at(step))?;
            signatures::check_static(&issuer, signed, &static_data).map_err(|fault| fault.at(step))?;
        }
    }
    Ok(method)
}

/// Checks the certificates of the purse, which has no GET PROCESSING OPTIONS: its records have fixed places,
/// record 1 of SFI 1 is signed, and DF0C there is the number that stands for a PAN. Its AID has no registered
/// provider, so that the index alone (8F) names the authority.
pub fn authenticate_purse(
    link: &mut impl TerminalLink,
    authorities: &CertificationKeys,
    data: &TerminalData,
) -> Result<AuthenticationMethod, AuthenticationFailure> {
    reader::select(link, &PURSE)?;
    let static_data = reader::record(link, 1, 1)?;
    let mut objects = CardObjects::default();
    let mut add = |record: &[u8]| objects.add(record).map_err(|fault| fault.at(TerminalStep::ReadRecord));
    add(&static_data)?;
    for number in 1..=3 {
        add(&reader::record(link, 2, number)?)?;
    }
    let authority = authorities.of_index(object(&objects, 0x8F)?)?;
    let subject = object(&objects, 0xDF0C)?;
    let chain = KeyChain { objects: &objects, subject, static_data: &static_data, data };
    chain.card(&chain.issuer(authority)?)?;
    Ok(AuthenticationMethod::Certificates)
}

/// A data object that every card must have in its records.
fn object(objects: &CardObjects, tag: u32) -> Result<&[u8], AuthenticationFailure> {
    objects.get(tag).map_err(|fault| fault.at(TerminalStep::ReadRecord))
}

/// What the certificates of a card are checked against.
struct KeyChain<'a> {
    objects: &'a CardObjects,
    /// The PAN, or the number that stands for it.
    subject: &'a [u8],
    static_data: &'a [u8],
    data: &'a TerminalData,
}

impl KeyChain<'_> {
    fn issuer(&self, authority: &OpeningKey) -> Result<OpeningKey, AuthenticationFailure> {
        chain::issuer_key(authority, self.objects, self.subject, self.data)
            .map_err(|fault| fault.at(TerminalStep::IssuerCertificate))
    }

    fn card(&self, issuer: &OpeningKey) -> Result<OpeningKey, AuthenticationFailure> {
        chain::card_key(issuer, self.objects, self.subject, self.static_data, self.data)
            .map_err(|fault| fault.at(TerminalStep::CardCertificate))
    }
}

/// Has the card sign with INTERNAL AUTHENTICATE, and checks the signature.
fn dynamic(
    link: &mut impl TerminalLink,
    card: &OpeningKey,
    objects: &CardObjects,
    data: &TerminalData,
) -> Result<(), AuthenticationFailure> {
    let step = TerminalStep::InternalAuthenticate;
    let ddol = objects.find(0x9F49).unwrap_or(&DEFAULT_DDOL);
    let values = data.fill_signed(ddol).map_err(|fault| fault.at(step))?;
    let answer = reader::send(link, step, [0x00, 0x88, 0x00, 0x00], &values)?;
    let signed = signature_of(&answer).map_err(|fault| fault.at(step))?;
    signatures::check_dynamic(card, &signed, &values)
        .map_err(|fault| fault.at(TerminalStep::SignedDynamicData))
}

/// The signature in an answer of format 1 (80) or 2 (77).
fn signature_of(answer: &[u8]) -> Result<Vec<u8>, StepFault> {
    if let [0x80, ..] = answer {
        return tlv::template(0x80, answer).map(<[u8]>::to_vec);
    }
    let mut answered = CardObjects::default();
    answered.add(tlv::template(0x77, answer)?)?;
    answered.get(0x9F4B).map(<[u8]>::to_vec)
}

/// Has the card sign its cryptogram (an ARQC, P1 bit 5 for CDA), and checks the signature.
fn combined(
    link: &mut impl TerminalLink,
    card: &OpeningKey,
    application: &ReadApplication,
    data: &TerminalData,
) -> Result<(), AuthenticationFailure> {
    let step = TerminalStep::GenerateAc;
    let list = application.objects.get(0x8C).map_err(|fault| fault.at(step))?;
    let values = data.fill_signed(list).map_err(|fault| fault.at(step))?;
    let answer = reader::send(link, step, [0x80, 0xAE, 0x90, 0x00], &values)?;
    let cryptogram = SignedCryptogram::parse(&answer).map_err(|fault| fault.at(step))?;
    cryptogram
        .check(card, data.unpredictable(), [&application.pdol_values, &values])
        .map_err(|fault| fault.at(TerminalStep::SignedDynamicData))
}

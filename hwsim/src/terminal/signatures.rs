//! The signatures over a card's data: static (EMV Book 2, 5.4), dynamic (6.5.2), combined (6.6.2).

use sha1::{Digest, Sha1};

use super::failure::StepFault;
use super::recovery::{OpeningKey, SignedBlock, array, check_filler};
use super::tlv;

/// Signed static application data (93), with the issuer's key.
pub(super) fn check_static(issuer: &OpeningKey, signed: &[u8], static_data: &[u8]) -> Result<(), StepFault> {
    let block = issuer.open(signed, 3)?;
    let mut rest = block.content();
    let [algorithm, _, _] = array(&mut rest)?; // then the data authentication code, which only issuers read
    block.check_hash(algorithm, &[static_data])?;
    check_filler(rest)
}

/// Opens signed dynamic application data (9F4B) with the card's key; returns the ICC dynamic data that follow
/// the ICC dynamic number. The hash also covers `following`, from the terminal.
fn dynamic_data(card: &OpeningKey, signed: &[u8], following: &[u8]) -> Result<Vec<u8>, StepFault> {
    let block: SignedBlock = card.open(signed, 5)?;
    let mut rest = block.content();
    let [algorithm, length] = array(&mut rest)?;
    block.check_hash(algorithm, &[following])?;
    let mut data = tlv::take(&mut rest, length.into()).map_err(|_| StepFault::DynamicData)?;
    check_filler(rest)?;
    let number = tlv::byte(&mut data).map_err(|_| StepFault::DynamicData)?;
    if !(2..=8).contains(&number) || tlv::take(&mut data, number.into()).is_err() {
        return Err(StepFault::DynamicData);
    }
    Ok(data.to_vec())
}

/// The signature of INTERNAL AUTHENTICATE. After the dynamic number, a card may sign data of its own.
pub(super) fn check_dynamic(card: &OpeningKey, signed: &[u8], ddol_values: &[u8]) -> Result<(), StepFault> {
    dynamic_data(card, signed, ddol_values).map(drop)
}

/// The answer of GENERATE AC with a signature.
pub(super) struct SignedCryptogram {
    /// Cryptogram information data (9F27).
    information: u8,
    /// Signed dynamic application data (9F4B).
    signed: Vec<u8>,
    /// All other data objects of the answer, as they came.
    others: Vec<u8>,
}

impl SignedCryptogram {
    /// Parses the answer, which has format 2 (77). An AAC is not signed.
    pub(super) fn parse(answer: &[u8]) -> Result<Self, StepFault> {
        let mut answered = tlv::CardObjects::default();
        // Format 1 (80) holds a cryptogram without a signature; its first byte is the CID.
        if let [0x80, _, information, ..] = answer {
            return Err(if information & 0xC0 == 0 {
                StepFault::Refused
            } else {
                StepFault::Missing(0x9F4B)
            });
        }
        let body = tlv::template(0x77, answer)?;
        answered.add(body)?;
        let [information] = answered.get(0x9F27)? else { return Err(StepFault::Malformed) };
        if information & 0xC0 == 0 {
            return Err(StepFault::Refused);
        }
        if answered.get(0x9F36)?.len() != 2 {
            return Err(StepFault::Malformed);
        }
        let signed = answered.get(0x9F4B)?.to_vec();
        let others = tlv::objects(body)?.into_iter().filter(|object| object.tag != 0x9F4B);
        Ok(Self {
            information: *information,
            signed,
            others: others.flat_map(|o| o.whole.to_vec()).collect(),
        })
    }

    /// Checks the signature. `sent` are the values sent for PDOL and CDOL1.
    pub(super) fn check(
        &self,
        card: &OpeningKey,
        unpredictable: &[u8],
        sent: [&[u8]; 2],
    ) -> Result<(), StepFault> {
        let data = dynamic_data(card, &self.signed, unpredictable)?;
        // CID, application cryptogram (8 bytes), hash; a card may sign data of its own after them.
        let mut rest = &data[..];
        let information = tlv::byte(&mut rest).map_err(|_| StepFault::DynamicData)?;
        let _cryptogram = tlv::take(&mut rest, 8).map_err(|_| StepFault::DynamicData)?;
        let hash = tlv::take(&mut rest, 20).map_err(|_| StepFault::DynamicData)?;
        if information != self.information {
            return Err(StepFault::CryptogramInformation);
        }
        let [pdol_values, cdol_values] = sent;
        let transaction = [pdol_values, cdol_values, &self.others].concat();
        if Sha1::digest(transaction)[..] == *hash { Ok(()) } else { Err(StepFault::TransactionHash) }
    }
}

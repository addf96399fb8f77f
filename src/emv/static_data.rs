//! The static data to be authenticated, and their signature (tag 93; EMV Book 3, clause 10.3; Book 2, clause 5.4, table 3).
//!
//! Not here: which records a product signs (`prep`).

use super::block::{BlockFault, FRAME, PAD, SHA_1, content, framed};
use crate::ids::Dgi;

/// Tag of a record of SFI 1 to 10.
const RECORD: u8 = 0x70;
/// Format of signed static data.
const FORMAT: u8 = 0x03;

/// Concatenates signed records in the order in which a terminal reads them: of SFI 1 to 10 what stands in the template 70,
/// of SFI 11 to 30 the whole record. With `aip` (when the card's tag list 9F4A is 82) the value of the AIP follows.
pub fn static_data<'r>(
    records: impl IntoIterator<Item = (Dgi, &'r [u8])>,
    aip: Option<&[u8]>,
) -> Result<Vec<u8>, BlockFault> {
    let mut data = Vec::new();
    for (dgi, record) in records {
        match dgi.0 >> 8 {
            1..=10 => data.extend_from_slice(inside(record)?),
            11..=30 => data.extend_from_slice(record),
            _ => return Err(BlockFault::Field("only records can be static data")),
        }
    }
    data.extend_from_slice(aip.unwrap_or_default());
    Ok(data)
}

/// The content of a record that is one template 70.
fn inside(record: &[u8]) -> Result<&[u8], BlockFault> {
    let wrong = BlockFault::Field("a record of SFI 1 to 10 is not one 70 template");
    let Some((&RECORD, rest)) = record.split_first() else { return Err(wrong) };
    match crate::tlv::read_length(rest) {
        Ok((length, content)) if length == content.len() => Ok(content),
        _ => Err(wrong),
    }
}

/// What signed static data state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedStaticData {
    /// Data authentication code: the issuer's own (tag 9F45 in a terminal).
    pub code: [u8; 2],
}

impl SignedStaticData {
    /// Makes the block for an issuer with a modulus of `signer` bytes.
    pub fn block(self, signer: usize, static_data: &[u8]) -> Result<Vec<u8>, BlockFault> {
        let [a, b] = self.code;
        let mut fields = vec![SHA_1, a, b];
        let length = signer.checked_sub(FRAME).filter(|length| *length >= fields.len());
        fields.resize(length.ok_or(BlockFault::Length)?, PAD);
        Ok(framed(FORMAT, &fields, &[static_data]))
    }

    /// Reads a recovered block.
    pub fn recovered(block: &[u8], static_data: &[u8]) -> Result<Self, BlockFault> {
        let [hash, a, b, padding @ ..] = content(FORMAT, block, &[static_data])? else {
            return Err(BlockFault::Length);
        };
        if *hash != SHA_1 {
            return Err(BlockFault::Algorithm);
        }
        if padding.iter().any(|byte| *byte != PAD) {
            return Err(BlockFault::Field("the padding is not BB"));
        }
        Ok(Self { code: [*a, *b] })
    }
}

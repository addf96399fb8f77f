//! The optional blocks of a key block. Only those are taken that restrict nothing; what they hold is shown or compared
//! after the MAC.

use std::fmt;

use subtle::ConstantTimeEq;

use super::header::{Fields, code, printable, upper_hex};
use super::{FormFault, KeyBlockFault};
use crate::crypto::CipherKey;

/// Characters of an optional block before its data: id and length.
const HEAD: usize = 4;

/// What the optional blocks of a key block say. `KS` (a serial number), `KV` (version of the values) and `PB` (padding)
/// say nothing that is needed here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionalBlocks {
    /// `LB`: the sender's label of the key.
    pub label: Option<String>,
    /// `TC`: when the key was made, as its sender wrote it.
    pub made: Option<String>,
    /// `TS`: when the block was made, as its sender wrote it.
    pub wrapped: Option<String>,
    /// `KC`: the check value of the key.
    pub(super) kcv_of_key: Option<StatedKcv>,
    /// `KP`: the check value of the KBPK.
    pub(super) kcv_of_kbpk: Option<StatedKcv>,
}

impl OptionalBlocks {
    pub(super) fn read(fields: &mut Fields<'_>, count: usize) -> Result<Self, KeyBlockFault> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for number in 1..=count {
            let place = fields.place();
            let fault = |fault| KeyBlockFault::Form { place, fault };
            let id = fields.take(2, "id of an optional block", code)?;
            if seen.contains(&id) {
                return Err(fault(FormFault::Twice(id.to_owned())));
            }
            seen.push(id);
            let no_length = fields.fault(FormFault::Field(LENGTH));
            let digits = fields.take(2, LENGTH, upper_hex)?;
            let length = match usize::from_str_radix(digits, 16) {
                Ok(0) => return Err(fault(FormFault::LongForm(id.to_owned()))),
                Ok(length) => length.checked_sub(HEAD).ok_or(no_length)?,
                Err(_) => return Err(no_length),
            };
            let data = fields.take(length, "optional block of the stated length", printable)?;
            if id == "PB" && number < count {
                return Err(fault(FormFault::PaddingFirst));
            }
            match options.add(id, data) {
                Ok(true) => {}
                Ok(false) => return Err(KeyBlockFault::Restricting { place, id: id.to_owned() }),
                Err(wrong) => return Err(fault(wrong)),
            }
        }
        Ok(options)
    }

    /// Whether the block is one that is taken.
    fn add(&mut self, id: &str, data: &str) -> Result<bool, FormFault> {
        let kcv = || StatedKcv::read(data).map(Some).ok_or_else(|| FormFault::NoKcv(id.to_owned()));
        match id {
            "LB" => self.label = Some(data.to_owned()),
            "TC" => self.made = Some(data.to_owned()),
            "TS" => self.wrapped = Some(data.to_owned()),
            "KC" => self.kcv_of_key = kcv()?,
            "KP" => self.kcv_of_kbpk = kcv()?,
            "KS" if hex::decode(data).is_err() => return Err(FormFault::NoHex(id.to_owned())),
            "KS" | "KV" | "PB" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

const LENGTH: &str = "length of an optional block";

/// A check value in a key block, with its method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedKcv {
    by_cmac: bool,
    value: Vec<u8>,
}

impl StatedKcv {
    /// X9.143, blocks KC and KP: 00 (a block of zeros encrypted) or 01 (CMAC of a block of zeros), then its first bytes.
    fn read(data: &str) -> Option<Self> {
        let bytes = hex::decode(data).ok()?;
        let (method, value) = bytes.split_first()?;
        let by_cmac = match method {
            0 => false,
            1 => true,
            _ => return None,
        };
        (2..=16).contains(&value.len()).then(|| Self { by_cmac, value: value.to_vec() })
    }

    /// What is compared and shown: three bytes, since more would narrow the key; two if there are no more.
    fn shown(&self) -> &[u8] {
        self.value.get(..3).unwrap_or(&self.value)
    }

    /// Whether it is the check value of this key.
    pub fn fits(&self, key: &CipherKey) -> bool {
        let mut block = vec![0; key.block()];
        let whole = if self.by_cmac {
            key.cmac(&block)
        } else {
            key.ecb_encrypt(&mut block).map_or(vec![], |()| block)
        };
        let shown = self.shown();
        whole.get(..shown.len()).is_some_and(|first| bool::from(first.ct_eq(shown)))
    }
}

impl fmt::Display for StatedKcv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.shown()))
    }
}

//! Reading a session's STORE DATA again: every DGI must be the handle's, clear values those that were verified,
//! protected values only by reference, in order, whole, and only in commands that say "encrypted".
//!
//! `DGI (2) | length (00-FE, or FF and 2 bytes) | value`, repeated and cut anywhere across commands (EMV CPS
//! 3.2, 4.3.4).

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::verify::ExpectedValue;
use crate::hsm::{DataPart, HsmRefusal};
use crate::ids::Dgi;

/// The walk over the data of all STORE DATA of a session.
pub(super) struct CommandStream<'a> {
    values: &'a [(Dgi, ExpectedValue)],
    sent: Vec<Dgi>,
    place: StreamPlace<'a>,
}

enum StreamPlace<'a> {
    /// Before or inside `DGI | length`.
    Header(Vec<u8>),
    /// Inside a value.
    Value(OpenValue<'a>),
}

struct OpenValue<'a> {
    dgi: Dgi,
    expected: &'a ExpectedValue,
    length: usize,
    offset: usize,
    hash: Sha256,
}

fn malformed<T>(what: impl Into<String>) -> Result<T, HsmRefusal> {
    Err(HsmRefusal::Commands(what.into()))
}

impl<'a> CommandStream<'a> {
    /// Protected values are given as encrypted under the session DEK.
    pub(super) fn new(values: &'a [(Dgi, ExpectedValue)]) -> Self {
        Self { values, sent: Vec::new(), place: StreamPlace::Header(Vec::new()) }
    }

    /// Whether the data so far ends with a whole DGI.
    pub(super) fn at_rest(&self) -> bool {
        matches!(&self.place, StreamPlace::Header(bytes) if bytes.is_empty())
    }

    /// The data field of the next STORE DATA. `encrypted`: P1 b7 b6 = 11.
    pub(super) fn command(
        &mut self,
        encrypted: bool,
        parts: &[DataPart],
    ) -> Result<Zeroizing<Vec<u8>>, HsmRefusal> {
        let mut data = Zeroizing::new(Vec::with_capacity(super::personalize::MAX_DATA));
        for part in parts {
            let bytes = match part {
                DataPart::Clear(bytes) => {
                    self.clear(encrypted, bytes)?;
                    bytes.as_slice()
                }
                DataPart::Protected { dgi, from, to } => {
                    self.protected(encrypted, *dgi, (*from).into(), (*to).into())?
                }
            };
            if data.len() + bytes.len() > super::personalize::MAX_DATA {
                return malformed("more data than a command can hold");
            }
            data.extend_from_slice(bytes);
        }
        Ok(data)
    }

    /// Bytes as they are: headers, clear values, values that pass through.
    fn clear(&mut self, encrypted: bool, mut bytes: &[u8]) -> Result<(), HsmRefusal> {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.place {
                StreamPlace::Header(header) => {
                    header.push(*first);
                    bytes = rest;
                    if let Some((dgi, length)) = complete(header)? {
                        self.begin(dgi, length)?;
                    }
                }
                StreamPlace::Value(open) => {
                    let dgi = open.dgi;
                    match (open.expected, encrypted) {
                        (ExpectedValue::Clear(..), false) | (ExpectedValue::PassThrough(..), true) => {}
                        (ExpectedValue::Clear(..), true) => {
                            return malformed(format!("clear value of DGI {dgi} in an encrypted command"));
                        }
                        (ExpectedValue::PassThrough(..), false) => {
                            return Err(HsmRefusal::ProtectedInClear(dgi));
                        }
                        (ExpectedValue::Protected(_), _) => {
                            return malformed(format!("bytes in place of the protected value of DGI {dgi}"));
                        }
                    }
                    let (now, later) = bytes.split_at(bytes.len().min(open.length - open.offset));
                    open.hash.update(now);
                    open.offset += now.len();
                    bytes = later;
                    self.end_if_complete()?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of a protected value.
    fn protected(
        &mut self,
        encrypted: bool,
        dgi: Dgi,
        from: usize,
        to: usize,
    ) -> Result<&'a [u8], HsmRefusal> {
        let known = self.values.iter().find(|(d, _)| *d == dgi).map(|(_, expected)| expected);
        let ExpectedValue::Protected(value) = known.ok_or(HsmRefusal::ForeignDgi(dgi))? else {
            return malformed(format!("DGI {dgi} is not a protected one"));
        };
        if !encrypted {
            return Err(HsmRefusal::ProtectedInClear(dgi));
        }
        match &mut self.place {
            StreamPlace::Value(open) if open.dgi == dgi && open.offset == from => {
                let Some(bytes) = value.get(from..to) else {
                    return malformed(format!("a range outside the value of DGI {dgi}"));
                };
                open.offset = to;
                self.end_if_complete()?;
                Ok(bytes)
            }
            _ => malformed(format!("the protected value of DGI {dgi} is out of place")),
        }
    }

    /// Begins a value, after its header: the DGI must be one of the handle's, and not sent yet.
    fn begin(&mut self, dgi: Dgi, length: usize) -> Result<(), HsmRefusal> {
        let known = self.values.iter().find(|(d, _)| *d == dgi).map(|(_, expected)| expected);
        let expected = known.ok_or(HsmRefusal::ForeignDgi(dgi))?;
        if self.sent.contains(&dgi) {
            return malformed(format!("DGI {dgi} stands twice"));
        }
        self.sent.push(dgi);
        match expected {
            ExpectedValue::Clear(right, _) | ExpectedValue::PassThrough(right, _) if *right != length => {
                return Err(HsmRefusal::ClearDiffers(dgi));
            }
            ExpectedValue::Protected(value) if value.len() != length => {
                return malformed(format!("the length of the protected DGI {dgi} is {}", value.len()));
            }
            _ => {}
        }
        self.place = StreamPlace::Value(OpenValue { dgi, expected, length, offset: 0, hash: Sha256::new() });
        self.end_if_complete()
    }

    /// At the end of a value, a clear one must be the verified one.
    fn end_if_complete(&mut self) -> Result<(), HsmRefusal> {
        let StreamPlace::Value(open) = &mut self.place else { return Ok(()) };
        if open.offset < open.length {
            return Ok(());
        }
        if let ExpectedValue::Clear(_, digest) | ExpectedValue::PassThrough(_, digest) = open.expected
            && open.hash.finalize_reset().as_slice() != digest
        {
            return Err(HsmRefusal::ClearDiffers(open.dgi));
        }
        self.place = StreamPlace::Header(Vec::new());
        Ok(())
    }
}

/// DGI and length once a header is complete. A length below FF in three bytes is refused.
fn complete(header: &[u8]) -> Result<Option<(Dgi, usize)>, HsmRefusal> {
    let (dgi, length) = match header {
        [a, b, 0xFF, high, low] => ([*a, *b], u16::from_be_bytes([*high, *low])),
        [_, _, 0xFF, ..] | [] | [_] | [_, _] => return Ok(None),
        [a, b, length, ..] => ([*a, *b], u16::from(*length)),
    };
    if header.len() > 3 && length < 0xFF {
        return malformed("a DGI length that is longer than needed");
    }
    Ok(Some((Dgi(u16::from_be_bytes(dgi)), length.into())))
}

#[cfg(test)]
mod tests;

//! Data objects and data object lists (EMV Book 3, annex B and 5.4), read anew and not with the card's reader.

use std::collections::BTreeMap;

use super::failure::StepFault;

/// Takes `count` bytes off the front.
pub(super) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], StepFault> {
    let (head, tail) = rest.split_at_checked(count).ok_or(StepFault::Malformed)?;
    *rest = tail;
    Ok(head)
}

/// Takes one byte off the front.
pub(super) fn byte(rest: &mut &[u8]) -> Result<u8, StepFault> {
    let (&first, tail) = rest.split_first().ok_or(StepFault::Malformed)?;
    *rest = tail;
    Ok(first)
}

/// Takes a tag of one to three bytes off the front.
fn tag(rest: &mut &[u8]) -> Result<u32, StepFault> {
    let mut tag = u32::from(byte(rest)?);
    if tag & 0x1F == 0x1F {
        for more in 0..3 {
            let next = byte(rest)?;
            tag = tag << 8 | u32::from(next);
            if next < 0x80 {
                break;
            }
            if more > 0 {
                return Err(StepFault::Malformed);
            }
        }
    }
    Ok(tag)
}

/// A data object with the bytes that it is made of.
pub(super) struct DataObject<'a> {
    pub(super) tag: u32,
    pub(super) value: &'a [u8],
    /// Tag, length and value.
    pub(super) whole: &'a [u8],
}

/// The data objects of one level. Bytes 00 may stand between them.
pub(super) fn objects(bytes: &[u8]) -> Result<Vec<DataObject<'_>>, StepFault> {
    let mut rest = bytes;
    let mut found = Vec::new();
    loop {
        while let [0, tail @ ..] = rest {
            rest = tail;
        }
        let start = rest;
        if start.is_empty() {
            return Ok(found);
        }
        let tag = tag(&mut rest)?;
        let length = match byte(&mut rest)? {
            short @ 0..=0x7F => usize::from(short),
            0x81 => usize::from(byte(&mut rest)?),
            0x82 => usize::from(byte(&mut rest)?) << 8 | usize::from(byte(&mut rest)?),
            _ => return Err(StepFault::Malformed),
        };
        let value = take(&mut rest, length)?;
        let (whole, _) = start.split_at(start.len() - rest.len());
        found.push(DataObject { tag, value, whole });
    }
}

/// The value of the one object of this tag that `bytes` are.
pub(super) fn template(tag: u32, bytes: &[u8]) -> Result<&[u8], StepFault> {
    match objects(bytes)?.as_slice() {
        [only] if only.tag == tag => Ok(only.value),
        _ => Err(StepFault::Malformed),
    }
}

/// Data objects of the card by tag; no tag comes twice (EMV Book 3, 10.2).
#[derive(Default)]
pub(super) struct CardObjects(BTreeMap<u32, Vec<u8>>);

impl CardObjects {
    /// Adds the data objects of one level.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), StepFault> {
        for object in objects(bytes)? {
            if self.0.insert(object.tag, object.value.to_vec()).is_some() {
                return Err(StepFault::Twice(object.tag));
            }
        }
        Ok(())
    }

    /// The value of a tag that may be missing.
    pub(super) fn find(&self, tag: u32) -> Option<&[u8]> {
        self.0.get(&tag).map(Vec::as_slice)
    }

    /// The value of a tag.
    pub(super) fn get(&self, tag: u32) -> Result<&[u8], StepFault> {
        self.find(tag).ok_or(StepFault::Missing(tag))
    }
}

/// Tags and lengths that a data object list asks for.
pub(super) fn wanted(list: &[u8]) -> Result<Vec<(u32, usize)>, StepFault> {
    let mut rest = list;
    let mut wanted = Vec::new();
    while !rest.is_empty() {
        wanted.push((tag(&mut rest)?, byte(&mut rest)?.into()));
    }
    Ok(wanted)
}

//! BER-TLV: tags of 1 to 4 bytes, lengths of 1 to 5 bytes.

/// Levels of nesting that a reader follows; real card data has at most four.
pub const MAX_DEPTH: u8 = 8;

/// Why bytes are no BER-TLV, or cannot become one. Quotes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// A tag, length or value continues after the end of the object that holds it.
    #[error("a TLV object is cut short")]
    Truncated,
    /// A tag of more than 4 bytes, or one whose number begins with zeros (80).
    #[error("a TLV tag is malformed")]
    Tag,
    /// Length byte 80: only ends when two 00 follow; not used in card data.
    #[error("a TLV length is indefinite")]
    Indefinite,
    /// A length of more than 4 bytes after the first, or a value too long to write.
    #[error("a TLV length is too long")]
    Length,
    /// More than [`MAX_DEPTH`] levels.
    #[error("TLV objects are nested too deeply")]
    Depth,
}

/// A tag: its bytes as a big-endian number, such as `Tag(0x9F38)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u32);

impl Tag {
    /// Whether the value holds TLV objects: bit 6 of the first byte.
    pub fn is_constructed(self) -> bool {
        self.bytes().next().is_some_and(|b| b & 0x20 != 0)
    }

    /// The bytes as they stand in the data: 1 to 4.
    pub fn bytes(self) -> impl Iterator<Item = u8> {
        let bytes = self.0.to_be_bytes();
        let skip = bytes.iter().take(3).take_while(|b| **b == 0).count();
        bytes.into_iter().skip(skip)
    }
}

/// One object. The value is borrowed from the data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Its value, without tag and length.
    pub value: &'a [u8],
    depth: u8,
}

impl<'a> Tlv<'a> {
    /// The objects inside a constructed one, one level deeper. [`TlvError::Depth`] below [`MAX_DEPTH`] levels.
    pub fn children(&self) -> Result<Objects<'a>, TlvError> {
        if self.depth >= MAX_DEPTH {
            return Err(TlvError::Depth);
        }
        Ok(Objects { rest: self.value, depth: self.depth + 1 })
    }
}

/// Iterates over the objects of one level; ends after the first error.
#[derive(Clone)]
pub struct Objects<'a> {
    rest: &'a [u8],
    depth: u8,
}

/// The objects of the top level.
pub fn objects(data: &[u8]) -> Objects<'_> {
    Objects { rest: data, depth: 1 }
}

/// The value of the first object with this tag at the top level. An error before it counts.
pub fn find(data: &[u8], tag: Tag) -> Result<Option<&[u8]>, TlvError> {
    for object in objects(data) {
        let object = object?;
        if object.tag == tag {
            return Ok(Some(object.value));
        }
    }
    Ok(None)
}

impl<'a> Iterator for Objects<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [0x00, rest @ ..] = self.rest {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        match read_object(self.rest) {
            Ok((tag, value, rest)) => {
                self.rest = rest;
                Some(Ok(Tlv { tag, value, depth: self.depth }))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

fn read_object(data: &[u8]) -> Result<(Tag, &[u8], &[u8]), TlvError> {
    let (tag, rest) = read_tag(data)?;
    let (length, rest) = read_length(rest)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Truncated)?;
    Ok((tag, value, rest))
}

fn read_tag(data: &[u8]) -> Result<(Tag, &[u8]), TlvError> {
    let (&first, mut rest) = data.split_first().ok_or(TlvError::Truncated)?;
    let mut tag = u32::from(first);
    if first & 0x1F != 0x1F {
        return Ok((Tag(tag), rest));
    }
    for place in 0..3 {
        let (&byte, after) = rest.split_first().ok_or(TlvError::Truncated)?;
        if place == 0 && byte == 0x80 {
            return Err(TlvError::Tag);
        }
        tag = tag << 8 | u32::from(byte);
        rest = after;
        if byte & 0x80 == 0 {
            return Ok((Tag(tag), rest));
        }
    }
    Err(TlvError::Tag)
}

/// Reads a length: the number and what follows it. Minimal or not.
pub fn read_length(data: &[u8]) -> Result<(usize, &[u8]), TlvError> {
    let (&first, rest) = data.split_first().ok_or(TlvError::Truncated)?;
    let count = match first {
        0x00..=0x7F => return Ok((usize::from(first), rest)),
        0x80 => return Err(TlvError::Indefinite),
        0x81..=0x84 => usize::from(first & 0x7F),
        0x85..=0xFF => return Err(TlvError::Length),
    };
    let (bytes, rest) = rest.split_at_checked(count).ok_or(TlvError::Truncated)?;
    let length = bytes.iter().fold(0u32, |length, byte| length << 8 | u32::from(*byte));
    Ok((usize::try_from(length).map_err(|_| TlvError::Length)?, rest))
}

/// Appends the shortest coding of a length.
pub fn write_length(out: &mut Vec<u8>, length: usize) -> Result<(), TlvError> {
    let length = u32::try_from(length).map_err(|_| TlvError::Length)?;
    let [a, b, c, d] = length.to_be_bytes();
    match length {
        0..=0x7F => out.push(d),
        0x80..=0xFF => out.extend([0x81, d]),
        0x100..=0xFFFF => out.extend([0x82, c, d]),
        0x1_0000..=0xFF_FFFF => out.extend([0x83, b, c, d]),
        0x100_0000.. => out.extend([0x84, a, b, c, d]),
    }
    Ok(())
}

/// Appends an object. [`TlvError::Tag`] for a number that does not read back as one tag.
pub fn write(out: &mut Vec<u8>, tag: Tag, value: &[u8]) -> Result<(), TlvError> {
    let bytes: Vec<u8> = tag.bytes().collect();
    if tag.0 == 0 || !matches!(read_tag(&bytes), Ok((_, []))) {
        return Err(TlvError::Tag);
    }
    out.extend(bytes);
    write_length(out, value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests;

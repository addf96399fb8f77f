//! BER-TLV as EMV uses it (ISO 7816-4, 5.2.2): reading, checking, building. Definite lengths only.

/// Deepest nesting accepted: more than any real template, far less than any stack.
const MAX_DEPTH: u8 = 8;

/// Bytes that are still to be read.
pub(super) struct CardBytes<'a>(pub(super) &'a [u8]);

impl<'a> CardBytes<'a> {
    /// The next byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next two bytes, big-endian.
    pub(super) fn u16(&mut self) -> Option<u16> {
        let (&bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(bytes))
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// A tag of one to three bytes.
    pub(super) fn tag(&mut self) -> Option<u32> {
        let first = self.u8().filter(|&t| t != 0x00 && t != 0xFF)?;
        let mut tag = u32::from(first);
        if first & 0x1F == 0x1F {
            loop {
                let next = self.u8()?;
                tag = (tag << 8) | u32::from(next);
                if next & 0x80 == 0 {
                    break;
                }
                if tag > 0xFFFF {
                    return None;
                }
            }
        }
        Some(tag)
    }

    /// A length in one byte (00-7F), or 81 or 82 and one or two bytes.
    fn length(&mut self) -> Option<usize> {
        match self.u8()? {
            short @ 0..=0x7F => Some(short.into()),
            0x81 => self.u8().map(usize::from),
            0x82 => self.u16().map(usize::from),
            _ => None,
        }
    }

    /// The next data object: tag and value.
    pub(super) fn object(&mut self) -> Option<(u32, &'a [u8])> {
        let tag = self.tag()?;
        let length = self.length()?;
        Some((tag, self.take(length)?))
    }
}

/// Whether a tag's value is made of data objects: bit 6 of its first byte.
fn is_constructed(tag: u32) -> bool {
    let [_, b1, b2, b3] = tag.to_be_bytes();
    let first = [b1, b2, b3].into_iter().find(|&b| b != 0).unwrap_or(0);
    first & 0x20 != 0
}

/// Whether `bytes` are complete data objects through all levels, and nothing else.
pub(super) fn is_valid(bytes: &[u8]) -> bool {
    valid_to(bytes, MAX_DEPTH)
}

fn valid_to(bytes: &[u8], depth: u8) -> bool {
    let mut cursor = CardBytes(bytes);
    while !cursor.0.is_empty() {
        let Some((tag, value)) = cursor.object() else { return false };
        if is_constructed(tag) && !depth.checked_sub(1).is_some_and(|depth| valid_to(value, depth)) {
            return false;
        }
    }
    true
}

/// Whether `bytes` are one complete template with this tag.
pub(super) fn is_template(tag: u32, bytes: &[u8]) -> bool {
    let mut cursor = CardBytes(bytes);
    matches!(cursor.object(), Some((t, _)) if t == tag) && cursor.0.is_empty() && is_valid(bytes)
}

/// The value of the first object with this tag on the top level.
pub(super) fn find(tag: u32, bytes: &[u8]) -> Option<&[u8]> {
    let mut cursor = CardBytes(bytes);
    loop {
        match cursor.object()? {
            (t, value) if t == tag => return Some(value),
            _ => {}
        }
    }
}

/// Builds a data object; `None` if the value is longer than 65,535 bytes.
pub(super) fn build(tag: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(value.len()).ok()?.to_be_bytes();
    let mut out = tag.to_vec();
    match (high, low) {
        (0, 0..=0x7F) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend(value);
    Some(out)
}

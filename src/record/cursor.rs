//! A cursor over a slice that reads integers and `Ln` fields and knows the offset of each.

/// The slice ended before the requested bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShortInput {
    /// Offset of the first requested byte, as [`FieldCursor::at`] counts.
    pub at: usize,
}

/// The bytes of a field and the offset of the first one.
#[derive(Clone, Copy)]
pub(crate) struct FieldBytes<'a> {
    /// The bytes of the field, without its length.
    pub bytes: &'a [u8],
    /// Offset of the first byte, as [`FieldCursor::at`] counts.
    pub at: usize,
}

impl<'a> FieldBytes<'a> {
    /// Returns a cursor over the bytes of the field.
    pub fn cursor(self) -> FieldCursor<'a> {
        FieldCursor { rest: self.bytes, end: self.at + self.bytes.len() }
    }
}

/// A position in a slice.
#[derive(Clone)]
pub(crate) struct FieldCursor<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> FieldCursor<'a> {
    /// Returns a cursor at the start of `bytes`, whose first byte has the offset `at`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        FieldBytes { bytes, at }.cursor()
    }

    /// Returns the offset of the next byte.
    pub fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Whether all bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the bytes that were not taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<FieldBytes<'a>, ShortInput> {
        let at = self.at();
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ShortInput { at })?;
        self.rest = rest;
        Ok(FieldBytes { bytes, at })
    }

    /// Takes the next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ShortInput> {
        let at = self.at();
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ShortInput { at })?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Takes a u8.
    pub fn u8(&mut self) -> Result<u8, ShortInput> {
        self.array().map(|[byte]| byte)
    }

    /// Takes a u16, big-endian.
    pub fn u16(&mut self) -> Result<u16, ShortInput> {
        self.array().map(u16::from_be_bytes)
    }

    /// Takes a u32, big-endian.
    pub fn u32(&mut self) -> Result<u32, ShortInput> {
        self.array().map(u32::from_be_bytes)
    }

    /// Takes a u64, big-endian.
    pub fn u64(&mut self) -> Result<u64, ShortInput> {
        self.array().map(u64::from_be_bytes)
    }

    /// Takes an `L1` field: a length of 1 byte, then that many bytes.
    pub fn l1(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// Takes an `L2` field: a length of 2 bytes, then that many bytes.
    pub fn l2(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// Takes an `L4` field: a length of 4 bytes, then that many bytes.
    pub fn l4(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let at = self.at();
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| ShortInput { at })?)
    }
}

//! Takes integers and `Ln` fields off a slice and knows where it stands.

/// The slice ended before what was asked for; `at` is where that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortInput {
    /// Offset as [`FieldCursor::at`] counts.
    pub at: usize,
}

/// A field and where its first byte stands.
#[derive(Clone, Copy)]
pub(super) struct FieldBytes<'a> {
    /// Its bytes, without the length.
    pub bytes: &'a [u8],
    /// Offset as [`FieldCursor::at`] counts.
    pub at: usize,
}

impl<'a> FieldBytes<'a> {
    /// Reads inside it.
    pub fn cursor(self) -> FieldCursor<'a> {
        FieldCursor { rest: self.bytes, end: self.at + self.bytes.len() }
    }
}

/// A position in a slice.
#[derive(Clone)]
pub(super) struct FieldCursor<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> FieldCursor<'a> {
    /// At the start of `bytes`, which counts as offset `at`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        FieldBytes { bytes, at }.cursor()
    }

    /// Offset of the next byte.
    pub fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Result<FieldBytes<'a>, ShortInput> {
        let at = self.at();
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ShortInput { at })?;
        self.rest = rest;
        Ok(FieldBytes { bytes, at })
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ShortInput> {
        let at = self.at();
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(ShortInput { at })?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// u8.
    pub fn u8(&mut self) -> Result<u8, ShortInput> {
        self.array().map(|[byte]| byte)
    }

    /// u16, big-endian.
    pub fn u16(&mut self) -> Result<u16, ShortInput> {
        self.array().map(u16::from_be_bytes)
    }

    /// u32, big-endian.
    pub fn u32(&mut self) -> Result<u32, ShortInput> {
        self.array().map(u32::from_be_bytes)
    }

    /// u64, big-endian.
    pub fn u64(&mut self) -> Result<u64, ShortInput> {
        self.array().map(u64::from_be_bytes)
    }

    /// `L1 x`.
    pub fn l1(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// `L2 x`.
    pub fn l2(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// `L4 x`.
    pub fn l4(&mut self) -> Result<FieldBytes<'a>, ShortInput> {
        let at = self.at();
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| ShortInput { at })?)
    }
}

//! Data groupings: DGI (2 bytes) | length (1 byte 00-FE, or FF and 2 bytes) | value, as in STORE DATA and the chip
//! section (EMV CPS 3.2). Lengths are minimal in both directions (`src/manual/cwf1.md`).

use crate::ids::Dgi;

/// Why bytes are no data groupings, or a value cannot become one. Quotes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DgiError {
    /// A grouping continues after the end of the data.
    #[error("a data grouping is cut short")]
    Truncated,
    /// FF and 2 bytes for a length that fits in one.
    #[error("the length of a data grouping is not minimal")]
    NotMinimal,
    /// More than 65,535 bytes.
    #[error("a data grouping is longer than 65,535 bytes")]
    TooLong,
}

/// Iterates over groupings; ends after the first error.
#[derive(Clone)]
pub struct Groupings<'a> {
    rest: &'a [u8],
    length: usize,
}

/// The groupings of `data`, in order.
pub fn read(data: &[u8]) -> Groupings<'_> {
    Groupings { rest: data, length: data.len() }
}

impl Groupings<'_> {
    /// Where in the data the next grouping, or after an error the faulty one, begins.
    pub fn position(&self) -> usize {
        self.length - self.rest.len()
    }
}

impl<'a> Iterator for Groupings<'a> {
    type Item = Result<(Dgi, &'a [u8]), DgiError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match read_one(self.rest) {
            Ok((dgi, value, rest)) => {
                self.rest = rest;
                Some(Ok((dgi, value)))
            }
            Err(error) => {
                // Keeps `position` where it is and ends the iteration.
                self.length -= self.rest.len();
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

fn read_one(data: &[u8]) -> Result<(Dgi, &[u8], &[u8]), DgiError> {
    let (dgi, length, rest) = match data {
        [a, b, 0xFF, c, d, rest @ ..] => {
            let length = u16::from_be_bytes([*c, *d]);
            if length < 0xFF {
                return Err(DgiError::NotMinimal);
            }
            ([*a, *b], length, rest)
        }
        [_, _, 0xFF, ..] => return Err(DgiError::Truncated),
        [a, b, length, rest @ ..] => ([*a, *b], u16::from(*length), rest),
        _ => return Err(DgiError::Truncated),
    };
    let (value, rest) = rest.split_at_checked(usize::from(length)).ok_or(DgiError::Truncated)?;
    Ok((Dgi(u16::from_be_bytes(dgi)), value, rest))
}

/// Appends the head of a grouping whose value has `length` bytes.
pub fn write_head(out: &mut Vec<u8>, dgi: Dgi, length: usize) -> Result<(), DgiError> {
    let length = u16::try_from(length).map_err(|_| DgiError::TooLong)?;
    out.extend(dgi.0.to_be_bytes());
    let [high, low] = length.to_be_bytes();
    if length < 0xFF {
        out.push(low);
    } else {
        out.extend([0xFF, high, low]);
    }
    Ok(())
}

/// Appends a grouping. For secret values `out` has the capacity already, so that growing leaves no copy.
pub fn write(out: &mut Vec<u8>, dgi: Dgi, value: &[u8]) -> Result<(), DgiError> {
    write_head(out, dgi, value.len())?;
    out.extend_from_slice(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// EMV CPS 3.2: the example `FF 01 AF` is 431 bytes.
    #[test]
    fn emv_cps_length_example_431() {
        let mut data = vec![0x01, 0x01, 0xFF, 0x01, 0xAF];
        data.extend([0xC3; 431]);
        let (dgi, value) = read(&data).next().unwrap().unwrap();
        assert_eq!((dgi, value.len()), (Dgi(0x0101), 431));
        let mut out = Vec::new();
        write(&mut out, dgi, value).unwrap();
        assert_eq!(out, data);
    }

    #[test]
    fn heads_around_the_step() {
        for (length, head) in [
            (0, vec![0x00]),
            (126, vec![0x7E]),
            (127, vec![0x7F]),
            (128, vec![0x80]),
            (254, vec![0xFE]),
            (255, vec![0xFF, 0x00, 0xFF]),
            (256, vec![0xFF, 0x01, 0x00]),
            (65_535, vec![0xFF, 0xFF, 0xFF]),
        ] {
            let mut out = Vec::new();
            write(&mut out, Dgi(0x8201), &vec![0; length]).unwrap();
            assert_eq!(out[..2], [0x82, 0x01]);
            assert_eq!(out[2..2 + head.len()], head);
            assert_eq!(read(&out).next().unwrap().unwrap().1.len(), length);
        }
        assert_eq!(write(&mut Vec::new(), Dgi(1), &vec![0; 65_536]), Err(DgiError::TooLong));
    }

    #[test]
    fn malformed_groupings_are_errors_and_end_the_iteration() {
        for (bytes, error) in [
            (&[0x01][..], DgiError::Truncated),
            (&[0x01, 0x01], DgiError::Truncated),
            (&[0x01, 0x01, 0x02, 0xAA], DgiError::Truncated),
            (&[0x01, 0x01, 0xFF, 0x01], DgiError::Truncated),
            (&[0x01, 0x01, 0xFF, 0x01, 0x00, 0xAA], DgiError::Truncated),
            (&[0x01, 0x01, 0xFF, 0x00, 0x01, 0xAA], DgiError::NotMinimal),
            (&[0x01, 0x01, 0xFF, 0x00, 0xFE], DgiError::NotMinimal),
            (&[0x01, 0x01, 0xFF, 0x00, 0xFF], DgiError::Truncated),
        ] {
            let mut data = vec![0x01, 0x02, 0x01, 0xBB];
            data.extend_from_slice(bytes);
            let mut all = read(&data);
            assert!(all.next().unwrap().is_ok());
            assert_eq!(all.next(), Some(Err(error)), "{bytes:02X?}");
            assert_eq!(all.position(), 4);
            assert!(all.next().is_none());
        }
    }

    proptest! {
        #[test]
        fn round_trip(parts in prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..600)), 0..8)) {
            let mut out = Vec::new();
            for (dgi, value) in &parts {
                write(&mut out, Dgi(*dgi), value).unwrap();
            }
            let back: Result<Vec<_>, _> = read(&out).map(|r| r.map(|(d, v)| (d.0, v.to_vec()))).collect();
            prop_assert_eq!(back.unwrap(), parts);
        }

        #[test]
        fn random_bytes_never_panic_and_what_reads_writes_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            for (dgi, value) in read(&bytes).flatten() {
                write(&mut out, dgi, value).unwrap();
            }
            prop_assert_eq!(&out[..], &bytes[..out.len()]);
        }
    }
}

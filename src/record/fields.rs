//! The bodies of Header and Trailer (`src/manual/cwf1.md` section 2), and the rule for a KEKID, which the
//! chip section uses too (section 3).

use sha2::{Digest, Sha256};

use super::cursor::{FieldCursor, ShortInput};
use super::{FileFault, FileKind, Header, Trailer};
use crate::crypto::Suite;
use crate::ids::{FileId, IssuerId, Kcv, KekId, NameError, ProductName};

/// Version 0001, after "CWF1" or "CWFU".
const VERSION: u16 = 1;

/// A value read from a body, or the offset in the body and the fault.
pub(super) type BodyResult<T> = Result<T, (usize, FileFault)>;

impl From<ShortInput> for (usize, FileFault) {
    fn from(short: ShortInput) -> Self {
        (short.at, FileFault::Field)
    }
}

fn l1_name<T>(
    cursor: &mut FieldCursor<'_>,
    field: &'static str,
    new: fn(&[u8]) -> Result<T, NameError>,
) -> BodyResult<T> {
    let text = cursor.l1()?;
    new(text.bytes).map_err(|fault| (text.at, FileFault::Name { field, fault }))
}

pub(super) fn ends(cursor: &FieldCursor<'_>) -> BodyResult<()> {
    if cursor.is_empty() { Ok(()) } else { Err((cursor.at(), FileFault::Leftover)) }
}

/// `"CWF1" or "CWFU" | version u16 | L1 file_id | L1 issuer_id | L1 product | created u64 | records u32`
pub(super) fn read_header(body: &[u8]) -> BodyResult<Header> {
    let mut cursor = FieldCursor::new(body, 0);
    let magic: Option<[u8; 4]> = cursor.array().ok();
    let kind = FileKind::ALL.into_iter().find(|kind| magic == Some(*kind.magic()));
    let kind = kind.ok_or((0, FileFault::NotCwf1))?;
    if cursor.u16()? != VERSION {
        return Err((4, FileFault::Version));
    }
    let header = Header {
        kind,
        file_id: l1_name(&mut cursor, "file_id", FileId::from_bytes)?,
        issuer_id: l1_name(&mut cursor, "issuer_id", IssuerId::from_bytes)?,
        product: l1_name(&mut cursor, "product", ProductName::from_bytes)?,
        created: cursor.u64()?,
        records: cursor.u32()?,
    };
    ends(&cursor)?;
    if header.records == 0 {
        return Err((body.len() - 4, FileFault::NoRecords));
    }
    Ok(header)
}

pub(super) fn write_header(header: &Header) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(header.kind.magic());
    body.extend(VERSION.to_be_bytes());
    for text in [header.file_id.as_str(), header.issuer_id.as_str(), header.product.as_str()] {
        // The types of these names hold 1 to 255 bytes.
        body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(text.as_bytes());
    }
    body.extend(header.created.to_be_bytes());
    body.extend(header.records.to_be_bytes());
    body
}

/// `records u32 | SHA-256 (32) | KEKID (5) | TYPEtk u8 | KEK KCV (3) | L1 wrapped MAC key | L1 MAC`. Also
/// returns the length of the part that the MAC covers: up to and including the wrapped key.
pub(super) fn read_trailer(body: &[u8]) -> BodyResult<(Trailer, usize)> {
    let mut cursor = FieldCursor::new(body, 0);
    let records = cursor.u32()?;
    let digest = cursor.array()?;
    let kek = KekId(cursor.array()?);
    if !kek_id_is_sound(kek) {
        return Err((36, FileFault::KekId));
    }
    let at = cursor.at();
    let tk_type = cursor.u8()?;
    let suite = Suite::from_tk_type(tk_type).ok_or((at, FileFault::TkType))?;
    let kcv = Kcv(cursor.array()?);
    let wrapped = cursor.l1()?;
    if wrapped.bytes.len() != suite.wrapped_length() {
        return Err((wrapped.at, FileFault::SuiteLength("the wrapped MAC key")));
    }
    let maced = cursor.at();
    let mac = cursor.l1()?;
    if mac.bytes.len() != suite.mac_length() {
        return Err((mac.at, FileFault::SuiteLength("the MAC")));
    }
    ends(&cursor)?;
    let trailer = Trailer {
        records,
        digest,
        kek,
        tk_type,
        kcv,
        wrapped_mac_key: wrapped.bytes.to_vec(),
        mac: mac.bytes.to_vec(),
    };
    Ok((trailer, maced))
}

/// Returns the body up to the length byte of the wrapped MAC key, without it.
pub(super) fn write_trailer(trailer: &Trailer) -> Vec<u8> {
    let mut body = Vec::with_capacity(128);
    body.extend(trailer.records.to_be_bytes());
    body.extend(trailer.digest);
    body.extend(trailer.kek.0);
    body.push(trailer.tk_type);
    body.extend(trailer.kcv.0);
    body
}

/// Whether a KEKID has an issuer identifier of 1 to 8 BCD digits, right-padded with F, and a version from 01
/// to FE.
pub(super) fn kek_id_is_sound(kek: KekId) -> bool {
    let KekId([issuer @ .., version]) = kek;
    let mut digits = issuer.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]).peekable();
    let begins = digits.peek().is_some_and(|digit| *digit <= 9);
    let padded = digits.skip_while(|digit| *digit <= 9).all(|digit| digit == 0xF);
    begins && padded && (0x01..=0xFE).contains(&version)
}

/// Returns the SHA-256 of all pieces, in order.
pub(super) fn sha256<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for piece in pieces {
        hash.update(piece);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kek_ids() {
        for (hex, sound) in [
            ("4761739901", true),
            ("476173FF01", true),
            ("4FFFFFFFFE", true),
            ("4761739900", false),
            ("47617399FF", false),
            ("FFFFFFFF01", false),
            ("47F1739901", false),
            ("4761739A01", false),
        ] {
            assert_eq!(kek_id_is_sound(KekId::from_hex(hex).unwrap()), sound, "{hex}");
        }
    }
}

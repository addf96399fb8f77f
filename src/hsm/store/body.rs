//! The sealed body of the file `keys`. Integers are big-endian; `L1` is a length of 1 byte, then bytes.
//!
//! ```text
//! body     file key (32) | count u16 { entry } | count u8 { pending } | count u16 { gone } | count u32 { act }
//! entry    L1 label | usage u8 | type u8 | L1 id | version u8 | L1 value | origin u8 (1 list, 2 components, 3 block, 4 token)
//!          | origin 4, value empty: L1 object | kcv (3)
//!          | made u64 (Unix s) | L1 partner | min_seclev u8 | count u16 { KMC_ID (6) | version u8 }
//! pending  L1 label | usage | type | L1 id | version | L1 partner | min_seclev | count u16 { KMC_ID (6) | version u8 }
//!          | method u8 (0: not known yet) | kcv (3) of the whole key | wanted u8 (2, 3) | count u8 { component }
//! component  L1 custodian | L1 value | method u8 | kcv (3) | time u64
//! gone     usage u8 | L1 id | version u8 | type u8 | method u8 | kcv (3) | mark (32) | time u64
//! act      time u64 | kind u8 | L1 label | usage u8 (0 none) | L1 id | version u8 | count u8 { method u8 | kcv (3) }
//!          | count u8 { L1 name } | L1 note
//! usage    1 KEK 2 KMC 3 ZMK 4 KML 5 KMU 6 IMK-AC 7 IMK-SMI 8 IMK-SMC 9 CVK 10 PVK
//! type     1 TDES2 2 AES128 3 AES192 4 AES256
//! method   1 DES (E of zeros) 2 AES-GP (E of 01s) 3 AES-CMAC (CMAC of zeros)
//! ```
//!
//! The file key seals the companions and makes the marks; it is drawn once. `partner` is the issuer of a KEK, and the other holder of a
//! ZMK; only a KEK has `min_seclev` and KMCs. `gone` is a key that was destroyed: its mark is HMAC-SHA-256(file key,
//! "CWKS2 gone" | value with odd parity in each byte), so that its value never comes back. `pending` is a key of
//! which components are missing ([`pending`](super::pending)).
//!
//! Not here: rules of keys (`rules`), the header and the seal (`header`).

use zeroize::Zeroizing;

use super::acts::CustodyAct;
use super::entry::{KeyOrigin, KeyPlace, KeyTerms, KeyUsage, SecretEntry};
use super::header::FormatFault;
use super::pending::PendingKey;
use super::rules::{self, StoreRules};
use super::seal::SealKey;
use crate::crypto::{KcvMethod, KeyType, set_odd_parity};
use crate::ids::{Kcv, KmcRef};
use crate::record::cursor::FieldCursor;

/// Methods of check values, in the order of their numbers.
pub(super) const METHODS: [KcvMethod; 3] = [KcvMethod::Des, KcvMethod::AesGp, KcvMethod::AesCmac];

/// What a store holds.
pub(super) struct StoreBody {
    pub(super) file_key: SealKey,
    pub(super) entries: Vec<SecretEntry>,
    pub(super) pending: Vec<PendingKey>,
    pub(super) gone: Vec<GoneKey>,
    pub(super) acts: Vec<CustodyAct>,
}

/// What a store remembers of a key that was destroyed.
#[derive(Debug, Clone)]
pub struct GoneKey {
    /// Its usage.
    pub usage: KeyUsage,
    /// Its identifier, in hex.
    pub id: String,
    /// Its version.
    pub version: u8,
    /// Its type.
    pub key_type: KeyType,
    /// Its check value, with the method.
    pub kcv: (KcvMethod, Kcv),
    /// Unix time of its destruction in seconds.
    pub time: u64,
    /// By what its value is known again.
    pub(super) mark: [u8; 32],
}

impl StoreBody {
    /// An empty one, with a new file key.
    pub(super) fn draw() -> Result<Self, getrandom::Error> {
        let file_key = SealKey::draw()?;
        Ok(Self { file_key, entries: Vec::new(), pending: Vec::new(), gone: Vec::new(), acts: Vec::new() })
    }

    /// Whether a value was in the store and is destroyed.
    pub(super) fn is_gone(&self, value: &[u8]) -> bool {
        let mark = self.mark(value);
        self.gone.iter().any(|gone| gone.mark == mark)
    }

    /// By what a value that was destroyed is known again.
    pub(super) fn mark(&self, value: &[u8]) -> [u8; 32] {
        let mut value = Zeroizing::new(value.to_vec());
        set_odd_parity(&mut value);
        *self.file_key.mac(&[b"CWKS2 gone", &value])
    }

    /// Reads a body, and checks every rule of its keys.
    pub(super) fn read(bytes: &[u8], keeps: StoreRules) -> Result<Self, FormatFault> {
        let fields = &mut FieldCursor::new(bytes, 0);
        let file_key = SealKey::of(&Zeroizing::new(fields.array::<{ SealKey::LENGTH }>()?));
        let entries = several(fields.u16()?.into(), || entry(fields))?;
        let pending = several(fields.u8()?.into(), || PendingKey::read(fields))?;
        let gone = several(fields.u16()?.into(), || GoneKey::read(fields))?;
        let count = usize::try_from(fields.u32()?).map_err(|_| FormatFault::Changed)?;
        let acts = several(count, || CustodyAct::read(fields))?;
        if !fields.is_empty() {
            return Err(FormatFault::Changed);
        }
        // An act adds one key at most; growing would leave copies of keys behind.
        let room = Vec::with_capacity(entries.len().saturating_add(1));
        let mut body = Self { file_key, entries: room, pending: Vec::new(), gone: Vec::new(), acts };
        for (terms, place) in entries {
            let entry = match place {
                StoredPlace::Value(value) => rules::admit(terms, value, None, keeps, &body),
                StoredPlace::Token(object, kcv) => rules::admit_in_token(terms, object, kcv, keeps, &body),
            };
            body.entries.push(entry.map_err(FormatFault::Key)?);
        }
        for key in pending {
            rules::check_terms(&key.terms, keeps, &body).map_err(FormatFault::Key)?;
            body.pending.push(key);
        }
        // They come last: they refuse keys that come in, and a key that stayed may have the value of one that was destroyed.
        body.gone = gone;
        Ok(body)
    }

    /// The bytes; `None` if there is too much of something for its count.
    pub(super) fn write(&self) -> Option<Zeroizing<Vec<u8>>> {
        let entries = self.entries.iter().map(|entry| entry.terms.room()).sum::<usize>();
        let pending = self.pending.iter().map(PendingKey::room).sum::<usize>();
        let acts = self.acts.iter().map(CustodyAct::room).sum::<usize>();
        let room = 64 + entries + pending + 320 * self.gone.len() + acts;
        let mut out = BodyWriter(Zeroizing::new(Vec::with_capacity(room)));
        out.bytes(self.file_key.expose());
        out.count(self.entries.len())?;
        self.entries.iter().try_for_each(|entry| write_entry(entry, &mut out))?;
        // A key is kept with its first component, not before.
        let begun: Vec<_> = self.pending.iter().filter(|key| !key.components.is_empty()).collect();
        out.bytes(&[u8::try_from(begun.len()).ok()?]);
        begun.iter().try_for_each(|key| key.write(&mut out))?;
        out.count(self.gone.len())?;
        self.gone.iter().try_for_each(|gone| gone.write(&mut out))?;
        out.bytes(&u32::try_from(self.acts.len()).ok()?.to_be_bytes());
        self.acts.iter().try_for_each(|act| act.write(&mut out))?;
        Some(out.0)
    }
}

/// A key's value, or its object in a token with its check value.
enum StoredPlace<'a> {
    Value(&'a [u8]),
    Token(String, Kcv),
}

/// Reads the terms and the value of a key.
fn entry<'a>(fields: &mut FieldCursor<'a>) -> Result<(KeyTerms, StoredPlace<'a>), FormatFault> {
    let mut terms = KeyTerms::read_name(fields)?;
    let value = fields.l1()?.bytes;
    terms.origin = coded(&KeyOrigin::ALL, fields.u8()?)?;
    let place = match terms.origin {
        KeyOrigin::Token if value.is_empty() => StoredPlace::Token(text(fields)?, Kcv(fields.array()?)),
        KeyOrigin::Token => return Err(FormatFault::Changed),
        KeyOrigin::List | KeyOrigin::Components | KeyOrigin::Block => StoredPlace::Value(value),
    };
    terms.made = fields.u64()?;
    terms.read_rules(fields)?;
    Ok((terms, place))
}

fn write_entry(entry: &SecretEntry, out: &mut BodyWriter) -> Option<()> {
    let terms = &entry.terms;
    terms.write_name(out)?;
    let origin = [code_of(&KeyOrigin::ALL, terms.origin)];
    match &entry.place {
        KeyPlace::Value(key) => {
            out.l1(key.expose())?;
            out.bytes(&origin);
        }
        KeyPlace::Token { object, kcv } => {
            out.l1(&[])?;
            out.bytes(&origin);
            out.l1(object.as_bytes())?;
            out.bytes(&kcv.0);
        }
    }
    out.bytes(&terms.made.to_be_bytes());
    terms.write_rules(out)
}

impl KeyTerms {
    /// Reads the name of a key. The rest of its terms follows later.
    pub(super) fn read_name(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        Ok(Self {
            label: text(fields)?,
            usage: coded(&KeyUsage::ALL, fields.u8()?)?,
            key_type: coded(&KeyType::ALL, fields.u8()?)?,
            id: hex::encode_upper(fields.l1()?.bytes),
            version: fields.u8()?,
            origin: KeyOrigin::Components,
            made: 0,
            partner: String::new(),
            min_seclev: 0,
            allow: Vec::new(),
        })
    }

    /// Reads whose the key is, and where its secrets may go.
    pub(super) fn read_rules(&mut self, fields: &mut FieldCursor<'_>) -> Result<(), FormatFault> {
        self.partner = text(fields)?;
        self.min_seclev = fields.u8()?;
        let kmc = |fields: &mut FieldCursor<'_>| Ok(KmcRef { id: fields.array()?, version: fields.u8()? });
        self.allow = several(fields.u16()?.into(), || kmc(fields))?;
        Ok(())
    }

    pub(super) fn write_name(&self, out: &mut BodyWriter) -> Option<()> {
        out.l1(self.label.as_bytes())?;
        out.bytes(&[code_of(&KeyUsage::ALL, self.usage), code_of(&KeyType::ALL, self.key_type)]);
        out.l1(&hex::decode(&self.id).ok()?)?;
        out.bytes(&[self.version]);
        Some(())
    }

    pub(super) fn write_rules(&self, out: &mut BodyWriter) -> Option<()> {
        out.l1(self.partner.as_bytes())?;
        out.bytes(&[self.min_seclev]);
        out.count(self.allow.len())?;
        for kmc in &self.allow {
            out.bytes(&kmc.id);
            out.bytes(&[kmc.version]);
        }
        Some(())
    }

    /// Most bytes that it takes in a body, with a value.
    pub(super) fn room(&self) -> usize {
        512 + 7 * self.allow.len()
    }
}

impl GoneKey {
    fn read(fields: &mut FieldCursor<'_>) -> Result<Self, FormatFault> {
        Ok(Self {
            usage: coded(&KeyUsage::ALL, fields.u8()?)?,
            id: hex::encode_upper(fields.l1()?.bytes),
            version: fields.u8()?,
            key_type: coded(&KeyType::ALL, fields.u8()?)?,
            kcv: kcv(fields)?,
            mark: fields.array()?,
            time: fields.u64()?,
        })
    }

    fn write(&self, out: &mut BodyWriter) -> Option<()> {
        out.bytes(&[code_of(&KeyUsage::ALL, self.usage)]);
        out.l1(&hex::decode(&self.id).ok()?)?;
        out.bytes(&[self.version, code_of(&KeyType::ALL, self.key_type)]);
        let (method, kcv) = self.kcv;
        out.kcv(method, kcv);
        out.bytes(&self.mark);
        out.bytes(&self.time.to_be_bytes());
        Some(())
    }
}

/// A body that is written. It has room for all of it from the start, so that growing leaves no copy of a key behind.
pub(super) struct BodyWriter(Zeroizing<Vec<u8>>);

impl BodyWriter {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn l1(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes(&[u8::try_from(bytes.len()).ok()?]);
        self.bytes(bytes);
        Some(())
    }

    pub(super) fn kcv(&mut self, method: KcvMethod, Kcv(kcv): Kcv) {
        self.bytes(&[code_of(&METHODS, method)]);
        self.bytes(&kcv);
    }

    pub(super) fn count(&mut self, count: usize) -> Option<()> {
        self.bytes(&u16::try_from(count).ok()?.to_be_bytes());
        Some(())
    }
}

/// The number of a value in a body: its place, from 1.
pub(super) fn code_of<T: PartialEq>(all: &[T], value: T) -> u8 {
    (1..).zip(all).find(|(_, one)| **one == value).map_or(0, |(code, _)| code)
}

/// The value with this number.
pub(super) fn coded<T: Copy>(all: &[T], code: u8) -> Result<T, FormatFault> {
    let place = usize::from(code).checked_sub(1).and_then(|place| all.get(place));
    place.copied().ok_or(FormatFault::Unknown)
}

/// Reads so many of one kind. A count alone takes no memory.
pub(super) fn several<T>(
    count: usize,
    mut one: impl FnMut() -> Result<T, FormatFault>,
) -> Result<Vec<T>, FormatFault> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(one()?);
    }
    Ok(all)
}

/// Reads a text of printable ASCII characters.
pub(super) fn text(fields: &mut FieldCursor<'_>) -> Result<String, FormatFault> {
    let bytes = fields.l1()?.bytes;
    let printable = bytes.iter().all(|byte| (0x20..0x7F).contains(byte));
    let text = String::from_utf8(bytes.to_vec()).ok().filter(|_| printable);
    text.ok_or(FormatFault::Changed)
}

/// Reads a check value with its method.
pub(super) fn kcv(fields: &mut FieldCursor<'_>) -> Result<(KcvMethod, Kcv), FormatFault> {
    Ok((coded(&METHODS, fields.u8()?)?, Kcv(fields.array()?)))
}

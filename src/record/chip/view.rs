//! The chip section field by field, borrowed from the record (`src/manual/cwf1.md` section 5; field names of
//! EMV CPS).

use std::ops::Range;

use super::error::{ChipError, ChipFault, DgiList};
use super::rules::{self, SectionScratch};
use super::{ChipApplication, Cmode, DgiValue, EncType, Pdi};
use crate::crypto::Suite;
use crate::ids::{Aid, CardRef, Dgi, KekId, NameError};
use crate::record::cursor::{FieldBytes, FieldCursor};
use crate::record::fields::kek_id_is_sound;
use crate::scp::SecLevel;
use crate::tlv;

/// VNL: the version of the layout.
pub(super) const VNL: &[u8; 4] = b"02.2";
/// Where the CRN of every section begins: VNL (4), L2, L2, L1.
pub(super) const CRN_AT: usize = 9;
/// Longest data of a section in bytes.
const LONGEST: usize = 65_535;

/// One application that was checked, borrowed from the record.
#[derive(Clone)]
pub struct ApplicationView<'a> {
    /// The bytes from the length byte of `L1 { L1 AID ..` to the last byte of the MAC.
    pub raw: &'a [u8],
    /// Offset of [`Self::raw`] in the section.
    pub at: usize,
    /// AID of the application, 1 to 16 bytes.
    pub aid: &'a [u8],
    /// TKID: the KEK from which the TK is derived.
    pub kek: KekId,
    /// TYPEtk: the cipher family of the KEK.
    pub suite: Suite,
    /// CMODE: how the protected values are encrypted.
    pub cmode: Cmode,
    pub(super) protected: FieldBytes<'a>,
    pub(super) order: FieldBytes<'a>,
    pub(super) version_control: FieldBytes<'a>,
    pub(super) enc: FieldBytes<'a>,
    pub(super) group: FieldBytes<'a>,
    /// SECLEV: P1 of EXTERNAL AUTHENTICATE.
    pub level: SecLevel,
    update_cplc: u8,
    pub(super) log: FieldBytes<'a>,
    pub(super) data: FieldBytes<'a>,
    /// The MACkey, wrapped under TKm.
    pub wrapped_mac_key: &'a [u8],
    /// MACINP: the MAC of the application.
    pub mac: &'a [u8],
    /// Number of its shape in the working space with which it was read. Applications of one shape differ in nothing
    /// that a plan or a rule of the product depends on: in values and MAC alone.
    pub shape: u64,
}

/// Reads and checks a section, and calls `each` with every application in order. Returns the CRN, which is
/// empty if there is none.
pub fn walk<'a>(
    data: &'a [u8],
    scratch: &mut SectionScratch,
    mut each: impl FnMut(ApplicationView<'a>) -> Result<(), ChipError>,
) -> Result<&'a [u8], ChipError> {
    if data.len() > LONGEST {
        return Err(at(LONGEST, ChipFault::TooLong("the chip section")));
    }
    let mut outer = FieldCursor::new(data, 0);
    fixed(&mut outer, VNL, "VNL is not 02.2")?;
    let mut section = outer.l2()?.cursor();
    ends(&outer, "the chip section")?;

    let mut card = section.l2()?.cursor();
    let crn = card.l1()?;
    if !crn.bytes.is_empty() {
        name(crn.at, "CRN", CardRef::from_bytes(crn.bytes))?;
    }
    fixed(&mut card, b"00", "STATUScoll is not \"00\"")?;
    fixed(&mut card, &[0x00], "NUMBERpid is not 00")?;
    let count = card.u8()?;
    let mut aids = FieldCursor::new(card.rest(), card.at());
    scratch.aids.clear();
    for _ in 0..count {
        let aid = card.l1()?;
        scratch.aids.push(aid_number(aid)?);
    }
    ends(&card, "the list of AIDs")?;
    scratch.aids.sort_unstable();
    if scratch.aids.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(at(aids.at(), ChipFault::AidTwice));
    }

    while !aids.is_empty() {
        let aid = aids.l1()?;
        let field = section.l2()?;
        let application = ApplicationView::parse(field.bytes, field.at, scratch)?;
        if application.aid != aid.bytes {
            return Err(at(field.at, ChipFault::AidOrder));
        }
        each(application)?;
    }
    ends(&section, "the chip section")?;
    Ok(crn.bytes)
}

impl<'a> ApplicationView<'a> {
    /// Reads and checks an application. `base` is the offset of its first byte in errors.
    pub fn parse(raw: &'a [u8], base: usize, scratch: &mut SectionScratch) -> Result<Self, ChipError> {
        let mut all = FieldCursor::new(raw, base);
        let key = TransportKeyData::parse(all.l1()?)?;
        let step = ProcessingStep::parse(all.l2()?, key.kek)?;

        // 3b, 3c, 3d
        let log = all.l2()?;
        let mut icc = all.l2()?.cursor();
        fixed(&mut icc, &[0xEF], "the data's tag is not EF")?;
        let data = ber_field(&mut icc)?;
        ends(&icc, "the data")?;
        let mut mac = all.l1()?.cursor();
        ends(&all, "the application")?;
        let (wrapped, tail) = (mac.take(key.suite.wrapped_length())?, mac.take(key.suite.mac_length())?);
        ends(&mac, "MACdata")?;

        let mut view = Self {
            raw,
            at: base,
            aid: key.aid,
            kek: key.kek,
            suite: key.suite,
            cmode: key.cmode,
            protected: key.protected,
            order: step.order,
            version_control: step.version_control,
            enc: step.enc,
            group: step.group,
            level: step.level,
            update_cplc: step.update_cplc,
            log,
            data,
            wrapped_mac_key: wrapped.bytes,
            mac: tail.bytes,
            shape: 0,
        };
        view.shape = rules::check(&view, scratch)?;
        Ok(view)
    }

    /// Writes the shape of the application: everything but its values and its MAC, so the processing instructions, and
    /// each DGI of the data with the length of its value. Returns false if the data cannot be read.
    pub(super) fn write_shape(&self, shape: &mut Vec<u8>) -> bool {
        shape.clear();
        let before = self.data.at.saturating_sub(self.at);
        shape.extend_from_slice(self.raw.get(..before).unwrap_or_default());
        for read in tlv::dgi::read(self.data.bytes) {
            let Ok((dgi, value)) = read else { return false };
            shape.extend_from_slice(&dgi.0.to_be_bytes());
            // The data of a section have at most 65,535 bytes.
            shape.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
        true
    }

    /// The bytes that the MAC covers: from the length byte of `L1 AID` to the last byte of the wrapped MACkey.
    pub fn maced(&self) -> &'a [u8] {
        self.raw.get(self.maced_range()).unwrap_or_default()
    }

    /// `raw[0]` is the length byte around `L1 AID`.
    fn maced_range(&self) -> Range<usize> {
        1..self.raw.len() - self.mac.len()
    }

    /// Iterates over the DGIs in file order, with their values; protected ones are ciphertext.
    pub fn dgis(&self) -> impl Iterator<Item = (Dgi, &'a [u8])> {
        // `rules::check` has refused data that cannot be read, so `flatten` drops nothing.
        tlv::dgi::read(self.data.bytes).flatten()
    }

    /// Iterates over the DGIs that are encrypted under TKd.
    pub fn protected(&self) -> impl Iterator<Item = Dgi> + Clone + use<'a> {
        pairs(self.protected.bytes)
    }

    /// Whether this DGI is encrypted under TKd.
    pub fn is_protected(&self, dgi: Dgi) -> bool {
        self.protected().any(|protected| protected == dgi)
    }

    /// How this DGI is sent under the session DEK; `None` if it is sent as it is.
    pub fn enc(&self, dgi: Dgi) -> Option<EncType> {
        let listed = triples(self.enc.bytes).find(|(listed, _)| *listed == dgi);
        listed.and_then(|(_, kind)| EncType::from_byte(kind))
    }

    /// Whether the application has secret values.
    pub fn has_secrets(&self) -> bool {
        !self.protected.bytes.is_empty() || !self.enc.bytes.is_empty()
    }

    /// Iterates over the DGIs that are not under the TK, with their values.
    pub fn clear(&self) -> impl Iterator<Item = (Dgi, &'a [u8])> {
        let protected = self.protected();
        self.dgis().filter(move |(dgi, _)| !protected.clone().any(|p| p == *dgi))
    }

    /// Copies the application out of the record.
    pub fn to_application(&self) -> Result<ChipApplication, ChipError> {
        let dgis = |field: FieldBytes<'_>| pairs(field.bytes).collect::<Vec<_>>();
        let enc = triples(self.enc.bytes)
            .map(|(dgi, kind)| {
                let fault = ChipFault::Value("an ENC type is not known");
                Ok((dgi, EncType::from_byte(kind).ok_or_else(|| at(self.enc.at, fault))?))
            })
            .collect::<Result<_, ChipError>>()?;
        let groups = |list, field| {
            groups(list, field)
                .map(|group| Ok(pairs(group?.bytes).collect()))
                .collect::<Result<_, ChipError>>()
        };
        let values = self.dgis().map(|(dgi, value)| DgiValue { dgi, value: value.into() });
        Ok(ChipApplication {
            aid: name(0, "AID", Aid::new(self.aid))?,
            kek: self.kek,
            tk_type: self.suite.tk_type(),
            cmode: self.cmode,
            protected: dgis(self.protected),
            pdi: Pdi {
                order: groups(DgiList::Order, self.order)?,
                version_control: dgis(self.version_control),
                enc,
                group: groups(DgiList::Group, self.group)?,
                level: self.level,
                update_cplc: self.update_cplc,
            },
            log: dgis(self.log),
            dgis: values.collect(),
            wrapped_mac_key: self.wrapped_mac_key.to_vec(),
            mac: self.mac.to_vec(),
            raw: self.raw.into(),
            maced: self.maced_range(),
        })
    }
}

/// Field 3a.1: the AID and the data of the TK.
struct TransportKeyData<'a> {
    aid: &'a [u8],
    kek: KekId,
    suite: Suite,
    cmode: Cmode,
    /// The DGIs encrypted under the TK.
    protected: FieldBytes<'a>,
}

impl<'a> TransportKeyData<'a> {
    /// `L1 AID | L1 { 01 | TKID | TYPEtk | CMODE | NUMBERdgi | DGIs }`
    fn parse(field: FieldBytes<'a>) -> Result<Self, ChipError> {
        let mut first = field.cursor();
        let aid = first.l1()?;
        aid_number(aid)?;
        let mut tk = first.l1()?.cursor();
        ends(&first, "3a.1")?;
        fixed(&mut tk, &[0x01], "the TK's version is not 01")?;
        let id = tk.take(5)?;
        let kek = id.bytes.try_into().ok().map(KekId).filter(|kek| kek_id_is_sound(*kek));
        let kek = kek.ok_or_else(|| at(id.at, ChipFault::Value("the TKID is malformed")))?;
        let suite = known(&mut tk, Suite::from_tk_type, "the TYPEtk is not known")?;
        let cmode = known(&mut tk, Cmode::from_byte, "the CMODE is not known")?;
        let count = tk.u8()?;
        let protected = tk.take(2 * usize::from(count))?;
        ends(&tk, "the TK's data (one TK only)")?;
        Ok(Self { aid: aid.bytes, kek, suite, cmode, protected })
    }
}

/// Field 3a.2: the only step with its PDI.
struct ProcessingStep<'a> {
    order: FieldBytes<'a>,
    version_control: FieldBytes<'a>,
    enc: FieldBytes<'a>,
    group: FieldBytes<'a>,
    level: SecLevel,
    update_cplc: u8,
}

impl<'a> ProcessingStep<'a> {
    /// `L1 IDowner | L2 { L2 { ACT REQ TAG | L2 PDI | Lpointer } }`
    fn parse(field: FieldBytes<'a>, kek: KekId) -> Result<Self, ChipError> {
        let mut second = field.cursor();
        let owner = second.l1()?;
        if kek.0.get(..4) != Some(owner.bytes) {
            return Err(at(owner.at, ChipFault::Value("IDowner is not the issuer identifier of the TKID")));
        }
        let mut steps = second.l2()?.cursor();
        ends(&second, "3a.2")?;
        let mut step = steps.l2()?.cursor();
        ends(&steps, "the list of steps (one step only)")?;
        fixed(&mut step, &[0x0F], "ACT is not 0F")?;
        fixed(&mut step, &[0x01], "REQ is not 01")?;
        fixed(&mut step, &[0xEF], "TAG is not EF")?;
        let mut pdi = step.l2()?.cursor();
        fixed(&mut step, &[0x00, 0x00], "Lpointer is not 0000")?;
        ends(&step, "the step")?;
        let (order, version_control, enc) = (pdi.l2()?, pdi.l2()?, pdi.l2()?);
        let random = pdi.l2()?;
        if !random.bytes.is_empty() {
            return Err(at(random.at, ChipFault::Value("RANDOM is not empty")));
        }
        let group = pdi.l2()?;
        let level = known(&mut pdi, SecLevel::from_byte, "the SECLEV is not known")?;
        let cplc = |byte| (byte <= 1).then_some(byte);
        let update_cplc = known(&mut pdi, cplc, "UPDATEcplc is neither 00 nor 01")?;
        ends(&pdi, "the PDI")?;
        Ok(Self { order, version_control, enc, group, level, update_cplc })
    }
}

/// Iterates over `{ DGI }*`; an odd byte at the end is left out.
pub(super) fn pairs(bytes: &[u8]) -> impl Iterator<Item = Dgi> + Clone + use<'_> {
    bytes.as_chunks::<2>().0.iter().map(|pair| Dgi(u16::from_be_bytes(*pair)))
}

/// Iterates over `{ DGI, type }*`; bytes of an incomplete entry at the end are left out.
pub(super) fn triples(bytes: &[u8]) -> impl Iterator<Item = (Dgi, u8)> + Clone {
    bytes.as_chunks::<3>().0.iter().map(|[a, b, kind]| (Dgi(u16::from_be_bytes([*a, *b])), *kind))
}

/// Iterates over the groups of `{ n u8, n DGIs }*`; ends after the first error.
pub(super) fn groups(
    list: DgiList,
    field: FieldBytes<'_>,
) -> impl Iterator<Item = Result<FieldBytes<'_>, ChipError>> {
    let mut cursor = field.cursor();
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || cursor.is_empty() {
            return None;
        }
        let from = cursor.at();
        let group = cursor.u8().and_then(|count| cursor.take(2 * usize::from(count)));
        let group = match group {
            Ok(group) if group.bytes.is_empty() => Err(at(from, ChipFault::EmptyGroup(list))),
            other => other.map_err(ChipError::from),
        };
        failed = group.is_err();
        Some(group)
    })
}

pub(super) fn at(at: usize, fault: ChipFault) -> ChipError {
    ChipError { at, fault }
}

pub(super) fn name<T>(
    position: usize,
    field: &'static str,
    result: Result<T, NameError>,
) -> Result<T, ChipError> {
    result.map_err(|fault| at(position, ChipFault::Name(field, fault)))
}

fn ends(cursor: &FieldCursor<'_>, what: &'static str) -> Result<(), ChipError> {
    if cursor.is_empty() { Ok(()) } else { Err(at(cursor.at(), ChipFault::Leftover(what))) }
}

fn fixed(cursor: &mut FieldCursor<'_>, value: &[u8], fault: &'static str) -> Result<(), ChipError> {
    let field = cursor.take(value.len())?;
    if field.bytes == value { Ok(()) } else { Err(at(field.at, ChipFault::Value(fault))) }
}

fn known<T>(
    cursor: &mut FieldCursor<'_>,
    from_byte: impl Fn(u8) -> Option<T>,
    fault: &'static str,
) -> Result<T, ChipError> {
    let position = cursor.at();
    from_byte(cursor.u8()?).ok_or_else(|| at(position, ChipFault::Value(fault)))
}

/// Returns an AID as length and number, which are equal exactly if the AIDs are. The length is checked as by
/// [`Aid`].
fn aid_number(aid: FieldBytes<'_>) -> Result<(usize, u128), ChipError> {
    let fault = match aid.bytes.len() {
        0 => NameError::Empty,
        1..=16 => {
            let number = aid.bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
            return Ok((aid.bytes.len(), number));
        }
        _ => NameError::TooLong(16),
    };
    Err(at(aid.at, ChipFault::Name("AID", fault)))
}

/// Takes a minimal BER length and as many bytes.
fn ber_field<'a>(cursor: &mut FieldCursor<'a>) -> Result<FieldBytes<'a>, ChipError> {
    let (position, all) = (cursor.at(), cursor.rest());
    let (length, rest) = match tlv::read_length(all) {
        Ok(read) => read,
        Err(tlv::TlvError::Truncated) => return Err(at(position, ChipFault::Short)),
        Err(_) => return Err(at(position, ChipFault::Value("the data's length is malformed"))),
    };
    let coded = all.len() - rest.len();
    let minimal = match length {
        0..=0x7F => 1,
        0x80..=0xFF => 2,
        0x100..=0xFFFF => 3,
        _ => 4,
    };
    if coded != minimal {
        return Err(at(position, ChipFault::NotMinimal("the data")));
    }
    cursor.take(coded)?;
    Ok(cursor.take(length)?)
}

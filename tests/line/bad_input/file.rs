//! Takes a CWF1 file apart and puts it together again as `src/manual/cwf1.md` describes it, without
//! `src/record`. It checks nothing, so that every fault can be built. It seals with the TEST KEK kek-1 the
//! parts that must be right apart from the fault.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::prep_support::{Family, Scope, listed, mac};

/// A file in pieces. Fields stand in file order.
#[derive(Clone)]
pub struct File {
    pub file_id: String,
    pub issuer_id: String,
    pub product: String,
    pub created: u64,
    pub announced: u32,
    pub records: Vec<Record>,
    pub trailer: Trailer,
}

#[derive(Clone)]
pub struct Record {
    pub sequence: u32,
    pub card_ref: String,
    /// Each section's MIC and data.
    pub sections: Vec<(String, Vec<u8>)>,
}

#[derive(Clone)]
pub struct Trailer {
    pub records: u32,
    pub digest: Vec<u8>,
    pub kek: Vec<u8>,
    pub tk_type: u8,
    pub kcv: Vec<u8>,
    pub wrapped: Vec<u8>,
    pub mac: Vec<u8>,
}

pub fn l1(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub fn l2(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub fn l4(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// Type, length, body.
pub fn element(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], l4(body)].concat()
}

/// Reads fields from the front of a byte string.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    /// A field with a length of `n` bytes: `Ln x`.
    pub fn long(&mut self, n: usize) -> &'a [u8] {
        let length = usize::try_from(self.number(n)).unwrap();
        self.take(length)
    }

    pub fn text(&mut self) -> String {
        String::from_utf8(self.long(1).to_vec()).unwrap()
    }

    pub fn u32(&mut self) -> u32 {
        u32::try_from(self.number(4)).unwrap()
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    pub fn end(&self) {
        assert!(self.0.is_empty(), "{} bytes are left", self.0.len());
    }
}

/// The byte range of each element of a file, its type and length included.
pub fn elements(bytes: &[u8]) -> Vec<Range<usize>> {
    let (mut places, mut rest) = (Vec::new(), Fields(bytes));
    while !rest.0.is_empty() {
        let from = bytes.len() - rest.0.len();
        rest.take(1);
        rest.long(4);
        places.push(from..bytes.len() - rest.0.len());
    }
    places
}

impl Record {
    fn split(body: &[u8]) -> Self {
        let mut fields = Fields(body);
        let (sequence, card_ref) = (fields.u32(), fields.text());
        let mut sections = Vec::new();
        while !fields.0.is_empty() {
            sections.push((fields.text(), fields.long(4).to_vec()));
        }
        Self { sequence, card_ref, sections }
    }

    /// The body of the record's element.
    pub fn body(&self) -> Vec<u8> {
        let mut body = [self.sequence.to_be_bytes().to_vec(), l1(self.card_ref.as_bytes())].concat();
        for (mic, data) in &self.sections {
            body.extend([l1(mic.as_bytes()), l4(data)].concat());
        }
        body
    }

    pub fn section(&mut self, mic: &str) -> &mut Vec<u8> {
        &mut self.sections.iter_mut().find(|(name, _)| name == mic).unwrap().1
    }
}

impl File {
    pub fn split(bytes: &[u8]) -> Self {
        let mut bodies = elements(bytes).into_iter().map(|e| (bytes[e.start], &bytes[e.start + 5..e.end]));
        let (kind, header) = bodies.next().unwrap();
        let mut fields = Fields(header);
        assert_eq!((kind, fields.take(6)), (b'H', &b"CWF1\x00\x01"[..]));
        let (file_id, issuer_id, product) = (fields.text(), fields.text(), fields.text());
        let (created, announced) = (fields.number(8), fields.u32());
        fields.end();
        let (kind, trailer) = bodies.next_back().unwrap();
        let mut fields = Fields(trailer);
        assert_eq!(kind, b'T');
        let trailer = Trailer {
            records: fields.u32(),
            digest: fields.take(32).to_vec(),
            kek: fields.take(5).to_vec(),
            tk_type: fields.u8(),
            kcv: fields.take(3).to_vec(),
            wrapped: fields.long(1).to_vec(),
            mac: fields.long(1).to_vec(),
        };
        fields.end();
        let records = bodies.map(|(kind, body)| {
            assert_eq!(kind, b'R');
            Record::split(body)
        });
        Self { file_id, issuer_id, product, created, announced, records: records.collect(), trailer }
    }

    /// All bytes before the Trailer.
    pub fn front(&self) -> Vec<u8> {
        let header = [
            b"CWF1\x00\x01".to_vec(),
            l1(self.file_id.as_bytes()),
            l1(self.issuer_id.as_bytes()),
            l1(self.product.as_bytes()),
            self.created.to_be_bytes().to_vec(),
            self.announced.to_be_bytes().to_vec(),
        ]
        .concat();
        let records = self.records.iter().flat_map(|record| element(b'R', &record.body()));
        element(b'H', &header).into_iter().chain(records).collect()
    }

    /// The file as its pieces are, even if they do not fit together.
    pub fn bytes(&self) -> Vec<u8> {
        let trailer = [self.trailer.maced(), l1(&self.trailer.mac)].concat();
        [self.front(), element(b'T', &trailer)].concat()
    }

    /// The file with the right digest, and with the Trailer MAC that it had before.
    pub fn digested(&self) -> Vec<u8> {
        let mut file = self.clone();
        file.trailer.digest = Sha256::digest(self.front()).to_vec();
        file.bytes()
    }

    /// The file with the right digest and Trailer MAC.
    pub fn sealed(&self) -> Vec<u8> {
        self.closed(&self.front())
    }

    /// These bytes, followed by a Trailer with the right digest and MAC.
    pub fn closed(&self, front: &[u8]) -> Vec<u8> {
        let mut trailer = self.trailer.clone();
        trailer.digest = Sha256::digest(front).to_vec();
        let key = self.scope(0, "", &[]).mac_key(Family::Aes256, &kek(), &trailer.wrapped, [b'T', b'U']);
        let mac = mac(Family::Aes256, &key, &[b"CWF1T".to_vec(), trailer.maced()].concat());
        [front.to_vec(), element(b'T', &[trailer.maced(), l1(&mac)].concat())].concat()
    }

    /// Gives the records the sequences 1, 2, 3 ... and the Trailer the right counts.
    pub fn renumber(&mut self) {
        for (sequence, record) in (1..).zip(&mut self.records) {
            record.sequence = sequence;
        }
        self.announced = u32::try_from(self.records.len()).unwrap();
        self.trailer.records = self.announced;
    }

    /// The scope of an application's keys. The keys of the Trailer have sequence 0 and nothing else.
    pub fn scope<'a>(&'a self, sequence: u32, card_ref: &'a str, aid: &'a [u8]) -> Scope<'a> {
        Scope { issuer_id: &self.issuer_id, file_id: &self.file_id, sequence, card_ref, aid }
    }
}

impl Trailer {
    /// The part of the body that the MAC covers.
    fn maced(&self) -> Vec<u8> {
        let front = [&self.records.to_be_bytes(), &self.digest[..], &self.kek, &[self.tk_type], &self.kcv];
        [front.concat(), l1(&self.wrapped)].concat()
    }
}

/// The value of kek-1.
pub fn kek() -> Vec<u8> {
    listed("keys-bureau.toml", "kek-1").0
}

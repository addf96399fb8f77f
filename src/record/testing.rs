//! Files for tests, put together byte by byte from `src/manual/cwf1.md`. Nothing here is shared with the
//! writer, and nothing is checked, so that a test can build every fault. All values are synthetic.

use sha2::{Digest, Sha256};

/// KEKID 47617399, version 1.
pub(crate) const KEKID: [u8; 5] = [0x47, 0x61, 0x73, 0x99, 0x01];

pub(crate) fn l1(x: &[u8]) -> Vec<u8> {
    [&[u8::try_from(x.len()).unwrap()], x].concat()
}

pub(crate) fn l2(x: &[u8]) -> Vec<u8> {
    [&u16::try_from(x.len()).unwrap().to_be_bytes(), x].concat()
}

pub(crate) fn l4(x: &[u8]) -> Vec<u8> {
    [&u32::try_from(x.len()).unwrap().to_be_bytes(), x].concat()
}

/// An element: type u8, length u32, body.
pub(crate) fn element(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &l4(body)[..]].concat()
}

/// Body of a Header for issuer TESTBANK, product multiapp.
pub(crate) fn header(records: u32) -> Vec<u8> {
    [
        &b"CWF1\x00\x01"[..],
        &l1(b"F-0001"),
        &l1(b"TESTBANK"),
        &l1(b"multiapp"),
        &1_767_225_600u64.to_be_bytes(),
        &records.to_be_bytes(),
    ]
    .concat()
}

/// Body of a Record.
pub(crate) fn record(sequence: u32, card_ref: &str, sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = [&sequence.to_be_bytes()[..], &l1(card_ref.as_bytes())].concat();
    for (mic, data) in sections {
        body.extend(l1(mic.as_bytes()));
        body.extend(l4(data));
    }
    body
}

/// Body of a TDES Trailer with this digest and synthetic key and MAC.
pub(crate) fn trailer(records: u32, digest: &[u8]) -> Vec<u8> {
    [
        &records.to_be_bytes()[..],
        digest,
        &KEKID,
        &[0x40],
        &[0xAA, 0xBB, 0xCC],
        &l1(&[0x11; 24]),
        &l1(&[0x22; 8]),
    ]
    .concat()
}

/// Header and records without a Trailer.
pub(crate) fn front(header: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = element(b'H', header);
    for record in records {
        file.extend(element(b'R', record));
    }
    file
}

/// Adds the right Trailer to `front`.
pub(crate) fn close(mut front: Vec<u8>, records: u32) -> Vec<u8> {
    let digest = Sha256::digest(&front);
    front.extend(element(b'T', &trailer(records, &digest)));
    front
}

/// A whole file of these record bodies, all counts and the digest right.
pub(crate) fn file(records: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(records.len()).unwrap();
    close(front(&header(count), records), count)
}

/// A chip section in pieces; change one to build a fault.
#[derive(Clone, Debug)]
pub(crate) struct SectionPieces {
    pub vnl: Vec<u8>,
    pub crn: Vec<u8>,
    pub status: Vec<u8>,
    pub product_ids: Vec<u8>,
    /// The list of AIDs; [`SectionPieces::new`] makes it from the applications.
    pub aids: Vec<Vec<u8>>,
    pub applications: Vec<Vec<u8>>,
    pub tail: Vec<u8>,
}

impl SectionPieces {
    pub fn new(applications: &[ApplicationPieces]) -> Self {
        Self {
            vnl: b"02.2".to_vec(),
            crn: Vec::new(),
            status: b"00".to_vec(),
            product_ids: vec![0x00],
            aids: applications.iter().map(|a| a.aid.clone()).collect(),
            applications: applications.iter().map(ApplicationPieces::bytes).collect(),
            tail: Vec::new(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let aids = self.aids.iter().map(|aid| l1(aid)).collect::<Vec<_>>().concat();
        let count = [u8::try_from(self.aids.len()).unwrap()];
        let card = [&l1(&self.crn)[..], &self.status, &self.product_ids, &count, &aids].concat();
        let applications = self.applications.iter().map(|a| l2(a)).collect::<Vec<_>>().concat();
        [&self.vnl[..], &l2(&[&l2(&card)[..], &applications, &self.tail].concat())].concat()
    }
}

/// An application in pieces.
#[derive(Clone, Debug)]
pub(crate) struct ApplicationPieces {
    pub aid: Vec<u8>,
    pub tk_version: u8,
    pub kek: Vec<u8>,
    pub tk_type: u8,
    pub cmode: u8,
    pub protected: Vec<u16>,
    /// Bytes after the TK's list.
    pub tk_tail: Vec<u8>,
    pub owner: Vec<u8>,
    pub act: u8,
    pub req: u8,
    pub tag: u8,
    pub order: Vec<u8>,
    pub vercntl: Vec<u8>,
    pub enc: Vec<u8>,
    pub random: Vec<u8>,
    pub group: Vec<u8>,
    pub seclev: u8,
    pub cplc: u8,
    pub pdi_tail: Vec<u8>,
    pub pointer: Vec<u8>,
    /// A second step.
    pub more_steps: Vec<u8>,
    pub log: Vec<u8>,
    pub ef: u8,
    /// BER length; `None`: the right one.
    pub ber: Option<Vec<u8>>,
    /// `DGI | length | value` each.
    pub data: Vec<u8>,
    pub wrapped: Vec<u8>,
    pub mac: Vec<u8>,
    pub tail: Vec<u8>,
}

/// `DGI | length | value`.
pub(crate) fn dgi(dgi: u16, value: &[u8]) -> Vec<u8> {
    let length = if value.len() < 0xFF {
        vec![value.len() as u8]
    } else {
        [&[0xFF], &u16::try_from(value.len()).unwrap().to_be_bytes()[..]].concat()
    };
    [&dgi.to_be_bytes()[..], &length, value].concat()
}

/// `{ DGI }*`.
pub(crate) fn dgis(list: &[u16]) -> Vec<u8> {
    list.iter().flat_map(|dgi| dgi.to_be_bytes()).collect()
}

impl Default for ApplicationPieces {
    /// A TDES application with clear DGIs 0101, 0102, 9102 and protected ones 8000, 8010.
    fn default() -> Self {
        Self {
            aid: vec![0xA0, 0, 0, 0, 3, 0x10, 0x10],
            tk_version: 1,
            kek: KEKID.to_vec(),
            tk_type: 0x40,
            cmode: 0x10,
            protected: vec![0x8000, 0x8010],
            tk_tail: Vec::new(),
            owner: KEKID[..4].to_vec(),
            act: 0x0F,
            req: 0x01,
            tag: 0xEF,
            order: [&[2][..], &dgis(&[0x0102, 0x0101])].concat(),
            vercntl: dgis(&[0x9102]),
            enc: [&dgis(&[0x8000])[..], &[0x11], &dgis(&[0x8010]), &[0x22]].concat(),
            random: Vec::new(),
            group: [&[2][..], &dgis(&[0x0101, 0x0102])].concat(),
            seclev: 0x01,
            cplc: 0x00,
            pdi_tail: Vec::new(),
            pointer: vec![0, 0],
            more_steps: Vec::new(),
            log: dgis(&[0x9102]),
            ef: 0xEF,
            ber: None,
            data: [
                dgi(0x0101, &[0x70, 0x02, 0x5A, 0x00]),
                dgi(0x0102, &[0x33; 300]),
                dgi(0x8000, &[0x44; 48]),
                dgi(0x8010, &[0x55; 8]),
                dgi(0x9102, &[]),
            ]
            .concat(),
            wrapped: vec![0x66; 24],
            mac: vec![0x77; 8],
            tail: Vec::new(),
        }
    }
}

impl ApplicationPieces {
    pub fn bytes(&self) -> Vec<u8> {
        let tk = [
            &[self.tk_version][..],
            &self.kek,
            &[self.tk_type, self.cmode, self.protected.len() as u8],
            &dgis(&self.protected),
            &self.tk_tail,
        ]
        .concat();
        let pdi = [
            &l2(&self.order)[..],
            &l2(&self.vercntl),
            &l2(&self.enc),
            &l2(&self.random),
            &l2(&self.group),
            &[self.seclev, self.cplc],
            &self.pdi_tail,
        ]
        .concat();
        let step = [&[self.act, self.req, self.tag][..], &l2(&pdi), &self.pointer].concat();
        let steps = [l2(&step), self.more_steps.clone()].concat();
        let length = self.data.len();
        let ber = self.ber.clone().unwrap_or_else(|| match length {
            0..=0x7F => vec![length as u8],
            0x80..=0xFF => vec![0x81, length as u8],
            _ => vec![0x82, (length >> 8) as u8, length as u8],
        });
        [
            &l1(&[l1(&self.aid), l1(&tk)].concat())[..],
            &l2(&[l1(&self.owner), l2(&steps)].concat()),
            &l2(&self.log),
            &l2(&[&[self.ef][..], &ber, &self.data].concat()),
            &l1(&[&self.wrapped[..], &self.mac].concat()),
            &self.tail,
        ]
        .concat()
    }
}

//! Takes a chip section apart and puts it together again (`src/manual/cwf1.md`), without `src/record` and
//! without any checks.

use sha2::{Digest, Sha256};

use super::file::{Fields, File, kek, l1, l2, l4};
use crate::prep_support::{Family, mac};

/// AIDs of product multiapp.
pub const PAYMENT: &str = "A0000000031010";
pub const PURSE: &str = "F043575055525345";
pub const LOYALTY: &str = "F043574C4F59414C";

/// A CHP section in pieces.
#[derive(Clone)]
pub struct Chip {
    pub crn: Vec<u8>,
    /// AIDs in the order of the list.
    pub aids: Vec<Vec<u8>>,
    pub applications: Vec<Application>,
}

/// An application in pieces, in file order.
#[derive(Clone)]
pub struct Application {
    pub aid: Vec<u8>,
    /// 01, TKID, TYPEtk, CMODE.
    pub tk: Vec<u8>,
    /// DGIs that are encrypted under the TK.
    pub protected: Vec<u16>,
    pub owner: Vec<u8>,
    /// ORDER, VERCNTL, ENC, RANDOM, GROUP, each as bytes.
    pub lists: [Vec<u8>; 5],
    pub level: u8,
    pub update_cplc: u8,
    pub log: Vec<u8>,
    pub dgis: Vec<(u16, Vec<u8>)>,
    pub wrapped: Vec<u8>,
    pub mac: Vec<u8>,
}

pub const ORDER: usize = 0;
pub const VERSION_CONTROL: usize = 1;
pub const ENC: usize = 2;
pub const GROUP: usize = 4;

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks(2).map(|pair| u16::from_be_bytes(pair.try_into().unwrap())).collect()
}

impl Chip {
    pub fn split(data: &[u8]) -> Self {
        let mut outer = Fields(data);
        assert_eq!(outer.take(4), b"02.2");
        let mut rest = Fields(outer.long(2));
        outer.end();
        let mut card = Fields(rest.long(2));
        let crn = card.long(1).to_vec();
        assert_eq!(card.take(3), b"00\x00");
        let count = card.u8();
        let aids = (0..count).map(|_| card.long(1).to_vec()).collect();
        card.end();
        let applications = (0..count).map(|_| Application::split(rest.long(2))).collect();
        rest.end();
        Self { crn, aids, applications }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.aids.len()).unwrap();
        let aids: Vec<u8> = self.aids.iter().flat_map(|aid| l1(aid)).collect();
        let card = l2(&[l1(&self.crn), b"00\x00".to_vec(), vec![count], aids].concat());
        let applications = self.applications.iter().flat_map(|a| l2(&a.bytes()));
        [b"02.2".to_vec(), l2(&card.into_iter().chain(applications).collect::<Vec<_>>())].concat()
    }

    pub fn application(&mut self, aid: &str) -> &mut Application {
        let aid = hex::decode(aid).unwrap();
        self.applications.iter_mut().find(|a| a.aid == aid).unwrap()
    }
}

impl Application {
    fn split(raw: &[u8]) -> Self {
        let mut all = Fields(raw);
        let mut first = Fields(all.long(1));
        let aid = first.long(1).to_vec();
        let mut tk = Fields(first.long(1));
        first.end();
        let (head, count) = (tk.take(8).to_vec(), usize::from(tk.u8()));
        let protected = numbers(tk.take(2 * count));
        tk.end();
        let mut second = Fields(all.long(2));
        let owner = second.long(1).to_vec();
        let mut steps = Fields(second.long(2));
        second.end();
        let mut step = Fields(steps.long(2));
        steps.end();
        assert_eq!(step.take(3), [0x0F, 0x01, 0xEF]);
        let mut pdi = Fields(step.long(2));
        assert_eq!(step.take(2), [0, 0]);
        step.end();
        let lists = [(); 5].map(|()| pdi.long(2).to_vec());
        let (level, update_cplc) = (pdi.u8(), pdi.u8());
        pdi.end();
        let log = all.long(2).to_vec();
        let mut icc = Fields(all.long(2));
        assert_eq!(icc.u8(), 0xEF);
        let length = match icc.u8() {
            short @ ..=0x7F => u64::from(short),
            long => icc.number(usize::from(long & 0x7F)),
        };
        let mut data = Fields(icc.take(usize::try_from(length).unwrap()));
        icc.end();
        let mut dgis = Vec::new();
        while !data.0.is_empty() {
            let dgi = u16::try_from(data.number(2)).unwrap();
            let length = match data.u8() {
                0xFF => usize::try_from(data.number(2)).unwrap(),
                short => usize::from(short),
            };
            dgis.push((dgi, data.take(length).to_vec()));
        }
        let (mac_data, block) = (all.long(1), 16);
        all.end();
        let (wrapped, mac) = mac_data.split_at(mac_data.len() - block);
        let (wrapped, mac) = (wrapped.to_vec(), mac.to_vec());
        Self { aid, tk: head, protected, owner, lists, level, update_cplc, log, dgis, wrapped, mac }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let protected: Vec<u8> = self.protected.iter().flat_map(|dgi| dgi.to_be_bytes()).collect();
        let tk = [self.tk.clone(), vec![u8::try_from(self.protected.len()).unwrap()], protected].concat();
        let lists: Vec<u8> = self.lists.iter().flat_map(|list| l2(list)).collect();
        let pdi = [lists, vec![self.level, self.update_cplc]].concat();
        let step = [vec![0x0F, 0x01, 0xEF], l2(&pdi), vec![0, 0]].concat();
        let mut data = Vec::new();
        for (dgi, value) in &self.dgis {
            data.extend(dgi.to_be_bytes());
            match u8::try_from(value.len()) {
                Ok(short @ ..=0xFE) => data.push(short),
                _ => data.extend([&[0xFF], &u16::try_from(value.len()).unwrap().to_be_bytes()[..]].concat()),
            }
            data.extend(value);
        }
        let ber = match data.len() {
            short @ ..=0x7F => vec![short as u8],
            middle @ ..=0xFF => vec![0x81, middle as u8],
            long => [vec![0x82], u16::try_from(long).unwrap().to_be_bytes().to_vec()].concat(),
        };
        [
            l1(&[l1(&self.aid), l1(&tk)].concat()),
            l2(&[l1(&self.owner), l2(&l2(&step))].concat()),
            l2(&self.log),
            l2(&[vec![0xEF], ber, data].concat()),
            l1(&[self.wrapped.clone(), self.mac.clone()].concat()),
        ]
        .concat()
    }

    pub fn value(&mut self, dgi: u16) -> &mut Vec<u8> {
        &mut self.dgis.iter_mut().find(|(name, _)| *name == dgi).unwrap().1
    }
}

impl File {
    /// Changes the chip section of a record (from 0) and makes the MAC of each application again with the
    /// MACkey that the application wraps. So the change is the only fault of the file.
    pub fn change_chip(&mut self, record: usize, change: impl FnOnce(&mut Chip)) {
        let mut chip = Chip::split(self.records[record].section("CHP"));
        change(&mut chip);
        let place = &self.records[record];
        let others: Vec<u8> =
            place.sections.iter().filter(|(mic, _)| mic != "CHP").fold(Vec::new(), |mut all, (mic, data)| {
                all.extend([l1(mic.as_bytes()), l4(data)].concat());
                all
            });
        for application in &mut chip.applications {
            let scope = self.scope(place.sequence, &place.card_ref, &application.aid);
            let key = scope.mac_key(Family::Aes256, &kek(), &application.wrapped, [b'M', b'X']);
            let bytes = application.bytes();
            let message = [
                b"CWF1A".to_vec(),
                l1(self.issuer_id.as_bytes()),
                l1(self.file_id.as_bytes()),
                place.sequence.to_be_bytes().to_vec(),
                l1(place.card_ref.as_bytes()),
                Sha256::digest(&others).to_vec(),
                bytes[1..bytes.len() - application.mac.len()].to_vec(),
            ];
            application.mac = mac(Family::Aes256, &key, &message.concat());
        }
        *self.records[record].section("CHP") = chip.bytes();
    }

    /// Changes the chip section of a record without a new MAC.
    pub fn forge_chip<T>(&mut self, record: usize, change: impl FnOnce(&mut Chip) -> T) -> T {
        let section = self.records[record].section("CHP");
        let mut chip = Chip::split(section);
        let result = change(&mut chip);
        *section = chip.bytes();
        result
    }
}

//! A blank with an SCP02 i = 15 channel, made from GPCS appendix E with raw DES.

use crate::raw;

pub struct Card {
    pub key_data: [u8; 10],
    pub version: u8,
    pub sequence: [u8; 2],
    pub challenge: [u8; 6],
    kmc: Vec<u8>,
}

/// The content of a card after a session.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Contents {
    pub level: u8,
    /// DGI, decrypted value, and whether it came encrypted.
    pub dgis: Vec<(u16, Vec<u8>, bool)>,
    /// Other commands: INS P1 P2 and data.
    pub others: Vec<Vec<u8>>,
    /// Whether the last STORE DATA had b8 set in P1.
    pub last: bool,
}

/// A blank under kmc-1 (`FFFFFF476173:1`).
pub fn blank() -> Card {
    Card {
        key_data: [0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x73, 1, 2, 3, 4],
        version: 1,
        sequence: [0, 1],
        challenge: [0x11, 0x22, 0x33, 0x44, 0x55, 0x66],
        kmc: (0x40..0x50).collect(),
    }
}

/// A blank under `FFFFFF476175:1`, which no KEK allows.
pub fn foreign_blank() -> Card {
    Card {
        key_data: [0xFF, 0xFF, 0xFF, 0x47, 0x61, 0x75, 1, 2, 3, 4],
        kmc: (0x60..0x70).collect(),
        ..blank()
    }
}

impl Card {
    fn key(&self, n: u8) -> Vec<u8> {
        let d6 = &self.key_data[4..];
        raw::ecb(raw::TDES, &self.kmc, &[d6, &[0xF0, n], d6, &[0x0F, n]].concat())
    }

    fn session_key(&self, n: u8, constant: u16) -> Vec<u8> {
        let mut data = constant.to_be_bytes().to_vec();
        data.extend(self.sequence);
        data.resize(16, 0);
        raw::cbc(raw::TDES, &self.key(n), &data)
    }

    fn cryptogram(&self, parts: [&[u8]; 2]) -> Vec<u8> {
        let text = raw::pad(&parts.concat(), 8);
        raw::cbc(raw::TDES, &self.session_key(1, 0x0182), &text)[16..].to_vec()
    }

    /// The answer to INITIALIZE UPDATE.
    pub fn initialize_update(&self, host_challenge: [u8; 8]) -> Vec<u8> {
        let own = [&self.sequence[..], &self.challenge].concat();
        let mut out = self.key_data.to_vec();
        out.extend([self.version, 2]);
        out.extend(&own);
        out.extend(self.cryptogram([&host_challenge, &own]));
        out
    }

    /// Takes the commands of a session. Panics where a card would refuse one.
    pub fn personalize(&self, host_challenge: [u8; 8], apdus: &[Vec<u8>]) -> Contents {
        let own = [&self.sequence[..], &self.challenge].concat();
        let (enc, mac, dek) =
            (self.session_key(1, 0x0182), self.session_key(2, 0x0101), self.session_key(3, 0x0181));
        let first = &apdus[0];
        assert_eq!(first[..2], [0x84, 0x82], "EXTERNAL AUTHENTICATE first");
        assert_eq!(first.len(), 21);
        assert_eq!(first[5..13], self.cryptogram([&own, &host_challenge]), "host cryptogram");
        let mut last_mac: [u8; 8] = raw::retail(&mac, [0; 8], &first[..13]);
        assert_eq!(first[13..], last_mac, "C-MAC of EXTERNAL AUTHENTICATE");
        let mut contents = Contents { level: first[2], ..Contents::default() };
        let mut stream = Vec::new();
        for apdu in &apdus[1..] {
            assert_eq!(apdu.len(), 5 + usize::from(apdu[4]), "Lc, and no Le");
            let data = match contents.level {
                0 => {
                    assert_eq!(apdu[0], 0x80);
                    apdu[5..].to_vec()
                }
                level => {
                    assert_eq!(apdu[0], 0x84);
                    let (body, their_mac) = apdu[5..].split_at(apdu.len() - 13);
                    let plain = if level == 3 {
                        let mut plain = raw::tdes_cbc_decrypt(&enc, body);
                        while plain.pop().unwrap() == 0 {}
                        plain
                    } else {
                        body.to_vec()
                    };
                    let mut message = apdu[..4].to_vec();
                    message.push((plain.len() + 8) as u8);
                    message.extend(&plain);
                    last_mac = raw::retail(&mac, raw::des(&mac[..8], &last_mac), &message);
                    assert_eq!(their_mac, last_mac, "C-MAC");
                    plain
                }
            };
            if apdu[1] == 0xE2 {
                contents.last = apdu[2] & 0x80 != 0;
                let encrypted = apdu[2] & 0x60 == 0x60;
                stream.extend(data.iter().map(|b| (*b, encrypted)));
            } else {
                contents.others.push([&apdu[1..4], &data].concat());
            }
        }
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let byte = |n: usize| usize::from(rest[n].0);
            let dgi = u16::from_be_bytes([rest[0].0, rest[1].0]);
            let (start, length) = if byte(2) == 0xFF { (5, byte(3) << 8 | byte(4)) } else { (3, byte(2)) };
            let value = &rest[start..start + length];
            let encrypted = value.first().is_some_and(|(_, e)| *e);
            assert!(value.iter().all(|(_, e)| *e == encrypted), "one kind of command for one DGI");
            let bytes: Vec<u8> = value.iter().map(|(b, _)| *b).collect();
            let bytes = if encrypted { raw::tdes_ecb_decrypt(&dek, &bytes) } else { bytes };
            contents.dgis.push((dgi, bytes, encrypted));
            rest = &rest[start + length..];
        }
        contents
    }
}

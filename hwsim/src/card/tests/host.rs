//! A personalization host written by hand for these tests. It uses the card's cryptography, which the
//! published vectors test.

use super::super::SimulatedCard;
use super::super::channel::{CardSessionKeys, SupplierKeys};
use super::super::tdes::{self, DoubleLengthKey};
use super::{KMC, hex, select, split};

pub(super) struct TestHost {
    pub(super) keys: CardSessionKeys,
    pub(super) level: u8,
    pub(super) block: u8,
    icv: [u8; 8],
}

const CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

impl TestHost {
    /// Runs SELECT, INITIALIZE UPDATE, the check of the card's cryptogram and EXTERNAL AUTHENTICATE.
    pub(super) fn open(card: &mut SimulatedCard, aid: &str, level: u8) -> Self {
        select(card, aid);
        let (mut host, authenticate) = Self::begin(card, level);
        assert_eq!(card.transmit(&authenticate), Some(vec![0x90, 0x00]));
        host.icv = host.next_icv(&authenticate);
        host
    }

    /// Runs INITIALIZE UPDATE; also returns the EXTERNAL AUTHENTICATE that would follow.
    pub(super) fn begin(card: &mut SimulatedCard, level: u8) -> (Self, Vec<u8>) {
        let update = [&[0x80, 0x50, 0x00, 0x00, 0x08], &CHALLENGE[..], &[0]].concat();
        let answer = card.transmit(&update).unwrap();
        let [response @ .., 0x90, 0x00] = &answer[..] else { panic!("{answer:02X?}") };
        assert_eq!(response.len(), 28);
        let key_data = response.first_chunk().unwrap();
        assert_eq!(response[10..12], [1, 2]);
        let sequence = u16::from_be_bytes([response[12], response[13]]);
        let keys = CardSessionKeys::derive(&SupplierKeys::from_kmc(&KMC, key_data), sequence);
        let from_card = tdes::full_mac(&keys.enc, &[&CHALLENGE, &response[12..20]].concat());
        assert_eq!(response[20..28], from_card);
        let cryptogram = tdes::full_mac(&keys.enc, &[&response[12..20], &CHALLENGE].concat());
        let mut authenticate = vec![0x84, 0x82, level, 0x00, 0x10];
        authenticate.extend(cryptogram);
        authenticate.extend(tdes::retail_mac(&keys.mac, [0; 8], &authenticate));
        (Self { keys, level, block: 0, icv: [0; 8] }, authenticate)
    }

    fn next_icv(&self, sent: &[u8]) -> [u8; 8] {
        tdes::des_left(&self.keys.mac, *sent.last_chunk().unwrap())
    }

    /// Makes a command with the secure messaging of the level, with `data` in hex.
    pub(super) fn wrap(&mut self, ins: u8, p1: u8, p2: u8, data: &str) -> Vec<u8> {
        let data = hex(data);
        if self.level == 0 {
            return [&[0x80, ins, p1, p2, u8::try_from(data.len()).unwrap()], &data[..]].concat();
        }
        let header = |length: usize| vec![0x84, ins, p1, p2, u8::try_from(length + 8).unwrap()];
        let mac = tdes::retail_mac(&self.keys.mac, self.icv, &[&header(data.len())[..], &data].concat());
        let mut body = data;
        if self.level == 3 && !body.is_empty() {
            body = tdes::pad(&body);
            tdes::cbc_encrypt(&self.keys.enc, &mut body);
        }
        let command = [&header(body.len())[..], &body, &mac].concat();
        self.icv = self.next_icv(&command);
        command
    }

    /// Sends STORE DATA with this P1 and the next block number; returns its status word.
    pub(super) fn raw(&mut self, card: &mut SimulatedCard, p1: u8, data: &str) -> u16 {
        let command = self.wrap(0xE2, p1, self.block, data);
        self.block = self.block.wrapping_add(1);
        split(card.transmit(&command).unwrap()).1
    }

    /// Sends one DGI.
    pub(super) fn store(
        &mut self,
        card: &mut SimulatedCard,
        number: &str,
        value: &str,
        secret: bool,
        last: bool,
    ) -> u16 {
        let value = if secret { self.secret(value) } else { value.to_owned() };
        let p1 = if secret { 0x60 } else { 0 } | if last { 0x80 } else { 0 };
        self.raw(card, p1, &super::dgi(number, &value))
    }

    /// Encrypts a value under the session DEK.
    pub(super) fn secret(&self, value: &str) -> String {
        let mut value = hex(value);
        tdes::ecb_encrypt(&self.keys.dek, &mut value);
        hex::encode_upper(value)
    }

    pub(super) fn clear_key(value: &str) -> DoubleLengthKey {
        *hex(value).first_chunk().unwrap()
    }
}

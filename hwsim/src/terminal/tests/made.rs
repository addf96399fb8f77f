//! An issuer of test cards, written from the tables of EMV Book 2 with keys by OpenSSL: certificates (tables 2,
//! 13), signed data (tables 3, 15, 19), and a card that answers by a script.

use std::collections::BTreeMap;

use openssl::bn::{BigNum, BigNumContext};
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use sha1::{Digest, Sha1};

use super::*;

/// The account number of the cards made here: 16 digits.
pub(super) const PAN: &str = "4761739001010119";

/// A private key.
#[derive(Clone)]
pub(super) struct MadeKey(Rsa<Private>);

impl MadeKey {
    pub(super) fn new(bits: u32, exponent: u32) -> Self {
        Self(Rsa::generate_with_e(bits, &BigNum::from_u32(exponent).unwrap()).unwrap())
    }

    pub(super) fn modulus(&self) -> Vec<u8> {
        self.0.n().to_vec()
    }

    pub(super) fn exponent(&self) -> Vec<u8> {
        self.0.e().to_vec()
    }

    /// DGIs 8201 to 8205, padded as a secret value is.
    pub(super) fn constants(&self) -> Vec<(&'static str, String)> {
        let key = &self.0;
        let parts = [key.iqmp(), key.dmq1(), key.dmp1(), key.q(), key.p()];
        let names = ["8201", "8202", "8203", "8204", "8205"];
        let half = self.modulus().len().div_ceil(2);
        let constant = |part: &openssl::bn::BigNumRef| {
            let mut bytes = part.to_vec_padded(i32::try_from(half).unwrap()).unwrap();
            bytes.push(0x80);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            hex::encode_upper(bytes)
        };
        names.into_iter().zip(parts.map(|part| constant(part.unwrap()))).collect()
    }

    /// The private operation on a whole block.
    fn sign(&self, block: &[u8]) -> Vec<u8> {
        assert_eq!(block.len(), self.modulus().len());
        let block = BigNum::from_slice(block).unwrap();
        let mut signed = BigNum::new().unwrap();
        signed.mod_exp(&block, self.0.d(), self.0.n(), &mut BigNumContext::new().unwrap()).unwrap();
        signed.to_vec_padded(i32::try_from(self.modulus().len()).unwrap()).unwrap()
    }

    /// 6A, the content, the hash over content and what follows, BC; then `spoil` before it is signed.
    pub(super) fn seal(&self, content: &[u8], following: &[u8], spoil: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let hash = Sha1::digest([content, following].concat());
        let mut block = [&[0x6A], content, &hash[..], &[0xBC]].concat();
        spoil(&mut block);
        self.sign(&block)
    }

    /// Content filled with BB to what the key can sign.
    pub(super) fn filled(&self, content: &[u8]) -> Vec<u8> {
        let mut content = content.to_vec();
        content.resize(self.modulus().len() - 22, 0xBB);
        content
    }
}

/// What a certificate says, and how it is spoiled.
pub(super) struct MadeCertificate {
    pub(super) format: u8,
    /// 4 bytes of an issuer identifier or 10 of a PAN, F padded.
    pub(super) subject: String,
    pub(super) expiry: [u8; 2],
    pub(super) algorithms: [u8; 2],
    /// Lengths of key and exponent, in place of the true ones.
    pub(super) lengths: Option<[u8; 2]>,
    pub(super) filler: u8,
    /// Position and value of a byte of the block, after its hash was made.
    pub(super) spoil: Option<(usize, u8)>,
}

impl MadeCertificate {
    pub(super) fn issuer() -> Self {
        Self {
            format: 2,
            subject: "476173FF".into(),
            expiry: [0x12, 0x35],
            algorithms: [1, 1],
            lengths: None,
            filler: 0xBB,
            spoil: None,
        }
    }

    pub(super) fn card() -> Self {
        Self { format: 4, subject: format!("{PAN}FFFF"), ..Self::issuer() }
    }

    /// The certificate of a key, and the key's remainder.
    pub(super) fn seal(&self, signer: &MadeKey, key: &MadeKey, static_data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (modulus, exponent) = (key.modulus(), key.exponent());
        let lengths =
            self.lengths.unwrap_or([modulus.len().try_into().unwrap(), exponent.len().try_into().unwrap()]);
        let mut content = vec![self.format];
        content.extend(hex(&self.subject));
        content.extend(self.expiry);
        content.extend([0, 0, 1]); // serial number
        content.extend(self.algorithms);
        content.extend(lengths);
        let room = signer.modulus().len() - 22 - content.len();
        let (inside, remainder) = modulus.split_at(room.min(modulus.len()));
        content.extend(inside);
        content.resize(signer.modulus().len() - 22, self.filler);
        let following = [remainder, &exponent, static_data].concat();
        let certificate = signer.seal(&content, &following, |block| {
            if let Some((at, value)) = self.spoil {
                let at = if at == usize::MAX { block.len() - 1 } else { at };
                block[at] = value;
            }
        });
        (certificate, remainder.to_vec())
    }
}

/// A data object.
pub(super) fn tlv(tag: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = hex(tag);
    if value.len() > 127 {
        bytes.push(0x81);
    }
    bytes.push(value.len().try_into().unwrap());
    bytes.extend(value);
    bytes
}

/// A data object, unless it is empty.
pub(super) fn optional(tag: &str, value: &[u8]) -> Vec<u8> {
    if value.is_empty() { vec![] } else { tlv(tag, value) }
}

/// Answers of a card to a signing command, from the command's data.
type SigningScript = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A card that answers by a script. Its records are whole, with their templates.
pub(super) struct ScriptedCard {
    pub(super) fci: Vec<u8>,
    /// The whole answer of GET PROCESSING OPTIONS.
    pub(super) options: Vec<u8>,
    pub(super) records: BTreeMap<(u8, u8), Vec<u8>>,
    /// The whole answer of INTERNAL AUTHENTICATE or GENERATE AC.
    pub(super) signer: Option<SigningScript>,
}

impl TerminalLink for ScriptedCard {
    fn transmit(&mut self, apdu: &[u8]) -> Vec<u8> {
        let data = || &apdu[5..apdu.len() - 1];
        let answer = match (apdu[1], &self.signer) {
            (0xA4, _) => Some(self.fci.clone()),
            (0xA8, _) => Some(self.options.clone()),
            (0xB2, _) => self.records.get(&(apdu[3] >> 3, apdu[2])).cloned(),
            (0x88 | 0xAE, Some(sign)) => Some(sign(data())),
            _ => None,
        };
        answer.map_or(vec![0x6A, 0x83], |answer| [&answer[..], &[0x90, 0x00]].concat())
    }
}

impl ScriptedCard {
    /// A card without PDOL: a marked record 1 of SFI 1, other records from 1 of SFI 2, without templates here.
    pub(super) fn new(aip: &str, marked: &[u8], others: &[Vec<u8>]) -> Self {
        let name = [tlv("84", &PAYMENT), tlv("A5", &[])].concat();
        let last = u8::try_from(others.len()).unwrap();
        let locator = [8, 1, 1, 1, 0x10, 1, last, 0];
        let mut records = BTreeMap::from([((1, 1), tlv("70", marked))]);
        records.extend((1..).zip(others).map(|(number, record)| ((2, number), tlv("70", record))));
        Self {
            fci: tlv("6F", &name),
            options: tlv("80", &[hex(aip), locator.to_vec()].concat()),
            records,
            signer: None,
        }
    }
}

/// The authority's file.
pub(super) fn keys_of(authority: &MadeKey) -> CertificationKeys {
    let [modulus, exponent] = [authority.modulus(), authority.exponent()].map(hex::encode);
    let file =
        serde_json::json!({ "rid": "A000000003", "index": "92", "modulus": modulus, "exponent": exponent });
    CertificationKeys::parse(&file.to_string()).unwrap()
}

//! Keys, certificates and CRT parts that pycryptodome made.

use openssl::bn::{BigNum, BigNumContext};

use super::*;
use crate::crypto::rsa::{CrtParts, RsaPublicKey, RsaSigner};

/// Parts of a known card in the order p, q, dp, dq, qinv.
fn parts_of(card: &KnownCard) -> [Vec<u8>; 5] {
    [card.p, card.q, card.dp, card.dq, card.qinv].map(bytes)
}

#[test]
fn the_parts_of_an_issuers_key_follow_from_its_primes() {
    let context = &mut *BigNumContext::new().unwrap();
    for key in [&CA, &ISSUER] {
        let pair = known_pair(key);
        assert_eq!(pair.public().modulus(), bytes(key.modulus));
        // That program takes the inverse modulo (p - 1)(q - 1), so the private exponents agree only in their remainders.
        let d = BigNum::from_slice(&bytes(key.private_exponent)).unwrap();
        let own = pair.numbers().unwrap().private_exponent(PublicExponent::Three).unwrap();
        let parts = pair.parts();
        for (prime, exponent) in [(parts.p, parts.dp), (parts.q, parts.dq)] {
            let mut below = BigNum::from_slice(prime).unwrap();
            below.sub_word(1).unwrap();
            for d in [&*d, &*own] {
                let mut expected = BigNum::new().unwrap();
                expected.nnmod(d, &below, context).unwrap();
                assert_eq!(exponent, expected.to_vec_padded(exponent.len().try_into().unwrap()).unwrap());
            }
        }
    }
}

#[test]
fn the_order_in_which_primes_come_does_not_matter() {
    let pair = RsaKeyPair::from_primes(PublicExponent::Three, &bytes(CA.q), &bytes(CA.p)).unwrap();
    assert_eq!(pair.encode(), known_pair(&CA).encode());
}

#[test]
fn certificates_are_recovered_and_signed_again() {
    for key in [&CA, &ISSUER] {
        let pair = known_pair(key);
        let block = pair.public().recover(&bytes(key.signature)).unwrap();
        // Header and trailer of EMV Book 2.
        assert_eq!((block[0], block[block.len() - 1]), (0x6A, 0xBC));
        assert_eq!(RsaSigner::new(&pair).unwrap().sign(&block).unwrap(), bytes(key.signature));
    }
}

#[test]
fn the_parts_of_cards_are_taken_as_they_are() {
    for card in &CARDS {
        let [p, q, dp, dq, qinv] = parts_of(card);
        let exponent = PublicExponent::new(card.exponent).unwrap();
        let pair = RsaKeyPair::from_primes(exponent, &p, &q).unwrap();
        let parts = pair.parts();
        assert_eq!((parts.dp, parts.dq, parts.qinv), (&dp[..], &dq[..], &qinv[..]));
        assert!(pair.public().modulus().starts_with(&bytes(card.modulus_begins)));
        let whole = CrtParts { p: &p, q: &q, dp: &dp, dq: &dq, qinv: &qinv };
        let read = RsaKeyPair::from_parts(pair.public(), &whole).unwrap();
        assert_eq!(read.encode(), pair.encode());
        let block = vec![0x6A; pair.public().length()];
        let signature = RsaSigner::new(&read).unwrap().sign(&block).unwrap();
        assert_eq!(pair.public().recover(&signature).unwrap(), block);
    }
}

#[test]
fn the_encoded_form_is_as_documented() {
    let card = &CARDS[1];
    let exponent = PublicExponent::new(card.exponent).unwrap();
    let pair = RsaKeyPair::from_primes(exponent, &bytes(card.p), &bytes(card.q)).unwrap();
    let expected = ["010480010001", card.p, card.q, card.dp, card.dq, card.qinv].concat();
    assert_eq!(hex::encode_upper(&*pair.encode()), expected);
    let read = RsaKeyPair::decode(&pair.encode()).unwrap();
    assert_eq!((read.public(), read.encode()), (pair.public(), pair.encode()));
}

#[test]
fn every_changed_byte_of_a_signature_gives_another_block() {
    let public = RsaPublicKey::new(&bytes(ISSUER.modulus), PublicExponent::Three).unwrap();
    let signature = bytes(ISSUER.signature);
    let block = public.recover(&signature).unwrap();
    for place in 0..signature.len() {
        let mut changed = signature.clone();
        changed[place] ^= 0x40;
        match public.recover(&changed) {
            Ok(other) => assert_ne!(other, block, "byte {place}"),
            Err(error) => assert!(matches!(error, RsaError::Block), "byte {place}: {error}"),
        }
    }
}

#[test]
fn blocks_outside_of_the_modulus_are_refused() {
    let pair = known_pair(&ISSUER);
    let signer = RsaSigner::new(&pair).unwrap();
    let modulus = pair.public().modulus().to_vec();
    let mut below = modulus.clone();
    *below.last_mut().unwrap() -= 1;
    assert!(signer.sign(&below).is_ok() && pair.public().recover(&below).is_ok());
    let above = vec![0xFF; modulus.len()];
    for block in [&modulus, &above, &below[1..].to_vec(), &[&[0], &below[..]].concat(), &vec![]] {
        assert!(matches!(signer.sign(block), Err(RsaError::Block)));
        assert!(matches!(pair.public().recover(block), Err(RsaError::Block)));
    }
}

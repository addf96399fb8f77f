//! Keys that are refused: wrong, weak, or of another size.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};

use super::*;
use crate::crypto::rsa::{CrtParts, KeyPairGenerator, PairFault, RsaPublicKey};

/// The parts of the second card, of which a test spoils some. Exponent 65537.
struct Parts {
    p: Vec<u8>,
    q: Vec<u8>,
    dp: Vec<u8>,
    dq: Vec<u8>,
    qinv: Vec<u8>,
}

fn good() -> (RsaPublicKey, Parts) {
    let card = &CARDS[1];
    let [p, q, dp, dq, qinv] = [card.p, card.q, card.dp, card.dq, card.qinv].map(bytes);
    let pair = RsaKeyPair::from_primes(PublicExponent::F4, &p, &q).unwrap();
    (pair.public().clone(), Parts { p, q, dp, dq, qinv })
}

/// Why the parts are refused after a change.
#[track_caller]
fn fault(public: &RsaPublicKey, parts: &Parts) -> PairFault {
    let Parts { p, q, dp, dq, qinv } = parts;
    match RsaKeyPair::from_parts(public, &CrtParts { p, q, dp, dq, qinv }) {
        Err(RsaError::Pair(fault)) => fault,
        Err(error) => panic!("refused otherwise: {error}"),
        Ok(_) => panic!("taken"),
    }
}

fn changed(change: impl FnOnce(&mut Parts)) -> PairFault {
    let (public, mut parts) = good();
    change(&mut parts);
    fault(&public, &parts)
}

/// A prime above an odd number that leaves `remainder` modulo an odd `modulus`.
fn prime_from(start: &[u8], modulus: u32, remainder: u64) -> Vec<u8> {
    let mut number = BigNum::from_slice(start).unwrap();
    let context = &mut *BigNumContext::new().unwrap();
    number.add_word(2).unwrap();
    while number.mod_word(modulus).unwrap() != remainder {
        number.add_word(2).unwrap();
    }
    while !number.is_prime_fasttest(64, context, true).unwrap() {
        number.add_word(2 * modulus).unwrap();
    }
    number.to_vec()
}

fn number(bytes: &[u8]) -> BigNum {
    BigNum::from_slice(bytes).unwrap()
}

fn product(a: &BigNumRef, b: &BigNumRef) -> Vec<u8> {
    let mut product = BigNum::new().unwrap();
    product.checked_mul(a, b, &mut BigNumContext::new().unwrap()).unwrap();
    product.to_vec()
}

/// Parts whose exponents and inverse belong to p and q, so that only the primes can be at fault.
fn parts_of(p: &[u8], q: &[u8]) -> Parts {
    let context = &mut *BigNumContext::new().unwrap();
    let e = BigNum::from_u32(65_537).unwrap();
    let mut inverse = |a: &BigNumRef, modulus: &BigNumRef| {
        let mut inverse = BigNum::new().unwrap();
        inverse.mod_inverse(a, modulus, context).unwrap();
        inverse.to_vec_padded(72).unwrap()
    };
    let below = |prime: &[u8]| {
        let mut below = number(prime);
        below.sub_word(1).unwrap();
        below
    };
    let (dp, dq) = (inverse(&e, &below(p)), inverse(&e, &below(q)));
    let qinv = inverse(&number(q), &number(p));
    Parts { p: p.to_vec(), q: q.to_vec(), dp, dq, qinv }
}

#[test]
fn one_wrong_part_of_a_pair_is_found() {
    let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 0x02;
    assert_eq!(changed(|parts| last(&mut parts.dp)), PairFault::ExponentOfP);
    assert_eq!(changed(|parts| last(&mut parts.dq)), PairFault::ExponentOfQ);
    assert_eq!(changed(|parts| last(&mut parts.qinv)), PairFault::Inverse);
    assert_eq!(changed(|parts| std::mem::swap(&mut parts.p, &mut parts.q)), PairFault::Order);
    assert_eq!(changed(|parts| std::mem::swap(&mut parts.dp, &mut parts.dq)), PairFault::ExponentOfP);
    assert_eq!(changed(|parts| parts.p.clone_from(&parts.q)), PairFault::Close);
    assert_eq!(changed(|parts| parts.p[0] = 0x7F), PairFault::Order);
    assert_eq!(changed(|parts| parts.q[0] = 0x7F), PairFault::PrimeSize);
    assert_eq!(changed(|parts| last(&mut parts.q)), PairFault::ExponentOfQ);
    assert_eq!(changed(|parts| *parts.q.last_mut().unwrap() ^= 1), PairFault::NotPrime);
    // An inverse that is right, but not the smallest, does not fit its length.
    assert_eq!(changed(|parts| parts.qinv = [vec![1; 73]].concat()), PairFault::Inverse);
}

#[test]
fn a_modulus_of_other_primes_is_refused() {
    let (_, parts) = good();
    let other =
        RsaKeyPair::from_primes(PublicExponent::Three, &bytes(CARDS[0].p), &bytes(CARDS[0].q)).unwrap();
    let public = RsaPublicKey::new(other.public().modulus(), PublicExponent::F4).unwrap();
    assert_eq!(fault(&public, &parts), PairFault::Product);
    let (public, _) = good();
    let three = RsaPublicKey::new(public.modulus(), PublicExponent::Three).unwrap();
    assert_eq!(fault(&three, &parts), PairFault::ExponentOfP);
}

/// p is the product of two primes. Its exponents and inverse suit it, so that every relation holds.
#[test]
fn a_composite_p_is_refused() {
    let mut random = SeededRandom::new(b"composite");
    let (a, b) = (
        prime_from(&random_from(&mut random, 0xF0), 1, 0),
        prime_from(&random_from(&mut random, 0xF8), 1, 0),
    );
    let p = product(&number(&a), &number(&b));
    let (_, Parts { q, .. }) = good();
    let parts = parts_of(&p, &q);
    let public = RsaPublicKey::new(&product(&number(&p), &number(&q)), PublicExponent::F4).unwrap();
    assert_eq!(fault(&public, &parts), PairFault::NotPrime);
    assert!(matches!(
        RsaKeyPair::from_primes(PublicExponent::F4, &p, &q),
        Err(RsaError::Pair(PairFault::NotPrime))
    ));
}

/// 36 bytes with this first byte, odd.
fn random_from(random: &mut SeededRandom, first: u8) -> Vec<u8> {
    let mut bytes = random.bytes(36);
    (bytes[0], bytes[35]) = (first, 1);
    bytes
}

#[test]
fn close_primes_are_refused() {
    let (_, Parts { p, .. }) = good();
    // 476 bits is the last distance that is refused for primes of 576 bits.
    for (bit, is_close) in [(10, true), (475, true), (477, false)] {
        let mut near = number(&p);
        near.sub_word(1).unwrap();
        let mut distance = BigNum::new().unwrap();
        distance.set_bit(bit).unwrap();
        let mut start = BigNum::new().unwrap();
        start.checked_sub(&near, &distance).unwrap();
        start.add_word(1).unwrap();
        let q = prime_from(&start.to_vec(), 1, 0);
        if q == p {
            continue;
        }
        let pair = RsaKeyPair::from_primes(PublicExponent::F4, &p, &q);
        let found = matches!(pair, Err(RsaError::Pair(PairFault::Close)));
        assert_eq!((found, pair.is_ok()), (is_close, !is_close), "{bit} bits");
    }
}

#[test]
fn primes_with_a_large_common_factor_below_them_are_refused() {
    // p = 2 a c + 1 and q = 2 b c + 1 with a prime c of 530 bits.
    let mut random = SeededRandom::new(b"common");
    let mut start = random.bytes(67);
    (start[0], start[66]) = (2, 1);
    let c = number(&prime_from(&start, 1, 0));
    let context = &mut *BigNumContext::new().unwrap();
    let mut found = Vec::new();
    let mut factor = BigNum::from_u32(0x8000_0000).unwrap();
    factor.mul_word(1 << 14).unwrap();
    while found.len() < 2 {
        factor.add_word(1 << 20).unwrap();
        let mut prime = number(&product(&factor, &c));
        prime.mul_word(2).unwrap();
        prime.add_word(1).unwrap();
        let is_prime = prime.is_prime_fasttest(64, context, true).unwrap();
        if is_prime && prime.num_bits() == 576 && prime.is_bit_set(575) {
            found.push(prime.to_vec());
        }
    }
    let pair = RsaKeyPair::from_primes(PublicExponent::F4, &found[0], &found[1]);
    assert!(matches!(pair, Err(RsaError::Pair(PairFault::CommonFactor))), "{:?}", pair.err());
}

#[test]
fn an_exponent_that_divides_p_less_one_is_refused() {
    let (_, Parts { p, q, .. }) = good();
    for exponent in [PublicExponent::Three, PublicExponent::F4] {
        let unsuitable = prime_from(&p, exponent.value(), 1);
        let pair = RsaKeyPair::from_primes(exponent, &unsuitable, &q);
        assert!(matches!(pair, Err(RsaError::Pair(PairFault::ExponentDivides))), "{:?}", pair.err());
    }
}

#[test]
fn public_keys_of_other_sizes_and_shapes_are_refused() {
    for bits in [0, 8, 512, 1016, 1025, 1028, 1992, 2048, 1 << 20] {
        assert!(
            matches!(KeyPairGenerator::new(bits, PublicExponent::Three), Err(RsaError::Size(b)) if b == bits)
        );
    }
    for length in [0, 1, 127, 249, 1 << 16] {
        let refused = RsaPublicKey::new(&vec![0xFF; length], PublicExponent::Three);
        assert!(matches!(refused, Err(RsaError::Size(bits)) if bits == length * 8), "{length}");
    }
    for (place, byte) in [(0, 0x7F), (127, 0xFE)] {
        let mut modulus = vec![0xFF; 128];
        modulus[place] = byte;
        assert!(matches!(RsaPublicKey::new(&modulus, PublicExponent::Three), Err(RsaError::Modulus)));
    }
    for value in [0, 1, 2, 5, 17, 65_536, 65_539] {
        assert!(matches!(PublicExponent::new(value), Err(RsaError::Exponent)));
    }
    for (bytes, expected) in [
        (&[3][..], Some(PublicExponent::Three)),
        (&[0, 0, 3], Some(PublicExponent::Three)),
        (&[1, 0, 1], Some(PublicExponent::F4)),
        (&[0, 1, 0, 1], Some(PublicExponent::F4)),
        (&[], None),
        (&[0], None),
        (&[3, 0], None),
        (&[1, 0, 1, 0], None),
    ] {
        assert_eq!(PublicExponent::from_bytes(bytes).ok(), expected);
    }
}

#[test]
fn encoded_pairs_that_are_cut_or_changed_are_refused() {
    let bytes = known_pair(&ISSUER).encode();
    for length in (0..8).chain([bytes.len() - 89, bytes.len() - 88, bytes.len() - 1]) {
        assert!(RsaKeyPair::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(matches!(RsaKeyPair::decode(&[&bytes[..], &[0]].concat()), Err(RsaError::Encoding)));
    assert!(matches!(RsaKeyPair::decode(&[&bytes[..], &[0; 88]].concat()), Err(RsaError::Encoding)));
    for place in (0..bytes.len()).step_by(3).chain(0..6) {
        let mut changed = bytes.to_vec();
        changed[place] ^= 0x04;
        assert!(RsaKeyPair::decode(&changed).is_err(), "byte {place}");
    }
}

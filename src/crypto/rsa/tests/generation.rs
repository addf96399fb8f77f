//! Generated key pairs: their sizes, their relations, and that both numbers are prime by OpenSSL's own test.

use openssl::bn::{BigNum, BigNumContext};

use super::*;
use crate::crypto::rsa::{KeyPairGenerator, PairFault, RsaSigner};

/// Sizes of a card's key, of an issuer's key, and of the largest with which a certificate fits into a record.
const SIZES: [usize; 4] = [1024, 1152, 1408, 1976];

fn check(pair: &RsaKeyPair, bits: usize, exponent: PublicExponent) {
    let (public, parts) = (pair.public(), pair.parts());
    assert_eq!((public.bits(), public.exponent()), (bits, exponent));
    assert_eq!((public.length(), public.modulus().len()), (bits / 8, bits / 8));
    let context = &mut *BigNumContext::new().unwrap();
    for prime in [parts.p, parts.q] {
        let number = BigNum::from_slice(prime).unwrap();
        let half = i32::try_from(bits / 2).unwrap();
        assert_eq!((number.num_bits(), number.is_bit_set(half - 2)), (half, true), "the two highest bits");
        assert!(number.is_prime_fasttest(64, context, true).unwrap());
        let mut below = number.to_owned().unwrap();
        below.sub_word(1).unwrap();
        assert_ne!(below.mod_word(exponent.value()).unwrap(), 0);
    }
    for part in [parts.p, parts.q, parts.dp, parts.dq, parts.qinv] {
        assert_eq!(part.len(), bits.div_ceil(16));
    }
    // Checks p above q, the distance, and the CRT parts.
    assert!(RsaKeyPair::from_parts(public, &parts).is_ok());
    assert!(RsaKeyPair::decode(&pair.encode()).is_ok_and(|read| read.encode() == pair.encode()));
}

#[test]
fn pairs_of_every_size_and_exponent_are_sound_and_sign() {
    for exponent in [PublicExponent::Three, PublicExponent::F4] {
        for bits in SIZES.into_iter().chain([1032, 1984]) {
            let mut random = SeededRandom::new(format!("{bits} {exponent:?}").as_bytes());
            let pair = KeyPairGenerator::new(bits, exponent).unwrap().generate(&mut random.source()).unwrap();
            check(&pair, bits, exponent);
            let mut block = random.bytes(bits / 8);
            block[0] = 0x6A;
            let signature = RsaSigner::new(&pair).unwrap().sign(&block).unwrap();
            assert_eq!(pair.public().recover(&signature).unwrap(), block);
        }
    }
}

#[test]
fn random_numbers_alone_decide_the_pair() {
    let generator = KeyPairGenerator::new(1024, PublicExponent::Three).unwrap();
    let pair = |seed: &[u8]| generator.generate(&mut SeededRandom::new(seed).source()).unwrap();
    assert_eq!(pair(b"a").encode(), pair(b"a").encode());
    assert_ne!(pair(b"a").encode(), pair(b"b").encode());
}

/// Each prime has a start of its own, and no two primes of one generator lie in one window.
#[test]
fn primes_come_from_windows_of_their_own() {
    let generator = KeyPairGenerator::new(1024, PublicExponent::F4).unwrap();
    let mut random = SeededRandom::new(b"windows");
    let mut primes = Vec::new();
    for _ in 0..8 {
        let pair = generator.generate(&mut random.source()).unwrap();
        primes.extend([pair.parts().p.to_vec(), pair.parts().q.to_vec()]);
    }
    primes.sort();
    for pair in primes.windows(2) {
        let heads = [&pair[0][..32], &pair[1][..32]];
        assert_ne!(heads[0], heads[1]);
    }
}

#[test]
fn random_numbers_that_repeat_themselves_give_no_pair() {
    let generator = KeyPairGenerator::new(1024, PublicExponent::Three).unwrap();
    let with = |byte: u8| {
        let mut fill = |bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok(())
        };
        generator.generate(&mut fill).err().unwrap()
    };
    assert!(matches!(with(0x00), RsaError::NoPrime), "no base");
    assert!(matches!(with(0xFF), RsaError::NoPrime), "the window ends at once");
    assert!(matches!(with(0x5A), RsaError::Pair(PairFault::Close)), "two equal primes");
}

#[test]
fn a_source_that_fails_ends_the_search() {
    let generator = KeyPairGenerator::new(1024, PublicExponent::Three).unwrap();
    // Two starts, and for each prime nine bases.
    for calls in 0..20 {
        let mut random = SeededRandom::new(b"fails");
        let mut left = calls;
        let mut fill = |bytes: &mut [u8]| {
            random.fill(bytes);
            left -= 1;
            if left < 0 { Err(RsaError::Random) } else { Ok(()) }
        };
        assert!(matches!(generator.generate(&mut fill), Err(RsaError::Random)), "after {calls} calls");
    }
}

#[test]
fn a_generator_serves_several_threads() {
    let generator = KeyPairGenerator::new(1024, PublicExponent::Three).unwrap();
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = [b"1", b"2"]
            .map(|seed| {
                scope.spawn(|| generator.generate(&mut SeededRandom::new(seed).source()).unwrap().encode())
            })
            .into_iter()
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_ne!(made[0], made[1]);
}

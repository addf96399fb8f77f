//! DES, TDES, retail MAC and parity against published values and against the `retail-mac` crate.

use proptest::prelude::*;
use retail_mac::{RetailMac, digest::KeyInit, digest::Mac};

use super::*;

fn key(hex_digits: &str) -> TdesKey {
    TdesKey::new(hex::decode(hex_digits).unwrap().try_into().unwrap())
}

/// The `retail-mac` crate pads with zeros only, so 80 00.. is appended here.
fn oracle(key: &[u8; 16], message: &[u8]) -> [u8; 8] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while !padded.len().is_multiple_of(8) {
        padded.push(0);
    }
    let mut mac = RetailMac::<Des>::new_from_slice(key).unwrap();
    mac.update(&padded);
    mac.finalize().into_bytes().into()
}

#[test]
fn iso_9797_1_2011_b4_mac_algorithm_3() {
    // ISO/IEC 9797-1:2011 B.4, key 0123456789ABCDEF FEDCBA9876543210. The published value is for padding method 1, which
    // adds nothing to these 24 bytes: the chain by hand over the two schedules that `retail_mac` uses.
    let key = key("0123456789ABCDEFFEDCBA9876543210");
    let mut state = [0u8; 8];
    for block in b"Now is the time for all ".chunks(8) {
        for (s, b) in state.iter_mut().zip(block) {
            *s ^= b;
        }
        key.encrypt_left(&mut state);
    }
    key.0.right.decrypt_block((&mut state).into());
    key.encrypt_left(&mut state);
    assert_eq!(hex::encode_upper(state), "A1C72E74EA3FA9B6");
}

#[test]
fn fips_81_single_des_under_the_left_half() {
    // FIPS 81 Table B1 (ECB): key 0123456789ABCDEF, "Now is t" -> 3FA40E8A984D4815.
    let key = key("0123456789ABCDEFFEDCBA9876543210");
    let mut block = *b"Now is t";
    key.encrypt_left(&mut block);
    assert_eq!(hex::encode_upper(block), "3FA40E8A984D4815");
}

#[test]
fn published_kcv_of_the_gp_test_key() {
    // GlobalPlatform test key 404142..4F: KCV 8BAF47 (GPPro).
    let mut block = [0u8; 8];
    key("404142434445464748494A4B4C4D4E4F").ecb_encrypt(&mut block).unwrap();
    assert_eq!(hex::encode_upper(&block[..3]), "8BAF47");
}

#[test]
fn a_part_of_a_block_is_refused() {
    let key = key("404142434445464748494A4B4C4D4E4F");
    for length in [1, 7, 9, 15] {
        assert_eq!(key.ecb_encrypt(&mut vec![0; length]), Err(CryptoError::Length));
        assert_eq!(key.ecb_decrypt(&mut vec![0; length]), Err(CryptoError::Length));
        assert_eq!(tdes_cbc_encrypt(&key, &[0; 8], &mut vec![0; length]), Err(CryptoError::Length));
        assert_eq!(tdes_cbc_decrypt(&key, &[0; 8], &mut vec![0; length]), Err(CryptoError::Length));
    }
}

#[test]
fn parity_of_the_fips_74_weak_key_and_of_pairs() {
    // The weak key 0101010101010101 has odd parity by definition; 00 and 01 are the same DES key byte.
    let mut zeros = [0u8; 8];
    set_odd_parity(&mut zeros);
    assert_eq!(zeros, [1; 8]);
    let mut ones = [0xFFu8; 8];
    set_odd_parity(&mut ones);
    assert_eq!(ones, [0xFE; 8]);
}

proptest! {
    #[test]
    fn retail_mac_equals_the_retail_mac_crate(key: [u8; 16], message in prop::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(retail_mac(&TdesKey::new(key), &[0; 8], &message), oracle(&key, &message));
    }

    #[test]
    fn the_initial_value_is_xored_into_the_first_block(
        key: [u8; 16], iv: [u8; 8], message in prop::collection::vec(any::<u8>(), 8..40)
    ) {
        let mut mixed = message.clone();
        for (m, i) in mixed.iter_mut().zip(iv) {
            *m ^= i;
        }
        prop_assert_eq!(retail_mac(&TdesKey::new(key), &iv, &message), oracle(&key, &mixed));
    }

    #[test]
    fn every_byte_gets_odd_parity_and_keeps_its_seven_bits(byte: u8) {
        let mut fixed = [byte];
        set_odd_parity(&mut fixed);
        prop_assert_eq!(fixed[0].count_ones() % 2, 1);
        prop_assert_eq!(fixed[0] >> 1, byte >> 1);
    }

    #[test]
    fn cbc_and_ecb_go_back(key: [u8; 16], iv: [u8; 8], blocks in prop::collection::vec(any::<[u8; 8]>(), 0..6)) {
        let key = TdesKey::new(key);
        let plain = blocks.concat();
        let mut data = plain.clone();
        tdes_cbc_encrypt(&key, &iv, &mut data).unwrap();
        tdes_cbc_decrypt(&key, &iv, &mut data).unwrap();
        prop_assert_eq!(&data, &plain);
        key.ecb_encrypt(&mut data).unwrap();
        key.ecb_decrypt(&mut data).unwrap();
        prop_assert_eq!(&data, &plain);
    }
}

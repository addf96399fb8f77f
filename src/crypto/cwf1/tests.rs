//! The key schedule of CWF1 against an independent recomputation from the words of `src/manual/cwf1.md`, with the raw
//! `des` and `aes` crates and none of our own functions.

use cbc::cipher::{Array, BlockCipherEncrypt, KeyInit};

use super::*;

const SUITES: [Suite; 3] = [Suite::Tdes, Suite::Aes128, Suite::Aes256];
const SCOPE: ApplicationScope<'static> = ApplicationScope {
    kind: FileKind::Finished,
    issuer_id: "TESTBANK",
    file_id: "F-1",
    sequence: 0x0102_0304,
    card_ref: "CARD-7",
    aid: &[0xA0, 0, 0, 0, 3, 0x10, 0x10],
};

const UNFINISHED: ApplicationScope<'static> = ApplicationScope { kind: FileKind::Unfinished, ..SCOPE };

/// h of `src/manual/cwf1.md`, built as one byte string.
fn hash(letter: u8, scope: &ApplicationScope<'_>) -> Vec<u8> {
    let mut text = match scope.kind {
        FileKind::Finished => b"CWF1".to_vec(),
        FileKind::Unfinished => b"CWFU".to_vec(),
    };
    text.push(letter);
    for part in [scope.issuer_id.as_bytes(), scope.file_id.as_bytes()] {
        text.push(u8::try_from(part.len()).unwrap());
        text.extend(part);
    }
    text.extend(scope.sequence.to_be_bytes());
    for part in [scope.card_ref.as_bytes(), scope.aid] {
        text.push(u8::try_from(part.len()).unwrap());
        text.extend(part);
    }
    Sha256::digest(&text).to_vec()
}

/// ECB of the leading blocks of `data` with a raw cipher.
fn ecb<C: BlockCipherEncrypt + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
    let cipher = C::new_from_slice(key).unwrap();
    let mut out = Vec::new();
    for chunk in data.chunks(C::block_size()) {
        let mut block: Array<u8, C::BlockSize> = Array::try_from(chunk).unwrap();
        cipher.encrypt_block(&mut block);
        out.extend_from_slice(&block);
    }
    out
}

fn odd(byte: u8) -> u8 {
    if (byte >> 1).count_ones() % 2 == 1 { byte & 0xFE } else { byte | 1 }
}

fn expected_tk(suite: Suite, kek: &[u8], letter: u8, scope: &ApplicationScope<'_>) -> Vec<u8> {
    let h = hash(letter, scope);
    match suite {
        Suite::Tdes => ecb::<::des::TdesEde2>(kek, &h[..16]).into_iter().map(odd).collect(),
        Suite::Aes128 => ecb::<aes::Aes128>(kek, &h[..16]),
        Suite::Aes256 => ecb::<aes::Aes256>(kek, &h),
    }
}

fn kek(suite: Suite) -> Vec<u8> {
    (0x40..).take(suite.key_length()).collect()
}

#[test]
fn every_tk_equals_the_recomputation() {
    let purposes = [
        (Purpose::Data, b'D'),
        (Purpose::MacKey, b'M'),
        (Purpose::Blind, b'X'),
        (Purpose::TrailerKey, b'T'),
        (Purpose::TrailerBlind, b'U'),
    ];
    for suite in SUITES {
        for (purpose, letter) in purposes {
            let trailer = ApplicationScope::trailer(FileKind::Finished, "TESTBANK", "F-1");
            for scope in [SCOPE, UNFINISHED, trailer] {
                let key = suite.key(&kek(suite)).unwrap();
                let got = scope.derive_bytes(&key, suite, purpose).unwrap();
                assert_eq!(*got, expected_tk(suite, &kek(suite), letter, &scope), "{suite:?} {purpose:?}");
            }
        }
    }
}

#[test]
fn the_trailers_scope_has_sequence_zero_and_empty_names() {
    // "with sequence 00000000, L1 card_ref 00, L1 AID 00".
    let mut text = b"CWF1T".to_vec();
    text.extend(b"\x08TESTBANK\x03F-1\0\0\0\0\0\0");
    assert_eq!(
        hash(b'T', &ApplicationScope::trailer(FileKind::Finished, "TESTBANK", "F-1")),
        Sha256::digest(&text).to_vec()
    );
}

#[test]
fn the_blinded_key_is_mackey_xor_the_first_16_bytes_of_tkx() {
    let mac_key = [0x5Bu8; 16];
    for suite in SUITES {
        let key = suite.key(&kek(suite)).unwrap();
        let blind = expected_tk(suite, &kek(suite), b'X', &SCOPE);
        let mixed: Vec<u8> = mac_key.iter().zip(&blind).map(|(a, b)| a ^ b).collect();
        let expected = match suite {
            Suite::Tdes => CipherKey::tdes(&mixed.iter().map(|b| odd(*b)).collect::<Vec<_>>()).unwrap(),
            _ => CipherKey::aes(&mixed).unwrap(),
        };
        let got = SCOPE.blinded(&key, suite, Purpose::Blind, &mac_key).unwrap();
        if let (CipherKey::Tdes(got), CipherKey::Tdes(expected)) = (&got, &expected) {
            assert_eq!(got.expose(), expected.expose());
        }
        assert_eq!(got.mac(b"x"), expected.mac(b"x"));
        assert_eq!(got.mac(b"x").len(), suite.mac_length());
    }
}

#[test]
fn names_that_do_not_fit_a_length_byte_are_refused() {
    let long = "x".repeat(256);
    let key = Suite::Aes256.key(&[1; 32]).unwrap();
    let scope = ApplicationScope { card_ref: &long, ..SCOPE };
    assert!(matches!(scope.derive(&key, Suite::Aes256, Purpose::Data), Err(CryptoError::Length)));
    assert!(matches!(application_mac_input(&scope, &[0; 32], b""), Err(CryptoError::Length)));
}

#[test]
fn the_macs_inputs_are_as_designed() {
    let input = application_mac_input(&SCOPE, &[0xEE; 32], b"rest").unwrap();
    let mut expected = b"CWF1A\x08TESTBANK\x03F-1\x01\x02\x03\x04\x06CARD-7".to_vec();
    expected.extend([0xEE; 32]);
    expected.extend(b"rest");
    assert_eq!(*input, expected);
    let unfinished = application_mac_input(&UNFINISHED, &[0xEE; 32], b"rest").unwrap();
    expected[..5].copy_from_slice(b"CWFUA");
    assert_eq!(*unfinished, expected);
    assert_eq!(trailer_mac_input(FileKind::Finished, b"abc"), b"CWF1Tabc");
    assert_eq!(trailer_mac_input(FileKind::Unfinished, b"abc"), b"CWFUTabc");
}

/// The 4 weak and 12 semi-weak keys, NIST SP 800-67 rev. 2, 3.3.2.
const WEAK: [&str; 16] = [
    "0101010101010101",
    "FEFEFEFEFEFEFEFE",
    "E0E0E0E0F1F1F1F1",
    "1F1F1F1F0E0E0E0E",
    "011F011F010E010E",
    "1F011F010E010E01",
    "01E001E001F101F1",
    "E001E001F101F101",
    "01FE01FE01FE01FE",
    "FE01FE01FE01FE01",
    "1FE01FE00EF10EF1",
    "E01FE01FF10EF10E",
    "1FFE1FFE0EFE0EFE",
    "FE1FFE1FFE0EFE0E",
    "E0FEE0FEF1FEF1FE",
    "FEE0FEE0FEF1FEF1",
];

#[test]
fn weak_and_semi_weak_halves_equal_halves_and_even_parity_are_unsound() {
    const GOOD: &str = "0123456789ABCDEF";
    let sound = |hex_digits: String| {
        mac_key_is_sound(Suite::Tdes, &hex::decode(hex_digits).unwrap().try_into().unwrap())
    };
    assert!(sound(format!("{GOOD}FEDCBA9876543210")));
    for weak in WEAK {
        assert!(!sound(format!("{weak}{GOOD}")), "{weak} on the left");
        assert!(!sound(format!("{GOOD}{weak}")), "{weak} on the right");
    }
    assert!(!sound(format!("{GOOD}{GOOD}")), "equal halves");
    assert!(!sound("0023456789ABCDEFFEDCBA9876543210".into()), "even parity");
    assert!(!sound("0123456789ABCDEFFEDCBA9876543211".into()), "even parity in the last byte");
    assert!(mac_key_is_sound(Suite::Aes256, &[0; 16]), "AES has no weak keys");
}

#[test]
fn a_wrapped_mackey_with_any_fault_behind_the_key_is_refused() {
    for suite in SUITES {
        let tk = SCOPE.derive(&suite.key(&kek(suite)).unwrap(), suite, Purpose::MacKey).unwrap();
        let mac_key: [u8; 16] = hex::decode("0123456789ABCDEFFEDCBA9876543210").unwrap().try_into().unwrap();
        let wrapped = wrap_mac_key(&tk, suite, &mac_key).unwrap();
        assert_eq!(wrapped.len(), suite.wrapped_length());
        assert_eq!(unwrap_mac_key(&tk, suite, &wrapped).as_deref(), Some(&mac_key));
        assert!(unwrap_mac_key(&tk, suite, &wrapped[..16]).is_none());
        assert!(unwrap_mac_key(&tk, suite, &[wrapped.as_slice(), &[0; 16]].concat()).is_none());
        for place in 16..suite.wrapped_length() {
            let mut block = mac_key.to_vec();
            block.push(0x80);
            block.resize(suite.wrapped_length(), 0);
            block[place] ^= 1;
            tk.cbc_encrypt(&mut block).unwrap();
            assert!(unwrap_mac_key(&tk, suite, &block).is_none(), "{suite:?} byte {place}");
        }
    }
}

#[test]
fn other_names_give_other_keys() {
    let others = [
        UNFINISHED,
        ApplicationScope { issuer_id: "TESTBANL", ..SCOPE },
        ApplicationScope { file_id: "F-2", ..SCOPE },
        ApplicationScope { sequence: SCOPE.sequence + 1, ..SCOPE },
        ApplicationScope { card_ref: "CARD-8", ..SCOPE },
        ApplicationScope { aid: &[0xA0, 0, 0, 0, 3, 0x10], ..SCOPE },
    ];
    for suite in SUITES {
        let key = suite.key(&kek(suite)).unwrap();
        let mine = SCOPE.derive_bytes(&key, suite, Purpose::Data).unwrap();
        for other in others {
            assert_ne!(
                *mine,
                *other.derive_bytes(&key, suite, Purpose::Data).unwrap(),
                "{suite:?} {other:?}"
            );
        }
    }
}

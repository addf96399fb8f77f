//! KCVs, modes, CMAC and padding against published values.

use proptest::prelude::*;

use super::*;

fn bytes(hex_digits: &str) -> Vec<u8> {
    hex::decode(hex_digits).unwrap()
}

fn aes(hex_digits: &str) -> CipherKey {
    CipherKey::aes(&bytes(hex_digits)).unwrap()
}

fn tdes(hex_digits: &str) -> CipherKey {
    CipherKey::tdes(&bytes(hex_digits)).unwrap()
}

#[test]
fn kcv_aes_pysim() {
    assert_eq!(aes("000102030405060708090A0B0C0D0E0F").kcv().to_string(), "C35280");
    assert_eq!(aes("101112131415161718191A1B1C1D1E1F").kcv().to_string(), "013808");
    assert_eq!(aes("202122232425262728292A2B2C2D2E2F").kcv().to_string(), "840DE5");
}

#[test]
fn kcvs_of_the_tr31_key_by_each_method() {
    // The key of TR-31:2018 A.7.4, whose CMAC is there; A801BE and E5E07C by OpenSSL.
    let key = aes("3F419E1CB7079442AA37474C2EFBF8B8");
    assert_eq!(key.kcv().to_string(), "A801BE");
    let kcvs: Vec<_> = key.kcvs().iter().map(|(method, kcv)| format!("{method} {kcv}")).collect();
    assert_eq!(kcvs, ["AES-GP A801BE", "AES-CMAC 08793E"]);
    let zeros = Kcv::from_hex("E5E07C").unwrap();
    assert_eq!(key.other_method_of(zeros), Some("a block of zeros encrypted"));
    assert_eq!(key.other_method_of(key.kcv()), None);
    let same_value = tdes("3F419E1CB7079442AA37474C2EFBF8B8");
    assert_eq!(same_value.kcvs(), [(KcvMethod::Des, Kcv::from_hex("57C409").unwrap())]);
}

#[test]
fn kcv_tdes_gppro_and_tr31() {
    assert_eq!(tdes("404142434445464748494A4B4C4D4E4F").kcv().to_string(), "8BAF47");
    assert_eq!(tdes("3F419E1CB7079442AA37474C2EFBF8B8").kcv().to_string(), "57C409");
    assert_eq!(tdes("5DB50B454F8389ADCE573BE50861F2BF").kcv().to_string(), "5C9405");
    assert_eq!(tdes("0123456789ABCDEFFEDCBA9876543210").kcv().to_string(), "08D7B4");
}

#[test]
fn kcv_tdes_gppro_card_keys() {
    // The three card keys of GPPro TestPlaintextKeys.
    assert_eq!(tdes("0EF59FCBF8019B62E62AF6EA20B8BF25").kcv().to_string(), "C33013");
    assert_eq!(tdes("3E383EB6F2762B88155F76BDFED05A02").kcv().to_string(), "6F4CA6");
    assert_eq!(tdes("64021E43C0C7D264A1C7C6D01E1C8761").kcv().to_string(), "BB8179");
}

#[test]
fn aes_blocks_of_fips_197_appendix_c() {
    for (key, cipher) in [
        ("000102030405060708090A0B0C0D0E0F", "69C4E0D86A7B0430D8CDB78070B4C55A"),
        ("000102030405060708090A0B0C0D0E0F1011121314151617", "DDA97CA4864CDFE06EAF70A0EC0D7191"),
        (
            "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F",
            "8EA2B7CA516745BFEAFC49904B496089",
        ),
    ] {
        let mut block = bytes("00112233445566778899AABBCCDDEEFF");
        aes(key).ecb_encrypt(&mut block).unwrap();
        assert_eq!(hex::encode_upper(&block), cipher);
        aes(key).ecb_decrypt(&mut block).unwrap();
        assert_eq!(block, bytes("00112233445566778899AABBCCDDEEFF"));
    }
}

#[test]
fn aes_cmac_rfc_4493() {
    let key = aes("2B7E151628AED2A6ABF7158809CF4F3C");
    let message = bytes(
        "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411E5FBC1191A0A52EF\
         F69F2445DF4F9B17AD2B417BE66C3710",
    );
    for (length, mac) in [
        (0, "BB1D6929E95937287FA37D129B756746"),
        (16, "070A16B46B4D4144F79BDD9DD04A287C"),
        (40, "DFA66747DE9AE63030CA32611497C827"),
        (64, "51F0BEBF7E3B9D92FC49741779363CFE"),
    ] {
        assert_eq!(hex::encode_upper(key.mac(&message[..length])), mac);
    }
}

#[test]
fn aes_256_cmac_nist_sp_800_38b_d3() {
    // SP 800-38B D.3, examples 9 and 10.
    let key = aes("603DEB1015CA71BE2B73AEF0857D77811F352C073B6108D72D9810A30914DFF4");
    assert_eq!(hex::encode_upper(key.mac(b"")), "028962F61B7BF89EFC6B551F4667D983");
    assert_eq!(
        hex::encode_upper(key.mac(&bytes("6BC1BEE22E409F96E93D7E117393172A"))),
        "28A7023F452E8F82BD4BF28D8C37C35C"
    );
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for length in [0, 8, 15, 17, 24, 32] {
        assert!(matches!(CipherKey::tdes(&vec![1; length]), Err(CryptoError::KeyLength)));
    }
    for length in [0, 8, 15, 17, 31, 33] {
        assert!(matches!(CipherKey::aes(&vec![1; length]), Err(CryptoError::KeyLength)));
    }
}

#[test]
fn a_part_of_a_block_is_refused() {
    for key in [tdes("404142434445464748494A4B4C4D4E4F"), aes("404142434445464748494A4B4C4D4E4F")] {
        let mut data = vec![0; key.block() + 1];
        assert_eq!(key.cbc_encrypt(&mut data), Err(CryptoError::Length));
        assert_eq!(key.cbc_decrypt(&mut data), Err(CryptoError::Length));
        assert_eq!(key.ecb_encrypt(&mut data), Err(CryptoError::Length));
        assert_eq!(key.ecb_decrypt(&mut data), Err(CryptoError::Length));
        assert_eq!(data, vec![0; key.block() + 1]);
    }
}

#[test]
fn padding_that_is_not_80_00_is_refused() {
    for bad in [
        "",
        "0000000000000000",
        "0102030405060708",
        "0102030405060781",
        "800000000000000000",
        "8000000000000001",
        "80000000000000000000000000000000",
    ] {
        assert_eq!(unpad_80(&bytes(bad), 8), Err(CryptoError::Padding), "{bad}");
    }
    assert_eq!(unpad_80(&bytes("8000000000000000"), 8), Ok(0));
    assert_eq!(unpad_80(&bytes("0102030405060780"), 8), Ok(7));
    // The value itself ends with 80 00: only the outermost padding goes.
    assert_eq!(unpad_80(&bytes("0180008000000000"), 8), Ok(3));
}

proptest! {
    #[test]
    fn padding_goes_on_and_off(data in prop::collection::vec(any::<u8>(), 0..40), wide: bool) {
        let block = if wide { 16 } else { 8 };
        let mut padded = data.clone();
        pad_80(&mut padded, block);
        prop_assert!(padded.len() > data.len() && padded.len() <= data.len() + block);
        prop_assert_eq!(padded.len() % block, 0);
        prop_assert_eq!(unpad_80(&padded, block), Ok(data.len()));
    }

    #[test]
    fn modes_go_back_for_every_key_type(
        secret in prop::collection::vec(any::<u8>(), 32..=32), which in 0usize..4, blocks in 0usize..4
    ) {
        let key = match which {
            0 => CipherKey::tdes(&secret[..16]),
            1 => CipherKey::aes(&secret[..16]),
            2 => CipherKey::aes(&secret[..24]),
            _ => CipherKey::aes(&secret),
        }.unwrap();
        let plain: Vec<u8> = secret.iter().copied().cycle().take(blocks * key.block()).collect();
        let mut data = plain.clone();
        key.cbc_encrypt(&mut data).unwrap();
        prop_assert!(blocks == 0 || data != plain);
        key.cbc_decrypt(&mut data).unwrap();
        prop_assert_eq!(&data, &plain);
        key.ecb_encrypt(&mut data).unwrap();
        key.ecb_decrypt(&mut data).unwrap();
        prop_assert_eq!(&data, &plain);
    }
}

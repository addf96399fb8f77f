//! Key blocks made by others, with names; the wrong examples of X9.143:2021; everything that must not open.
//!
//! Sources: TR-31:2018 annex A.7 and X9.143:2021 clause 8, as openemv's `tr31` and psec have them; payShield examples from
//! the same places.

use proptest::prelude::*;

use super::open::{Derived, derived};
use super::*;

/// KBPK of TR-31:2018 A.7.4 and X9.143:2021 8.1.
const AES_KBPK: &str = "88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6";

/// TR-31:2018 A.7.2.2: KBPK, block.
const A_7_2_2: (&str, &str) = (
    "DD7515F2BFC17F85CE48F3CA25CB21F6",
    "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E",
);

/// TR-31:2018 A.7.3.2: KBPK, block with an optional block KS.
const A_7_3_2: (&str, &str) = (
    "1D22BF32387C600AD97F9B97A51311AC",
    "B0104B0TX12S0100KS1800604B120F9292800000BB68BE8680A400D9191AD4ECE45B6E6C0D21C4738A52190E248719E24B433627",
);

/// TR-31:2018 A.7.4: KBPK, block.
const A_7_4: (&str, &str) = (
    AES_KBPK,
    "D0112P0AE00E0000B82679114F470F540165EDFBF7E250FCEA43F810D215F8D207E2E417C07156A27E8E31DA05F7425509593D03A457DC34",
);

fn bytes(hex_digits: &str) -> Vec<u8> {
    hex::decode(hex_digits).unwrap()
}

/// The key that blocks of this version are under.
fn kbpk(version: &str, hex_digits: &str) -> CipherKey {
    if version.starts_with('B') {
        CipherKey::tdes(&bytes(hex_digits))
    } else {
        CipherKey::aes(&bytes(hex_digits))
    }
    .unwrap()
}

fn open(block: &str, key: &str) -> Result<OpenedBlock, KeyBlockFault> {
    KeyBlock::read(block)?.open(&kbpk(block, key))
}

fn refused(block: &str, key: &str) -> KeyBlockFault {
    open(block, key).err().unwrap_or_else(|| panic!("{block} opens"))
}

fn form(place: usize, fault: FormFault) -> KeyBlockFault {
    KeyBlockFault::Form { place, fault }
}

/// The bytes of a key, in hex.
fn shown(key: &CipherKey) -> String {
    hex::encode_upper(key.expose())
}

/// Opens a block, and gives usage, mode, key version, exportability, type and key as one text.
fn summary(block: &str, key: &str) -> String {
    let opened = open(block, key).unwrap_or_else(|fault| panic!("{block}: {fault}"));
    let header = &opened.header;
    format!(
        "{} {} {} {} {} {}",
        header.usage,
        header.mode,
        header.key_version,
        header.exportability,
        opened.key_type,
        shown(&opened.key)
    )
}

/// A block as its sender would make it. `clear` is a whole number of blocks.
fn wrapped(header_text: &str, clear: &[u8], kbpk: &CipherKey) -> String {
    let message = [header_text.as_bytes(), clear].concat();
    let mac = derived(kbpk, Derived::Mac).unwrap().cmac(&message);
    let mut payload = clear.to_vec();
    for (byte, iv) in payload.iter_mut().zip(&mac) {
        *byte ^= iv;
    }
    derived(kbpk, Derived::Encryption).unwrap().cbc_encrypt(&mut payload).unwrap();
    format!("{header_text}{}{}", hex::encode_upper(payload), hex::encode_upper(mac))
}

/// A block of version B with this header behind its length, and a TDES key of 16 bytes inside.
fn wrapped_b(fields: &str) -> String {
    let clear = bytes("00803F419E1CB7079442AA37474C2EFBF8B81C2965473CE2");
    let length = 5 + fields.len() + 2 * clear.len() + 16;
    wrapped(&format!("B{length:04}{fields}"), &clear, &kbpk("B", A_7_2_2.0))
}

#[test]
fn tr31_2018_a_7_2_2() {
    let (key, block) = A_7_2_2;
    assert_eq!(summary(block, key), "P0 E 00 E TDES2 3F419E1CB7079442AA37474C2EFBF8B8");
    let kbpk = kbpk("B", key);
    assert_eq!(shown(&derived(&kbpk, Derived::Encryption).unwrap()), "698832F8778A7CFCBC79559DAB07B88A");
    assert_eq!(shown(&derived(&kbpk, Derived::Mac).unwrap()), "DD6CEEC1782D8453671BF8358AF9DB47");
    // Its payload is known too, so the blocks that these tests make are what their sender would make.
    assert_eq!(wrapped_b("P0TE00E0000"), block);
}

#[test]
fn tr31_2018_a_7_3_2() {
    let (key, block) = A_7_3_2;
    assert_eq!(summary(block, key), "B0 X 12 S TDES2 E8BC63E5479455E26577F715D587FE68");
}

#[test]
fn tr31_2018_a_7_4() {
    let (key, block) = A_7_4;
    assert_eq!(summary(block, key), "P0 E 00 E AES128 3F419E1CB7079442AA37474C2EFBF8B8");
    let kbpk = kbpk("D", key);
    assert_eq!(
        shown(&derived(&kbpk, Derived::Encryption).unwrap()),
        "396C9382A6E2E66A088774E1D6E46541F5EAD67D7204F8DD0D7AE8FDA334D3AC"
    );
    assert_eq!(
        shown(&derived(&kbpk, Derived::Mac).unwrap()),
        "4EF24317696213840451890756757E573E0673483888F9B7F9B7517827F95022"
    );
}

#[test]
fn payshield_b_k0() {
    assert_eq!(
        summary(
            "B0080K0TN00N00001C414014375212C24995E405B5EE052CB92B67F455EA2680F6751088F9F1C228",
            "EFE0853B256B583D868F251CE99EA1D9"
        ),
        "K0 N 00 N TDES2 5DB50B454F8389ADCE573BE50861F2BF"
    );
}

#[test]
fn payshield_d_tdes() {
    assert_eq!(
        summary(
            "D0112B0TN00N000037DB9B046B7B0048785690759580ABC3B9842AB4BB7717B49E92528E575785D8123559376A2553B27BE94F054F4E971C",
            &"41".repeat(32)
        ),
        "B0 N 00 N TDES2 1FA1F7CEC798D91545DA8AE0C7796BD9"
    );
}

#[test]
fn payshield_d_aes_256() {
    let key = "41".repeat(32);
    let block = "D0144D0AN00N0000127862F945C2DED04530FAF7CDBC8B0BA10C7AA79BD5E0C2C5D6AC173BF588E4B19ACF1357178D50EA0AB193228E13958304FC6149632DFDCADF3A5B3D57E814";
    assert_eq!(
        summary(block, &key),
        "D0 N 00 N AES256 BE19E6A07A760F10EF8E83A226B63AAD141F463FDDD4F47DB244B4023EC3CACC"
    );
    // Its KCV, by CMAC.
    assert!(open(block, &key).ok().unwrap().key.cmac(&[0; 16]).starts_with(&[0x0A, 0x00, 0xE3]));
}

#[test]
fn x9_143_2021_8_1() {
    // Its padding hides that the key is short: 30 bytes.
    assert_eq!(
        summary(
            "D0144P0AE00E00002C77FA3F4A553BED6E88AE5C172A4166E3D4ACA8E2AC71C158A476FAC12C13C3829DE55D3AB54C48F4C4FEF7AC75E90FC47F1B77E7B19A73ED46E64410082557",
            AES_KBPK
        ),
        "P0 E 00 E AES128 3F419E1CB7079442AA37474C2EFBF8B8"
    );
}

#[test]
fn x9_143_2021_8_4_2() {
    assert_eq!(
        summary(
            "B0120B0TX12S0100KS1800604B120F929280000015CEB14B76D551F21EC43A75390FA118A98C6CB049E3B9E864A5F4A8B9A5108A6DB5635C95B042D7",
            A_7_3_2.0
        ),
        "B0 X 12 S TDES2 E8BC63E5479455E26577F715D587FE68"
    );
}

#[test]
fn blocks_of_psec() {
    #[derive(serde::Deserialize)]
    struct Psec {
        version: String,
        usage: String,
        mode: String,
        exportability: String,
        kbpk: String,
        key: String,
        block: String,
    }
    // Made by psec (PyPI); openemv's `tr31-tool` reads each alike.
    let blocks: Vec<Psec> =
        serde_json::from_str(include_str!("../../../tests/data/psec-key-blocks.json")).unwrap();
    let (mut opened, mut three_key, mut old) = (0, 0, 0);
    for psec in &blocks {
        match psec.version.as_str() {
            // A TDES key of three keys is none of a key store here.
            "B" if psec.kbpk.len() == 48 => {}
            "B" | "D" if psec.usage == "P0" => {
                assert_eq!(refused(&psec.block, &psec.kbpk), KeyBlockFault::ThreeKey);
                three_key += 1;
            }
            "B" | "D" => {
                let summary = summary(&psec.block, &psec.kbpk);
                let said = format!("{} {} 00 {} ", psec.usage, psec.mode, psec.exportability);
                assert!(summary.starts_with(&said) && summary.ends_with(&psec.key), "{summary}");
                opened += 1;
            }
            _ => {
                assert!(matches!(KeyBlock::read(&psec.block), Err(KeyBlockFault::Old('A' | 'C'))));
                old += 1;
            }
        }
    }
    assert_eq!((opened, three_key, old), (20, 4, 12));
}

#[test]
fn the_wrong_examples_of_x9_143_2021_are_refused() {
    // 8.2: its MAC is right, and KS, which is hex, holds the characters VM9A.
    let no_hex = "D0192C0AVA1N0300KS08VM9ATS1A2018-06-18T20:42:39.22PB0E00000000005FDAFA00A1E84F599C2EB51A1F7A767D5E42314F0E84A3FC1A7B84C1DE81114659E6306AD544208F68F15602BD3E12DA0C7F9FC551F1C8E6385FAFC1F7B499F5";
    let key = "E38331FBACE33F0B8694ABA5DC611CA20831949FEB8988102147291578F704E1";
    assert_eq!(refused(no_hex, key), form(17, FormFault::NoHex("KS".into())));
    let old = "A0072P0TE00E0000A8974C06DBFD58D197101A28DEC1A6C7C23F00A3B18EC6D538DE4A5B5F49A542D61A8A8B";
    assert_eq!(KeyBlock::read(old).err(), Some(KeyBlockFault::Old('A')));
    // 8.3.2.2: 96 characters that state 80, and with 96 stated a wrong MAC.
    let short =
        "B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A38C6B0A146BF1B0BE0D3277F17A3AD5146EED7B727B8A248E";
    assert_eq!(refused(short, A_7_2_2.0), form(2, FormFault::Length));
    assert_eq!(refused(&short.replacen("0080", "0096", 1), A_7_2_2.0), KeyBlockFault::Mac);
}

#[test]
fn no_flipped_bit_of_a_block_is_accepted() {
    for (key, block) in [A_7_2_2, A_7_3_2, A_7_4] {
        for at in 0..block.len() {
            for bit in 0..7 {
                let mut flipped = block.as_bytes().to_vec();
                flipped[at] ^= 1 << bit;
                let flipped = String::from_utf8(flipped).unwrap();
                let opened = KeyBlock::read(&flipped).and_then(|read| read.open(&kbpk(block, key)));
                assert!(opened.is_err(), "{flipped}");
            }
        }
    }
}

#[test]
fn no_block_cut_or_longer_is_accepted() {
    for (key, block) in [A_7_2_2, A_7_3_2, A_7_4] {
        let tail = block.repeat(2);
        let texts = (0..block.len()).chain(block.len() + 1..tail.len()).map(|length| &tail[..length]);
        for text in texts {
            let restated =
                format!("{}{:04}{}", &text[..text.len().min(1)], text.len(), text.get(5..).unwrap_or(""));
            assert!(open(text, key).is_err(), "{text}");
            assert!(open(&restated, key).is_err(), "{restated}");
        }
    }
}

#[test]
fn a_block_under_another_key_is_refused() {
    assert_eq!(refused(A_7_2_2.1, A_7_3_2.0), KeyBlockFault::Mac);
    assert_eq!(refused(A_7_4.1, &"41".repeat(32)), KeyBlockFault::Mac);
    let open = |block: &str, key: CipherKey| KeyBlock::read(block).unwrap().open(&key).err();
    assert_eq!(
        open(A_7_2_2.1, kbpk("D", A_7_2_2.0)),
        Some(KeyBlockFault::WrongKbpkType(BlockVersion::B, "TDES"))
    );
    assert_eq!(
        open(A_7_4.1, kbpk("B", A_7_2_2.0)),
        Some(KeyBlockFault::WrongKbpkType(BlockVersion::D, "AES"))
    );
}

#[test]
fn one_end_of_line_is_dropped() {
    let (key, block) = A_7_2_2;
    for end in ["", "\n", "\r\n"] {
        assert!(open(&format!("{block}{end}"), key).is_ok());
    }
    for wrong in [format!("{block}\n\n"), format!("{block}\r"), format!("{block} "), format!("\n{block}")] {
        assert!(open(&wrong, key).is_err(), "{wrong:?}");
    }
}

#[test]
fn lower_case_is_refused() {
    let (key, block) = A_7_2_2;
    assert_eq!(
        refused(&block.replace("B420", "b420"), key),
        form(17, FormFault::Field("hex of the encrypted key"))
    );
    assert_eq!(
        refused(&block.replace("8A248E", "8A248e"), key),
        form(65, FormFault::Field("hex of the MAC"))
    );
    assert_eq!(refused(&block.replacen("P0TE", "p0TE", 1), key), form(6, FormFault::Field("usage")));
}

#[test]
fn a_form_that_is_wrong_is_named_with_its_place() {
    let (key, block) = A_7_2_2;
    let with = |at: usize, text: &str| format!("{}{text}{}", &block[..at], &block[at + text.len()..]);
    for (wrong, fault) in [
        (String::new(), form(1, FormFault::Size)),
        ("B".repeat(1025), form(1, FormFault::Size)),
        (with(20, "\u{7F}"), form(21, FormFault::Character)),
        (with(0, "E"), form(1, FormFault::Version)),
        (with(1, "008x"), form(2, FormFault::Field("length of four digits"))),
        (with(1, "+080"), form(2, FormFault::Field("length of four digits"))),
        (with(1, "0088"), form(2, FormFault::Length)),
        (with(9, "-0"), form(10, FormFault::Field("key version"))),
        (with(11, "X"), form(12, FormFault::Field("exportability (E, N, S)"))),
        (with(12, "0A"), form(13, FormFault::Field("number of optional blocks"))),
        (with(14, "3"), form(15, FormFault::Field("context (0, 1, 2)"))),
        (with(15, "1"), form(16, FormFault::Field("0, which is reserved"))),
        (with(12, "01"), form(21, FormFault::Field("optional block of the stated length"))),
        (format!("B0079{}", &block[5..79]), form(2, FormFault::NotWhole("the text"))),
        (
            format!("B0048{}{}", &block[5..16], "0".repeat(32)),
            form(17, FormFault::NotWhole("the encrypted key")),
        ),
        (
            format!("B0056{}{}", &block[5..16], "0".repeat(40)),
            form(17, FormFault::NotWhole("the encrypted key")),
        ),
        (
            format!("B0560{}{}", &block[5..16], "0".repeat(544)),
            form(17, FormFault::NotWhole("the encrypted key")),
        ),
    ] {
        assert_eq!(refused(&wrong, key), fault, "{wrong}");
    }
}

#[test]
fn optional_blocks_that_may_restrict_are_refused() {
    for id in ["DA", "IK", "BI", "HM", "CT", "AL", "WP", "FL", "10", "ZZ"] {
        let block = wrapped_b(&format!("K0TB00N0100{id}0801AB"));
        assert_eq!(
            refused(&block, A_7_2_2.0),
            KeyBlockFault::Restricting { place: 17, id: id.to_owned() },
            "{id}"
        );
    }
}

#[test]
fn optional_blocks_with_a_wrong_form_are_refused() {
    for (options, fault) in [
        ("0100KS0812x4", form(17, FormFault::NoHex("KS".into()))),
        ("0200KS081234KS081234", form(25, FormFault::Twice("KS".into()))),
        ("0200PB080000KS081234", form(17, FormFault::PaddingFirst)),
        ("0100KS0002000812", form(17, FormFault::LongForm("KS".into()))),
        ("0100KS031234", form(19, FormFault::Field("length of an optional block"))),
        ("0100KS0a123456", form(19, FormFault::Field("length of an optional block"))),
        ("0100KSFF1234", form(21, FormFault::Field("optional block of the stated length"))),
        ("0100ks081234", form(17, FormFault::Field("id of an optional block"))),
        ("0100KS061212", form(23, FormFault::NotWhole("the header"))),
        ("0100KC080257", form(17, FormFault::NoKcv("KC".into()))),
        ("0100KP0800AB", form(17, FormFault::NoKcv("KP".into()))),
        ("0100KC0A00zz57", form(17, FormFault::NoKcv("KC".into()))),
        ("0100KC060012", form(17, FormFault::NoKcv("KC".into()))),
    ] {
        // Padded so that the text is a whole number of blocks and nothing else is wrong with it.
        let mut block = wrapped_b(&format!("K0TB00N{options}"));
        while !block.len().is_multiple_of(8) {
            block.push('0');
        }
        let block = format!("B{:04}{}", block.len(), &block[5..]);
        assert_eq!(refused(&block, A_7_2_2.0), fault, "{options}");
    }
}

#[test]
fn what_optional_blocks_say_is_shown_after_the_mac() {
    let options = "0500LB0Bkek oneTC1420261130T100000ZTS0C20261130KV080000PB051";
    let block = wrapped_b(&format!("K0TB00N{options}"));
    let opened = open(&block, A_7_2_2.0).ok().unwrap();
    let options = &opened.header.options;
    assert_eq!(options.label.as_deref(), Some("kek one"));
    assert_eq!(options.made.as_deref(), Some("20261130T100000Z"));
    assert_eq!(options.wrapped.as_deref(), Some("20261130"));
}

#[test]
fn a_block_for_storage_is_refused() {
    assert_eq!(refused(&wrapped_b("K0TB00N0010"), A_7_2_2.0), KeyBlockFault::ForStorage);
    // For exchange alone: taken.
    assert!(open(&wrapped_b("K0TB00N0020"), A_7_2_2.0).is_ok());
}

#[test]
fn a_stated_kcv_that_differs_is_refused() {
    // KCV of the key: 57C409 (TR-31:2018 A.7.2.2). Those by CMAC, and of the KBPK, are computed here.
    let key = CipherKey::tdes(&bytes("3F419E1CB7079442AA37474C2EFBF8B8")).unwrap();
    let by_cmac = hex::encode_upper(&key.cmac(&[0; 8])[..3]);
    let above = kbpk("B", A_7_2_2.0).kcv().to_string();
    let block = |options: &str| wrapped_b(&format!("K0TB00N0200{options}"));
    for right in [
        format!("KC0C0057C409KP0C00{above}"),
        format!("KC0C01{by_cmac}KP0C00{above}"),
        "KC0A0057C4PB060A".to_owned(),
        // Of a longer value, three bytes are looked at.
        "KC100057C40999AAPB080000".to_owned(),
    ] {
        assert_eq!(open(&block(&right), A_7_2_2.0).err(), None, "{right}");
    }
    let wrong_key = block(&format!("KC0C0157C409KP0C00{above}"));
    assert_eq!(refused(&wrong_key, A_7_2_2.0), KeyBlockFault::KcvOfKey);
    let wrong_kbpk = block("KC0C0057C409KP0C00112233");
    assert_eq!(refused(&wrong_kbpk, A_7_2_2.0), KeyBlockFault::KcvOfKbpk);
    let read = KeyBlock::read(&wrong_kbpk).unwrap();
    assert_eq!(read.version(), BlockVersion::B);
    assert_eq!(read.kbpk_kcv().unwrap().to_string(), "112233");
    assert!(!read.kbpk_kcv().unwrap().fits(&kbpk("B", A_7_2_2.0)));
}

#[test]
fn a_stated_kcv_of_an_aes_key_is_by_its_method() {
    // The key of TR-31:2018 A.7.4: by CMAC 08793E, a block of zeros encrypted E5E07C.
    let clear = bytes("00803F419E1CB7079442AA37474C2EFBF8B80000000000000000000000000000");
    let above = kbpk("D", AES_KBPK);
    for (kcv, fits) in [("0108793E", true), ("00E5E07C", true), ("0008793E", false), ("01A801BE", false)] {
        let block = wrapped(&format!("D0144P0AE00E0200KC0C{kcv}PB140000000000000000"), &clear, &above);
        let opened = open(&block, AES_KBPK).map(|_| ());
        assert_eq!(opened, if fits { Ok(()) } else { Err(KeyBlockFault::KcvOfKey) }, "{kcv}");
    }
}

#[test]
fn a_key_of_another_algorithm_or_length_is_refused() {
    let above = kbpk("D", AES_KBPK);
    for (algorithm, bits, fault) in [
        ('T', 0x00C0, KeyBlockFault::ThreeKey),
        ('T', 0x0040, KeyBlockFault::SingleDes),
        ('T', 0x0100, KeyBlockFault::KeyLength),
        ('T', 0x0000, KeyBlockFault::KeyLength),
        ('A', 0x0040, KeyBlockFault::KeyLength),
        ('A', 0x0081, KeyBlockFault::KeyLength),
        ('A', 0xFFFF, KeyBlockFault::KeyLength),
        // Lawful, and longer than the payload.
        ('A', 0x0100, KeyBlockFault::KeyLength),
        ('D', 0x0040, KeyBlockFault::Algorithm('D')),
        ('R', 0x0800, KeyBlockFault::Algorithm('R')),
        ('H', 0x0080, KeyBlockFault::Algorithm('H')),
    ] {
        let mut clear = vec![0x55; 32];
        clear[..2].copy_from_slice(&u16::to_be_bytes(bits));
        let block = wrapped(&format!("D0112K0{algorithm}B00N0000"), &clear, &above);
        assert_eq!(refused(&block, AES_KBPK), fault, "{algorithm} {bits:04X}");
    }
}

proptest! {
    #[test]
    fn whatever_a_text_holds_nothing_panics(text in "\\PC{0,200}", tail in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = open(&text, if text.starts_with('B') { A_7_2_2.0 } else { AES_KBPK });
        let near = format!("B{:04}K0TB00N{}", text.len() + 12, text);
        let _ = open(&near, A_7_2_2.0);
        let _ = open(&format!("{}{}", &A_7_3_2.1[..20], String::from_utf8_lossy(&tail)), A_7_3_2.0);
    }

    /// Blocks whose MAC is right, whatever stands in them: as a partner with the key could make them.
    #[test]
    fn whatever_a_block_holds_nothing_panics(
        clear in prop::collection::vec(any::<u8>(), 16..=256),
        fields in "[A-Z0-9]{2}[TA][A-Z0-9][0-9a-z]{2}[ENS]00[02]0",
        options in "([KLTP][BCPSV]0[4-9A-F][0-9A-F]{0,12}){0,4}",
        bits in prop::sample::select(vec![0x40_u16, 0x80, 0xC0, 0x100, 0xFFFF]),
        aes: bool
    ) {
        let (version, block, key) = if aes { ("D", 16, AES_KBPK) } else { ("B", 8, A_7_2_2.0) };
        let mut clear = clear;
        clear.truncate(clear.len() / block * block);
        clear[..2].copy_from_slice(&bits.to_be_bytes());
        let count = options.len() / 8;
        let fields = fields.replacen("00", &format!("{count:02}"), usize::from(count > 0));
        let length = 5 + fields.len() + options.len() + 2 * clear.len() + 2 * block;
        let text = wrapped(&format!("{version}{length:04}{fields}{options}"), &clear, &kbpk(version, key));
        if let Ok(opened) = open(&text, key) {
            let bytes = shown(&opened.key);
            prop_assert_eq!(bytes, hex::encode_upper(&clear[2..2 + opened.key_type.length()]));
        }
    }
}

//! The rules of a key list: every one broken once.

use super::*;

/// One KEK and one KMC, to be changed.
const GOOD: &str = r#"
[[key]]
label = "kek-1"
usage = "KEK"
type = "TDES2"
id = "47617399"
version = 1
value = "00112233445566778899AABBCCDDEEFF"
issuer_id = "TESTBANK"
allow = ["FFFFFF476173:1"]
min_seclev = "01"
wrap = "cwf1"

[[key]]
label = "kmc-1"
usage = "KMC"
type = "TDES2"
id = "ffffff476173"
version = 1
value = "404142434445464748494A4B4C4D4E4F"
kcv = "8BAF47"
"#;

fn create(text: &str, side: StoreSide) -> Result<KeyStore, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let result = KeyStore::create_test(text, &path, side);
    assert_eq!(result.is_ok(), path.exists(), "a refused list leaves no file");
    result
}

/// The message for GOOD with a change, which must be refused.
fn refused(from: &str, to: &str) -> Failure {
    assert!(GOOD.contains(from), "{from}");
    create(&GOOD.replacen(from, to, 1), StoreSide::Issuer).err().unwrap_or_else(|| panic!("accepted: {to}"))
}

#[test]
fn a_good_list_is_found_again() {
    let store = create(GOOD, StoreSide::Bureau).unwrap();
    let (kek, rules) = store.kek(KekId([0x47, 0x61, 0x73, 0x99, 1])).unwrap();
    assert_eq!(kek.label(), "kek-1");
    assert!(!kek.odd_parity(), "00 and 11 are even");
    assert_eq!(rules.issuer_id.as_str(), "TESTBANK");
    assert_eq!(rules.suite.tk_type(), 0x40);
    let kmc = store.kmc(KmcRef::parse("FFFFFF476173:1").unwrap()).unwrap();
    assert_eq!(kmc.kcv().to_string(), "8BAF47");
    assert_eq!(kmc.id(), "FFFFFF476173");
    assert!(store.kmc(KmcRef::parse("FFFFFF476173:2").unwrap()).is_none());
    assert!(store.kek(KekId([0x47, 0x61, 0x73, 0x99, 2])).is_none());
}

#[test]
fn every_rule_of_a_kek() {
    for (from, to) in [
        ("version = 1\n", ""),
        ("version = 1\n", "version = 0\n"),
        ("version = 1\n", "version = 255\n"),
        ("version = 1\n", "version = 256\n"),
        ("type = \"TDES2\"", "type = \"AES128\"\nkcv = \"000000\""),
        ("type = \"TDES2\"", "type = \"AES192\""),
        ("type = \"TDES2\"", "type = \"TDES3\""),
        ("id = \"47617399\"", "id = \"4761739\""),
        ("id = \"47617399\"", "id = \"476173999\""),
        ("id = \"47617399\"", "id = \"4761739A\""),
        ("id = \"47617399\"", "id = \"FF476173\""),
        ("id = \"47617399\"", "id = \"FFFFFFFF\""),
        ("issuer_id = \"TESTBANK\"\n", ""),
        ("issuer_id = \"TESTBANK\"", "issuer_id = \"\""),
        ("allow = [\"FFFFFF476173:1\"]\n", ""),
        ("allow = [\"FFFFFF476173:1\"]", "allow = [\"FFFFFF476173\"]"),
        ("allow = [\"FFFFFF476173:1\"]", "allow = [\"FFFF:1\"]"),
        ("min_seclev = \"01\"", "min_seclev = \"02\""),
        ("wrap = \"cwf1\"", "wrap = \"other\""),
        ("wrap = \"cwf1\"", "wrap = \"cps\""),
        ("label = \"kek-1\"", "label = \"\""),
        ("label = \"kek-1\"", "label = \"two\\nlines\""),
        ("label = \"kek-1\"", "label = \"kmc-1\""),
        ("usage = \"KEK\"", "usage = \"ZMK\""),
        ("wrap = \"cwf1\"", "colour = \"red\""),
        ("[[key]]", "[note]\n[[key]]"),
    ] {
        let failure = refused(from, to);
        assert!(matches!(failure.exit, Exit::KeyStore | Exit::KeyMismatch), "{failure}");
    }
    assert!(refused("wrap = \"cwf1\"", "wrap = \"cps\"").message.contains("not supported yet"));
}

#[test]
fn what_a_kek_may_leave_out() {
    let text = GOOD.replace("min_seclev = \"01\"\n", "").replace("wrap = \"cwf1\"\n", "");
    let store = create(&text, StoreSide::Bureau).unwrap();
    let (_, rules) = store.kek(KekId([0x47, 0x61, 0x73, 0x99, 1])).unwrap();
    assert_eq!(rules.min_seclev.byte(), 1, "never the lowest by omission");
}

#[test]
fn every_rule_of_a_kmc() {
    for (from, to) in [
        ("id = \"ffffff476173\"\nversion = 1\n", "id = \"ffffff476173\"\n"),
        ("id = \"ffffff476173\"\nversion = 1\n", "id = \"ffffff476173\"\nversion = 0\n"),
        ("id = \"ffffff476173\"", "id = \"47617399\""),
        ("id = \"ffffff476173\"", "id = \"ffffff47617x\""),
        ("kcv = \"8BAF47\"", "kcv = \"8BAF47\"\nissuer_id = \"TESTBANK\""),
        ("kcv = \"8BAF47\"", "kcv = \"8BAF47\"\nmin_seclev = \"01\""),
        ("kcv = \"8BAF47\"", "kcv = \"8BAF47\"\nwrap = \"cwf1\""),
        ("kcv = \"8BAF47\"", "kcv = \"8BAF47\"\nallow = []"),
    ] {
        assert_eq!(refused(from, to).exit, Exit::KeyStore, "{to}");
    }
}

#[test]
fn a_wrong_kcv_is_a_mismatch() {
    let failure = refused("kcv = \"8BAF47\"", "kcv = \"8BAF48\"");
    assert_eq!(failure.exit, Exit::KeyMismatch);
    assert!(failure.message.contains("8BAF47"), "the right one is public");
}

#[test]
fn one_identifier_has_one_key_and_one_kek_value_one_identifier() {
    let second = |kek: &str| create(&format!("{GOOD}{kek}"), StoreSide::Bureau).err().map(|f| f.message);
    let kek = |label: &str, version: u8, key_type: &str, value: &str| {
        format!(
            "[[key]]\nlabel = \"{label}\"\nusage = \"KEK\"\ntype = \"{key_type}\"\nid = \"47617399\"\nversion = \
             {version}\nvalue = \"{value}\"\nissuer_id = \"TESTBANK\"\nallow = []\nmin_seclev = \"00\"\n"
        )
    };
    const OTHER: &str = "0123456789ABCDEFFEDCBA9876543210";
    assert_eq!(second(&kek("kek-2", 2, "TDES2", OTHER)), None);
    assert!(second(&kek("kek-2", 1, "TDES2", OTHER)).unwrap().contains("4761739"), "one KEKID twice");
    assert!(second(&kek("kek-2", 1, "AES128", OTHER)).is_some(), "nor with another type");
    assert!(
        second(&kek("kek-2", 2, "TDES2", "00112233445566778899AABBCCDDEEFF")).is_some(),
        "one value twice"
    );
    // The same DES key with other parity bits.
    assert!(second(&kek("kek-2", 2, "TDES2", "01112233445566778899AABBCCDDEEFE")).is_some());
    let kmc = "[[key]]\nlabel = \"kmc-2\"\nusage = \"KMC\"\ntype = \"TDES2\"\nid = \"FFFFFF476173\"\nversion = 1\n\
               value = \"0123456789ABCDEFFEDCBA9876543210\"\n";
    assert!(second(kmc).is_some(), "one KMC twice");
}

fn issuers(usage: &str, key_type: &str, version: &str, value: &str) -> String {
    format!(
        "{GOOD}[[key]]\nlabel = \"x\"\nusage = \"{usage}\"\ntype = \"{key_type}\"\nid = \"476173FF\"\n{version}value = \
         \"{value}\"\n"
    )
}

const AES192_VALUE: &str = "000102030405060708090A0B0C0D0E0F1011121314151617";

#[test]
fn issuers_keys_live_at_the_issuer_only() {
    for (name, usage) in [
        ("KML", KeyUsage::Kml),
        ("KMU", KeyUsage::Kmu),
        ("IMK-AC", KeyUsage::ImkAc),
        ("IMK-SMI", KeyUsage::ImkSmi),
        ("IMK-SMC", KeyUsage::ImkSmc),
        ("CVK", KeyUsage::Cvk),
        ("PVK", KeyUsage::Pvk),
    ] {
        let text = issuers(name, "TDES2", "", "0123456789ABCDEFFEDCBA9876543210");
        let store = create(&text, StoreSide::Issuer).unwrap();
        assert_eq!(store.key(usage, "476173ff", None).unwrap().version(), 1);
        assert_eq!(store.key(usage, "476173FF", Some(1)).unwrap().kcv().to_string(), "08D7B4");
        assert_eq!(store.key(usage, "476173FF", Some(2)).err().unwrap().exit, Exit::KeyUnknown);
        assert_eq!(store.key(usage, "47617399", None).err().unwrap().exit, Exit::KeyUnknown);
        let failure = create(&text, StoreSide::Bureau).err().unwrap();
        assert_eq!(failure.exit, Exit::KeyStore);
        assert!(failure.message.contains(name), "{failure}");
    }
    create(&issuers("IMK-AC", "AES192", "", AES192_VALUE), StoreSide::Issuer).unwrap();
    for usage in ["CVK", "PVK"] {
        assert!(create(&issuers(usage, "AES192", "", AES192_VALUE), StoreSide::Issuer).is_err());
    }
}

#[test]
fn of_several_versions_one_must_be_named() {
    let text = issuers("KML", "TDES2", "version = 3\n", "0123456789ABCDEFFEDCBA9876543210");
    let text = format!(
        "{text}[[key]]\nlabel = \"y\"\nusage = \"KML\"\ntype = \"AES192\"\nid = \"476173FF\"\nversion = 4\nvalue = \
         \"{AES192_VALUE}\"\n"
    );
    let store = create(&text, StoreSide::Issuer).unwrap();
    assert_eq!(store.key(KeyUsage::Kml, "476173FF", Some(4)).unwrap().label(), "y");
    assert_eq!(store.key(KeyUsage::Kml, "476173FF", None).err().unwrap().exit, Exit::KeyUnknown);
}

#[test]
fn no_message_quotes_a_value() {
    const VALUE: &str = "value = \"00112233445566778899AABBCCDDEEFF\"";
    for to in [
        "value = \"00112233445566778899AABBCCDDEEF\"",
        "value = \"00112233445566778899AABBCCDDEEFX\"",
        "value = \"00112233445566778899AABBCCDDEEFF00\"",
        "value = \"00112233445566778899AABBCCDDEEFF",
        "value = 00112233445566778899AABBCCDDEEFF",
        "value = 112233445566",
        "value = 1122334455667788.99",
        "value = [\"00112233445566778899AABBCCDDEEFF\"]",
        "value = { x = \"00112233445566778899AABBCCDDEEFF\" }",
        "00112233445566778899AABBCCDDEEFF = \"value\"",
        "value = \"\"",
        "kcv = \"00112233445566778899AABBCCDDEEFF\"",
        "kcv = \"0011 2233 4455 6677\"",
        "label = \"0011 2233 4455 6677\"\nvalue = 11",
        "version = \"0011-2233-4455-6677\"",
        "version = \"00 11 22 33 44 55 66 77\"",
        "type = \"0011:2233:4455:6677\"",
        "'0011 2233 4455 6677' = 1",
    ] {
        let message = refused(VALUE, to).message;
        let bare = message.replace([' ', '-', ':'], "");
        assert!(!bare.contains("112233"), "{to}: {message}");
    }
    assert!(refused(VALUE, "value = 112233445566").message.contains("line 8"));
}

/// Each kind of word, number and identifier: the message names line and key, or the label, and what is allowed.
#[test]
fn a_wrong_word_is_named_with_its_place_and_what_is_allowed() {
    let levels = "there are 00 (authentication only), 01 (C-MAC), 03 (C-MAC and encryption)";
    for (from, to, place, allowed) in [
        (
            "usage = \"KEK\"",
            "usage = \"KEY\"",
            "key list, line 4: key.usage: unknown variant `KEY`",
            "`KEK`, `KMC`",
        ),
        (
            "type = \"TDES2\"",
            "type = \"DES\"",
            "line 5: key.type: unknown variant `DES`",
            "`TDES2`, `AES128`, `AES192`, `AES256`",
        ),
        (
            "version = 1",
            "version = 256",
            "line 7: key.version: ",
            "`256`, expected a whole number from 0 to 255",
        ),
        ("version = 1", "versoin = 1", "line 7: key: unknown field `versoin`", "`version`"),
        ("min_seclev = \"01\"", "min_seclev = \"33\"", "line 11: key.min_seclev: ", levels),
        ("min_seclev = \"01\"", "min_seclev = \"1\"", "line 11: key.min_seclev: ", levels),
        (
            "FFFFFF476173:1",
            "FFFFFF476173",
            "line 10: key.allow: is no KMC",
            "KMC_ID:VERSION, which is 12 hex digits",
        ),
        ("FFFFFF476173:1", "FFFFFF476173:300", "line 10: key.allow: is no KMC", "a number up to 255"),
        ("kcv = \"8BAF47\"", "kcv = \"8BAF4\"", "line 21: key.kcv: has 5 hex digits", "a KCV has 3 bytes"),
        (
            "kcv = \"8BAF47\"",
            "kcv = \"8BAF4G\"",
            "line 21: key.kcv: character 6 is no hex digit",
            "a KCV has hex digits only",
        ),
        ("EEFF\"", "EEFG\"", "line 8: key.value: the value is not hex", "two digits for each byte"),
        ("EEFF\"", "EE\"", "\"kek-1\": a key of type TDES2 has a value of 16 bytes", "this one has 15"),
        ("version = 1", "version = 255", "\"kek-1\": a KEK has a version from 1 to 254", "this one has 255"),
        ("version = 1", "", "\"kek-1\": a KEK has a version from 1 to 254", "this one has none"),
        (
            "47617399",
            "4761739",
            "\"kek-1\": the id is the issuer identifier, up to 8 digits",
            "this one has 7 characters",
        ),
        (
            "ffffff476173",
            "ffffff",
            "\"kmc-1\": the id of a KMC is KMC_ID, 12 hex digits",
            "this one has 6 characters",
        ),
        ("wrap = \"cwf1\"", "wrap = \"tr31\"", "\"kek-1\": wrap is \"cwf1\"", "cwf1"),
        ("\"kmc-1\"", "\"\"", "key 2 of the list: its label", "1 to 64 printable ASCII characters"),
    ] {
        let message = refused(from, to).message;
        assert!(message.contains(place) && message.contains(allowed), "{to}: {message}");
    }
}

#[test]
fn a_list_without_keys_is_refused() {
    for text in ["", "key = []", "[[keys]]", "key = 1", "\0"] {
        assert!(create(text, StoreSide::Bureau).is_err());
    }
}

/// Check values by OpenSSL: `enc -des-ede` and `-aes-128-ecb` of a block, `mac CMAC` of a block of zeros.
#[test]
fn a_check_value_by_another_method_is_named() {
    for (stated, method) in [("2574C8", "a block of 01 encrypted"), ("BCF5B9", "CMAC over a block of zeros")]
    {
        let message = refused("8BAF47", stated).to_string();
        assert!(message.contains(method) && message.contains("8BAF47"), "{message}");
    }
    let message = refused("8BAF47", "8BAF48").to_string();
    assert!(message.contains("not the one stated"), "{message}");

    let aes = |kcv: &str| {
        let key = GOOD.replacen("TDES2", "AES128", 1).replacen(
            "value = \"00112233445566778899AABBCCDDEEFF\"",
            &format!("value = \"000102030405060708090A0B0C0D0E0F\"\nkcv = \"{kcv}\""),
            1,
        );
        create(&key, StoreSide::Bureau)
    };
    assert!(aes("C35280").is_ok());
    for (stated, method) in
        [("C6A13B", "a block of zeros encrypted"), ("BE7ED6", "CMAC over a block of zeros")]
    {
        let message = aes(stated).err().unwrap().to_string();
        assert!(message.contains(method) && message.contains("C35280"), "{stated}: {message}");
    }
}

#[test]
fn weak_and_well_known_values_are_doubted() {
    // The weak and semi-weak keys are those of NIST SP 800-67 rev. 2, 3.3.2.
    for (value, doubt) in [
        ("00000000000000000000000000000000", Some(KeyDoubt::EqualBytes)),
        ("FEFFFEFFFEFFFEFFFEFFFEFFFEFFFEFF", Some(KeyDoubt::EqualBytes)),
        ("404142434445464748494A4B4C4D4E4F", Some(KeyDoubt::WellKnown)),
        ("0123456789ABCDEFFEDCBA9876543210", Some(KeyDoubt::WellKnown)),
        ("101112131415161718191A1B1C1D1E1F", Some(KeyDoubt::Counting)),
        ("0F0E0D0C0B0A09080706050403020100", Some(KeyDoubt::Counting)),
        ("8C25D16B3E5897AB8C25D16B3E5897AB", Some(KeyDoubt::EqualHalves)),
        ("8C25D16B3E5897AB8D24D06A3F5996AA", Some(KeyDoubt::EqualHalves)),
        ("1F1F1F1F0E0E0E0E8C25D16B3E5897AB", Some(KeyDoubt::WeakHalf)),
        ("8C25D16B3E5897AB01FE01FE01FE01FE", Some(KeyDoubt::WeakHalf)),
        ("8C25D16B3E5897AB7A1C0D92F3E4B568", None),
    ] {
        let list = GOOD.replacen("00112233445566778899AABBCCDDEEFF", value, 1);
        let store = create(&list, StoreSide::Bureau).unwrap();
        let kek = store.entries().iter().find(|key| key.usage() == KeyUsage::Kek).unwrap();
        assert_eq!(kek.doubt(), doubt, "{value}");
    }
    let aes = GOOD.replacen("TDES2", "AES128", 1);
    let equal_halves =
        aes.replacen("00112233445566778899AABBCCDDEEFF", "8C25D16B3E5897AB8C25D16B3E5897AB", 1);
    assert!(
        create(&equal_halves, StoreSide::Bureau)
            .unwrap()
            .entries()
            .iter()
            .all(|key| { key.usage() != KeyUsage::Kek || key.doubt().is_none() })
    );
}

#[test]
fn a_kmc_that_no_channel_can_use_is_refused_before_a_card_is_spent() {
    let list = GOOD
        .replace("usage = \"KMC\"\ntype = \"TDES2\"", "usage = \"KMC\"\ntype = \"AES128\"")
        .replace("kcv = \"8BAF47\"", "");
    let message = create(&list, StoreSide::Bureau).err().unwrap().to_string();
    assert!(message.contains("kmc-1") && message.contains("AES128"), "{message}");
}

//! The rules of a key list, every one broken once; the file of a store.

mod custody;
mod pending;
mod token;

use zeroize::Zeroizing;

use super::header::SealedFile;
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

const BUREAU: rules::StoreRules = rules::StoreRules { realm: Realm::Test, side: StoreSide::Bureau };

fn recipient(path: &Path) -> Result<String, Failure> {
    LockedStore::to_change(path)?.open_test()?.recipient()
}

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

/// The digits of a test key often stand for keys of both algorithms.
#[test]
fn two_keks_of_a_test_list_may_have_values_that_differ_in_parity_alone() {
    let [head, kek, kmc] = GOOD.split("[[key]]").collect::<Vec<_>>().try_into().unwrap();
    let value = |digits: &str, name: &str, of: &str| {
        let kek = kek.replace("00112233445566778899AABBCCDDEEFF", digits).replace("kek-1", name);
        kek.replace("TDES2", of).replace("version = 1", &format!("version = {}", name.len()))
    };
    let digits = "404142434445464748494A4B4C4D4E4F";
    let list = |of: &str| {
        [head, &value(digits, "kek-t", "TDES2"), &value(digits, "kek-aes", of), kmc].join("[[key]]")
    };
    create(&list("AES128"), StoreSide::Bureau).unwrap();
    let failure = create(&list("TDES2"), StoreSide::Bureau).err().unwrap();
    assert!(failure.message.contains("have the same value; each needs its own"), "{failure}");
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
        ("issuer_id = \"TESTBANK\"", "issuer_id = \"TESTBANK\"\npartner = \"TESTBANK\""),
        ("issuer_id = \"TESTBANK\"", "partner = \"TESTBANK\""),
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
    assert!(!failure.message.contains("8BAF47"), "whoever guesses is not shown the right one: {failure}");
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

/// A ZMK has a partner and a version; a bureau has ZMKs too.
#[test]
fn a_zmk_names_its_partner() {
    let zmk = |lines: &str| {
        let list = format!(
            "{GOOD}[[key]]\nlabel = \"zmk\"\nusage = \"ZMK\"\ntype = \"AES192\"\nid = \"476173FF\"\nvalue = \
             \"{AES192_VALUE}\"\n{lines}"
        );
        create(&list, StoreSide::Bureau)
    };
    let store = zmk("version = 1\npartner = \"CARDS\"\n").unwrap();
    let key = store.key(KeyUsage::Zmk, "476173FF", None).unwrap();
    assert_eq!((key.partner(), key.kek().is_none(), key.kmc()), ("CARDS", true, None));
    for (lines, said) in [
        ("version = 1\n", "a ZMK names its partner"),
        ("version = 0\npartner = \"CARDS\"\n", "a ZMK has a version from 1 to 255"),
        ("partner = \"CARDS\"\n", "a ZMK has a version from 1 to 255"),
        ("version = 1\npartner = \"\"\n", "key.partner"),
        ("version = 1\nissuer_id = \"CARDS\"\n", "belong to a KEK"),
    ] {
        let message = zmk(lines).err().unwrap().message;
        assert!(message.contains(said), "{message}");
    }
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
        assert!(message.contains(method) && !message.contains("8BAF47"), "{message}");
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
    // Partners state either of two for AES.
    for stated in ["C35280", "BE7ED6"] {
        let store = aes(stated).unwrap();
        let kcvs: Vec<_> =
            store.entries()[0].kcvs().iter().map(|(method, kcv)| format!("{method} {kcv}")).collect();
        assert_eq!(kcvs, ["AES-GP C35280", "AES-CMAC BE7ED6"]);
    }
    let message = aes("C6A13B").err().unwrap().to_string();
    assert!(message.contains("a block of zeros encrypted") && !message.contains("C35280"), "{message}");
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        // As given, and as kept, with odd parity.
        let made = KeyStore::create_test(&list, &path, StoreSide::Bureau).unwrap();
        for store in [made, KeyStore::open(&path).unwrap()] {
            let kek = store.entries().iter().find(|key| key.usage() == KeyUsage::Kek).unwrap();
            assert_eq!(kek.doubt(), doubt, "{value}");
        }
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

/// Makes the folder of a store with this file `keys`, whose generation was seen last.
fn put(keys: &[u8], seen: u64) -> tempfile::TempDir {
    let own = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    let folder = tempfile::Builder::new().permissions(own).tempdir().unwrap();
    let note = lines::with_digest(&format!("cardwright store seen 1\ngeneration {seen}\n"));
    for (name, bytes) in [("keys", keys), ("seen", note.as_bytes())] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.path().join(name), private).unwrap();
    }
    folder
}

fn opened(keys: &[u8]) -> Result<KeyStore, Failure> {
    let folder = put(keys, 3);
    KeyStore::open(folder.path())
}

fn why(keys: &[u8]) -> String {
    opened(keys).err().map_or_else(|| "it opened".into(), |failure| failure.message)
}

/// Files made by an independent implementation of the format in Python.
fn vector(place: [&str; 2]) -> Vec<u8> {
    let text = include_str!("../../../../tests/data/sealed-store-vector.json");
    let vector: serde_json::Value = serde_json::from_str(text).unwrap();
    hex::decode(vector[place[0]][place[1]].as_str().unwrap()).unwrap()
}

/// The header and the body of a file. The master key of the vector's LIVE store is known.
fn whole(file: &[u8]) -> Result<(StoreHeader, Zeroizing<Vec<u8>>), String> {
    let sealed = SealedFile::read(file).map_err(|fault| fault.to_string())?;
    let master: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/data/sealed-store-vector.json")).unwrap();
    let live = hex::decode(master["master"].as_str().unwrap()).unwrap().try_into().unwrap();
    let master = sealed.master.as_ref().map_or(live, |master| *master.expose());
    let body = sealed.open(&SealKey::of(&master)).map_err(|fault| fault.to_string())?;
    Ok((sealed.header, body))
}

/// The file with a right digest.
fn digested(file: &[u8]) -> Vec<u8> {
    let content = &file[..file.len() - 32];
    [content, <sha2::Sha256 as sha2::Digest>::digest(content).as_slice()].concat()
}

#[test]
fn a_store_made_by_another_program_opens() {
    let folder = put(&vector(["test", "keys"]), 3);
    std::fs::write(folder.path().join("spools"), vector(["companion", "file"])).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("spools"), private).unwrap();
    let store = KeyStore::open(folder.path()).unwrap();
    assert_eq!((store.side(), store.generation()), (StoreSide::Bureau, 3));
    let kmc = store.kmc(KmcRef::parse("FFFFFF476173:1").unwrap()).unwrap();
    assert_eq!((kmc.label(), kmc.origin()), ("kmc-1", KeyOrigin::Components));
    assert_eq!(kmc.kcv().to_string(), "B82EC5");
    let [gone] = store.gone() else { panic!() };
    assert_eq!((gone.usage, gone.id.as_str(), gone.version), (KeyUsage::Kek, "476173FF", 9));
    let [act] = store.acts() else { panic!() };
    assert_eq!((act.kind, act.by.join(" ").as_str()), (ActKind::Made, "anna ben"));
    let spools = store.companion_text(CompanionKind::Spools).unwrap().unwrap();
    assert_eq!(spools.as_str(), "cardwright spool keys 1\n");
    assert_eq!(**store.body.write().unwrap(), *vector(["test", "body"]), "written as it was read");
    let live = why(&vector(["live", "keys"]));
    assert!(live.contains("is LIVE: this version makes no cards with LIVE keys"), "{live}");
}

#[test]
fn a_destroyed_key_never_comes_back_by_id_or_by_value() {
    let file = vector(["test", "keys"]);
    let (header, body) = whole(&file).unwrap();
    let body = StoreBody::read(&body, header.rules()).map_err(|fault| fault.to_string()).unwrap();
    let add = |id: &str, version: u8, value: &str| {
        let list =
            GOOD.replacen("47617399", id, 1).replacen("version = 1", &format!("version = {version}"), 1);
        let list = list.replacen("00112233445566778899AABBCCDDEEFF", value, 1);
        let mut body = StoreBody {
            entries: Vec::new(),
            pending: Vec::new(),
            acts: Vec::new(),
            gone: body.gone.clone(),
            file_key: SealKey::of(body.file_key.expose()),
        };
        list::read(&list, 0, StoreSide::Bureau, &mut body).err().map(|failure| failure.message)
    };
    const FREE: &str = "8C25D16B3E5897AB7A1C0D92F3E4B568";
    assert_eq!(add("476173FF", 8, FREE), None);
    // The value of tests/data/sealed-store-vector.json, with its own parity and with odd parity.
    for (id, version, value) in [
        ("476173FF", 9, FREE),
        ("476173FF", 8, "3F419E1CB7079442AA37474C2EFBF8B8"),
        ("476173FF", 8, "3E409E1CB6079443AB37464C2FFBF8B9"),
    ] {
        let message = add(id, version, value).unwrap();
        assert!(message.contains("was destroyed, and never comes back"), "{message}");
    }
}

#[test]
fn no_flipped_bit_of_a_store_is_accepted() {
    for kind in ["test", "live"] {
        let good = vector([kind, "keys"]);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let said = whole(&bad).err().unwrap();
                assert!(
                    said.contains("damaged") || at < 6 && said.contains("newer"),
                    "{kind} {at}.{bit}: {said}"
                );
                let said = whole(&digested(&bad)).err();
                let changed = said.as_ref().is_some_and(|said| said.contains("was changed after"));
                assert!(changed || at < 6 || at >= good.len() - 32, "{kind} {at}.{bit}: {said:?}");
            }
        }
    }
}

#[test]
fn a_truncated_store_is_refused() {
    for kind in ["test", "live"] {
        let good = vector([kind, "keys"]);
        for length in 0..good.len() {
            let said = whole(&good[..length]).err().unwrap();
            assert!(said.contains("damaged"), "{kind} {length}: {said}");
        }
        for length in 38..good.len() {
            let said = whole(&digested(&good[..length])).err().unwrap();
            let names = ["damaged", "was changed"];
            assert!(names.iter().any(|name| said.contains(name)), "{kind} {length}: {said}");
        }
    }
    let said = why(&digested(&[vector(["test", "keys"]), vec![0]].concat()));
    assert!(said.contains("was changed"), "{said}");
}

#[test]
fn a_store_of_a_newer_version_is_named() {
    let mut keys = vector(["test", "keys"]);
    keys[5] = 3;
    for keys in [&keys, &digested(&keys), &keys[..6].to_vec()] {
        let said = why(keys);
        assert!(said.contains("of a newer version (3): install the version that wrote it"), "{said}");
    }
}

#[test]
fn a_header_with_one_custodian_or_a_name_twice_is_refused() {
    let good = vector(["live", "keys"]);
    // m and n stand behind magic, version, realm, side, two identifiers, generation and time.
    let (m, n, name) = (56, 57, 59);
    assert_eq!((good[m], good[n], &good[name..name + 4]), (2, 3, b"anna".as_slice()));
    let ben = name + 4 + 64 + 1;
    assert_eq!(&good[ben..ben + 3], b"ben");
    let cases: [(&str, &[(usize, u8)]); 8] = [
        ("one is enough", &[(m, 1)]),
        ("nobody", &[(m, 0)]),
        ("more than there are", &[(m, 4)]),
        ("none", &[(n, 0)]),
        ("too few", &[(n, 1)]),
        ("a capital", &[(name, b'A')]),
        ("a digit first", &[(name, b'1')]),
        ("a blank", &[(name + 1, b' ')]),
    ];
    for (what, changes) in cases {
        let mut bad = good.clone();
        changes.iter().for_each(|(at, byte)| bad[*at] = *byte);
        let said = why(&digested(&bad));
        assert!(said.contains("was changed after"), "{what}: {said}");
    }
    let mut twice = good.clone();
    twice.splice(ben - 1..ben + 3, *b"\x04anna");
    assert!(why(&digested(&twice)).contains("was changed after"));
    for word in [b"line", b"sign"] {
        let mut named = good.clone();
        named[name..name + 4].copy_from_slice(word);
        assert_eq!(why(&digested(&named)).contains("was changed after"), word == b"line");
    }
}

#[test]
fn a_store_changes_its_seed_with_each_write_and_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(KeyStore::create_test(GOOD, &path, StoreSide::Bureau).unwrap());
    let first = std::fs::read(path.join("keys")).unwrap();
    let public = recipient(&path).unwrap();
    assert_eq!(recipient(&path).unwrap(), public, "it stays");
    let second = std::fs::read(path.join("keys")).unwrap();
    assert_eq!(first[8..24], second[8..24], "store id");
    let seed = 4 + 2 + 2 + 16 + 8 + 8 + 16 + 2 + 32;
    assert_ne!(first[seed..seed + 16], second[seed..seed + 16], "the key of each write is its own");
    let store = KeyStore::open(&path).unwrap();
    assert_eq!(store.generation(), 2);
    let acts: Vec<_> = store.acts().iter().map(|act| (act.kind, act.note.as_str())).collect();
    assert_eq!(acts, [(ActKind::Made, ""), (ActKind::Recipient, public.as_str())]);
}

#[test]
fn who_changes_a_store_has_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let made = KeyStore::create_test(GOOD, &path, StoreSide::Bureau).unwrap();
    let other = KeyStore::open(&path).unwrap();
    let refused = recipient(&path).err().unwrap();
    assert!(refused.message.contains("another program has it open"), "{refused}");
    drop((made, other));
    let alone = LockedStore::to_change(&path).unwrap();
    assert!(KeyStore::open(&path).err().unwrap().message.contains("another program has it open"));
    drop(alone);
    recipient(&path).unwrap();
}

/// What a power cut can leave, and what only a restored file can.
#[test]
fn a_rolled_back_store_is_refused_and_one_that_was_cut_off_is_mended() {
    let keys = vector(["test", "keys"]);
    let seen = |folder: &tempfile::TempDir| {
        let text = std::fs::read_to_string(folder.path().join("seen")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    };
    for known in [1, 2, 3] {
        let folder = put(&keys, known);
        std::fs::write(folder.path().join("keys.next"), "half").unwrap();
        KeyStore::open(folder.path()).unwrap();
        assert_eq!(seen(&folder), format!("generation {known}"), "a reader changes nothing");
        LockedStore::to_change(folder.path()).unwrap();
        assert_eq!(seen(&folder), "generation 3");
    }
    let folder = put(&keys, 7);
    for lock in [StoreLock::Shared, StoreLock::Alone] {
        let said = LockedStore::locked(folder.path(), lock).err().unwrap().message;
        assert!(said.contains("keys is of generation 3, and the store was at 7"), "{said}");
    }
    for note in ["", "cardwright store seen 1\ngeneration 3\n"] {
        std::fs::write(folder.path().join("seen"), note).unwrap();
        assert!(KeyStore::open(folder.path()).err().unwrap().message.contains("missing or damaged"));
    }
    std::fs::remove_file(folder.path().join("seen")).unwrap();
    assert!(KeyStore::open(folder.path()).err().unwrap().message.contains("missing or damaged"));
}

#[test]
fn a_store_half_made_is_named_and_no_store_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    std::fs::create_dir(folder.path().join("store-next")).unwrap();
    let said = KeyStore::create_test(GOOD, &path, StoreSide::Bureau).err().unwrap().message;
    assert!(said.contains("store-next is in the way"), "{said}");
    std::fs::remove_dir(folder.path().join("store-next")).unwrap();
    std::fs::create_dir(&path).unwrap();
    let said = KeyStore::create_test(GOOD, &path, StoreSide::Bureau).err().unwrap().message;
    assert!(said.contains("exists already and is not replaced"), "{said}");
    assert!(!folder.path().join("store-next").exists());
}

proptest::proptest! {
    /// Whatever a body says, it is read or refused.
    #[test]
    fn a_body_with_wild_counts_does_not_panic(
        at in 0..400_usize,
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..8),
        cut in 0..400_usize,
    ) {
        let mut body = vector(["test", "body"]);
        let from = at.min(body.len() - 1);
        let to = (from + bytes.len()).min(body.len());
        body.splice(from..to, bytes);
        body.truncate(body.len().saturating_sub(cut % 7));
        let _ = StoreBody::read(&body, BUREAU);
    }
}

/// An authentic body was not changed: a code that means nothing here is a newer program's.
#[test]
fn a_body_with_codes_of_another_version_is_named() {
    let good = vector(["test", "body"]);
    let label = good.windows(5).position(|bytes| bytes == b"kmc-1").unwrap();
    for at in [label + 5, label + 6] {
        let mut body = good.clone();
        body[at] = 99;
        let said = StoreBody::read(&body, BUREAU).err().unwrap().to_string();
        assert!(said.contains("install the version that wrote it"), "{said}");
    }
}

#[test]
fn a_store_that_cannot_be_filled_leaves_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let full = |_: &StoreFolder| Err(Failure::new(Exit::Io, "the disk is full"));
    let said = folder::make(&path, Realm::Test, full).err().unwrap().message;
    assert_eq!(said, "the disk is full; nothing was made");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    for name in [".", "..", "/"] {
        let said = KeyStore::create_test(GOOD, Path::new(name), StoreSide::Bureau).err().unwrap().message;
        assert!(said.contains("by its own name"), "{said}");
    }
}

/// A key list, what a store makes of it, and what is read again.
#[test]
fn every_usage_and_type_is_found_again() {
    let mut list = GOOD.to_owned();
    list += "[[key]]\nlabel = \"zmk\"\nusage = \"ZMK\"\ntype = \"AES192\"\nid = \"476173FF\"\nversion = 1\npartner = \"CARDS\"\n";
    list += &format!("value = \"{AES192_VALUE}\"\n");
    for (number, usage) in (1..).zip(KeyUsage::MASTERS) {
        for (version, (key_type, value)) in (1..).zip([
            ("TDES2", "8C25D16B3E5897AB7A1C0D92F3E4B568"),
            ("AES128", "8C25D16B3E5897AB7A1C0D92F3E4B568"),
            ("AES192", AES192_VALUE),
            ("AES256", "1619402605FF52C0CEA2ED1B39A75979ED5627082A114A0EF952E1CF3BAFB787"),
        ]) {
            if key_type != "TDES2" && matches!(usage, KeyUsage::Cvk | KeyUsage::Pvk) {
                continue;
            }
            list += &format!(
                "[[key]]\nlabel = \"{number}-{version}\"\nusage = \"{usage}\"\ntype = \"{key_type}\"\nid = \"476173FF\"\n\
                 version = {version}\nvalue = \"{value}\"\n"
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let shown = |store: &KeyStore| {
        let entries = store.entries().iter().map(|key| {
            let id =
                format!("{} {} {} {}:{}", key.label(), key.usage(), key.key_type(), key.id(), key.version());
            format!(
                "{id} {:?} {:?} {} {:?}",
                key.kcvs(),
                key.origin(),
                key.partner(),
                key.kek().map(|rules| format!("{rules:?}"))
            )
        });
        entries.collect::<Vec<_>>()
    };
    let made = KeyStore::create_test(&list, &path, StoreSide::Issuer).unwrap();
    let opened = KeyStore::open(&path).unwrap();
    assert_eq!(shown(&opened), shown(&made));
    assert_eq!(opened.entries().len(), 2 + 1 + 5 * 4 + 2);
    assert_eq!(*opened.body.write().unwrap(), *made.body.write().unwrap());
    assert!(opened.entries().iter().all(SecretEntry::odd_parity), "kept with odd parity");
    assert!(!made.entries().iter().all(SecretEntry::odd_parity));
}

//! Keys in components and in key blocks, into stores that their custodians have opened. The terminal: `terminal`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cardwright::crypto::KeyType;
use cardwright::exit::{Exit, Failure};
use cardwright::hsm::Issuer;
use cardwright::hsm::soft::issuer::SoftIssuer;
use cardwright::hsm::store::{
    ActKind, ArrivedKey, Given, KeyOrigin, KeyStore, KeyTerms, KeyUsage, LockedStore, NewCustodians,
    OpenStore, StoreSide, read_block,
};
use cardwright::ids::{Kcv, KmcRef};
use zeroize::Zeroizing;

use crate::key_blocks::made;
use crate::raw;

/// Components, their sum and all KCVs: standards of key ceremonies, computed with OpenSSL.
const PARTS: [(&str, &str); 3] = [
    ("0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
    ("5D2A7F10BC94E6438F20D3A47C195E6B", "B6616B"),
    ("A8C4709E0B3DF2657C80164F9BB325D0", "FA1B19"),
];
const SUM: (&str, &str) = ("F4CD4AE93E02D9C80D7C7F7391FE49AB", "B82EC5");

/// TEST ZMKs of both ciphers.
const ZMKS: &str = r#"
[[key]]
label = "zmk-t"
usage = "ZMK"
type = "TDES2"
id = "47617399"
version = 1
value = "8C25D16B3E5897AB7A1C0D92F3E4B568"
partner = "TESTBANK"

[[key]]
label = "zmk-a"
usage = "ZMK"
type = "AES128"
id = "47617399"
version = 2
value = "9E0F3C5A7714D2B86C41E5F09A2B7D33"
partner = "TESTBANK"
"#;

fn bytes(hex: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(hex::decode(hex).unwrap())
}

fn zmk(label: &str) -> Vec<u8> {
    let entry = ZMKS.split("[[key]]").find(|entry| entry.contains(label)).unwrap();
    let value = entry.split("value = \"").nth(1).unwrap();
    hex::decode(&value[..32]).unwrap()
}

fn xor(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .fold(vec![0; parts[0].len()], |sum, part| sum.iter().zip(*part).map(|(a, b)| a ^ b).collect())
}

fn kcv(text: &str) -> Kcv {
    Kcv::from_hex(text).unwrap()
}

/// KCV of a TDES key: zeros encrypted.
fn kcv_of(key: &[u8]) -> Kcv {
    Kcv(raw::ecb(raw::TDES, key, &[0; 8])[..3].try_into().unwrap())
}

/// KCV of an AES key: bytes 01 encrypted.
fn aes_kcv_of(key: &[u8]) -> Kcv {
    let kind = if key.len() == 16 { raw::AES128 } else { raw::AES256 };
    Kcv(raw::ecb(kind, key, &[1; 16])[..3].try_into().unwrap())
}

fn terms(usage: KeyUsage, key_type: KeyType) -> KeyTerms {
    let kek = usage == KeyUsage::Kek;
    KeyTerms {
        label: "new".into(),
        usage,
        key_type,
        id: if usage == KeyUsage::Kmc { "FFFFFF476199" } else { "476173FF" }.into(),
        version: 7,
        origin: KeyOrigin::Components,
        made: 0,
        partner: if kek || usage == KeyUsage::Zmk { "TESTBANK" } else { "" }.into(),
        min_seclev: u8::from(kek),
        allow: if kek { vec![KmcRef::parse("FFFFFF476173:1").unwrap()] } else { vec![] },
    }
}

fn kmc() -> KeyTerms {
    terms(KeyUsage::Kmc, KeyType::Tdes2)
}

fn test_store(list: &str, side: StoreSide) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(KeyStore::create_test(list, &path, side).unwrap());
    (folder, path)
}

fn opened(path: &Path, names: [&str; 2]) -> OpenStore {
    let mut collecting = LockedStore::to_change(path).unwrap().collect();
    for name in names {
        assert_eq!(collecting.give(name, b"").unwrap(), Given::Right);
    }
    collecting.open().unwrap()
}

/// A LIVE store that anna, ben and carla have just made, and have open.
fn live(side: StoreSide) -> (tempfile::TempDir, OpenStore) {
    static CUSTODIANS: OnceLock<NewCustodians> = OnceLock::new();
    let custodians = CUSTODIANS.get_or_init(|| {
        let names = ["anna", "ben", "carla"].map(str::to_owned);
        let mut new = NewCustodians::new(&names, 2).unwrap();
        names.iter().for_each(|name| new.choose(format!("six words of {name} by dice").as_bytes()).unwrap());
        new
    });
    let folder = tempfile::tempdir().unwrap();
    let open = KeyStore::create_live(&folder.path().join("store"), side, custodians).unwrap();
    (folder, open)
}

/// One custodian after the other gives a component, with its right KCV.
fn give(open: &mut OpenStore, terms: KeyTerms, parts: &[&[u8]], whole: Kcv) -> Result<(), Failure> {
    let (label, key_type) = (terms.label.clone(), terms.key_type);
    open.begin(terms, whole, u8::try_from(parts.len()).unwrap())?;
    let names = open.by().to_vec();
    for (part, by) in parts.iter().zip(&names) {
        let kcv = if key_type == KeyType::Tdes2 { kcv_of(part) } else { aes_kcv_of(part) };
        let component = open.component(&label, by, Zeroizing::new(part.to_vec()), kcv)?;
        open.give(&label, component)?;
    }
    Ok(())
}

#[track_caller]
fn refused<T>(result: Result<T, Failure>, exit: Exit, said: &str) {
    let failure = result.err().unwrap();
    assert_eq!(failure.exit, exit, "{failure}");
    assert!(failure.message.contains(said), "{failure}");
}

#[test]
fn the_published_components_give_their_sum() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let openings = [["anna", "ben"], ["anna", "ben"], ["carla", "anna"]];
    for (number, (((part, check), by), names)) in
        (1_u64..).zip(PARTS.iter().zip(["anna", "ben", "carla"]).zip(openings))
    {
        let mut open = opened(&path, names);
        if number == 1 {
            open.begin(kmc(), kcv(SUM.1), 3).unwrap();
        }
        let component = open.component("new", by, bytes(part), kcv(check)).unwrap();
        let stored = open.give("new", component).unwrap().is_some();
        assert_eq!(stored, number == 3);
        drop(open);
        let store = KeyStore::open(&path).unwrap();
        assert_eq!(store.generation(), 1 + number, "one writing");
        assert_eq!(store.pending().len(), usize::from(number < 3));
        if let [key] = store.pending() {
            let given: Vec<_> = key.given_by().collect();
            assert_eq!(given, ["anna", "ben"][..given.len()]);
            assert_eq!((u64::from(key.next()), key.stated().1), (number + 1, kcv(SUM.1)));
        }
    }
    let store = KeyStore::open(&path).unwrap();
    let key = store.kmc(KmcRef::parse("FFFFFF476199:7").unwrap()).unwrap();
    assert_eq!(
        hex::encode_upper(key.key().unwrap().expose()),
        SUM.0,
        "with odd parity, which the raw sum has not"
    );
    assert_eq!((key.kcv(), key.origin()), (kcv(SUM.1), KeyOrigin::Components));
    let acts: Vec<_> =
        store.acts().iter().map(|act| (act.kind, act.by.join(" "), act.note.clone())).collect();
    let act = |kind, by: &str, note: &str| (kind, by.to_owned(), note.to_owned());
    let note = |number: u8, by: &str| format!("component {number} of 3 by {by}, whole key {}", SUM.1);
    assert_eq!(
        acts[1..],
        [
            act(ActKind::Component, "anna ben", &note(1, "anna")),
            act(ActKind::Component, "anna ben", &note(2, "ben")),
            act(ActKind::Component, "carla anna", &note(3, "carla")),
            act(ActKind::Stored, "carla anna", ""),
        ]
    );
}

#[test]
fn two_components_get_odd_parity() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let parts = [raw::odd_parity(&bytes(PARTS[1].0)), raw::odd_parity(&bytes(PARTS[2].0))];
    let sum = xor(&[&parts[0], &parts[1]]);
    assert!(sum.iter().all(|byte| byte.count_ones() % 2 == 0), "two odd ones are even together");
    give(&mut opened(&path, ["anna", "ben"]), kmc(), &[&parts[0], &parts[1]], kcv_of(&sum)).unwrap();
    let store = KeyStore::open(&path).unwrap();
    let key = store.kmc(KmcRef::parse("FFFFFF476199:7").unwrap()).unwrap();
    assert_eq!(key.key().unwrap().expose(), raw::odd_parity(&sum));
}

#[test]
fn a_wrong_kcv_stores_nothing_and_shows_no_other() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    open.begin(kmc(), kcv(SUM.1), 3).unwrap();
    for wrong in ["08D7B5", "000000", PARTS[1].1] {
        let failure = open.component("new", "anna", bytes(PARTS[0].0), kcv(wrong)).err().unwrap();
        assert_eq!(
            (failure.exit, failure.message.as_str()),
            (
                Exit::KeyMismatch,
                "key: the KCV does not fit component 1 (DES): look for a slip, or ask the partner"
            )
        );
    }
    drop(open);
    let store = KeyStore::open(&path).unwrap();
    assert_eq!((store.generation(), store.pending().len()), (1, 0));
}

#[test]
fn a_sum_with_another_kcv_stores_nothing() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    let parts = [bytes(PARTS[1].0), bytes(PARTS[2].0)];
    let right = kcv_of(&xor(&[&parts[0], &parts[1]]));
    let failure = give(&mut open, kmc(), &[&parts[0], &parts[1]], kcv(SUM.1)).err().unwrap();
    assert_eq!(failure.exit, Exit::KeyMismatch);
    assert!(failure.message.contains("the components do not give the stated KCV"), "{failure}");
    assert!(!failure.message.contains(&right.to_string()), "{failure}");
    assert_eq!(open.pending("new").unwrap().next(), 2, "the others stay");
    drop(open);
    let store = KeyStore::open(&path).unwrap();
    assert_eq!((store.generation(), store.pending().len(), store.entries().len()), (2, 1, 2));
}

#[test]
fn one_custodian_cannot_give_two_components() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    open.begin(kmc(), kcv(SUM.1), 3).unwrap();
    let component = open.component("new", "anna", bytes(PARTS[0].0), kcv(PARTS[0].1)).unwrap();
    open.give("new", component).unwrap();
    let second = |open: &OpenStore, by| open.component("new", by, bytes(PARTS[1].0), kcv(PARTS[1].1));
    refused(
        second(&open, "anna"),
        Exit::Custody,
        "anna gave component 1; another custodian must give this one",
    );
    refused(second(&open, "carla"), Exit::Custody, "carla did not open the store");
    drop(open);
    let open = opened(&path, ["carla", "anna"]);
    refused(second(&open, "anna"), Exit::Custody, "anna gave component 1");
    second(&open, "carla").unwrap();
}

#[test]
fn what_was_said_of_a_key_is_said_once() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    for wanted in [0, 1, 4] {
        refused(open.begin(kmc(), kcv(SUM.1), wanted), Exit::Custody, "a key has 2 or 3 components");
    }
    open.begin(kmc(), kcv(SUM.1), 2).unwrap();
    refused(open.begin(kmc(), kcv(SUM.1), 2), Exit::Custody, "were given already");
    let other = KeyTerms { label: "other".into(), ..kmc() };
    refused(open.begin(other, kcv(SUM.1), 2), Exit::KeyStore, "are both KMC FFFFFF476199:7");
    let taken = KeyTerms { label: "zmk-t".into(), version: 8, ..kmc() };
    refused(open.begin(taken, kcv(SUM.1), 2), Exit::KeyStore, "stands twice");
    let short = Zeroizing::new(vec![7; 15]);
    refused(open.component("new", "anna", short, kcv(SUM.1)), Exit::Custody, "16 bytes");
    let (_folder, mut open) = {
        let names = ["anna", "ben"].map(str::to_owned);
        let mut two = NewCustodians::new(&names, 2).unwrap();
        names.iter().for_each(|name| two.choose(format!("six words of {name} by dice").as_bytes()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let open = KeyStore::create_live(&folder.path().join("store"), StoreSide::Bureau, &two).unwrap();
        (folder, open)
    };
    refused(open.begin(kmc(), kcv(SUM.1), 3), Exit::Custody, "the store has 2: set more custodians");
}

#[test]
fn equal_and_zero_components_are_refused() {
    let (_folder, mut open) = live(StoreSide::Bureau);
    open.begin(kmc(), kcv(SUM.1), 3).unwrap();
    let zero = Zeroizing::new(vec![0; 16]);
    let check = kcv_of(&zero);
    refused(
        open.component("new", "anna", zero, check),
        Exit::Custody,
        "component 1: all its bytes are equal",
    );
    let published = open.component("new", "anna", bytes(PARTS[0].0), kcv(PARTS[0].1));
    refused(published, Exit::Custody, "component 1: it is a test key");
    let component = open.component("new", "anna", bytes(PARTS[1].0), kcv(PARTS[1].1)).unwrap();
    open.give("new", component).unwrap();
    // The same key, with other parity bits.
    for flip in [0, 1] {
        let mut same = bytes(PARTS[1].0);
        same[3] ^= flip;
        let second = open.component("new", "ben", same, kcv(PARTS[1].1));
        refused(second, Exit::Custody, "component 2 equals component 1: ask the partner");
    }
}

/// Check values of the key of TR-31:2018 A.7.4, by AES-GP, AES-CMAC, and zeros encrypted.
#[test]
fn a_kcv_by_another_method_is_named() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    open.begin(terms(KeyUsage::Kek, KeyType::Aes128), kcv("000000"), 2).unwrap();
    let component =
        |check| open.component("new", "anna", bytes("3F419E1CB7079442AA37474C2EFBF8B8"), kcv(check));
    component("A801BE").unwrap();
    component("08793E").unwrap();
    refused(component("E5E07C"), Exit::KeyMismatch, "by another method (a block of zeros encrypted)");
    refused(component("E5E07D"), Exit::KeyMismatch, "does not fit component 1 (AES-GP, AES-CMAC)");
}

#[test]
fn a_live_store_refuses_zeros_counting_bytes_weak_and_equal_halves() {
    let (_folder, mut open) = live(StoreSide::Bureau);
    for (number, (value, doubt)) in (1..).zip([
        ("00000000000000000000000000000000", "all its bytes are equal"),
        ("404142434445464748494A4B4C4D4E4F", "a test key that everybody knows"),
        ("101112131415161718191A1B1C1D1E1F", "its bytes count up or down"),
        ("8C25D16B3E5897AB8C25D16B3E5897AB", "its halves are equal"),
        ("1F1F1F1F0E0E0E0E8C25D16B3E5897AB", "a weak key of DES"),
    ]) {
        let (first, second) = (bytes(PARTS[1].0), bytes(PARTS[2].0));
        let third = xor(&[&first, &second, &bytes(value)]);
        let label = format!("key {number}");
        let key = KeyTerms { label: label.clone(), version: number, ..kmc() };
        let failure = give(&mut open, key, &[&first, &second, &third], kcv_of(&bytes(value))).err().unwrap();
        assert_eq!(failure.exit, Exit::KeyStore, "{failure}");
        assert!(
            failure.message.contains(doubt) && failure.message.contains("a LIVE store refuses it"),
            "{failure}"
        );
        assert_eq!(open.pending(&label).unwrap().next(), 3, "the last one is not kept");
        open.drop_components(&label).unwrap();
    }
    assert!(open.keys().entries().is_empty());
}

#[test]
fn a_value_is_stored_once() {
    let (_folder, mut open) = live(StoreSide::Bureau);
    let parts: Vec<_> = ["5D2A7F10BC94E6438F20D3A47C195E6B", PARTS[2].0].map(bytes).into();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_slice()).collect();
    let whole = kcv_of(&xor(&parts));
    give(&mut open, kmc(), &parts, whole).unwrap();
    let twice = KeyTerms { label: "again".into(), ..terms(KeyUsage::Zmk, KeyType::Tdes2) };
    refused(give(&mut open, twice, &parts, whole), Exit::KeyStore, "a LIVE store takes each value only once");
}

fn arrive(
    open: &OpenStore,
    text: &str,
    terms: KeyTerms,
    check: Kcv,
    zmk: &str,
) -> Result<ArrivedKey, Failure> {
    open.arrive(read_block(text)?, terms, check, zmk)
}

#[test]
fn a_bureau_refuses_every_issuers_key_in_each_way_in() {
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let mut open = opened(&path, ["anna", "ben"]);
    for (usage, code) in KeyUsage::MASTERS.into_iter().zip(["K0", "K0", "E0", "E2", "E1", "C0", "V2"]) {
        let said = "is an issuer's key and never leaves the issuer";
        let list = format!(
            "[[key]]\nlabel = \"x\"\nusage = \"{usage}\"\ntype = \"TDES2\"\nid = \"476173FF\"\nvalue = \"{}\"\n",
            SUM.0
        );
        let other = tempfile::tempdir().unwrap();
        let made_of_list = KeyStore::create_test(&list, &other.path().join("store"), StoreSide::Bureau);
        refused(made_of_list, Exit::KeyStore, said);
        let key = terms(usage, KeyType::Tdes2);
        refused(open.begin(key.clone(), kcv(SUM.1), 2), Exit::KeyStore, said);
        let block = made('B', &zmk("zmk-t"), &format!("{code}TN00N"), &bytes(SUM.0));
        refused(arrive(&open, &block, key, kcv(SUM.1), "zmk-t"), Exit::KeyStore, said);
    }
}

#[test]
fn a_block_of_another_partner_is_refused() {
    let block = made('B', &zmk("zmk-t"), "K0TB00N", &bytes(SUM.0));
    let import = |side, usage, partner: &str| {
        let (_folder, path) = test_store(ZMKS, side);
        let key = KeyTerms { partner: partner.into(), ..terms(usage, KeyType::Tdes2) };
        arrive(&opened(&path, ["anna", "ben"]), &block, key, kcv(SUM.1), "zmk-t")
    };
    import(StoreSide::Bureau, KeyUsage::Kek, "TESTBANK").unwrap();
    let said = "zmk-t is TESTBANK's, and the KEK is for OTHER";
    refused(import(StoreSide::Bureau, KeyUsage::Kek, "OTHER"), Exit::KeyMismatch, said);
    // An issuer's ZMK is shared with its bureau.
    import(StoreSide::Issuer, KeyUsage::Kek, "OTHER").unwrap();
    for side in [StoreSide::Bureau, StoreSide::Issuer] {
        import(side, KeyUsage::Zmk, "TESTBANK").unwrap();
        refused(import(side, KeyUsage::Zmk, "OTHER"), Exit::KeyMismatch, "zmk-t is TESTBANK's");
    }
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let open = opened(&path, ["anna", "ben"]);
    let card_key = made('B', &zmk("zmk-t"), "E5TX00N", &bytes(SUM.0));
    let arrived = arrive(&open, &card_key, kmc(), kcv(SUM.1), "zmk-t").unwrap();
    assert_eq!(arrived.key().partner(), "TESTBANK", "a KMC's partner is its ZMK's");
    let other = KeyTerms { partner: "OTHER".into(), ..kmc() };
    refused(arrive(&open, &card_key, other, kcv(SUM.1), "zmk-t"), Exit::KeyMismatch, "TESTBANK's");
    refused(arrive(&open, &card_key, kmc(), kcv(SUM.1), "zmk-x"), Exit::KeyUnknown, "no ZMK");
    refused(
        arrive(&open, &card_key, kmc(), kcv(SUM.1), "zmk-a"),
        Exit::KeyMismatch,
        "version B is under a TDES key",
    );
    refused(arrive(&open, &card_key, kmc(), kcv("B82EC6"), "zmk-t"), Exit::KeyMismatch, "not the one stated");
    let changed = card_key.replacen("E5TX", "E5TN", 1);
    refused(
        arrive(&open, &changed, kmc(), kcv(SUM.1), "zmk-t"),
        Exit::FileMac,
        "under another key than zmk-t",
    );
    refused(arrive(&open, &card_key[..79], kmc(), kcv(SUM.1), "zmk-t"), Exit::FileFormat, "character 2");
}

#[test]
fn a_zmk_weaker_than_its_key_is_refused_live() {
    let value = bytes("BE19E6A07A760F10EF8E83A226B63AAD141F463FDDD4F47DB244B4023EC3CACC");
    let key = || terms(KeyUsage::Kek, KeyType::Aes256);
    let block = made('D', &zmk("zmk-a"), "K0AB00N", &value);
    let (_folder, path) = test_store(ZMKS, StoreSide::Bureau);
    let open = opened(&path, ["anna", "ben"]);
    let arrived = arrive(&open, &block, key(), aes_kcv_of(&value), "zmk-a").unwrap();
    assert!(arrived.warning.unwrap().contains("zmk-a (AES128) is weaker than the AES256 key"));

    let (_folder, mut open) = live(StoreSide::Bureau);
    let first = bytes(PARTS[1].0);
    let second = xor(&[&first, &zmk("zmk-a")]);
    let above = KeyTerms { label: "zmk-a".into(), ..terms(KeyUsage::Zmk, KeyType::Aes128) };
    give(&mut open, above, &[&first, &second], aes_kcv_of(&zmk("zmk-a"))).unwrap();
    let weak = arrive(&open, &block, key(), aes_kcv_of(&value), "zmk-a");
    refused(weak, Exit::KeyMismatch, "a LIVE store refuses it; ask for the key under a stronger ZMK");
    let short = made('D', &zmk("zmk-a"), "K0AB00N", &value[..16]);
    let equal =
        arrive(&open, &short, terms(KeyUsage::Kek, KeyType::Aes128), aes_kcv_of(&value[..16]), "zmk-a");
    assert_eq!(equal.unwrap().warning, None);
}

#[test]
fn every_act_of_custody_is_in_the_log() {
    let (folder, mut open) = live(StoreSide::Bureau);
    let (first, second) = (bytes(PARTS[1].0), bytes(PARTS[2].0));
    let above = KeyTerms { label: "zmk-1".into(), ..terms(KeyUsage::Zmk, KeyType::Tdes2) };
    let whole = xor(&[&first, &second]);
    give(&mut open, above, &[&first, &second], kcv_of(&whole)).unwrap();
    open.begin(kmc(), kcv(SUM.1), 3).unwrap();
    let component = open.component("new", "carla", bytes(PARTS[1].0), kcv(PARTS[1].1)).unwrap();
    open.give("new", component).unwrap();
    open.drop_components("new").unwrap();
    refused(open.drop_components("new"), Exit::KeyUnknown, "no component");
    let block = made('B', &raw::odd_parity(&whole), "E5TX07S", &bytes(SUM.0));
    let arrived = arrive(&open, &block, kmc(), kcv(SUM.1), "zmk-1").unwrap();
    open.import(arrived).unwrap();
    open.destroy("new").unwrap();
    drop(open);
    let mut again = LockedStore::to_read(&folder.path().join("store")).unwrap().collect();
    for name in ["anna", "carla"] {
        again.give(name, format!("six words of {name} by dice").as_bytes()).unwrap();
    }
    let open = again.open().unwrap();
    let acts = open.keys().acts().iter();
    let acts: Vec<_> =
        acts.map(|act| (act.kind, &*act.label, act.note.split(", whole").next().unwrap())).collect();
    assert_eq!(
        acts,
        [
            (ActKind::Made, "", "2 of anna, ben, carla"),
            (ActKind::Component, "zmk-1", "component 1 of 2 by anna"),
            (ActKind::Component, "zmk-1", "component 2 of 2 by ben"),
            (ActKind::Stored, "zmk-1", ""),
            (ActKind::Component, "new", "component 1 of 3 by carla"),
            (ActKind::Dropped, "new", "1 of 3 components"),
            (ActKind::Imported, "new", "E5 X 07 S under zmk-1"),
            (ActKind::Destroyed, "new", ""),
        ]
    );
    assert_eq!(open.keys().generation(), 7, "each act is one writing");
    assert!(open.keys().acts().iter().all(|act| act.by == ["anna", "ben", "carla"]));
}

/// A ZMK is neither a master key of an issuer nor a key of a line.
#[test]
fn a_zmk_serves_key_blocks_alone() {
    let list = format!(
        "{ZMKS}{}",
        ZMKS.split("[[key]]")
            .nth(1)
            .map(|zmk| {
                let master =
                    zmk.replace("ZMK", "KML").replace("zmk-t", "kml").replace("partner = \"TESTBANK\"\n", "");
                format!("[[key]]{master}")
            })
            .unwrap()
    );
    let (_folder, path) = test_store(&list, StoreSide::Issuer);
    let mut hsm = SoftIssuer::new(KeyStore::open(&path).unwrap()).unwrap();
    let masters: Vec<_> = hsm.issuer_keys().unwrap().masters.into_iter().map(|key| key.label).collect();
    assert_eq!(masters, ["kml"]);
}

/// The whole table: which blocks become which keys on which side.
#[test]
fn a_block_of_another_usage_mode_version_or_algorithm_is_refused() {
    let table = [
        (KeyUsage::Zmk, "K0 K1", "BDN", "BDN"),
        (KeyUsage::Kek, "K0", "BDN", "BN"),
        (KeyUsage::Kmc, "E5", "XN", "XN"),
        (KeyUsage::Kml, "", "", ""),
        (KeyUsage::Kmu, "", "", ""),
        (KeyUsage::ImkAc, "E0", "", "XN"),
        (KeyUsage::ImkSmc, "E1", "", "XN"),
        (KeyUsage::ImkSmi, "E2", "", "XN"),
        (KeyUsage::Cvk, "C0", "", "CGN"),
        (KeyUsage::Pvk, "V2", "", "CGN"),
    ];
    for side in [StoreSide::Bureau, StoreSide::Issuer] {
        let (_folder, path) = test_store(ZMKS, side);
        let open = opened(&path, ["anna", "ben"]);
        let key_of = |said: &str, key: KeyTerms| {
            let block = made('B', &zmk("zmk-t"), said, &bytes(SUM.0));
            arrive(&open, &block, key, kcv(SUM.1), "zmk-t").is_ok()
        };
        for (usage, codes, bureau, issuer) in table {
            let modes = if side == StoreSide::Bureau { bureau } else { issuer };
            let key = || terms(usage, KeyType::Tdes2);
            for code in ["K0", "K1", "E0", "E1", "E2", "E3", "E4", "E5", "C0", "V2", "V1", "P0", "D0", "M3"] {
                for mode in "BCDEGNSTVXY".chars() {
                    let lawful = codes.contains(code) && modes.contains(mode);
                    assert_eq!(
                        key_of(&format!("{code}T{mode}00N"), key()),
                        lawful,
                        "{side} {usage} {code} {mode}"
                    );
                }
            }
            let Some(code) = codes.get(..2).filter(|_| !modes.is_empty()) else { continue };
            for (version, lawful) in
                [("00", true), ("07", true), ("08", false), ("70", false), ("c7", false), ("A7", false)]
            {
                assert_eq!(key_of(&format!("{code}TN{version}E"), key()), lawful, "{usage} {version}");
            }
            let aes = made('D', &zmk("zmk-a"), &format!("{code}AN00N"), &bytes(SUM.0));
            let check = aes_kcv_of(&bytes(SUM.0));
            refused(arrive(&open, &aes, key(), check, "zmk-a"), Exit::KeyMismatch, "the command says TDES2");
            let wanted = arrive(&open, &aes, terms(usage, KeyType::Aes128), check, "zmk-a").is_ok();
            let tdes_only = matches!(usage, KeyUsage::Cvk | KeyUsage::Pvk | KeyUsage::Kmc);
            assert_eq!(wanted, !tdes_only, "{usage}: no channel derives from an AES KMC yet");
        }
    }
}

//! Keys whose values lie in a token: in a key list, and in the file of a store.

use super::*;
use crate::hsm::HsmError;

/// A KEK and a KMC in a token, to be changed.
fn in_token() -> String {
    GOOD.replace("value = \"00112233445566778899AABBCCDDEEFF\"", "token = \"object 1\"\nkcv = \"0A1B2C\"")
        .replace("value = \"404142434445464748494A4B4C4D4E4F\"", "token = \"object 2\"")
}

fn refusal(list: &str, side: StoreSide) -> Failure {
    create(list, side).err().unwrap_or_else(|| panic!("accepted: {list}"))
}

#[test]
fn a_key_in_a_token_has_its_terms_and_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(KeyStore::create_test(&in_token(), &path, StoreSide::Bureau).unwrap());
    let store = KeyStore::open(&path).unwrap();
    let (kek, rules) = store.kek(KekId([0x47, 0x61, 0x73, 0x99, 1])).unwrap();
    assert_eq!((kek.token_object(), kek.origin()), (Some("object 1"), KeyOrigin::Token));
    assert_eq!((kek.kcv().to_string(), kek.kcvs().len()), ("0A1B2C".into(), 1));
    assert_eq!(rules.allow, [KmcRef::parse("FFFFFF476173:1").unwrap()]);
    assert_eq!(kek.key().err(), Some(HsmError::KeyInToken("kek-1".into())));
    let named: Vec<_> = store.token_keys().map(|key| (key.object, key.is_kmc)).collect();
    assert_eq!(named, [("object 1".into(), false), ("object 2".into(), true)]);
}

#[test]
fn every_rule_of_a_key_in_a_token() {
    let list = in_token();
    for (from, to, why) in [
        ("kcv = \"0A1B2C\"", "", "a key in a token needs kcv"),
        ("token = \"object 1\"", "", "either value or token"),
        (
            "token = \"object 1\"",
            "token = \"object 1\"\nvalue = \"00112233445566778899AABBCCDDEEFF\"",
            "either value or token",
        ),
        ("token = \"object 1\"", "token = \"\"", "label of an object"),
        ("token = \"object 1\"", "token = \"object 2\"", "is this object of the token already"),
        ("allow = [\"FFFFFF476173:1\"]", "", "lists in allow"),
    ] {
        let failure = refusal(&list.replacen(from, to, 1), StoreSide::Bureau);
        assert!(failure.message.contains(why), "{why}: {failure}");
    }
    let failure = refusal(&list, StoreSide::Issuer);
    assert!(failure.message.contains("of a bureau's store"), "{failure}");
    let zmk = "[[key]]\nlabel = \"zmk\"\nusage = \"ZMK\"\ntype = \"AES128\"\nid = \"476173FF\"\nversion = 1\npartner = \"TESTBANK\"\n\
               token = \"zmk\"\nkcv = \"000001\"\n";
    let failure = refusal(&format!("{list}\n{zmk}"), StoreSide::Bureau);
    assert!(failure.message.contains("only a KMC or KEK"), "{failure}");
}

/// Its value cannot be compared, so its check value is.
#[test]
fn two_keks_with_one_check_value_are_refused_wherever_they_lie() {
    let [head, kek, kmc] = GOOD.split("[[key]]").collect::<Vec<_>>().try_into().unwrap();
    let kcv = create(GOOD, StoreSide::Bureau).unwrap().entries()[0].kcv();
    let second = kek
        .replace("kek-1", "kek-2")
        .replace("version = 1", "version = 2")
        .replace("value = \"00112233445566778899AABBCCDDEEFF\"", &format!("token = \"o\"\nkcv = \"{kcv}\""));
    for list in [[head, kek, kmc, &second], [head, &second, kmc, kek]] {
        let failure = refusal(&list.join("[[key]]"), StoreSide::Bureau);
        assert!(failure.message.contains("the same"), "{failure}");
    }
}

#[test]
fn a_destroyed_key_of_a_token_does_not_come_back() {
    let keeps = BUREAU;
    let mut body = StoreBody::draw().unwrap();
    list::read(&in_token(), 1, StoreSide::Bureau, &mut body).unwrap();
    let terms = body.entries[1].terms().clone();
    let kcv = body.entries[1].kcv();
    change::destroy(&mut body, "kmc-1", 2).unwrap();
    let written = body.write().unwrap();
    let again = StoreBody::read(&written, keeps).unwrap();
    assert_eq!((again.entries.len(), again.gone.len()), (1, 1));
    let other = KeyTerms { label: "other".into(), version: 9, ..terms };
    let refused = rules::admit_in_token(other, "object 3".into(), kcv, keeps, &again);
    assert!(refused.err().unwrap().message.contains("was destroyed"));
}

//! Keys of which components are missing, as a body holds them; the body of another program.

use super::*;

fn body_of(bytes: &[u8]) -> Result<StoreBody, String> {
    StoreBody::read(bytes, BUREAU).map_err(|fault| fault.to_string())
}

#[test]
fn a_body_with_components_made_by_another_program_is_read() {
    let bytes = vector(["pending", "body"]);
    let body = body_of(&bytes).unwrap();
    let [kmc, kek] = &body.pending[..] else { panic!() };
    assert_eq!((kmc.terms().label.as_str(), kmc.wanted(), kmc.next()), ("kmc-2", 3, 3));
    assert_eq!(kmc.given_by().collect::<Vec<_>>(), ["anna", "ben"]);
    assert_eq!(kmc.stated(), (Some(crate::crypto::KcvMethod::Des), crate::ids::Kcv([0xB8, 0x2E, 0xC5])));
    assert_eq!((kek.terms().partner.as_str(), kek.terms().allow.len(), kek.next()), ("TESTBANK", 1, 2));
    assert_eq!(kek.stated().0, None, "the method of an AES key's KCV is known with the key");
    assert_eq!(**body.write().unwrap(), *bytes, "written as it was read");
}

/// A body that this program would not write is refused.
#[test]
fn components_that_cannot_be_are_refused() {
    let good = vector(["pending", "body"]);
    let place = |text: &[u8]| good.windows(text.len()).position(|bytes| bytes == text).unwrap();
    // Behind the label of the first one: usage, type, id, version, no partner, level, no KMC, method, KCV; then the counts.
    let (anna, ben) = (place(b"anna"), place(b"\x03ben\x10"));
    let (wanted, count) = (anna - 3, anna - 2);
    assert_eq!((good[wanted], good[count], good[anna - 1]), (3, 2, 4));
    for (what, at, byte) in [
        ("a key of one component", wanted, 1),
        ("a key of four", wanted, 4),
        ("all are there", wanted, 2),
        ("a name that is none", anna, b'A'),
        ("a name that is none", ben + 1, b'1'),
        ("a value of 15 bytes", ben + 4, 15),
        ("a label twice", place(b"kmc-2") + 4, b'1'),
        ("an identifier twice", place(b"kmc-2") + 5 + 2 + 7, 1),
    ] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(body_of(&bad).is_err(), "{what}");
    }
    let mut twice = good.clone();
    twice.splice(ben..ben + 4, *b"\x04anna");
    assert!(body_of(&twice).err().unwrap().contains("was changed after"));
}

/// A key is kept with its first component, not before.
#[test]
fn a_key_without_a_component_is_not_written() {
    let mut body = body_of(&vector(["test", "body"])).unwrap();
    let before = body.write().unwrap();
    let terms = KeyTerms { label: "kmc-2".into(), version: 2, ..body.entries[0].terms.clone() };
    body.pending.push(PendingKey::new(terms, crate::ids::Kcv([0; 3]), 2).unwrap());
    assert_eq!(*body.write().unwrap(), *before);
}

proptest::proptest! {
    /// Every changed body is read or refused, and none makes the program panic.
    #[test]
    fn a_body_with_wild_components_does_not_panic(
        at in 0..700_usize,
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..6),
    ) {
        let mut body = vector(["pending", "body"]);
        let from = at.min(body.len() - 1);
        let to = (from + bytes.len()).min(body.len());
        body.splice(from..to, bytes);
        let _ = StoreBody::read(&body, BUREAU);
    }
}

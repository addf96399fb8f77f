//! Tests of the template language, with `iso7816-tlv` as the oracle of its BER coding.

use std::collections::BTreeMap;

use iso7816_tlv::ber::Tlv;
use proptest::prelude::*;

use super::*;

impl FieldValues for BTreeMap<CardField, Vec<u8>> {
    fn value(&self, field: CardField) -> Option<FieldValue<'_>> {
        self.get(&field).map(|bytes| FieldValue::Bytes(bytes))
    }
}

fn render(template: &str, values: &[(CardField, &[u8])]) -> String {
    let values: BTreeMap<CardField, Vec<u8>> = values.iter().map(|(f, v)| (*f, v.to_vec())).collect();
    let rendered = DataTemplate::parse(template, &[]).unwrap().render_known(&values);
    hex::encode_upper(rendered.map_err(|f| format!("{f:?}")).unwrap().as_slice())
}

#[test]
fn directory_record_of_a_real_pse() {
    // Data of record 1 of a PSE as it was sent to a real card (trace of CScript).
    assert_eq!(
        render("70{61{4F{A0000000041010} 50{'Mastercard'} 87{01}}}", &[]),
        "701A61184F07A0000000041010500A4D617374657263617264870101"
    );
    assert_eq!(render("A5{88{01} 5F2D{'en'} 9F11{01}}", &[]), "A50C8801015F2D02656E9F110101");
    assert_eq!(
        render("A5{BF0C{61{4F{A0000000041010} 50{'Mastercard'} 87{01}}}}", &[]),
        "A51DBF0C1A61184F07A0000000041010500A4D617374657263617264870101"
    );
}

#[test]
fn fields_and_bytes_are_joined() {
    let name: &[u8] = b"TEST/CARD";
    assert_eq!(render(" 01 02{name}\n0304 name ", &[(CardField::Name, name)]), {
        let name = hex::encode_upper(name);
        format!("010209{name}0304{name}")
    });
    assert_eq!(render("", &[]), "");
    assert_eq!(render("5F30{}", &[]), "5F3000");
}

#[test]
fn a_missing_value_names_its_field() {
    let none = BTreeMap::new();
    assert_eq!(
        DataTemplate::parse("70{5F20{name}}", &[]).unwrap().render_known(&none).err().unwrap(),
        CardField::Name
    );
}

#[test]
fn wrong_templates() {
    for (template, at, what) in [
        ("70{5F20{nome}}", 9, "no computed field"),
        ("70{57{00}", 1, "without its }"),
        ("57{00}}", 7, "without its {"),
        ("123", 1, "odd number"),
        ("70{01}", 1, "only TLVs"),
        ("70{name}", 1, "only TLVs"),
        ("57{5A{00}}", 1, "no TLVs"),
        ("5F{00}", 1, "not one BER tag"),
        ("5F2081{00}", 1, "not one BER tag"),
        ("9F8000{00}", 1, "not one BER tag"),
        ("9F808001{00}", 1, "not one BER tag"),
        ("5A57{00}", 1, "not one BER tag"),
        ("00{00}", 1, "not one BER tag"),
        ("FF{}", 1, "not one BER tag"),
        ("{00}", 1, "neither"),
        ("57 {00}", 4, "neither"),
        ("5a", 1, "odd number"),
        ("ab", 1, "no computed field"),
        ("'text", 1, "closing '"),
        ("'täxt'", 1, "printable ASCII"),
        ("Name", 1, "neither"),
        ("é", 1, "neither"),
    ] {
        let error =
            DataTemplate::parse(template, &[]).err().unwrap_or_else(|| panic!("{template} was accepted"));
        assert!(error.what.contains(what) && error.at == at, "{template}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| format!("{}{}", "70{".repeat(n), "}".repeat(n));
    assert!(DataTemplate::parse(&deep(MAX_DEPTH), &[]).is_ok());
    assert!(DataTemplate::parse(&deep(MAX_DEPTH + 1), &[]).is_err());
    assert!(DataTemplate::parse(&deep(100_000), &[]).is_err());
}

#[test]
fn questions_that_the_profile_asks() {
    let record = DataTemplate::parse("70{57{track2_chip} 5F20{name}}", &[]).unwrap();
    assert_eq!(record.fields(), [CardField::Track2Chip, CardField::Name]);
    assert!(record.is_one(&[0x70]) && !record.is_one(&[0xA5]));
    assert!(!DataTemplate::parse("70{} 70{}", &[]).unwrap().is_one(&[0x70]));
    assert!(DataTemplate::parse("pin_block", &[]).unwrap().is_field(CardField::PinBlock));
    assert!(!DataTemplate::parse("pin_block 00", &[]).unwrap().is_field(CardField::PinBlock));
}

/// `iso7816-tlv` reads our bytes. It counts the length bytes of 127 wrong, so minimal lengths are checked here.
#[test]
fn lengths_at_the_boundaries() {
    for length in [0usize, 1, 126, 127, 128, 255, 256, 65_535] {
        let value = vec![0x5A; length];
        let bytes = hex::decode(render("9F1F{name}", &[(CardField::Name, &value)])).unwrap();
        let (tlv, rest) = Tlv::parse(&bytes);
        assert!(rest.is_empty());
        match tlv.unwrap().value() {
            iso7816_tlv::ber::Value::Primitive(read) => assert_eq!(*read, value),
            iso7816_tlv::ber::Value::Constructed(_) => panic!("constructed"),
        }
        let header = bytes.len() - length - 2;
        let minimal = match length {
            0..=127 => 1,
            128..=255 => 2,
            _ => 3,
        };
        assert_eq!(header, minimal, "length {length}");
    }
}

proptest! {
    #[test]
    fn any_text_parses_or_fails_without_a_panic(text in "[0-9A-Fa-z{}' _é]{0,40}") {
        let _ = DataTemplate::parse(&text, &[]);
    }

    #[test]
    fn nested_values_read_back(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = hex::decode(render("70{9F1F{name} 5A{01}}", &[(CardField::Name, &value)])).unwrap();
        let (outer, rest) = Tlv::parse(&bytes);
        prop_assert!(rest.is_empty());
        let outer = outer.unwrap();
        let inner = outer.find(&iso7816_tlv::ber::Tag::try_from(0x9F1Fu16).unwrap()).unwrap().value();
        match inner {
            iso7816_tlv::ber::Value::Primitive(read) => prop_assert_eq!(read, &value),
            iso7816_tlv::ber::Value::Constructed(_) => prop_assert!(false),
        }
    }
}

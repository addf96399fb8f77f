//! Sources in every encoding, delimiter and kind, products with columns of their own, and texts for each medium.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::*;
use crate::ids::KekId;
use crate::prep::allow::{Allowance, Allowances, AllowedKind};
use crate::prep::plan::PrepPlan;
use crate::prep::testing;
use crate::prep::today::year_month;
use crate::profile::ProductProfile;

/// A card without account number, and with a text of every reach.
const PREP: &str = r#"
[prep.fields.shelf]
form = "digits"
max = 4
[prep.fields.motto]
form = "text"
max = 10
[[prep.emboss]]
font = 1
x = 307
y = 328
text = "name_printed"
[[prep.emboss]]
font = 1
x = 307
y = 480
text = "line2"
[prep.graphics]
template = "t"
text = { a = "motto", b = "shelf" }
"#;

const HEADER: &str = "card_ref;name_printed;line2;shelf;motto";

/// The schema of a product with this preparation.
fn schema(prep: &str) -> InputSchema {
    let text = format!("name = \"p\"\ndescription = \"test\"\nmin_suite = \"tdes\"\n[prep]\n{prep}");
    let product = ProductProfile::from_toml(&text, "test").unwrap();
    PrepPlan::load(&product).map_err(|f| f.message).unwrap().input
}

/// The schema with these tables before the others.
fn schema_with(head: &str) -> InputSchema {
    schema(&format!("{head}{PREP}"))
}

/// Cards or faults of a source, as the terminal shows them.
fn read(source: &[u8], schema: &InputSchema) -> (Vec<Cardholder>, Vec<String>) {
    let (mut cards, mut faults) = (Vec::new(), Vec::new());
    match CardholderReader::new(source, schema) {
        Err(header) => faults.extend(header.faults),
        Ok(reader) => reader.for_each(|card| match card {
            Ok(card) => cards.push(card),
            Err(line) => faults.extend(line.faults),
        }),
    }
    (cards, faults.iter().map(ToString::to_string).collect())
}

fn faults(source: &[u8], schema: &InputSchema) -> Vec<String> {
    read(source, schema).1
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

#[test]
fn the_same_cards_in_every_encoding() {
    let text = format!("{HEADER}\r\nC1;José Müller;\"A;B\";12;é\r\n\r\nC2;\u{E5}se;;;x\r\n");
    let marked = format!("\u{FEFF}{text}");
    for (encoding, source) in [
        ("", text.clone().into_bytes()),
        ("", marked.clone().into_bytes()),
        ("", utf16(&marked, u16::to_le_bytes)),
        ("", utf16(&marked, u16::to_be_bytes)),
        ("utf-8", marked.clone().into_bytes()),
        ("utf-16", utf16(&marked, u16::to_le_bytes)),
        ("utf-16", utf16(&marked, u16::to_be_bytes)),
        ("utf-16le", utf16(&text, u16::to_le_bytes)),
        ("utf-16le", utf16(&marked, u16::to_le_bytes)),
        ("utf-16be", utf16(&text, u16::to_be_bytes)),
        ("iso-8859-1", latin1(&text)),
    ] {
        let declared =
            if encoding.is_empty() { String::new() } else { format!("encoding = \"{encoding}\"\n") };
        let schema = schema_with(&format!("[prep.input]\ndelimiter = \";\"\n{declared}"));
        let (cards, faults) = read(&source, &schema);
        assert_eq!((cards.len(), faults), (2, Vec::new()), "{encoding}");
        assert_eq!(cards[0].get(Column::NamePrinted), Some("José Müller"), "{encoding}");
        assert_eq!(cards[0].get(Column::Line2), Some("A;B"));
        assert_eq!((cards[1].place.line, cards[1].get(Column::NamePrinted)), (4, Some("åse")));
    }
}

/// Every byte of UTF-8 but 80 to 9F is a character of ISO 8859-1 too, so the cards would bear two letters in place of one.
#[test]
fn utf_8_is_not_taken_for_iso_8859_1() {
    let schema = schema_with("[prep.input]\ndelimiter = \";\"\nencoding = \"iso-8859-1\"\n");
    let text = |name: &str, motto: &str| format!("{HEADER}\nC1;A;;1;B\nC2;{name};;12;{motto}\nC3;A;;;C\n");
    let wrong = "is UTF-8 and not ISO 8859-1: set encoding in [prep.input] of the product";
    for (name, motto, column) in [
        ("José Müller", "x", "name_printed"),
        ("A", "\u{E9}", "motto"),
        ("A", "abc \u{F1} \u{FF}", "motto"),
        // The first of two.
        ("\u{E9}", "\u{E9}", "name_printed"),
    ] {
        let source = text(name, motto);
        assert_eq!(faults(source.as_bytes(), &schema), [format!("input: line 3, column {column}: {wrong}")]);
        let (cards, faults) = read(&latin1(&source), &schema);
        assert_eq!((cards.len(), faults), (3, Vec::new()), "{name} {motto}");
        assert_eq!(cards[1].get(Column::NamePrinted), Some(name));
    }
    // None of these is UTF-8: a continuation byte alone, a lead byte alone, two lead bytes, and a lead byte after a
    // whole letter.
    for name in ["A\u{A9}", "\u{C3}A", "\u{E9}\u{E9}", "\u{C3}\u{A9}\u{E9}"] {
        assert_eq!(read(&latin1(&text(name, "x")), &schema).0.len(), 3, "{name}");
    }
    let ascii = text("A", "x");
    assert_eq!(read(ascii.as_bytes(), &schema).0.len(), 3);
    // Half of such a letter is a control of ISO 8859-1, which is no text at all.
    let shown = faults(text("\u{C5}", "x").as_bytes(), &schema);
    assert_eq!(shown, ["input: line 3, column name_printed: is not ISO 8859-1"]);
}

#[test]
fn delimiters() {
    for (delimiter, written) in [(';', ";"), ('|', "|"), ('\t', "\\t"), (',', ",")] {
        let schema = schema_with(&format!("[prep.input]\ndelimiter = \"{written}\"\n"));
        let text = format!("{HEADER}\nC1;A;;77;\n").replace(';', &delimiter.to_string());
        assert_eq!(read(text.as_bytes(), &schema).0.len(), 1, "{delimiter}");
    }
    for wrong in ["\\\"", "a", "1", " ", "\\n", "ä", "-"] {
        let text = format!(
            "name = \"p\"\ndescription = \"test\"\nmin_suite = \"tdes\"\n[prep.input]\ndelimiter = \"{wrong}\"\n"
        );
        let product = ProductProfile::from_toml(&text, "test").unwrap();
        let failure = PrepPlan::load(&product).err().unwrap();
        assert!(
            failure.message.contains("input: delimiter is one character"),
            "{wrong}: {}",
            failure.message
        );
    }
}

/// What is no text in its encoding is a fault of its line and column, and the lines behind it stay true.
#[test]
fn bytes_that_are_no_text() {
    let text = format!("{HEADER}\nC1;A;;;\nC2;#;;;\nC3;A;;x;\nC4;A;;;#\n");
    let wrong = "input: line 4, column shelf: is not 1 to 4 digits".to_owned();
    let expected = |name: &str| {
        vec![
            format!("input: line 3, column name_printed: is not {name}"),
            wrong.clone(),
            format!("input: line 5, column motto: is not {name}"),
        ]
    };
    let replaced = |bytes: Vec<u8>, from: &[u8], to: &[u8]| {
        let (mut out, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(to);
            rest = &rest[at + from.len()..];
        }
        out.extend_from_slice(rest);
        out
    };
    let with = |encoding: &str| {
        schema_with(&format!("[prep.input]\ndelimiter = \";\"\nencoding = \"{encoding}\"\n"))
    };
    for control in [0x80, 0x9F] {
        let source = replaced(text.clone().into_bytes(), b"#", &[control]);
        assert_eq!(faults(&source, &with("iso-8859-1")), expected("ISO 8859-1"));
        assert_eq!(faults(&source, &with("utf-8")), expected("UTF-8"));
    }
    // Half of a surrogate pair.
    let source = replaced(utf16(&text, u16::to_le_bytes), b"#\0", &[0x00, 0xD8]);
    assert_eq!(faults(&source, &with("utf-16le")), expected("UTF-16"));
    // A file of one byte too few, and one without the mark that says the order.
    let mut odd = utf16(&text.replace('#', "A"), u16::to_be_bytes);
    odd.pop();
    assert_eq!(faults(&odd, &with("utf-16be")).len(), 2);
    let unmarked = utf16(&text, u16::to_le_bytes);
    let shown = faults(&unmarked, &with("utf-16"));
    assert_eq!(shown, ["input: line 1: is not UTF-16 with a byte order mark"]);
}

/// Only the long form begins with the issuer identifier; no allowance takes another.
#[test]
fn a_long_purse_identifier_is_the_issuers() {
    let schema = testing::schema();
    let allowed = Allowances(vec!["foreign-iin:a merger".parse::<Allowance>().unwrap()]);
    let read = |purse: &str, kek: &str| -> Vec<String> {
        let text = format!(
            "card_ref,pan,name,expiry,effective,service_code,purse_id\n\
             C1,4761739001010119,A/B,2912,2001,201,{purse}\n"
        );
        let reader = CardholderReader::new(text.as_bytes(), &schema).unwrap();
        let reader = reader.under(KekId::from_hex(kek).unwrap()).allowing(&allowed);
        let faults = reader.filter_map(Result::err).flat_map(|line| line.faults);
        faults.map(|fault| fault.to_string()).collect()
    };
    let (six, eight) = ("476173FF01", "4761739001");
    let of = |begin: &str, length: usize| format!("{begin:0<length$}");
    for (begin, kek) in [("476173", six), ("47617390", six), ("47617390", eight)] {
        assert!(read(&of(begin, 16), kek).is_empty(), "{begin} {kek}");
    }
    for begin in ["476174", "47617", "0476173", ""] {
        let shown = read(&of(begin, 16), six);
        let what = "has 16 digits and does not begin with the issuer identifier of the KEK";
        assert_eq!(shown, [format!("input: line 2, column purse_id: {what}")], "{begin}");
        assert!(read(&of(begin, 10), six).is_empty(), "{begin}");
    }
    assert_eq!(read(&of("47617391", 16), eight).len(), 1);
    // A value of another length has the fault of its column alone.
    let shown = read(&of("476174", 15), six);
    assert_eq!(shown, ["input: line 2, column purse_id: is not 10 or 16 digits"]);
}

#[test]
fn a_quotation_mark_that_is_never_closed_costs_a_mebibyte() {
    let schema = schema_with("[prep.input]\ndelimiter = \";\"\n");
    let mut text = format!("{HEADER}\nC1;\"A;;;\n");
    (2..200_000).for_each(|n| writeln!(text, "C{n};A;;;").unwrap());
    let shown = faults(text.as_bytes(), &schema);
    assert_eq!(shown.len(), 1);
    assert!(shown[0].starts_with("input: line 2: is longer than 1 MiB"), "{}", shown[0]);
    // A file of many times that size with short rows is read.
    assert!(faults(text.replace('"', "").as_bytes(), &schema).is_empty());
}

fn jsonl() -> InputSchema {
    schema_with("[prep.input]\nformat = \"jsonl\"\n")
}

#[test]
fn json_lines() {
    let text = "{\"card_ref\": \"C1\", \"name_printed\": \"Jos\\u00e9 \\\"J\\\"\", \"shelf\": 12, \"line2\": \"\"}\r\n\
                \n{\"shelf\":\"0012\",\"card_ref\":7,\"name_printed\":\"é\"}";
    let (cards, faults) = read(text.as_bytes(), &jsonl());
    assert!(faults.is_empty(), "{faults:?}");
    let get = |place: usize, column| cards[place].get(column);
    assert_eq!(get(0, Column::NamePrinted), Some("José \"J\""));
    assert_eq!((get(0, Column::Line2), cards[1].place.line, cards[1].card_ref.as_str()), (None, 3, "7"));
    let own = jsonl().by_name("shelf").unwrap();
    assert_eq!((get(0, own), get(1, own)), (Some("12"), Some("0012")));
    let marked = utf16(&format!("\u{FEFF}{text}"), u16::to_be_bytes);
    assert_eq!(read(&marked, &jsonl()).0.len(), 2);
}

#[test]
fn json_lines_that_are_none() {
    let row = |entry: &str| format!("{{\"card_ref\":\"C9\",\"name_printed\":\"A\",{entry}}}");
    for (line, what) in [
        (row("\"shelf\":1.5"), "line 2, column shelf: is a number with a fraction"),
        (row("\"shelf\":1e2"), "line 2, column shelf: is a number with a fraction"),
        (row(&format!("\"shelf\":{}", "9".repeat(23))), "line 2, column shelf: is a number with a fraction"),
        (row("\"shelf\":-1"), "line 2, column shelf: is not 1 to 4 digits"),
        (row("\"shelf\":null"), "line 2, column shelf: is null"),
        (row("\"shelf\":true"), "line 2, column shelf: is true or false"),
        (row("\"shelf\":[\"secret\"]"), "line 2, column shelf: is a list"),
        (row("\"shelf\":{\"a\":\"secret\"}"), "line 2, column shelf: is an object"),
        (row("\"shelf\":1,\"shelf\":2"), "line 2: column `shelf` stands twice"),
        (row("\"secret\":1"), "line 2: column 3 `secret` has an unknown name; known are card_ref, "),
        (row("\"a secret\":1"), "line 2: column 3 has an unknown name"),
        ("{\"name_printed\":\"A\"}".into(), "line 2, column card_ref: is empty"),
        ("{\"card_ref\":\"C9\"}".into(), "line 2, column name_printed: is empty, and so is name"),
        ("[\"secret\"]".into(), "line 2: is no JSON object; the fault is at byte "),
        ("\"secret\"".into(), "line 2: is no JSON object"),
        (row("\"shelf\":\"secret"), "line 2: is no JSON object"),
        (row("\"shelf\":01"), "line 2: is no JSON object"),
        (format!("{}x", row("\"shelf\":1")), "line 2: is no JSON object"),
        ("[".repeat(100_000), "line 2: is no JSON object"),
    ] {
        let text = format!(
            "{{\"card_ref\":\"C1\",\"name_printed\":\"A\"}}\n{line}\n{{\"card_ref\":\"C3\",\"name_printed\":\"A\"}}"
        );
        let (cards, shown) = read(text.as_bytes(), &jsonl());
        assert_eq!((cards.len(), shown.len()), (2, 1), "{shown:?}");
        assert!(shown[0].starts_with(&format!("input: {what}")), "{what}: {}", shown[0]);
        assert!(!shown[0].contains("secret") || what.contains("`secret`"), "{}", shown[0]);
    }
    assert_eq!(faults(b"\n\n", &jsonl()), ["input: line 1: there is no card"]);
    let long = format!("{{\"card_ref\":\"{}", "x".repeat(3 << 20));
    assert!(faults(long.as_bytes(), &jsonl())[0].contains("longer than 1 MiB"));
    assert_eq!(faults(b"{\"card_ref\":\"\xFF\"}", &jsonl()), ["input: line 1: is not UTF-8"]);
}

#[test]
fn a_file_that_ends_with_jsonl_is_json_lines() {
    let format = SourceFormat::default();
    for (path, kind) in [
        ("a.jsonl", SourceKind::Jsonl),
        ("a.JSONL", SourceKind::Jsonl),
        ("a.csv", SourceKind::Csv),
        ("jsonl", SourceKind::Csv),
    ] {
        assert_eq!(format.of_file(std::path::Path::new(path)).kind, kind, "{path}");
    }
}

#[test]
fn columns_by_the_products_own_names() {
    let head =
        "[prep.columns]\ncard_ref = \"CustomerNo\"\nshelf = \"Regal Nr.\"\n[prep.input]\ndelimiter = \";\"\n";
    let schema = schema_with(head);
    let text = "CustomerNo;name_printed;Regal Nr.\nC1;A;12\nC2;A;x\n";
    let (cards, shown) = read(text.as_bytes(), &schema);
    assert_eq!(cards[0].card_ref.as_str(), "C1");
    assert_eq!(shown, ["input: line 3, column Regal Nr.: is not 1 to 4 digits"]);
    let shown = faults(b"card_ref;name_printed\nC1;A\n", &schema);
    assert!(
        shown[0].contains("column 1 `card_ref` has an unknown name; known are CustomerNo, "),
        "{shown:?}"
    );
    assert_eq!(shown[1], "input: line 1: column `CustomerNo` is missing");
}

#[test]
fn tables_that_contradict_each_other() {
    let refused = |prep: &str| {
        let text = format!("name = \"p\"\ndescription = \"test\"\nmin_suite = \"tdes\"\n[prep]\n{prep}");
        let product = ProductProfile::from_toml(&text, "test").unwrap();
        PrepPlan::load(&product).err().map(|f| f.message).unwrap_or_default()
    };
    for (prep, what) in [
        ("[prep.columns]\ncolour = \"Farbe\"\n", "columns: no column \"colour\"; there are card_ref, "),
        ("[prep.columns]\npan = \"name\"\n", "columns: pan = \"name\""),
        ("[prep.columns]\npan = \"a\"\npsn = \"a\"\n", "columns: "),
        ("[prep.columns]\npan = \"\"\n", "columns: pan = \"\""),
        ("required = [\"colour\"]\n", "required: no column \"colour\""),
        ("[prep.fields.pan]\nform = \"text\"\nmax = 3\n", "fields.pan: there is a field or column"),
        ("[prep.fields.photo]\nform = \"text\"\nmax = 3\n", "fields.photo: there is a field or column"),
        ("[prep.fields.a]\nform = \"text\"\nmax = 0\n", "fields.a: max is 1 to 250"),
        ("[prep.fields.a]\nform = \"date\"\nmax = 3\n", "fields.a.form"),
        ("[prep.fields.a]\nform = \"text\"\n", "max"),
        ("[prep.fields.a]\nform = \"digits\"\nmax = 3\ndefault = \"x\"\n", "a = \"x\" is not 1 to 3 digits"),
        ("[prep.counter]\ncolumn = \"name\"\n", "counter: column is purse_id or an own field"),
        ("[prep.counter]\ncolumn = \"purse_id\"\nprefix = \"4761731234\"\n", "counter: prefix is digits"),
        ("[prep.counter]\ncolumn = \"purse_id\"\nprefix = \"A\"\n", "counter: prefix is digits"),
        ("[prep.input]\nformat = \"xml\"\n", "format"),
        ("[prep.input]\nencoding = \"ebcdic\"\n", "encoding"),
        ("[prep.input]\nformat = \"jsonl\"\ndelimiter = \";\"\n", "delimiter belongs to format csv"),
    ] {
        let message = refused(prep);
        assert!(message.contains(what), "{prep}: {message}");
    }
}

/// Nothing is required that the product does not use; what it uses on every card, and what it says, is.
#[test]
fn what_a_card_must_have_follows_from_the_product() {
    let missing = |prep: &str| schema(prep).missing(&[]).join(" ");
    assert_eq!(missing(""), "card_ref");
    assert_eq!(missing("required = [\"stock\"]\n"), "card_ref stock");
    assert_eq!(missing(PREP), "card_ref name_printed");
    assert_eq!(missing("[prep.stripe]\ntrack2 = \"';' pan_digits '?'\"\n"), "card_ref pan");
    assert_eq!(missing("[prep.stripe]\ntrack1 = \"track1\"\n"), "card_ref pan name expiry service_code");
    let own = "[prep.fields.a]\nform = \"text\"\nmax = 3\nrequired = true\n";
    assert_eq!(missing(own), "card_ref a");
    assert_eq!(missing(&format!("{own}default = \"x\"\n")), "card_ref");
    let shipped = ProductProfile::load("multiapp").unwrap();
    let schema = PrepPlan::load(&shipped).map_err(|f| f.message).unwrap().input;
    assert_eq!(schema.missing(&[]), ["card_ref", "pan", "name", "expiry", "effective", "service_code"]);
}

/// A card without account number, name, expiry.
#[test]
fn a_gift_card() {
    let schema = schema("[prep.graphics]\ntemplate = \"t\"\ntext = { a = \"'GIFT'\" }\n");
    let (cards, shown) = read(b"card_ref\nG1\nG2\nG1\n", &schema);
    assert_eq!(
        (cards.len(), shown),
        (2, vec!["input: line 4, column card_ref: stands in an earlier line too".into()])
    );
}

#[test]
fn each_text_holds_what_its_narrowest_medium_takes() {
    let row =
        |name: &str, line2: &str, motto: &str| format!("{HEADER}\nC1;{name};{line2};;{motto}\n").into_bytes();
    let delimiter = "[prep.input]\ndelimiter = \";\"\n";
    let plain = schema_with(delimiter);
    let spelled = schema_with(&format!("transliterate = true\n{delimiter}"));
    // The motto is graphics alone.
    assert!(faults(&row("José", "Søn", "Ω→Ж"), &plain).is_empty());
    let shown = faults(&row("Dvořák", "A<B", ""), &plain);
    assert_eq!(shown.len(), 2);
    assert!(
        shown[0].starts_with("input: line 2, column name_printed: holds a character that a line on plastic"),
        "{shown:?}"
    );
    assert!(!shown.iter().any(|fault| fault.contains("Dvo")));
    assert!(faults(&row("Dvořák", "", ""), &spelled).is_empty());
    assert_eq!(faults(&row("A", "A<B", ""), &spelled).len(), 1);
    for hidden in ["A\u{202E}B", "A\u{200B}", "A\u{7}", "\u{FFFD}"] {
        assert_eq!(faults(&row("A", "", hidden), &plain).len(), 1, "{hidden:?}");
    }
}

/// The track's name is spelled, and the printed one is as it was written, if nobody wrote another.
#[test]
fn a_name_for_the_track_and_one_for_print() {
    let track = "[prep.stripe]\ntrack1 = \"'%B' pan_digits '^' name '^' 30 '?'\"\n";
    let print = "[prep.graphics]\ntemplate = \"t\"\ntext = { a = \"name_printed\" }\n";
    let schema = schema(&format!("transliterate = true\n{track}{print}"));
    let pan = "4761739001010119";
    let first = |row: &str| {
        let text = format!("card_ref,pan,name,name_printed\nC1,{pan},{row}\n");
        let (mut cards, faults) = read(text.as_bytes(), &schema);
        assert!(faults.is_empty(), "{faults:?}");
        let card = cards.remove(0);
        [Column::Name, Column::NamePrinted].map(|column| card.get(column).unwrap().to_owned())
    };
    assert_eq!(first("Müller/Jürgen,"), ["MUELLER/JUERGEN", "Jürgen Müller"]);
    assert_eq!(first("Müller/Jürgen.Dr,"), ["MUELLER/JUERGEN.DR", "Dr Jürgen Müller"]);
    assert_eq!(first("MULLER/J,Jürgen M."), ["MULLER/J", "Jürgen M."]);
    // Spelled it is longer than the 26 characters of ISO/IEC 7813.
    let long = format!("card_ref,pan,name\nC1,{pan},{}/A\n", "ä".repeat(13));
    assert_eq!(faults(long.as_bytes(), &schema), ["input: line 2, column name: is not 2 to 26 characters"]);
}

#[test]
fn expired_cards_and_foreign_numbers_need_a_reason() {
    let schema = testing::schema();
    let text = "card_ref,pan,name,expiry,effective,service_code\n\
                C1,4761739001010119,A/B,2601,2001,201\n\
                C2,6228000100001117,A/B,2602,2001,201\n\
                C3,4761730000000011,A/B,2602,2001,201\n";
    let read = |allowed: &Allowances| {
        let reader = CardholderReader::new(text.as_bytes(), &schema).unwrap();
        let reader = reader.under(KekId::from_hex("476173FF01").unwrap());
        let mut reader = reader.at(year_month("2602").unwrap()).allowing(allowed);
        let faults = reader.by_ref().filter_map(Result::err).flat_map(|line| line.faults);
        let faults: Vec<_> = faults.map(|fault| fault.to_string()).collect();
        let taken: Vec<_> =
            reader.taken().with_reasons(allowed).map(|(kind, n, why)| (kind, n, why.to_owned())).collect();
        (faults, taken)
    };
    let expired = "input: line 2, column expiry: is in the past: the card has expired; --allow expired:REASON accepts such cards";
    let foreign = "input: line 3, column pan: is outside the issuer identifier of the KEK; --allow foreign-iin:REASON accepts \
                   such cards";
    assert_eq!(read(&Allowances::default()), (vec![expired.into(), foreign.into()], Vec::new()));
    let allow = |text: &str| text.parse::<Allowance>().unwrap();
    let (shown, taken) = read(&Allowances(vec![allow("expired:a trial")]));
    assert_eq!((shown.len(), taken), (1, vec![(AllowedKind::Expired, 1, "a trial".to_owned())]));
    let both = Allowances(vec![allow("expired:a trial"), allow("foreign-iin:a merger")]);
    let (shown, taken) = read(&both);
    assert_eq!((shown.len(), taken.len()), (0, 2));
}

/// Derivation data of the tool where the row has none (WO 99/19846 FIG 2, steps 304 and 316).
#[test]
fn a_counter_fills_the_rows_that_have_no_number() {
    let counter = |prefix: &str| {
        let own = "[prep.fields.no]\nform = \"bcd\"\nmax = 4\nrequired = true\n";
        schema(&format!("[prep.counter]\ncolumn = \"no\"\nprefix = \"{prefix}\"\n{own}"))
    };
    let schema = counter("7");
    let column = schema.by_name("no").unwrap();
    let text = "card_ref,no\nA,\nB,12\nC,\n";
    let mut reader = CardholderReader::new(text.as_bytes(), &schema).unwrap().counting_from(41);
    let numbers: Vec<_> = reader.by_ref().map(|card| card.unwrap().get(column).unwrap().to_owned()).collect();
    assert_eq!((numbers, reader.counted()), (vec!["7041".into(), "12".into(), "7042".into()], 2));
    assert!(schema.missing(&[Column::CardRef]).is_empty());
    let reader = CardholderReader::new(text.as_bytes(), &schema).unwrap().counting_from(999);
    let faults: Vec<_> = reader.filter_map(Result::err).flat_map(|line| line.faults).collect();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().starts_with("input: line 4, column no: has too few digits"), "{faults:?}");
}

/// A number of a row that the counter would give to a later card is refused, however many zeros it is written with.
#[test]
fn a_row_takes_no_number_that_the_counter_has_not_given() {
    let counter = |column: &str, prefix: &str| {
        let own = "[prep.fields.no]\nform = \"bcd\"\nmax = 4\n";
        schema(&format!("[prep.counter]\ncolumn = \"{column}\"\nprefix = \"{prefix}\"\n{own}"))
    };
    let faults = |schema: &InputSchema, column: &str, values: &[&str]| -> Vec<String> {
        let rows: String = (1..).zip(values).map(|(n, value)| format!("C{n},{value}\n")).collect();
        let text = format!("card_ref,{column}\n{rows}");
        let cards = CardholderReader::new(text.as_bytes(), schema).unwrap();
        let faults = cards.counting_from(41).refusing_from(41).filter_map(Result::err);
        faults.flat_map(|line| line.faults).map(|fault| fault.to_string()).collect()
    };
    let plain = counter("no", "");
    assert_eq!(faults(&plain, "no", &["1", "0040", "", ""]), [""; 0]);
    for (value, line) in [("41", 2), ("0041", 2), ("041", 2), ("9999", 2)] {
        let found = faults(&plain, "no", &[value, "40"]);
        assert_eq!(found.len(), 1, "{value}: {found:?}");
        let what = format!("input: line {line}, column no: is a number that the counter has not given yet");
        assert!(found[0].starts_with(&what) && found[0].contains("counter new"), "{found:?}");
        assert!(!found[0].contains(value), "{found:?}");
    }
    // What the counter never gives is free: another prefix, another length.
    assert_eq!(faults(&counter("no", "7"), "no", &["6999", "41", "7040"]), [""; 0]);
    assert_eq!(faults(&counter("no", "7"), "no", &["7041"]).len(), 1);
    let purse = counter("purse_id", "476173");
    assert_eq!(faults(&purse, "purse_id", &["4761730040", "4761740041", "4761734761730041"]), [""; 0]);
    assert_eq!(faults(&purse, "purse_id", &["4761730041"]).len(), 1);
    // One number written in two ways is one number.
    let twice = faults(&plain, "no", &["7", "0007"]);
    assert_eq!(twice, ["input: line 3, column no: stands in an earlier line too"]);
}

/// The seam of a join: rows of other sources are parts of a card, and a fault names the file of its column.
#[test]
fn rows_of_several_sources_make_one_card() {
    let schema = testing::schema();
    let rows = |text: &'static str, file: &str| {
        let reader = RowReader::new(text.as_bytes(), schema.format, Some(file.into()), &schema).unwrap();
        reader.map(|row| row.map_err(|line| format!("{:?}", line.faults)).unwrap()).collect::<Vec<_>>()
    };
    let mut first = rows("card_ref,pan,expiry\n\nC1,4761739001010119,2912\n", "one.csv");
    first[0].others = rows("card_ref,name,effective\nC1,A/B,3001\n", "two.csv");
    first[0].others.extend(rows("card_ref,service_code\nC1,20\n", "three.csv"));
    let line = CardholderReader::of(first.into_iter().map(Ok), &schema).next().unwrap().err().unwrap();
    let shown: Vec<_> = line.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "input: three.csv, line 2, column service_code: is not 3 digits",
            "input: two.csv, line 2, column effective: is after the expiry",
        ]
    );
    let mut first = rows("card_ref,pan\nC1,4761739001010119\n", "one.csv");
    first[0].others = rows("card_ref,pan\nC1,4761739001010119\n", "two.csv");
    let line = CardholderReader::of(first.into_iter().map(Ok), &schema).next().unwrap().err().unwrap();
    let shown: Vec<_> = line.faults.iter().map(ToString::to_string).collect();
    assert_eq!(shown[0], "input: two.csv, line 2, column pan: stands in another source too");
    assert_eq!(
        shown[1],
        "input: one.csv, line 2, column name: is empty, or its input has no row of the card"
    );
}

proptest! {
    /// Whatever the bytes: no panic, no endless reading, and no fault that quotes them.
    #[test]
    fn no_bytes_are_quoted(
        bytes in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b";,\"\r\n{}[]:\\\0\xFF\xFE".to_vec())], 0..200),
        encoding in proptest::sample::select(vec!["utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1"]),
        json in any::<bool>(),
    ) {
        let format = if json { "format = \"jsonl\"" } else { "delimiter = \";\"" };
        let schema = schema_with(&format!("[prep.input]\nencoding = \"{encoding}\"\n{format}\n"));
        let marked = "SECRETVALUE";
        for source in [bytes.clone(), [HEADER.as_bytes(), b"\nC1;", marked.as_bytes(), b";;;\nC2;", &bytes].concat(),
            [b"{\"card_ref\":\"", marked.as_bytes(), b"\"", &bytes].concat()]
        {
            let (_, shown) = read(&source, &schema);
            prop_assert!(shown.len() <= 2 * source.len() + 2);
            for fault in shown {
                prop_assert!(!fault.contains(marked), "{fault}");
            }
        }
    }
}

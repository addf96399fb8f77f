//! Leaks that the test plants in copies of a job's files, spelled as programs would spell them: the search
//! finds every one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::Evidence;
use super::needles::{card_keys, session_key};
use super::search::{Kind, Needle, Search, Value, account_numbers};

/// Bytes of each carrier.
const CARRIER: usize = 8 * 1024;

/// The name of a spelling, and the spelled bytes.
type Spelling = (String, Vec<u8>);

fn of_bytes(value: &[u8]) -> Vec<Spelling> {
    let (lower, upper) = (hex::encode(value), hex::encode_upper(value));
    let parted = |text: &str, size: usize, by: &str| {
        let parts: Vec<_> = text.as_bytes().chunks(size).map(|p| std::str::from_utf8(p).unwrap()).collect();
        parts.join(by)
    };
    let each = |form: fn(&u8) -> String, by: &str| value.iter().map(form).collect::<Vec<_>>().join(by);
    let texts = vec![
        ("lower case", lower.clone()),
        ("upper case", upper.clone()),
        ("blanks", parted(&lower, 2, " ")),
        ("colons", parted(&upper, 2, ":")),
        ("hyphens", parted(&lower, 2, "-")),
        ("words", parted(&lower, 4, " ")),
        ("lines", parted(&upper, 6, "\n  ")),
        ("decimal Debug", format!("{value:?}")),
        ("decimal Debug in lines", format!("{value:#?}")),
        ("hex Debug", format!("{value:x?}")),
        ("HEX Debug", format!("{value:X?}")),
        ("two-digit hex Debug", format!("{value:02x?}")),
        ("two-digit HEX Debug", format!("{value:02X?}")),
        ("0x Debug in lines", format!("{value:#x?}")),
        ("0x list", each(|b| format!("0x{b:02X}"), ", ")),
        ("0x blanks", each(|b| format!("0x{b:02x}"), ",")),
        ("JSON", serde_json::to_string(value).unwrap()),
        ("JSON in lines", serde_json::to_string_pretty(value).unwrap()),
        ("decimal, blanks", each(u8::to_string, " ")),
        ("decimal, commas", each(u8::to_string, ",")),
        ("escapes", format!("b\"{}\"", value.escape_ascii())),
        ("C escapes", each(|b| format!("\\x{b:02x}"), "")),
        ("characters, Debug", format!("{:?}", value.iter().map(|b| char::from(*b)).collect::<String>())),
        ("characters", value.iter().map(|b| char::from(*b)).collect()),
    ];
    let mut spellings: Vec<Spelling> =
        texts.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    spellings.push(("binary".into(), value.to_vec()));
    for (name, engine) in [("base64", &STANDARD), ("URL base64", &URL_SAFE)] {
        for (before, behind) in (0..4).flat_map(|before| (0..4).map(move |behind| (before, behind))) {
            let around = [&vec![0xA5; before], value, &vec![0x5A; behind]].concat();
            let text = engine.encode(around);
            spellings.push((format!("{name}, {before} bytes before, {behind} behind"), text.into_bytes()));
        }
    }
    let lines = parted(&STANDARD.encode(value), 4, "\r\n");
    spellings.push(("base64 in lines".into(), lines.into_bytes()));
    spellings
}

fn named(name: &str, spellings: Vec<Spelling>) -> impl Iterator<Item = Spelling> {
    spellings.into_iter().map(move |(how, bytes)| (format!("{name}, {how}"), bytes))
}

fn of_text(text: &str) -> Vec<Spelling> {
    let mut spellings: Vec<Spelling> = named("text", of_bytes(text.as_bytes())).collect();
    for (name, text) in [
        ("lower case", text.to_ascii_lowercase()),
        ("Debug", format!("{text:?}")),
        ("JSON", serde_json::to_string(text).unwrap()),
        ("list of characters", format!("{:?}", text.chars().collect::<Vec<_>>())),
    ] {
        spellings.push((name.into(), text.into_bytes()));
    }
    spellings.push(("UTF-16".into(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    spellings
}

/// Two digits in a byte.
fn bcd(digits: &str) -> Vec<u8> {
    hex::decode(&digits[..digits.len() / 2 * 2]).unwrap()
}

fn of_digits(digits: &str) -> Vec<Spelling> {
    let mut spellings = of_text(digits);
    let values: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    spellings.extend(named("a digit a byte", of_bytes(&values)));
    spellings.extend(named("BCD", of_bytes(&bcd(&format!("{digits}F")))));
    // At twelve digits the BCD form from an odd digit has five bytes, which are not searched.
    if digits.len() > 12 {
        spellings.extend(named("BCD behind a digit", of_bytes(&bcd(&format!("0{digits}F")))));
    }
    let groups: Vec<_> = digits.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap()).collect();
    for by in [" ", "-", "\t", "."] {
        spellings.push((format!("groups with {by:?}"), groups.join(by).into_bytes()));
    }
    spellings
}

fn spellings(value: &Value) -> Vec<Spelling> {
    match value {
        Value::Bytes(bytes) => of_bytes(bytes),
        Value::Text(text) => of_text(text),
        Value::Digits(digits) => of_digits(digits),
    }
}

/// Plants each spelling in the middle of one of five files in turn: a log, the output of `log`, the events, a
/// report, and the ledger.
pub fn all_are_found(search: &Search, evidence: &[Evidence]) {
    let carriers: Vec<&Evidence> = [
        "standard error of cardwright run job.cwf1",
        "standard output of cardwright log --json",
        "events.jsonl",
        "report.json",
        "cardwright.db",
    ]
    .iter()
    .map(|name| {
        let fitting = evidence.iter().filter(|e| e.name.starts_with(name) && !e.of_cardholders);
        fitting.max_by_key(|e| e.bytes.len()).unwrap()
    })
    .collect();
    let mut planted = 0;
    for (place, needle) in samples(search) {
        for (n, (name, spelling)) in spellings(&needle.value).into_iter().enumerate() {
            let carrier = &carriers[n % carriers.len()];
            // Also as a string inside a JSON document, except for UTF-16, which no program writes there.
            let text = std::str::from_utf8(&spelling).ok().filter(|_| name != "UTF-16");
            let quoted = text.map(|text| serde_json::to_vec(text).unwrap());
            for leak in [Some(spelling.clone()), quoted].into_iter().flatten() {
                let (head, tail) = of(carrier);
                let stream = [head, b" value=", &leak, b" ", tail].concat();
                let found = search.find(&stream);
                assert!(found.contains_key(&place), "{} in {}: {name}", needle.name, carrier.name);
                planted += 1;
            }
        }
    }
    assert!(planted > 500, "{planted}");
}

/// The carrier's bytes before and after the place of the leak.
fn of(carrier: &Evidence) -> (&[u8], &[u8]) {
    let beginning = &carrier.bytes[..carrier.bytes.len().min(CARRIER)];
    beginning.split_at(beginning.len() / 2)
}

/// One needle of every kind and type of value; several where such values differ much.
fn samples(search: &Search) -> Vec<(usize, &Needle)> {
    let telling = [
        "kek-1 [8",
        "imk-ac [0",
        "TKd [",
        "MACkey [8",
        "K_DEK [",
        "SKU_ENC 1 [",
        "DGI 8000 [40",
        "DGI 8020 [0",
    ];
    let others =
        ["format 1", "format 2", " PIN", "DGI 0101 [0", "PAN", "track 1", "behind", "name", "CVV2 line"];
    let found = telling.iter().chain(&others).map(|part| {
        let place = search.needles.iter().position(|n| n.name.contains(part));
        let place = place.unwrap_or_else(|| panic!("no needle {part}"));
        (place, &search.needles[place])
    });
    found.collect()
}

fn one(value: Value) -> Search {
    Search::new(vec![Needle { name: "one".into(), kind: Kind::Secret, value }])
}

#[test]
fn a_value_that_differs_in_one_place_is_not_found() {
    let search = one(Value::Bytes(vec![0xC3, 0x01, 0x22, 0xE4, 0x5F, 0x0A, 0x77, 0x98]));
    for (name, spelling) in of_bytes(&[0xC3, 0x01, 0x22, 0xE4, 0x5E, 0x0A, 0x77, 0x98]) {
        assert!(search.find(&spelling).is_empty(), "{name}");
    }
    let search = one(Value::Digits("738201949337".into()));
    for (name, spelling) in of_digits("738201949347") {
        assert!(search.find(&spelling).is_empty(), "{name}");
    }
}

#[test]
fn a_leak_is_found_at_the_very_ends_of_a_stream_and_across_lines() {
    let search = one(Value::Bytes((1..=8).collect()));
    for stream in ["0102030405060708", "0102030405060708 ", " 0102030405060708", "01 02 03 04 05\n06 07 08"] {
        assert_eq!(search.find(stream.as_bytes()).len(), 1, "{stream}");
    }
    for stream in ["", "0", "01020304050607", "0102030405060709"] {
        assert!(search.find(stream.as_bytes()).is_empty(), "{stream}");
    }
}

#[test]
fn digits_that_could_be_an_account_number_are_seen() {
    // A published test PAN (Visa).
    let pan = "4761739001010119";
    let groups = "4761 7390 0101 0119";
    for text in [
        pan.to_owned(),
        groups.to_owned(),
        groups.replace(' ', "-"),
        format!("{{\"pan\":{pan}}}"),
        format!("%B{pan}^A/B^"),
        format!(";{pan}=2212"),
        format!("{pan}D22122011"),
        format!("9000 {pan}F"),
        format!("2026 {groups} 2026"),
    ] {
        assert_eq!(account_numbers(text.as_bytes()).len(), 1, "{text}");
        let off = text.replace("0119", "0118");
        assert!(account_numbers(off.as_bytes()).is_empty(), "{off}");
    }
    for text in ["2026-11-22T12:23:02.449150Z", "0000000000000000", "FFFFFF476173 20261122", "12345678"] {
        assert!(account_numbers(text.as_bytes()).is_empty(), "{text}");
    }
    for digest in [format!("{pan}ab"), format!("c{pan}d01"), format!("FFFFFF{pan}")] {
        assert!(account_numbers(digest.as_bytes()).is_empty(), "{digest}");
    }
}

#[test]
fn card_and_session_keys_are_the_published_ones() {
    // The published vector of GlobalPlatformPro, `TestPlaintextKeys`, template "emv".
    let kmc: Vec<u8> = (0x40..0x50).collect();
    let keys = card_keys(&kmc, &(0..10).collect::<Vec<u8>>());
    assert_eq!(
        keys.map(hex::encode_upper),
        [
            "0EF59FCBF8019B62E62AF6EA20B8BF25",
            "3E383EB6F2762B88155F76BDFED05A02",
            "64021E43C0C7D264A1C7C6D01E1C8761"
        ]
    );
    // Session keys by GPCS E.4.1 of the card in the worked example of `hwsim`.
    let keys = card_keys(&kmc, &hex::decode("FFFFFF47617301020304").unwrap());
    for (key, constant, session) in [
        (&keys[0], [0x01, 0x82], "724E01DC01968DE0D2D863888BBEC608"),
        (&keys[1], [0x01, 0x01], "EF0AFE1E2495D145D192F6C7726A38AA"),
        (&keys[2], [0x01, 0x81], "9118E7A554398AAF88699E3507B3ED8F"),
    ] {
        assert_eq!(hex::encode_upper(session_key(key, constant, 1)), session);
    }
}

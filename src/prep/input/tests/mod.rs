//! Every fault of the input, one by one.

mod sources;

use super::*;
use crate::ids::KekId;
use crate::prep::columns::COLUMNS;
use crate::prep::testing;

const HEADER: &str =
    "card_ref,pan,psn,name,expiry,effective,service_code,pin,balance,max_balance,member,points";
const GOOD: &str = "C000001,4761739001010119,01,TEST/CARD,2912,2601,201,1234,500,10000,M1,42";

/// The number of cards, or every fault of the file.
fn all(text: impl AsRef<[u8]>) -> Result<usize, Vec<InputError>> {
    let schema = testing::schema();
    let reader = CardholderReader::new(text.as_ref(), &schema).map_err(|header| header.faults)?;
    let (mut count, mut faults) = (0, Vec::new());
    for card in reader {
        match card {
            Ok(_) => count += 1,
            Err(line) => faults.extend(line.faults),
        }
    }
    if faults.is_empty() { Ok(count) } else { Err(faults) }
}

/// The faults as the terminal shows them.
fn shown(text: impl AsRef<[u8]>) -> Vec<String> {
    all(text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn only_fault(text: &str) -> String {
    let faults = all(text).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults[0].to_string()
}

/// The good line with one column replaced.
fn with(column: &str, value: &str) -> String {
    let place = HEADER.split(',').position(|c| c == column).unwrap();
    let mut values: Vec<_> = GOOD.split(',').collect();
    values[place] = value;
    format!("{HEADER}\n{}\n", values.join(","))
}

#[test]
fn a_good_file() {
    let second = GOOD.replace("C000001", "C000002").replace(",01,TEST", ",02,TEST");
    assert_eq!(all(format!("{HEADER}\r\n{GOOD}\r\n{second}\r\n")), Ok(2));
}

#[test]
fn values_and_defaults() {
    let defaults = Defaults::from([(Column::Currency, "978".to_owned()), (Column::Points, "7".to_owned())]);
    let mut schema = testing::schema();
    schema.defaults = defaults;
    let text = with("psn", "");
    let card = CardholderReader::new(text.as_bytes(), &schema).unwrap().next().unwrap().unwrap();
    assert_eq!(card.place.line, 2);
    assert_eq!(card.card_ref.as_str(), "C000001");
    assert_eq!(card.get(Column::Psn), Some("00"));
    assert_eq!(card.get(Column::Currency), Some("978"));
    assert_eq!(card.get(Column::Points), Some("42"));
    assert_eq!(card.get(Column::Offer), None);
}

#[test]
fn columns_in_any_order_and_a_byte_order_mark() {
    let text = "\u{FEFF}service_code,effective,expiry,name,pan,card_ref\n201,2601,2912,TEST/CARD,4761739001010119,X\n";
    assert_eq!(all(text), Ok(1));
}

#[test]
fn wrong_headers() {
    let known = COLUMNS.iter().map(|d| d.name).collect::<Vec<_>>().join(", ");
    for (header, faults) in [
        (
            HEADER.replace("pan", "PAN"),
            vec![
                format!("column 2 `PAN` has an unknown name; known are {known}"),
                "column `pan` is missing".into(),
            ],
        ),
        (
            HEADER.replace("balance", "saldo"),
            vec![format!("columns 9 `saldo`, 10 `max_saldo` have unknown names; known are {known}")],
        ),
        (HEADER.replace("points", "member"), vec!["column `member` stands twice".into()]),
        (HEADER.replace("pan,", ""), vec!["column `pan` is missing".into()]),
        (HEADER.replace("card_ref,pan,", ""), vec!["columns `card_ref`, `pan` are missing".into()]),
    ] {
        let expected: Vec<_> = faults.iter().map(|what| format!("input: line 1: {what}")).collect();
        assert_eq!(shown(format!("{header}\n{GOOD}\n")), expected, "{header}");
    }
}

/// A name of letters, digits, - and _ is shown, so that the person finds it. Others may be cardholder data:
/// of a file without its header line, or with a value that has slipped into it.
#[test]
fn an_unknown_column_is_named_unless_it_could_be_data() {
    let long = "a".repeat(41);
    for (name, called) in [
        ("birth-date_2", "12 `birth-date_2`"),
        (&long[1..], &format!("12 `{}`", &long[1..])),
        (&long, "12"),
        ("4761739001010119", "12"),
        ("1234", "12"),
        ("P1234", "12"),
        ("TEST/CARD", "12"),
        ("TEST CARD", "12"),
        (" points", "12"),
        ("prénom", "12"),
        ("", "12"),
    ] {
        let header = HEADER.replace("points", name);
        let faults = shown(format!("{header}\n{GOOD}\n"));
        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].starts_with(&format!("input: line 1: column {called} has an unknown name; ")),
            "{name}"
        );
    }
    let without = shown(format!("{GOOD}\n{GOOD}\n"));
    for value in GOOD.split(',').filter(|value| value.len() > 2) {
        assert!(without.iter().all(|fault| !fault.contains(value)), "{without:?}");
    }
}

#[test]
fn an_empty_file_has_no_header() {
    let missing = "`card_ref`, `pan`, `name`, `expiry`, `effective`, `service_code`";
    assert_eq!(only_fault(""), format!("input: line 1: columns {missing} are missing"));
}

#[test]
fn wrong_values() {
    let long = "A".repeat(41);
    for (column, value, what) in [
        ("card_ref", "", "is empty"),
        ("card_ref", long.as_str(), "more than 40"),
        ("card_ref", "A476173900101", "12 or more consecutive digits"),
        ("card_ref", "Ä", "printable ASCII"),
        ("pan", "", "is empty"),
        ("pan", "4761739001010118", "Luhn"),
        ("pan", "4761 7390 0101 0119", "12 to 19 digits"),
        ("pan", "00000000000", "12 to 19 digits"),
        ("pan", "00000000000000000000", "12 to 19 digits"),
        ("psn", "1", "2 digits"),
        ("psn", "0A", "2 digits"),
        ("name", "", "is empty"),
        ("name", "X", "2 to 26"),
        ("name", "ABCDEFGHIJKLMNOPQRSTUVWXY/Z", "2 to 26"),
        ("name", "TEST CARD", "SURNAME/FIRST"),
        ("name", "/CARD", "SURNAME/FIRST"),
        ("name", "TEST/CA/RD", "more than one /"),
        ("name", "test/card", "outside"),
        ("name", "TEST/CARD^", "outside"),
        ("name", "TEST/CARD?", "outside"),
        ("name", "%TEST/CARD", "outside"),
        ("name", "TEST/<CARD>", "outside"),
        ("name", "MÜLLER/A", "outside"),
        ("expiry", "1229", "month"),
        ("expiry", "2900", "month"),
        ("expiry", "29122", "YYMM"),
        ("expiry", "29/1", "YYMM"),
        ("effective", "2613", "month"),
        ("effective", "3001", "after the expiry"),
        ("service_code", "20", "3 digits"),
        ("service_code", "20A", "3 digits"),
        ("pin", "123", "4 to 12 digits"),
        ("pin", "1234567890123", "4 to 12 digits"),
        ("pin", "12E4", "4 to 12 digits"),
        ("balance", "-1", "1 to 12 digits"),
        ("balance", "1.50", "1 to 12 digits"),
        ("balance", "10001", "above max_balance"),
        ("max_balance", "1234567890123", "1 to 12 digits"),
        ("member", "m1", "A-Z 0-9"),
        ("member", "12345678901234567", "A-Z 0-9"),
        ("points", "4294967296", "4294967295"),
        ("points", "+1", "4294967295"),
    ] {
        let fault = only_fault(&with(column, value));
        assert!(fault.starts_with(&format!("input: line 2, column {column}: ")), "{column} {value}: {fault}");
        assert!(fault.contains(what), "{column} {value}: {fault}");
        assert!(
            value.len() < 2 || what.contains(value) || !fault.contains(value),
            "quotes the value: {fault}"
        );
    }
}

/// Fulfilment data is printed in clear, so it must not hold an account number. A name may occur in a shipping
/// address.
#[test]
fn no_account_number_in_card_ref_or_fulfilment() {
    let apart = ["4761739001010119", "4761 7390 0101 0119", "Box 4761-7390/0101.0119", "x4761739001010119y"];
    for column in ["stock", "carrier", "ship_group", "priority", "group"] {
        for value in apart {
            let fault = only_fault(&format!("{HEADER},{column}\n{GOOD},{value}\n"));
            assert_eq!(fault, format!("input: line 2, column {column}: holds the account number"));
        }
        for value in ["TEST/CARD", "4761-7390-0101-0118"] {
            assert_eq!(all(format!("{HEADER},{column}\n{GOOD},{value}\n")), Ok(1), "{column} {value}");
        }
    }
    let fault = only_fault(&with("card_ref", apart[1]));
    assert_eq!(fault, "input: line 2, column card_ref: holds the account number");
}

#[test]
fn a_guid_names_a_card_and_a_number_that_could_be_the_issuers_does_not() {
    let schema = testing::schema();
    let first = |card_ref: &str| {
        let text = with("card_ref", card_ref);
        let reader = CardholderReader::new(text.as_bytes(), &schema).unwrap();
        let card = reader.under(KekId::from_hex("476173FF01").unwrap()).next().unwrap();
        card.map(|card| card.card_ref.to_string())
    };
    for good in
        ["550e8400-e29b-41d4-a716-446655440000", "550E8400E29B41D4A716446655440000", "6228-0001-0000-1117"]
    {
        assert_eq!(first(good).ok().as_deref(), Some(good));
    }
    // Another account number of the issuer's range than the line's.
    for bad in ["4761-7300-0000-0011", "C 4761.7300 0000 0011"] {
        let line = first(bad).unwrap_err();
        let fault = line.faults[0].to_string();
        let what =
            "input: line 2, column card_ref: holds, with separators left out, what could be an account";
        assert!(fault.starts_with(what) && line.faults.len() == 1 && line.card_ref.is_none(), "{fault}");
    }
}

#[test]
fn optional_values_of_wrong_shape() {
    for (column, value) in [
        ("purse_id", "123456789"),
        ("currency", "EUR"),
        ("currency_exponent", "10"),
        ("offer", "täglich"),
        ("stock", &"A".repeat(65)),
        ("photo", "/etc/passwd"),
        ("photo", "../c1.jpg"),
        ("photo", "photos/../../c1.jpg"),
        ("photo", "c1\u{e9}.jpg"),
    ] {
        let text = format!("{HEADER},{column}\n{GOOD},{value}\n");
        assert!(only_fault(&text).starts_with(&format!("input: line 2, column {column}: ")), "{column}");
    }
}

#[test]
fn duplicates() {
    let other_account = GOOD.replace(",01,TEST", ",02,TEST");
    let fault = only_fault(&format!("{HEADER}\n{GOOD}\n{other_account}\n"));
    assert_eq!(fault, "input: line 3, column card_ref: stands in an earlier line too");

    let other_name = GOOD.replace("C000001", "C000002");
    let fault = only_fault(&format!("{HEADER}\n{GOOD}\n{other_name}\n"));
    assert_eq!(fault, "input: line 3, column pan: stands with the same psn in an earlier line too");
}

#[test]
fn lines_that_are_none() {
    assert_eq!(
        only_fault(&format!("{HEADER}\n{GOOD},extra\n")),
        "input: line 2: has 13 columns where the header has 12"
    );
    assert_eq!(
        only_fault(&format!("{HEADER}\n")),
        "input: line 2: there is no card; the header is not enough"
    );
    let mut bytes = format!("{HEADER}\n{GOOD}\n").into_bytes();
    let place = bytes.windows(4).position(|w| w == b"TEST").unwrap();
    bytes[place] = 0xFF;
    assert_eq!(shown(bytes), ["input: line 2, column name: is not UTF-8"]);
}

/// RFC 4180 2: a line ends with CR LF, and a quoted value may hold line breaks; editors also write LF alone,
/// CR alone and blank lines. A fault names the line that an editor shows.
#[test]
fn faults_name_the_line_that_an_editor_shows() {
    let header = format!("{HEADER},offer");
    let card = |n: u32, pin: &str, offer: &str| {
        format!(
            "{},{offer}",
            GOOD.replace("C000001", &format!("C{n}"))
                .replace(",1234,", &format!(",{pin},"))
                .replace(",01,TEST", &format!(",{n:02},TEST"))
        )
    };
    // Line 2 good, 3 blank, 4 wrong, 5-7 one row with quoted line breaks, which is a fault, 8-9 blank,
    // 10 wrong, 11 with another number of values, 12 not UTF-8, 13 wrong and without an end.
    for end in ["\n", "\r\n", "\r"] {
        let quoted = format!("\"A{end}{end}B\"");
        let lines = [
            header.clone(),
            card(1, "1234", ""),
            String::new(),
            card(2, "12", ""),
            card(3, "1234", &quoted),
            String::new(),
            String::new(),
            card(4, "12", ""),
            "C5".into(),
            card(6, "1234", "#"),
            card(7, "12", ""),
        ];
        let text = lines.join(end).into_bytes();
        let text: Vec<u8> = text.into_iter().map(|b| if b == b'#' { 0xE9 } else { b }).collect();
        for begin in ["", "\u{FEFF}"] {
            let faults = shown([begin.as_bytes(), &text].concat());
            let expected = [
                "input: line 4, column pin: is not 4 to 12 digits",
                &format!("input: line 5: {}", InputError::OVER_LINES),
                "input: line 10, column pin: is not 4 to 12 digits",
                "input: line 11: has 1 columns where the header has 13",
                "input: line 12, column offer: is not UTF-8",
                "input: line 13, column pin: is not 4 to 12 digits",
            ];
            assert_eq!(faults, expected, "{end:?} {begin:?}");
        }
        let late = [end, end, &header, end, &card(1, "12", ""), end].concat();
        assert_eq!(shown(late), ["input: line 4, column pin: is not 4 to 12 digits"], "{end:?}");
        let wrong = [end, "pan", end].concat();
        assert!(shown(wrong)[0].starts_with("input: line 2: column"), "{end:?}");
    }
    // Longer than the reader's buffer, which holds many lines at once.
    let good = (2..2_000).map(|n| card(n, "1234", "").replace(&format!(",{n:02},TEST"), ",00,TEST"));
    let text = [header].into_iter().chain(good).collect::<Vec<_>>().join("\r\n");
    let faults = shown(text.replace(",1234,", ",12,"));
    assert!(faults.iter().any(|fault| fault.starts_with("input: line 1999, column pin: ")));
}

/// Whatever the line ends, the card knows its own line too: faults that show when it is built name it.
#[test]
fn a_card_knows_its_line() {
    let schema = testing::schema();
    let text = format!("{HEADER}\r\n\r\n{GOOD}\r\n");
    let card = CardholderReader::new(text.as_bytes(), &schema).unwrap().next().unwrap().unwrap();
    assert_eq!(card.place.line, 3);
}

#[test]
fn every_fault_of_every_line_is_found() {
    let bad = GOOD.replace("0119", "0118").replace(",2912,", ",2913,");
    let text = format!("{HEADER}\n{}", format!("{bad}\n").repeat(3_000));
    let faults = shown(text);
    // Two in each line; from line 3 on also the card_ref of line 2.
    assert_eq!(faults.len(), 3 * 3_000 - 1);
    assert_eq!(
        faults[faults.len() - 3..],
        [
            "input: line 3001, column pan: has a wrong check digit (Luhn)",
            "input: line 3001, column expiry: has a month outside 01-12",
            "input: line 3001, column card_ref: stands in an earlier line too",
        ]
    );
}

/// The list of rejected lines shows a card_ref only if it can be nothing else.
#[test]
fn a_rejected_line_shows_its_card_ref_unless_that_is_other_data() {
    let schema = testing::schema();
    let shown = |card_ref: &str| {
        let text = with("expiry", "2900").replace("C000001", card_ref);
        let line = CardholderReader::new(text.as_bytes(), &schema).unwrap().next().unwrap();
        line.err().unwrap().card_ref.map(|name| name.to_string())
    };
    assert_eq!(shown("C000001"), Some("C000001".into()));
    for hidden in
        ["", "TEST/CARD", "X TEST/CARD", "1234", "PIN-12-34", "4761-7390-0101-0119", "Ä", "4761739001010119"]
    {
        assert_eq!(shown(hidden), None, "{hidden}");
    }
}

//! Every fault of the input, one by one.

use super::*;

const HEADER: &str =
    "card_ref,pan,psn,name,expiry,effective,service_code,pin,balance,max_balance,member,points";
const GOOD: &str = "C000001,4761739001010119,01,TEST/CARD,2912,2601,201,1234,500,10000,M1,42";

fn all(text: &str) -> Result<u32, Vec<InputError>> {
    let defaults = Defaults::new();
    check(CardholderReader::new(text.as_bytes(), &defaults).map_err(|e| vec![e])?)
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
    assert_eq!(all(&format!("{HEADER}\r\n{GOOD}\r\n{second}\r\n")), Ok(2));
}

#[test]
fn values_and_defaults() {
    let defaults = Defaults::from([(Column::Currency, "978".to_owned()), (Column::Points, "7".to_owned())]);
    let text = with("psn", "");
    let card = CardholderReader::new(text.as_bytes(), &defaults).unwrap().next().unwrap().unwrap();
    assert_eq!(card.line, 2);
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
    for (header, what) in [
        (HEADER.replace("pan", "PAN"), "unknown name"),
        (HEADER.replace("pan", " pan"), "unknown name"),
        (HEADER.replace("points", "member"), "column `member` stands twice"),
        (HEADER.replace("pan,", ""), "column `pan` is missing"),
        (HEADER.replace("card_ref,", ""), "the column `card_ref` is missing"),
        (String::new(), "unknown name"),
        ("4761739001010119,x".into(), "unknown name"),
    ] {
        let fault = only_fault(&format!("{header}\n{GOOD}\n"));
        assert!(fault.starts_with("input: line 1: ") && fault.contains(what), "{header}: {fault}");
        assert!(!fault.contains("4761739001010119"));
    }
}

#[test]
fn an_empty_file_has_no_header() {
    assert_eq!(only_fault(""), "input: line 1: the column `card_ref` is missing");
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
            assert_eq!(all(&format!("{HEADER},{column}\n{GOOD},{value}\n")), Ok(1), "{column} {value}");
        }
    }
    let fault = only_fault(&with("card_ref", apart[1]));
    assert_eq!(fault, "input: line 2, column card_ref: holds the account number");
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
    let defaults = Defaults::new();
    let faults = check(CardholderReader::new(bytes.as_slice(), &defaults).unwrap()).unwrap_err();
    assert_eq!(faults, [InputError::Line { line: 2, what: "is not UTF-8".into() }]);
}

#[test]
fn several_faults_are_reported_at_once_but_not_endlessly() {
    let bad = GOOD.replace("0119", "0118");
    let text = format!("{HEADER}\n{}", format!("{bad}\n").repeat(30));
    let faults = all(&text).unwrap_err();
    assert_eq!(faults.len(), 20);
    assert!(faults[19].to_string().starts_with("input: line 21,"));
}

//! The forms of a value that the search looks for.
//!
//! A stream is searched twice: as it is, and after [`compact`]. So no form needs separators: hex in groups,
//! lists over several lines and numbers in groups of four lose theirs in the compact stream.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A form's name, for messages, and its bytes.
pub type Form = (&'static str, Vec<u8>);

/// Forms with fewer characters than this, separators not counted, are found by chance, for example in
/// digests.
const BY_CHANCE: usize = 8;

/// The stream without blanks, line ends (also escaped), quotes, backslashes and other separators of digits.
pub fn compact(stream: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(stream.len());
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            bytes.next_if(|next| b"nrt".contains(next));
        } else if !byte.is_ascii_whitespace() && !b":-.'\"".contains(&byte) {
            kept.push(byte);
        }
    }
    kept
}

/// The forms of a byte string.
pub fn of_bytes(value: &[u8]) -> Vec<Form> {
    let each = |form: fn(u8) -> String, between: &str| {
        value.iter().map(|b| form(*b)).collect::<Vec<_>>().join(between).into_bytes()
    };
    let latin: String = value.iter().map(|b| char::from(*b)).collect();
    let mut forms = vec![
        ("binary", value.to_vec()),
        ("hex, lower case", each(|b| format!("{b:02x}"), "")),
        ("hex, upper case", each(|b| format!("{b:02X}"), "")),
        ("decimal list", each(|b| b.to_string(), ",")),
        ("decimal, blanks", each(|b| b.to_string(), " ")),
        ("hex list, lower case", each(|b| format!("{b:02x}"), ",")),
        ("hex list, upper case", each(|b| format!("{b:02X}"), ",")),
        ("short hex list, lower case", each(|b| format!("{b:x}"), ",")),
        ("short hex list, upper case", each(|b| format!("{b:X}"), ",")),
        ("0x list, lower case", each(|b| format!("0x{b:02x}"), ",")),
        ("0x list, upper case", each(|b| format!("0x{b:02X}"), ",")),
        ("short 0x list, lower case", each(|b| format!("0x{b:x}"), ",")),
        ("short 0x list, upper case", each(|b| format!("0x{b:X}"), ",")),
        // The compact stream has lost the backslashes.
        ("escaped, lower case", each(|b| format!("x{b:02x}"), "")),
        ("escaped, upper case", each(|b| format!("x{b:02X}"), "")),
        ("characters of ISO 8859-1 in UTF-8", latin.clone().into_bytes()),
    ];
    let mut escaped = vec![("escaped where not printable", value.escape_ascii().to_string())];
    for text in [Some(&latin[..]), std::str::from_utf8(value).ok()].into_iter().flatten() {
        escaped.push(("text in JSON", serde_json::to_string(text).unwrap()));
        escaped.push(("text as Rust prints it", format!("{text:?}")));
    }
    let escaped = escaped.into_iter().map(|(name, text)| (name, compact(text.as_bytes())));
    forms.extend(escaped.filter(|(_, form)| form.len() >= BY_CHANCE));
    for before in 0..3 {
        forms.push(("base64", base64(&STANDARD_NO_PAD, value, before)));
        forms.push(("base64 for URLs", base64(&URL_SAFE_NO_PAD, value, before)));
    }
    forms
}

/// The base64 characters that do not depend on the bytes before (`before` of them, modulo 3) and after the
/// value.
fn base64(engine: &impl Engine, value: &[u8], before: usize) -> Vec<u8> {
    let all = engine.encode([&vec![0; before], value].concat()).into_bytes();
    let whole = (before + value.len()) * 8 / 6;
    all[(before * 8).div_ceil(6)..whole].to_vec()
}

/// The forms of a text: the forms of its bytes, lower case, without blanks, and with two bytes for each
/// character.
pub fn of_text(text: &str) -> Vec<Form> {
    let wide = |unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect();
    let mut forms = of_bytes(text.as_bytes());
    let characters = compact(format!("{:?}", text.chars().collect::<Vec<_>>()).as_bytes());
    forms.push(("list of characters", characters[1..characters.len() - 1].to_vec()));
    forms.push(("text, lower case", text.to_ascii_lowercase().into_bytes()));
    forms.push(("UTF-16LE", wide(u16::to_le_bytes)));
    forms.push(("UTF-16BE", wide(u16::to_be_bytes)));
    let bare = compact(text.as_bytes());
    if bare.len() >= BY_CHANCE {
        forms.push(("text without separators", bare));
    }
    forms
}

/// The forms of decimal digits: as text, one digit in a byte, and two in a byte (BCD). The BCD forms begin at
/// an even digit, and at an odd one if at least six bytes are left.
pub fn of_digits(digits: &str) -> Vec<Form> {
    let values: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    let packed = |from: usize| values[from..].chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect::<Vec<u8>>();
    let mut forms = of_text(digits);
    forms.extend(of_bytes(&values));
    let packed = [packed(0), packed(1)];
    forms.extend(packed.iter().filter(|p| p.len() >= 6).flat_map(|p| of_bytes(p)));
    forms
}

//! EMB and IND: lines `~EM%font;x;y;text`, the escape that Datacard's CE, CD and SD machines take.
//!
//! The vendor's own parser also takes lower case and blanks. This one takes a single form, so that all readers of a
//! line understand it alike.

use drivers::embosser::LINE_MAX;

use super::crlf_lines;

/// x of the first character's centre from the left edge, in mils (1/1000 inch): vendor's limits.
const X: std::ops::RangeInclusive<u16> = 100..=3275;
/// y of the line's middle from the bottom edge, in mils: vendor's limits.
const Y: std::ops::RangeInclusive<u16> = 135..=1460;

/// One line of embossing or indent print. Cardholder data: no `Debug`.
pub struct EmbossLine<'a> {
    /// 1-11; 21-31 are fonts 1-11 on the other side.
    pub font: u8,
    /// Mils from the left edge.
    pub x: u16,
    /// Mils from the bottom edge.
    pub y: u16,
    /// ISO 8859-1.
    pub text: &'a [u8],
    /// The line as it goes to the machine, without CR LF.
    raw: &'a [u8],
}

impl EmbossLine<'_> {
    /// The line as it goes to the machine, each byte as the character of ISO 8859-1 that it is.
    pub fn to_text(&self) -> String {
        self.raw.iter().map(|b| char::from(*b)).collect()
    }
}

/// Parses an EMB or IND section.
pub fn emboss_lines(data: &[u8]) -> Result<Vec<EmbossLine<'_>>, String> {
    let lines = crlf_lines(data)?;
    lines
        .iter()
        .enumerate()
        .map(|(i, raw)| line(raw).map_err(|what| format!("line {}: {what}", i + 1)))
        .collect()
}

fn line(raw: &[u8]) -> Result<EmbossLine<'_>, String> {
    if raw.len() > LINE_MAX {
        return Err(format!("is longer than {LINE_MAX} bytes, which is all that an embosser takes"));
    }
    let rest = raw.strip_prefix(b"~EM%").ok_or("does not begin with ~EM%")?;
    let mut fields = rest.splitn(4, |b| *b == b';');
    let mut number = |what: &'static str| {
        let digits = fields.next().unwrap_or_default();
        if !(1..=4).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(format!("{what} is not a number of 1 to 4 digits"));
        }
        Ok(digits.iter().fold(0u16, |n, d| n * 10 + u16::from(d - b'0')))
    };
    let (font, x, y) = (number("font")?, number("x")?, number("y")?);
    let text = fields.next().ok_or("has no third ;")?;
    let font = u8::try_from(font).ok().filter(|f| (1..=11).contains(f) || (21..=31).contains(f));
    let font = font.ok_or("font is not 1-11 or 21-31")?;
    if !X.contains(&x) {
        return Err(format!("x is outside {}-{}", X.start(), X.end()));
    }
    if !Y.contains(&y) {
        return Err(format!("y is outside {}-{}", Y.start(), Y.end()));
    }
    if !text.iter().all(|b| matches!(b, 0x20..=0x7E | 0xA0..=0xFF) && !b"<>".contains(b)) {
        return Err("the text has a control character, < or >".into());
    }
    Ok(EmbossLine { font, x, y, text, raw })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datacard_sample_positions_are_read() {
        // Number line and name line of the samples in Datacard's printer drivers.
        let lines =
            emboss_lines(b"~EM%2;401;843;4761 7390 0101 0119\r\n~EM%1;307;328;M\xDCLLER;A\r\n").unwrap();
        assert_eq!((lines[0].font, lines[0].x, lines[0].y), (2, 401, 843));
        assert_eq!(lines[0].text, b"4761 7390 0101 0119");
        assert_eq!(lines[1].text, b"M\xDCLLER;A");
        assert_eq!(lines[1].to_text(), "~EM%1;307;328;MÜLLER;A");
    }

    #[test]
    fn limits_hold_on_both_sides() {
        for (line, good) in [
            ("~EM%1;100;135;A", true),
            ("~EM%11;3275;1460;A", true),
            ("~EM%21;100;135;A", true),
            ("~EM%31;100;135;", true),
            ("~EM%0;100;135;A", false),
            ("~EM%12;100;135;A", false),
            ("~EM%20;100;135;A", false),
            ("~EM%32;100;135;A", false),
            ("~EM%257;100;135;A", false),
            ("~EM%1;99;135;A", false),
            ("~EM%1;3276;135;A", false),
            ("~EM%1;100;134;A", false),
            ("~EM%1;100;1461;A", false),
            ("~EM%1;65636;135;A", false),
            ("~EM%1;-100;135;A", false),
            ("~EM%1; 100;135;A", false),
            ("~EM%1;;135;A", false),
            ("~EM%1;100;135", false),
            ("~em%1;100;135;A", false),
            ("EM%1;100;135;A", false),
            ("~EM%1;100;135;A<B", false),
            ("~EM%1;100;135;A>B", false),
            ("~EM%1;100;135;A\tB", false),
            ("", false),
        ] {
            assert_eq!(emboss_lines(format!("{line}\r\n").as_bytes()).is_ok(), good, "{line}");
        }
        for control in [0x00, 0x0A, 0x0D, 0x1F, 0x7F, 0x80, 0x9F] {
            assert!(emboss_lines(&[b"~EM%1;100;135;A", &[control][..], b"\r\n"].concat()).is_err());
        }
    }

    #[test]
    fn a_line_that_no_frame_of_the_machine_holds_is_refused() {
        let line = |length: usize| format!("~EM%1;100;135;{}\r\n", "A".repeat(length - 14));
        assert!(emboss_lines(line(LINE_MAX).as_bytes()).is_ok());
        let error = emboss_lines(line(LINE_MAX + 1).as_bytes()).err().unwrap();
        assert!(error.starts_with("line 1: is longer than "), "{error}");
    }

    #[test]
    fn errors_name_the_line_and_quote_nothing() {
        let error = emboss_lines(b"~EM%1;100;135;GOOD\r\n~EM%1;1;135;SECRET\r\n").err().unwrap();
        assert!(error.contains("line 2") && !error.contains("SECRET"));
    }
}

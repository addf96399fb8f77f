//! Text for media that do not take every character: chip and stripe take printable ASCII, embossing ISO 8859-1.
//!
//! Latin letters follow ICAO Doc 9303-3, section 6 (`Müller` is `Mueller`), which names in travel documents follow too; other
//! scripts follow the tables of the `deunicode` crate. Not here: whether a product wants it (`input::schema`).

use zeroize::Zeroizing;

/// Letters for which ICAO Doc 9303-3 has another spelling than the letter without its mark.
const ICAO: [(char, &str); 11] = [
    ('Ä', "Ae"),
    ('ä', "ae"),
    ('Å', "Aa"),
    ('å', "aa"),
    ('Ö', "Oe"),
    ('ö', "oe"),
    ('Ø', "Oe"),
    ('ø', "oe"),
    ('Ü', "Ue"),
    ('ü', "ue"),
    ('ẞ', "SS"),
];

/// Whether a character can be embossed: printable in ISO 8859-1, and no bracket of the machine's escapes.
pub fn is_latin1_text(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{A0}'..='\u{FF}') && !matches!(c, '<' | '>')
}

/// Whether a character is printable ASCII.
pub fn is_ascii_text(c: char) -> bool {
    matches!(c, ' '..='~')
}

/// Returns the text with every character that is not `kept` written in ASCII; `None` if one has no such spelling.
pub fn spelled(text: &str, kept: impl Fn(char) -> bool) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::with_capacity(4 * text.len()));
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if kept(c) {
            out.push(c);
            continue;
        }
        let icao = ICAO.iter().find(|(letter, _)| *letter == c).map(|(_, spelling)| *spelling);
        let spelling = icao.or_else(|| deunicode::deunicode_char(c)).map(str::trim);
        let spelling =
            spelling.filter(|s| !s.is_empty() && s.chars().all(|c| is_ascii_text(c) && kept(c)))?;
        // A capital among capitals: ÄRZTE is AERZTE, but Ärzte is Aerzte.
        match characters.peek().is_some_and(|next| next.is_lowercase()) || !c.is_uppercase() {
            true => out.push_str(spelling),
            false => out.extend(spelling.chars().map(|c| c.to_ascii_uppercase())),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ascii(text: &str) -> Option<String> {
        spelled(text, is_ascii_text).map(|text| text.to_string())
    }

    /// ICAO Doc 9303, part 3, section 6.A: transliterations recommended for the Latin letters of travel documents.
    #[test]
    fn latin_letters_of_icao_9303() {
        for (letters, spelling) in [
            ("ÁÀÂÃ", "AAAA"),
            ("ÄÅÆ", "AEAAAE"),
            ("ÇÐÉÈÊË", "CDEEEE"),
            ("ÍÌÎÏÑ", "IIIIN"),
            ("ÓÒÔÕ", "OOOO"),
            ("ÖØŒ", "OEOEOE"),
            ("ÚÙÛÜ", "UUUUE"),
            ("ÝÞ", "YTH"),
            ("ŁŃŘŠŽ", "LNRSZ"),
            ("İĞŞ", "IGS"),
        ] {
            assert_eq!(
                ascii(letters).map(|text| text.to_uppercase()).as_deref(),
                Some(spelling),
                "{letters}"
            );
        }
        assert_eq!(ascii("groß").as_deref(), Some("gross"));
        assert_eq!(ascii("GROẞ").as_deref(), Some("GROSS"));
    }

    #[test]
    fn capitals_stay_capitals() {
        assert_eq!(ascii("Ärzte").as_deref(), Some("Aerzte"));
        assert_eq!(ascii("ÄRZTE").as_deref(), Some("AERZTE"));
        assert_eq!(ascii("Müller/Jürgen").as_deref(), Some("Mueller/Juergen"));
    }

    #[test]
    fn embossing_keeps_what_its_character_set_has() {
        let embossed = |text| spelled(text, is_latin1_text).map(|text| text.to_string());
        assert_eq!(embossed("Müller Dvořák").as_deref(), Some("Müller Dvorák"));
        assert_eq!(embossed("A<B"), None);
    }

    proptest! {
        #[test]
        fn only_ascii_comes_out(text in "\\PC{0,40}") {
            if let Some(ascii) = ascii(&text) {
                prop_assert!(ascii.chars().all(is_ascii_text));
                prop_assert_eq!(text.is_ascii(), *ascii == *text);
            }
        }
    }
}

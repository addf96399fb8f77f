//! Hides what a preview must not show: the account number but its first and last digits, what follows it on a track, and
//! verification values, in any text and in any bytes of the chip.
//!
//! It looks at what will stand on the card, not at the fields that put it there, so that a product's own text or tag hides
//! nothing from it. It may hide too much: digits that happen to equal a code. Not here: keys and PIN blocks, which only the
//! HSM has.

use zeroize::Zeroizing;

/// Most digits of an account number that are shown at its front and at its end (PCI DSS 3.4.1), and how many are hidden
/// at least.
const FRONT: usize = 6;
const END: usize = 4;
const HIDDEN: usize = 6;
/// What is shown behind the separator that ends the account number, or the name on track 1: expiry YYMM and service code.
const SHOWN_OF_TRACK: usize = 7;

/// A text with parts hidden. It may hold a name: wiped when dropped.
pub type MaskedText = Zeroizing<String>;

/// What must not be shown of one card.
pub struct CardMask {
    account: Zeroizing<Vec<u8>>,
    codes: Vec<Zeroizing<Vec<u8>>>,
}

/// The characters of a value, and whether each is hidden.
struct HiddenPlaces<'a> {
    chars: &'a [char],
    hidden: Vec<bool>,
    /// Whether the character is a digit of the account number.
    account: Vec<bool>,
}

impl CardMask {
    /// The account number of a card, and its codes and PIN: digits.
    pub fn new<'a>(account: Option<&str>, codes: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let codes = codes.into_iter().filter(|code| !code.is_empty());
        Self {
            account: Zeroizing::new(account.unwrap_or_default().as_bytes().to_vec()),
            codes: codes.map(|code| Zeroizing::new(code.to_vec())).collect(),
        }
    }

    /// A text as it may be shown.
    pub fn text(&self, text: &str) -> MaskedText {
        let chars: Zeroizing<Vec<char>> = Zeroizing::new(text.chars().collect());
        let hidden = self.hidden(&chars, true);
        Zeroizing::new(chars.iter().zip(hidden).map(|(c, hidden)| if hidden { '*' } else { *c }).collect())
    }

    /// Bytes in hex as they may be shown.
    pub fn bytes(&self, bytes: &[u8]) -> MaskedText {
        let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        let nibbles = nibbles.filter_map(|nibble| char::from_digit(nibble.into(), 16));
        let nibbles: Zeroizing<Vec<char>> = Zeroizing::new(nibbles.map(|c| c.to_ascii_uppercase()).collect());
        let packed = self.hidden(&nibbles, false);
        let letters: Zeroizing<Vec<char>> =
            Zeroizing::new(bytes.iter().map(|byte| char::from(*byte)).collect());
        let letters = self.hidden(&letters, true);
        let letters = letters.into_iter().flat_map(|hidden| [hidden; 2]);
        let hidden = packed.into_iter().zip(letters).map(|(packed, letter)| packed || letter);
        Zeroizing::new(nibbles.iter().zip(hidden).map(|(c, hidden)| if hidden { '*' } else { *c }).collect())
    }

    /// Which characters are to be hidden. Codes are looked for in texts only: a few digits stand in any hex.
    fn hidden(&self, chars: &[char], with_codes: bool) -> Vec<bool> {
        let mut places =
            HiddenPlaces { chars, hidden: vec![false; chars.len()], account: vec![false; chars.len()] };
        places.hide_account(&self.account);
        for code in self.codes.iter().filter(|_| with_codes) {
            places.hide_code(code);
        }
        places.hidden
    }
}

impl HiddenPlaces<'_> {
    /// Hides the account number wherever its digits follow each other, with whatever between them.
    fn hide_account(&mut self, account: &[u8]) {
        let digits: Vec<usize> =
            (0..).zip(self.chars).filter(|(_, c)| c.is_ascii_digit()).map(|(place, _)| place).collect();
        let is = |place: &usize, digit: &u8| self.chars.get(*place).is_some_and(|c| *c == char::from(*digit));
        let found: Vec<&[usize]> = match account.len() {
            0 => Vec::new(),
            length => {
                let same =
                    |places: &&[usize]| places.iter().zip(account).all(|(place, digit)| is(place, digit));
                digits.windows(length).filter(same).collect()
            }
        };
        let end = account.len().saturating_sub(END);
        let front = FRONT.min(end.saturating_sub(HIDDEN));
        for places in found {
            for (number, place) in places.iter().enumerate() {
                self.mark_account(*place, (front..end).contains(&number));
            }
            if let Some(last) = places.last() {
                self.hide_track(last + 1);
            }
        }
    }

    fn mark_account(&mut self, place: usize, hide: bool) {
        if let Some(account) = self.account.get_mut(place) {
            *account = true;
        }
        if hide {
            self.hide(place);
        }
    }

    fn hide(&mut self, place: usize) {
        if let Some(hidden) = self.hidden.get_mut(place) {
            *hidden = true;
        }
    }

    /// Hides the discretionary data of a track whose account number ends before `place`: PVV and CVV. `=` is the separator
    /// of track 2, `D` that of tag 57, `^` that of track 1, where the name stands between two of them.
    fn hide_track(&mut self, place: usize) {
        let from = match self.chars.get(place) {
            Some('=' | 'D') => place + 1,
            Some('^') => {
                let rest = self.chars.get(place + 1..).unwrap_or_default();
                match rest.iter().position(|c| *c == '^') {
                    Some(after) => place + after + 2,
                    None => return,
                }
            }
            _ => return,
        };
        for place in from.saturating_add(SHOWN_OF_TRACK)..self.chars.len() {
            if self.chars.get(place).is_some_and(char::is_ascii_alphanumeric) {
                self.hide(place);
            }
        }
    }

    /// Hides a code wherever it stands outside the account number.
    fn hide_code(&mut self, code: &[u8]) {
        let last = self.chars.len().saturating_sub(code.len());
        for from in 0..=last {
            let there = self.chars.get(from..from + code.len()).unwrap_or_default();
            let same = !there.is_empty() && there.iter().zip(code).all(|(c, digit)| *c == char::from(*digit));
            let apart = !self.account.iter().skip(from).take(code.len()).any(|is| *is);
            if same && apart {
                (from..from + code.len()).for_each(|place| self.hide(place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A published test number.
    const PAN: &str = "4761739001010119";

    fn mask() -> CardMask {
        CardMask::new(Some(PAN), [b"789".as_slice(), b"1234"])
    }

    #[test]
    fn the_forms_of_an_account_number_are_hidden_but_for_its_ends() {
        for (text, shown) in [
            (PAN.to_owned(), "476173******0119"),
            ("4761 7390 0101 0119".to_owned(), "4761 73** **** 0119"),
            ("4761-7390-0101-0119".to_owned(), "4761-73**-****-0119"),
            (format!("Nr. {PAN}!"), "Nr. 476173******0119!"),
            (format!("{PAN}{PAN}"), "476173******0119476173******0119"),
            (format!("B{PAN}^TEST/CARD^30122011123400789"), "B476173******0119^TEST/CARD^3012201**********"),
            (format!("{PAN}=30122011123400789?"), "476173******0119=3012201**********?"),
            (format!("{PAN}=2912"), "476173******0119=2912"),
            ("47617390010101".to_owned(), "47617390010101"),
        ] {
            assert_eq!(mask().text(&text).as_str(), shown);
        }
    }

    #[test]
    fn codes_are_hidden_outside_the_account_number() {
        let mask = CardMask::new(Some(PAN), [b"010".as_slice(), b"", b"0119"]);
        assert_eq!(mask.text(&format!("{PAN} 010")).as_str(), "476173******0119 ***");
        assert_eq!(mask.text("0119 0100").as_str(), "**** ***0");
        assert_eq!(mask.text("no digits, no card").as_str(), "no digits, no card");
        assert_eq!(CardMask::new(None, []).text(PAN).as_str(), PAN);
        assert_eq!(mask.text("").as_str(), "");
    }

    #[test]
    fn short_account_numbers_keep_six_digits_hidden() {
        for (pan, shown) in [("412345678905", "41******8905"), ("4123456789012", "412******9012")] {
            assert_eq!(CardMask::new(Some(pan), []).text(pan).as_str(), shown);
        }
        assert_eq!(CardMask::new(Some("12345678"), []).text("12345678").as_str(), "****5678");
    }

    #[test]
    fn bytes_of_the_chip_are_hidden_packed_and_as_letters() {
        for (hex, shown) in [
            // 5A, 57, 9F1F and a track in ASCII.
            (PAN.to_owned(), "476173******0119"),
            (format!("{PAN}D30122011123400789"), "476173******0119D3012201**********"),
            (hex::encode_upper("11234789"), "31**************"),
            (hex::encode_upper(PAN), "343736313733************30313139"),
            ("5A08".to_owned() + PAN, "5A08476173******0119"),
            ("1234789A".to_owned(), "1234789A"),
        ] {
            let bytes = hex::decode(&hex).unwrap();
            assert_eq!(mask().bytes(&bytes).as_str(), shown);
        }
    }

    proptest! {
        /// Whatever stands around and between its digits, six digits of the account number are never shown.
        #[test]
        fn no_text_shows_an_account_number(
            before in "[ -~]{0,12}", after in "[ -~]{0,12}", between in proptest::collection::vec("[ .a-zA-Z=^-]{0,2}", 16),
        ) {
            let number: String = PAN.chars().zip(&between).flat_map(|(c, gap)| [c.to_string(), gap.clone()]).collect();
            let text = format!("{before}{number}{after}");
            let shown = mask().text(&text);
            prop_assert_eq!(shown.chars().count(), text.chars().count());
            let digits: String = shown.chars().filter(|c| c.is_ascii_digit()).collect();
            let all: String = text.chars().filter(char::is_ascii_digit).collect();
            prop_assert!(digits.len() + 6 <= all.len());
            prop_assert!(!digits.contains(PAN));
        }

        #[test]
        fn no_bytes_make_it_panic(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(mask().text(&text).chars().count(), text.chars().count());
            prop_assert_eq!(mask().bytes(&bytes).len(), 2 * bytes.len());
        }
    }
}

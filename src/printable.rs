//! Makes texts from outside (files, cards, devices, ledgers, file names) safe to show. Such a text cannot begin a new
//! line, give the terminal a command, or be shown in another order than it was written.
//!
//! Not here: output as a whole, whose line ends are the program's (`stdout`).

use std::borrow::Cow;

/// Whether a character is a control character, a line or paragraph separator, invisible, or one that reverses text.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// Returns the text in one line, with hidden characters as JSON writes them: `\u001b`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    // Nearly every text is plain ASCII.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || !text.contains(is_hidden) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_and_all_else_stays() {
        let plain = "J1 g\u{e4} \u{20ac} \\u001b";
        assert!(matches!(one_line(plain), Cow::Borrowed(text) if text == plain));
        let hostile = "a\nerror: b\r\tc\u{1b}[2J\u{9b}31m\u{7f}\u{2028}d\u{202e}e\u{feff}";
        assert_eq!(
            one_line(hostile),
            "a\\u000aerror: b\\u000d\\u0009c\\u001b[2J\\u009b31m\\u007f\\u2028d\\u202ee\\ufeff"
        );
    }
}

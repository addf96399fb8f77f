//! Reads the TOML texts that people write: profiles, key lists, the people file. A message names the line and the key,
//! quotes the value where it may, and states the values that are allowed.
//!
//! Not here: the files (`files`), rules between keys.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// Longest value that a message quotes, in characters.
const QUOTED_MAX: usize = 60;

/// Names of number types in serde's messages, and the words that a message uses instead.
const NUMBERS: [(&str, &str); 7] = [
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number from 0"),
    ("usize", "a whole number from 0"),
    ("i64", "a whole number"),
    ("f64", "a number"),
];

/// Whether messages may quote values of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// The text holds no secret.
    Values,
    /// The text holds secrets: messages name lines and keys.
    Keys,
}

/// A fault of a text, shown in one line: `line 23: application.aid = "A0": has an odd number of digits`.
#[derive(Debug, thiserror::Error)]
#[error("{place}{what}")]
pub struct TomlFault {
    /// Line, key and value, and the colon after them.
    pub place: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// Parses a text.
pub fn parse<T: DeserializeOwned>(text: &str, quoting: Quoting) -> Result<T, TomlFault> {
    toml::from_str(text).map_err(|error| {
        let what = in_words(error.message());
        TomlFault { place: place(text, &error, quoting, &what), what }
    })
}

/// The line of an offset, from 1.
pub fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

fn place(text: &str, error: &Error, quoting: Quoting, what: &str) -> String {
    let Some(span) = error.span() else { return String::new() };
    let line = line_at(text, span.start);
    let value = text.get(span.clone()).unwrap_or_default();
    // A text that is no TOML has no keys.
    let parsed = DeTable::parse(text).ok();
    let found = parsed.and_then(|parsed| key_at(parsed.get_ref(), span.start));
    let Some((key, is_table)) = found.filter(|(key, _)| !key.is_empty()) else {
        return format!("line {line}: ");
    };
    // Most of serde's messages quote the value already.
    let bare = value.trim_matches(['"', '\'']);
    let is_told = what.contains(&format!("`{bare}`")) || what.contains(&format!("\"{bare}\""));
    let is_short = value.chars().count() <= QUOTED_MAX && !value.contains(char::is_control);
    if quoting == Quoting::Values && !is_table && is_short && !is_told {
        return format!("line {line}: {key} = {value}: ");
    }
    format!("line {line}: {key}: ")
}

/// Returns the path of the key whose value stands at an offset, and whether that value is a table. If a key stands
/// there, returns the path of the table around it.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<(String, bool)> {
    for (key, value) in table {
        if key.span().contains(&at) {
            // The message names this key itself.
            return Some((String::new(), true));
        }
        if let Some((inside, is_table)) = key_in(value, at) {
            let name = key.get_ref();
            let path = if inside.is_empty() { name.to_string() } else { format!("{name}.{inside}") };
            return Some((path, is_table));
        }
    }
    None
}

/// Returns the path inside a value to an offset. The parts of a table with headers may lie anywhere in the text, so
/// every table is searched.
fn key_in(value: &Spanned<DeValue<'_>>, at: usize) -> Option<(String, bool)> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => key_at(table, at),
        DeValue::Array(array) => array.iter().find_map(|item| key_in(item, at)),
        _ => None,
    };
    let is_table = matches!(value.get_ref(), DeValue::Table(_));
    inside.or_else(|| value.span().contains(&at).then(|| (String::new(), is_table)))
}

/// A message of serde in words for people.
fn in_words(message: &str) -> String {
    for (name, words) in NUMBERS {
        if let Some(start) = message.strip_suffix(name).filter(|start| start.ends_with(", expected ")) {
            return format!("{start}{words}");
        }
    }
    match message.trim_end() {
        "wanted string or table" => "expected a word in quotes".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        number: Option<u8>,
        #[serde(default)]
        list: Vec<Kind>,
        #[serde(default)]
        inner: Vec<Inner>,
        #[serde(default)]
        table: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Kind {
        First,
        Second,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        even: Even,
    }

    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Even;

    impl TryFrom<String> for Even {
        type Error = &'static str;
        fn try_from(text: String) -> Result<Self, Self::Error> {
            if text.len().is_multiple_of(2) { Ok(Self) } else { Err("has an odd length") }
        }
    }

    #[test]
    fn a_fault_is_told_with_its_line_key_value_and_what_is_allowed() {
        let good: Outer =
            parse("number = 1\nlist = [\"first\", \"second\"]\n[[inner]]\neven = \"ab\"\n", Quoting::Values)
                .unwrap();
        assert_eq!(
            (
                good.number,
                good.list.len(),
                good.inner.iter().filter(|inner| matches!(inner.even, Even)).count(),
                good.table.is_some()
            ),
            (Some(1), 2, 1, false)
        );
        for (text, says) in [
            (
                "\nnumber = 256",
                "line 2: number: invalid value: integer `256`, expected a whole number from 0 to 255",
            ),
            (
                "number = \"x\"",
                "line 1: number: invalid type: string \"x\", expected a whole number from 0 to 255",
            ),
            (
                "list = [\n\"first\",\n\"third\"]",
                "line 3: list: unknown variant `third`, expected `first` or `second`",
            ),
            (
                "nummer = 1",
                "line 1: unknown field `nummer`, expected one of `number`, `list`, `inner`, `table`",
            ),
            (
                "[[inner]]\neven = \"ab\"\n[[inner]]\neven = \"abc\"",
                "line 4: inner.even = \"abc\": has an odd length",
            ),
            ("[table]\neven = 'a'", "line 2: table.even = 'a': has an odd length"),
            ("table = { even = \"a\" }", "line 1: table.even = \"a\": has an odd length"),
            ("[table]\nodd = 'a'", "line 2: table: unknown field `odd`, expected `even`"),
            ("\n[table]\n", "line 2: table: missing field `even`"),
            ("[[inner]]\neven = \"ab\"\n[[inner]]\n", "line 3: inner: missing field `even`"),
        ] {
            assert_eq!(parse::<Outer>(text, Quoting::Values).unwrap_err().to_string(), says, "{text}");
        }
    }

    #[test]
    fn secrets_controls_long_values_and_what_is_no_toml_are_not_quoted() {
        for text in [
            "[table]\neven = \"abc\"",
            "[table]\neven = \"a\tc\"",
            &format!("[table]\neven = \"{:>61}\"", ""),
        ] {
            let quoting = if text.contains('b') { Quoting::Keys } else { Quoting::Values };
            assert_eq!(
                parse::<Outer>(text, quoting).unwrap_err().to_string(),
                "line 2: table.even: has an odd length"
            );
        }
        let error =
            parse::<Outer>("C1,4761730000000011,01,TEST/CARD\n", Quoting::Values).unwrap_err().to_string();
        assert!(error.starts_with("line 1: ") && !error.contains("4761"), "{error}");
    }
}

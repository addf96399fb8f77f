//! The repository's text files, and Rust text split into code, strings, comments and test code. This is a
//! reader for the rules, not a parser: it does not understand macros, nor conditional compilation other than
//! `#[cfg(test)]`.

use std::fs;
use std::path::Path;

/// One text file.
pub(crate) struct Source {
    /// Path from the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Rust only: the text with comments, strings and characters blanked, byte for byte.
    pub(crate) code: String,
    /// `code` with test-only code blanked too.
    pub(crate) live: String,
    /// Rust only: string literals and their offsets.
    strings: Vec<(usize, String)>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, strings) = if path.ends_with(".rs") { split(text) } else { (String::new(), Vec::new()) };
        let live = if is_test(path) { blank(&code, 0, code.len()) } else { without_tests(&code) };
        Self { path: path.to_string(), text: text.to_string(), code, live, strings }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn within(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    pub(crate) fn finding(&self, offset: usize, what: &str) -> String {
        let line = self.text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }

    /// The string literals outside of test-only code.
    pub(crate) fn live_strings(&self) -> impl Iterator<Item = &(usize, String)> {
        self.strings.iter().filter(|(offset, _)| self.live.as_bytes()[*offset] == b'"')
    }
}

/// Whether a file's path shows that it is compiled for tests only.
fn is_test(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    folder.split('/').any(|part| part == "tests" || part == "benches")
        || ["tests.rs", "testing.rs"].contains(&file)
}

/// Every text file of the repository.
pub(crate) fn repository() -> Vec<Source> {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let mut sources = Vec::new();
    walk(Path::new(&root), "", &mut sources);
    assert!(sources.iter().filter(|s| s.is_rust()).count() > 20, "the sources were not found");
    sources
}

fn walk(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        if path == "target" || name == ".git" || name.ends_with(".swp") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), &format!("{path}/"), sources);
        } else if let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap()) {
            sources.push(Source::new(&path, &text));
        }
    }
}

/// The text with the bytes from `start` to `end` blanked; line ends stay.
fn blank(text: &str, start: usize, end: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in &mut bytes[start..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Splits Rust text into code and string literals. In the code, a string leaves its opening quote.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut strings = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            comment_length(rest)
        } else if let (false, Some((quote, length))) = (word_before, raw_string(rest)) {
            let content = String::from_utf8_lossy(&rest[quote + 1..length]).into_owned();
            strings.push((at + quote, content));
            length
        } else if rest[0] == b'"' {
            let length = quoted_length(rest, b'"');
            strings.push((at, String::from_utf8_lossy(&rest[1..length]).into_owned()));
            length
        } else if rest[0] == b'\'' && is_character(rest) {
            quoted_length(rest, b'\'')
        } else {
            at += 1;
            continue;
        };
        for byte in &mut code[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length;
    }
    for (offset, _) in &strings {
        code[*offset] = b'"';
    }
    (String::from_utf8(code).unwrap(), strings)
}

/// The length of a block comment. Block comments nest.
fn comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// For `r"..."`, `br#"..."#`, `cr"..."`: the offset of the quote, and the whole length.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let prefix = [&b"br"[..], b"cr", b"r"].into_iter().find(|p| rest.starts_with(p))?.len();
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let quote = prefix + hashes;
    if rest.get(quote) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let close = rest[quote + 1..].windows(end.len()).position(|window| window == end);
    Some((quote, close.map_or(rest.len(), |n| quote + 1 + n + end.len())))
}

/// The length from the opening quote up to and including the closing one.
fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether this is a character literal, not a lifetime.
fn is_character(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]).into_owned();
    let mut characters = text.chars();
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

/// Blanks every item, field or statement under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut live = code.to_string();
    while let Some(start) = live.find("#[cfg(test)]") {
        let end = start + item_length(&live[start..]);
        live = blank(&live, start, end);
    }
    live
}

/// The length from an attribute to the end of the item, field or statement that it applies to. The end is a
/// block, a `;`, the comma after a field, or the end of the enclosing block.
fn item_length(code: &str) -> usize {
    const ITEMS: [&str; 10] =
        ["fn", "struct", "enum", "union", "trait", "type", "impl", "const", "static", "use"];
    let (mut depth, mut is_item) = (0usize, false);
    for (at, token) in tokens(code) {
        is_item |= depth == 0 && ITEMS.contains(&token);
        match token {
            "{" | "(" | "[" => depth += 1,
            "}" if depth == 0 => return at,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return at + 1,
            // In an item, a comma only separates parameters or fields.
            "," if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Words, `::` and single other characters, with their offsets.
pub(crate) fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c: char| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push((at, &rest[..length]));
        }
        at += length;
    }
    tokens
}

/// The offsets at which `pattern` (Rust, such as `fs::` or `todo!`) stands in the code as whole tokens.
pub(crate) fn places(code: &str, pattern: &str) -> Vec<usize> {
    let wanted: Vec<&str> = tokens(pattern).into_iter().map(|(_, token)| token).collect();
    let all = tokens(code);
    let hit = |window: &&[(usize, &str)]| window.iter().map(|(_, token)| *token).eq(wanted.iter().copied());
    all.windows(wanted.len()).filter(hit).map(|window| window[0].0).collect()
}

/// One finding for each place of each pattern.
pub(crate) fn named(source: &Source, code: &str, patterns: &[&str], why: &str) -> Vec<String> {
    let each = patterns.iter().flat_map(|pattern| {
        places(code, pattern).into_iter().map(move |at| source.finding(at, &format!("`{pattern}` {why}")))
    });
    each.collect()
}

#[test]
fn code_strings_and_comments_are_distinguished() {
    let text = concat!(
        "a /* b /* c */ d */ e // f \" g\n",
        "\"h \\\" // i\" j 'k' '\\'' '\"' l<'m> r#\"n \" o\"# p br\"q\" bar\"r\" ",
        "'\u{e4}' s"
    );
    let (code, strings) = split(text);
    assert_eq!(code.len(), text.len());
    let words: Vec<&str> = tokens(&code)
        .into_iter()
        .map(|(_, t)| t)
        .filter(|t| t.len() > 1 || t.as_bytes()[0].is_ascii_lowercase())
        .collect();
    assert_eq!(words, ["a", "e", "j", "l", "m", "p", "bar", "s"]);
    let contents: Vec<&str> = strings.iter().map(|(_, s)| s.as_str()).collect();
    assert_eq!(contents, ["h \\\" // i\"", "n \" o\"#", "q\"", "r\""]);
}

#[test]
fn test_code_is_distinguished() {
    let source = Source::new(
        "src/a.rs",
        "fn a() { b }\n#[cfg(test)]\nmod tests { fn c() { d } }\nfn e() {}\n#[cfg(test)]\nmod f;\nfn g() {}\n\
         struct H { i: u8, #[cfg(test)] j: K, l: u8 } fn m() { n(H { #[cfg(test)] o: None }, p) }",
    );
    let live: Vec<&str> =
        source.live.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty() && *w != "fn").collect();
    assert_eq!(live, ["a", "b", "e", "g", "struct", "H", "i", "u", "l", "u", "m", "n", "H", "p"]);
    assert!(is_test("src/tlv/tests.rs") && is_test("hwsim/tests/a.rs") && is_test("src/record/testing.rs"));
    assert!(!is_test("src/tlv/latest.rs") && !is_test("src/contests.rs"));
}

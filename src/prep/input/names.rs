//! The cardholder's name: the field of ISO/IEC 7813, `SURNAME/FIRST MIDDLE.TITLE`, as people read it.

use zeroize::Zeroizing;

/// Turns the name field into `TITLE FIRST MIDDLE SURNAME`.
pub(super) fn printed(name: &str) -> Zeroizing<String> {
    let (surname, given) = name.split_once('/').unwrap_or((name, ""));
    let (given, title) = title_apart(given);
    let parts: Vec<&str> =
        [title, given, surname].into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
    Zeroizing::new(parts.join(" "))
}

/// Splits `FIRST MIDDLE.TITLE` at the period that announces the title. A period after an initial (`J. P.`,
/// `J.P.`) announces none: a title follows its period directly and has at least two characters before the
/// next one.
fn title_apart(given: &str) -> (&str, &str) {
    let announces = |(at, _): &(usize, &str)| {
        let after = given.get(at + 1..).unwrap_or_default();
        let word = after.split('.').next().unwrap_or_default();
        word.chars().nth(1).is_some() && !word.starts_with(' ')
    };
    let Some((at, _)) = given.match_indices('.').find(announces) else { return (given, "") };
    (given.get(..at).unwrap_or_default(), given.get(at + 1..).unwrap_or_default())
}

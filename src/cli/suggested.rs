//! The commands that messages suggest, with the options of this command line, so that a person can type them as shown.
//!
//! Not here: which command helps (`next_step`).

use std::ffi::OsString;
use std::fmt::Display;

use crate::profile;

/// A command with these words, about the ledger or to the daemon that this command line names.
pub(super) fn command(words: impl Display) -> String {
    let mut command = format!("cardwright {words}");
    for option in ["--ledger", "--socket"] {
        if let Some(path) = given(option) {
            command += &format!(" {option} {path}");
        }
    }
    command
}

/// A command that opens the line of a job in the foreground. `line` is the line's name if it is known.
pub(super) fn on_line(words: impl Display, line: Option<&str>, simulated: bool) -> String {
    // The ledger knows a line that was given as a file by a name that `--line` does not find.
    let is_found =
        |name: &&str| name.ends_with(".toml") || profile::line_names().iter().any(|there| there == name);
    let known = || line.filter(is_found);
    let line = given("--line").or_else(|| known().map(quoted)).unwrap_or_else(|| "LINE".to_owned());
    let simulate = if simulated || simulates() { " --simulate" } else { "" };
    let pin = given("--pin-file").map_or_else(String::new, |file| format!(" --pin-file {file}"));
    command(format!("{words} --line {line}{}{pin}{simulate}", keys()))
}

/// Whether this command line simulates the line.
pub(super) fn simulates() -> bool {
    std::env::args_os().any(|argument| argument == "--simulate")
}

/// The option that names the key store; empty if the environment names it.
pub(super) fn keys() -> String {
    match given("--keys") {
        Some(store) => format!(" --keys {store}"),
        None if std::env::var_os("CARDWRIGHT_KEYS").is_some() => String::new(),
        None => " --keys STORE".to_owned(),
    }
}

/// The value of an option of this command line, as a shell takes it.
fn given(option: &str) -> Option<String> {
    value_of(std::env::args_os().skip(1), option)
}

fn value_of(mut arguments: impl Iterator<Item = OsString>, option: &str) -> Option<String> {
    while let Some(argument) = arguments.next() {
        let Some(argument) = argument.to_str() else { continue };
        if argument == option {
            return arguments.next()?.to_str().map(quoted);
        }
        if let Some(value) = argument.strip_prefix(option).and_then(|rest| rest.strip_prefix('=')) {
            return Some(quoted(value));
        }
    }
    None
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_repeated_as_it_was_typed() {
        let value = |words: &[&str], option| value_of(words.iter().map(OsString::from), option);
        assert_eq!(value(&["job", "list", "--ledger", "a/b.db"], "--ledger").unwrap(), "a/b.db");
        assert_eq!(value(&["--ledger=a b.db", "job"], "--ledger").unwrap(), "'a b.db'");
        assert_eq!(value(&["--line", "it's.toml"], "--line").unwrap(), "'it'\\''s.toml'");
        assert_eq!(value(&["job", "list", "--ledgers", "x"], "--ledger"), None);
        assert_eq!(value(&["--ledger"], "--ledger"), None);
    }

    #[test]
    fn a_line_is_named_if_its_name_finds_it() {
        let known = on_line("job resume J1", Some("sim-8"), true);
        assert_eq!(known, "cardwright job resume J1 --line sim-8 --keys STORE --simulate");
        let of_a_file = on_line("job resume J1", Some("bench"), false);
        assert_eq!(of_a_file, "cardwright job resume J1 --line LINE --keys STORE");
    }
}

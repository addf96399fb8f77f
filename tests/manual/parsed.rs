//! The programs accept every command on a page, and every command of the programs is on a page.

use std::collections::BTreeSet;
use std::process::Output;

use super::{PROGRAMS, every_page, program};

/// Other programs that pages name.
const FOREIGN: [&str; 5] = ["export", "make", "sqlite3", "cp", "openssl"];

/// The word for which a reader puts the key of a bureau, and a key.
const AUDIT_KEY: (&str, &str) =
    ("AUDIT_KEY", "3B6A27BCCEB6A42D62A3A8D02A6F0D73653215771DE243A63AC048A18B59DA29");

/// The words of a Cardwright command in a line of shell, up to a comment, a redirection or another command.
fn words(line: &[&str]) -> Vec<String> {
    let mut words = Vec::new();
    for word in line.iter().take_while(|word| !word.starts_with(['#', '>', '|', '&', ';', '<'])) {
        let whole = word.trim_end_matches(';');
        let word_alone = whole.trim_matches(['"', '\'']);
        words.push(if word_alone == AUDIT_KEY.0 { AUDIT_KEY.1 } else { word_alone }.to_owned());
        if whole != *word {
            break;
        }
    }
    words
}

fn help(words: &[String]) -> Output {
    program(&words[0]).args(&words[1..]).arg("--help").output().unwrap()
}

/// A Cardwright command on a page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ShownCommand {
    words: Vec<String>,
    page: String,
    /// It is run as well (`run`), where the shell replaces some of its words.
    is_run: bool,
}

fn commands() -> BTreeSet<ShownCommand> {
    let mut commands = BTreeSet::new();
    for page in every_page() {
        let run: Vec<_> = page.console().into_iter().map(|command| command.text).collect();
        for line in page.commands() {
            let is_run = run.contains(&line);
            let all: Vec<&str> = line.split_whitespace().collect();
            // In a loop, a pipe or a condition, the command may follow other words.
            let starts: Vec<_> = (0..all.len()).filter(|at| PROGRAMS.contains(&all[*at])).collect();
            let known = is_run || !starts.is_empty() || FOREIGN.contains(&all[0]);
            assert!(known, "{}: no test knows `{line}`", page.path);
            let shown = |at| ShownCommand { words: words(&all[at..]), page: page.path.clone(), is_run };
            commands.extend(starts.into_iter().map(shown));
        }
    }
    commands
}

#[test]
fn the_programs_accept_every_command_on_a_page() {
    let commands: Vec<_> = commands().into_iter().filter(|command| !command.is_run).collect();
    assert!(commands.len() > 50, "{}", commands.len());
    for ShownCommand { words, page, .. } in commands {
        let shown = help(&words);
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{page}: `{}`: {said}", words.join(" "));
    }
    let wrong = ["cardwright", "job", "release", "J1", "--at-once"].map(str::to_owned);
    assert_eq!(help(&wrong).status.code(), Some(2), "a word that it does not know goes unnoticed");
}

/// The commands under one, as its help lists them.
fn listed(path: &[String]) -> Vec<Vec<String>> {
    let shown = String::from_utf8(help(path).stdout).unwrap();
    let Some((_, list)) = shown.split_once("\nCommands:\n") else { return vec![] };
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).and_then(|line| line.split(' ').next())
    });
    names.filter(|name| *name != "help").map(|name| [path, &[name.to_owned()]].concat()).collect()
}

#[test]
fn every_command_of_the_programs_is_on_a_page() {
    let commands = commands();
    let mut waiting: Vec<Vec<String>> = PROGRAMS.iter().map(|name| vec![(*name).to_owned()]).collect();
    let mut leaves = 0;
    while let Some(path) = waiting.pop() {
        let under = listed(&path);
        if under.is_empty() {
            let shown = commands.iter().any(|command| command.words.starts_with(&path));
            assert!(shown, "no page shows `{}`", path.join(" "));
            leaves += 1;
        }
        waiting.extend(under);
    }
    assert!(leaves > 35, "{leaves}");
}

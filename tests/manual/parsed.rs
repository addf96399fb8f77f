//! Commands that stand on a page are such as the programs take, and every command of the programs stands on a page.

use std::collections::BTreeSet;
use std::process::Output;

use super::{PROGRAMS, every_page, program};

/// Programs of others that pages name.
const FOREIGN: [&str; 5] = ["export", "make", "sqlite3", "cp", "openssl"];

/// The words of a command of ours in a line of shell, without settings before it, comment and redirections.
fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace().take_while(|word| !word.starts_with(['#', '>', '|', '&', ';', '<']));
    words.map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
}

fn help(words: &[String]) -> Output {
    program(&words[0]).args(&words[1..]).arg("--help").output().unwrap()
}

/// Every command of ours on the pages, and where it stands.
fn commands() -> BTreeSet<(Vec<String>, String)> {
    let mut commands = BTreeSet::new();
    for page in every_page() {
        for line in page.commands() {
            // In a loop, a pipe or a condition, a command of ours may stand behind other words.
            let all: Vec<&str> = line.split_whitespace().collect();
            let starts = (0..all.len()).filter(|at| PROGRAMS.contains(&all[*at]));
            let found: Vec<_> = starts.map(|at| words(&all[at..].join(" "))).collect();
            let first = all.first().copied().unwrap_or_default();
            let run = page.console().iter().any(|command| command.text == line);
            assert!(
                run || !found.is_empty() || FOREIGN.contains(&first),
                "{}: nobody knows {first:?}",
                page.path
            );
            commands.extend(found.into_iter().map(|words| (words, page.path.clone())));
        }
    }
    commands
}

#[test]
fn every_command_on_a_page_is_one_that_the_programs_take() {
    let commands = commands();
    assert!(commands.len() > 60, "{}", commands.len());
    for (words, path) in commands {
        let shown = help(&words);
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "{path}: `{}`: {said}", words.join(" "));
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
            let told = commands.iter().any(|(words, _)| words.starts_with(&path));
            assert!(told, "no page tells of `{}`", path.join(" "));
            leaves += 1;
        }
        waiting.extend(under);
    }
    assert!(leaves > 35, "{leaves}");
}

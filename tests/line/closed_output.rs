//! Answers whose reader closes the output unread, as `| head` does: the exit code is that of the work.

use std::path::Path;
use std::process::Stdio;

use crate::support::{Ended, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardwright");

/// Runs a program whose output has no reader from the beginning.
fn unread(world: &World, program: &str, words: &str) -> Ended {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(Path::new(program));
    command.args(words.split(' ')).stdout(writer).stderr(Stdio::piped());
    Ended::from(command.output().unwrap())
}

#[test]
fn an_answer_that_is_not_read_changes_no_exit_code_and_is_no_fault() {
    let world = World::new();
    world.prepared("job", 4, 1);
    for (words, code) in [
        ("run job.cwf1 --line sim-8 --keys bureau.store --simulate --speed 0 --events -", 0),
        ("inspect job.cwf1", 3),
        ("inspect job.cwf1 --json --keys bureau.store", 0),
        ("line check sim-8 --keys bureau.store --simulate", 0),
        ("line check sim-8 --keys bureau.store", 32),
        ("profile list", 0),
        ("key list --store bureau.store", 0),
        ("key check --store bureau.store", 0),
        ("job list", 0),
        ("log --json", 0),
        ("audit verify --keys bureau.store", 0),
        ("audit export", 0),
        ("manual operator", 0),
        ("job close J1", 42),
        ("job show J9", 43),
    ] {
        let ended = unread(&world, PROGRAM, words);
        assert_eq!(ended.code, code, "{words}: {}", ended.stderr);
        for word in ["roken pipe", "standard output", "panicked", "cannot print"] {
            assert!(!ended.stderr.contains(word), "{words}: {}", ended.stderr);
        }
    }
}

#[test]
fn a_preparation_whose_answer_is_not_read_has_made_its_file() {
    let world = World::new();
    world.prepared("job", 2, 1);
    let words =
        "run --input job.csv --product plain.toml --keys issuer.store --kek 476173FF:1 --output other.cwf1";
    for words in [words, "key list --store issuer.store"] {
        let ended = unread(&world, env!("CARGO_BIN_EXE_cardwright-prep"), words);
        assert_eq!(ended.code, 0, "{words}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{words}");
    }
    assert!(world.path("other.cwf1").exists());
}

/// The commands that take a key store find it in the environment as well.
#[test]
fn every_command_that_reads_a_key_store_takes_it_from_the_environment() {
    let mut world = World::new();
    world.prepared("job", 2, 1);
    world.set("CARDWRIGHT_KEYS", "bureau.store");
    for words in [
        "inspect job.cwf1",
        "key list",
        "key check",
        "run job.cwf1 --line sim-8 --simulate --speed 0",
        "audit verify",
        "line check sim-8 --simulate",
    ] {
        let ended = world.cardwright(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, 0, "{words}: {}{}", ended.stdout, ended.stderr);
    }
}

//! The commands about the ledger, from their words to their output.

use std::path::Path;

use clap::Parser;
use serde_json::Value;

use super::common::Early;
use super::next_step::spelled;
use super::{card, job, log};
use crate::exit::{Exit, Failure};
use crate::laws::{AttemptState, Change, Context, JobId};
use crate::ledger::Ledger;
use crate::ledger::tests::{all, bind, directory, file, make};

#[derive(Parser)]
enum Words {
    Card(card::CardArgs),
    Job(job::JobArgs),
    Log(log::LogArgs),
}

/// The output of a command, and its result.
fn said(ledger: &Path, words: &str) -> (String, Result<Exit, Failure>) {
    let ledger = ledger.to_str().unwrap();
    let words = ["cardwright"].into_iter().chain(words.split(' ')).chain(["--ledger", ledger]);
    let mut out = Vec::new();
    let result = match Words::try_parse_from(words).unwrap() {
        Words::Card(args) => card::execute(&args, &mut out),
        Words::Job(args) => job::execute(&args, &mut out),
        Words::Log(args) => log::show(&args, &mut out),
    };
    let result = result.map_err(|early| match early {
        Early::Refused(refusal) => spelled(&refusal),
        Early::Failed(failure) => failure,
        Early::Output(error) => panic!("{error}"),
    });
    (String::from_utf8(out).unwrap(), result)
}

fn ok(ledger: &Path, words: &str) -> String {
    let (out, result) = said(ledger, words);
    assert_eq!(result.unwrap(), Exit::Ok, "{words}");
    out
}

fn json(ledger: &Path, words: &str) -> Value {
    serde_json::from_str(&ok(ledger, &format!("{words} --json"))).unwrap()
}

fn fails(ledger: &Path, words: &str, exit: Exit, message: &[&str]) {
    let failure = said(ledger, words).1.unwrap_err();
    assert_eq!(failure.exit, exit, "{words}: {failure}");
    for part in message {
        assert!(failure.message.contains(part), "{words}: no {part:?} in {failure}");
    }
}

/// Nine records: 1 good, 2 rejected while writing, 3 and 4 lost, the rest queued; simulated.
fn job_in_trouble(path: &Path) {
    let ledger = Ledger::open(path).unwrap();
    let job = ledger.new_job(file("F", 9)).unwrap().job;
    assert_eq!(job, JobId(1));
    all(&ledger, job, bind(1, 1).into_iter().chain(make(1)).chain([Change::Stacked { seq: 1, position: 1 }]));
    let begun = Change::Attempt { seq: 2, to: AttemptState::Personalizing };
    all(&ledger, job, bind(2, 2).into_iter().chain([begun, Change::Rejected { seq: 2 }]));
    all(&ledger, job, bind(3, 3).into_iter().chain([Change::Lost { seq: 3 }]));
    all(&ledger, job, bind(4, 4).into_iter().chain([Change::Lost { seq: 4 }]));
    ledger.close().unwrap();
}

#[test]
fn a_job_in_trouble_is_brought_to_its_close() {
    let directory = directory();
    let path = &directory.path().join("l.db");
    job_in_trouble(path);
    fails(
        path,
        "job close J1",
        Exit::Denied,
        &["not accounted for", "2 UNKNOWN", "cardwright card ask J1 all", "resolve J1 SEQ --good"],
    );
    fails(
        path,
        "card remake J1 2",
        Exit::Denied,
        &["attempt 1 is REJECTED", "card resolve J1 2 --destroyed"],
    );
    fails(path, "card remake J1 3", Exit::Denied, &["UNKNOWN", "card ask J1 3", "card resolve J1 3 --good"]);
    fails(path, "card cancel J1 1", Exit::Denied, &["GOOD", "card show J1 1"]);
    fails(path, "card resolve J1 2 --good", Exit::Denied, &["REJECTED", "cannot become GOOD"]);
    fails(path, "card resolve J1 5 --destroyed", Exit::Denied, &["no card was begun"]);

    assert!(ok(path, "card resolve J1 3 --good --by Ada").contains("UNKNOWN -> GOOD"));
    let out = ok(path, "card resolve J1 all --destroyed --by Ada");
    assert_eq!(out.matches("-> DESTROYED").count(), 2);
    assert!(
        out.contains("SIMULATED") && out.contains("by Ada") && out.contains("next: cardwright card remake")
    );
    assert!(ok(path, "card remake J1 2").contains("next: cardwright job resume J1"));
    fails(path, "card remake J1 2", Exit::Denied, &["released already"]);
    fails(path, "job close J1", Exit::Denied, &["5 QUEUED", "2 REMAKE", "card remake J1 all"]);
    let done = json(path, "card cancel J1 all");
    assert_eq!(done["changed"].as_array().unwrap().len(), 7);
    assert_eq!(done["refused"].as_array().unwrap().len(), 0);
    assert!(ok(path, "card cancel J1 all").contains("nothing to do"));
    assert!(ok(path, "job report J1").contains("Next      cardwright job close J1"));
    // The HSM signs the closing, so it needs keys. The refusals above needed none.
    fails(path, "job close J1 --by Ada", Exit::Usage, &["J1 can be closed", "--keys or CARDWRIGHT_KEYS"]);
    let ledger = Ledger::open(path).unwrap();
    ledger.record(JobId(1), Change::Closed, Context::by("Ada (uid 0)")).wait().unwrap();
    ledger.close().unwrap();
    let out = ok(path, "job report J1");
    // One line for records that follow each other.
    assert!(out.contains("  records 4-9 F-4 to F-9, CANCELLED, their place is after position "), "{out}");
    assert!(out.contains("J1 CLOSED") && out.contains("(off 0)") && out.contains("SIMULATED"));
    fails(path, "job close J1", Exit::Denied, &["CLOSED"]);
    fails(path, "card cancel J1 5", Exit::Denied, &["CLOSED", "job show J1"]);
    let log = json(path, "log");
    let last = log.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["from"], &last["to"], &last["actor"]),
        (&"OPEN".into(), &"CLOSED".into(), &format!("Ada (uid {})", nix::unistd::getuid()).into())
    );
    fails(path, "card resolve J1 all --good", Exit::Usage, &["one by one"]);
}

/// A report never says to wait for a program that is not there.
#[test]
fn cards_that_a_killed_program_left_are_not_waited_for() {
    let directory = directory();
    let path = &directory.path().join("l.db");
    let ledger = Ledger::open(path).unwrap();
    let job = ledger.new_job(file("F", 1)).unwrap().job;
    all(&ledger, job, bind(1, 1));
    let of_running = ok(path, "job report J1");
    assert!(of_running.contains("Next      let the line finish; cardwright job show J1"), "{of_running}");
    ledger.close().unwrap();
    let of_killed = ok(path, "job report J1");
    for part in [
        "Next      no program is at work on this job",
        "cardwright card ask J1 all --line ",
        " --simulate makes",
    ] {
        assert!(of_killed.contains(part), "no {part:?} in\n{of_killed}");
    }
    // Opening the ledger for writing finds the card UNKNOWN; then the question names the line as well.
    Ledger::open(path).unwrap().close().unwrap();
    let of_unknown = ok(path, "job report J1");
    assert!(of_unknown.contains("(cardwright card ask J1 all --line "), "{of_unknown}");
    assert!(ok(path, "card resolve J1 1 --destroyed").contains("UNKNOWN -> DESTROYED"));
}

/// Records that can be changed are changed, and every refused one is named.
#[test]
fn a_list_is_done_as_far_as_the_laws_let_it() {
    let directory = directory();
    let path = &directory.path().join("l.db");
    job_in_trouble(path);
    let (out, result) = said(path, "card cancel J1 1-3,6,8,77 --json");
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, Exit::Denied);
    assert!(
        failure.message.contains("record 1: refused")
            && failure.message.contains("also refused: records 3, 77")
    );
    let done: Value = serde_json::from_str(&out).unwrap();
    let sequences = |list: &str| {
        done[list].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((sequences("changed"), sequences("refused")), (vec![2, 6, 8], vec![1, 3, 77]));
    assert!(done["changed"][0]["ts"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn shown_cards_and_jobs() {
    let directory = directory();
    let path = &directory.path().join("l.db");
    job_in_trouble(path);
    let one = json(path, "card show J1 2");
    assert_eq!((&one["state"], &one["card_ref"]), (&"REMAKE".into(), &"F-2".into()));
    assert_eq!(
        (&one["attempts"][0]["state"], &one["attempts"][0]["wrote"]),
        (&"REJECTED".into(), &true.into())
    );
    assert_eq!(one["events"].as_array().unwrap().len(), 3);
    assert!(one["events"][0]["ts"].is_string());
    assert_eq!(json(path, "card show J1 2-4").as_array().unwrap().len(), 3);
    assert_eq!(json(path, "card show j1 all").as_array().unwrap().len(), 9);
    let job = json(path, "job show J1");
    assert_eq!(
        (&job["job"], &job["simulated"], &job["balance"]["queued"]),
        (&"J1".into(), &true.into(), &5.into())
    );
    assert_eq!(json(path, "job list").as_array().unwrap().len(), 1);
    let report = json(path, "job report J1");
    assert_eq!((&report["records_off"], &report["blanks_off"]), (&0.into(), &0.into()));
    assert_eq!(report["rejects"].as_array().unwrap().len(), 3);
    assert_eq!(report["gaps"][0]["after_position"], 1);
    for words in ["card show J1 2", "job show J1", "job list", "job report J1", "log", "log --job J1"] {
        assert!(ok(path, words).contains("SIMULATED"), "{words}");
    }
    fails(path, "card show J1 10", Exit::NotFound, &["no such record", "job show J1"]);
    fails(path, "card remake J1 10", Exit::NotFound, &["no such record"]);
    for words in
        ["card show J2 1", "card cancel J2 1", "job show J2", "job close J2", "job report J2", "log --job J2"]
    {
        fails(path, words, Exit::NotFound, &["no job J2", "cardwright job list"]);
    }
}

#[test]
fn no_command_makes_a_ledger_or_takes_one_from_a_running_line() {
    let directory = directory();
    let path = &directory.path().join("l.db");
    for words in ["card show J1 1", "card cancel J1 1", "job list", "job close J1", "log"] {
        fails(path, words, Exit::Ledger, &["no such file", "--ledger"]);
        assert!(!path.exists());
    }
    job_in_trouble(path);
    let line = Ledger::open(path).unwrap();
    let pid = format!("pid {}", std::process::id());
    for words in ["card cancel J1 5", "job close J1", "card resolve J1 3 --good"] {
        fails(path, words, Exit::Ledger, &["another process", &pid]);
    }
    ok(path, "job show J1");
    drop(line);
}

#[test]
fn wrong_words_are_refused() {
    for words in [
        "card resolve J1 1",
        "card resolve J1 1 --good --destroyed",
        "card show J1",
        "card show X1 1",
        "card show J1 0",
        "card cancel J1 9-7",
        "job close",
        "log --job 1J",
    ] {
        let words = ["cardwright"].into_iter().chain(words.split(' '));
        assert!(Words::try_parse_from(words).is_err());
    }
}

/// `--follow` goes on until the reader closes the output.
#[test]
fn follow_prints_later_events() {
    struct Enough(Vec<u8>, Option<Ledger>);
    impl std::io::Write for Enough {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            match self.1.take() {
                Some(ledger) => {
                    all(&ledger, JobId(1), [Change::Held]);
                    Ok(())
                }
                None => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        }
    }
    let directory = directory();
    let path = directory.path().join("l.db");
    job_in_trouble(&path);
    let before = ok(&path, "log").lines().count();
    let words = ["cardwright", "log", "--follow", "--json", "--ledger", path.to_str().unwrap()];
    let Ok(Words::Log(args)) = Words::try_parse_from(words) else { panic!() };
    let mut out = Enough(Vec::new(), Some(Ledger::open(&path).unwrap()));
    assert!(matches!(log::show(&args, &mut out), Err(Early::Output(_))));
    let lines = String::from_utf8(out.0).unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), before + 1);
    assert_eq!(lines.last().unwrap()["to"], "HELD");
}

#[test]
fn a_log_entry_is_one_line_whatever_it_quotes() {
    let mut out = super::LogLine(Vec::new());
    std::io::Write::write_all(&mut out, b"WARN a card says: x\nERROR y\x1b[2J\xC2\x9b1m\n").unwrap();
    let line = String::from_utf8(out.0).unwrap();
    assert_eq!(line, "WARN a card says: x\\u000aERROR y\\u001b[2J\\u009b1m\n");
}

/// The crate tracing takes `warning` for the name of a part of the program, and would log nothing else.
#[test]
fn a_mistyped_level_does_not_silence_the_log() {
    for wrong in ["warning", "loud", "info=", "=info", "a=b=c", "cardwright", "info,loud", "cardwright=loud"]
    {
        assert!(super::log_filter(wrong).is_none(), "{wrong}");
    }
    for right in
        ["", "off", "warn", "INFO", "debug", "cardwright=debug", "info,cardwright::hsm=trace", "x[{y}]=info"]
    {
        let filter = super::log_filter(right).unwrap_or_else(|| panic!("{right}")).to_string();
        let is_level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
        assert!(filter.split(',').any(is_level), "{right}: {filter} logs no other part");
    }
    for level in ["off", "error", "info", "trace"] {
        let most = super::log_filter(level).unwrap().max_level_hint();
        assert_eq!(most, level.parse().ok(), "{level}");
    }
}
